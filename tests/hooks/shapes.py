"""Settings of the emulator that change the shape of responses: single values, and mixtures of them.

python tests/hooks/shapes.py   # write pairwise.json again after a setting or a value was added or removed
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mosaic_emulator.settings import Settings
from pydantic.fields import FieldInfo

#: Settings of behaviour instead of shape, each with the reason why the calls cannot run with it.
BEHAVIOR_SETTINGS = {
    "hold_runs": "runs never end",
    "hold_posts": "posts are never published",
    "hold_avatars": "avatar profiles never become ready",
    "render": "about the content of the video",
    "unreadable_inputs": "about the content of the video",
    "fetch_hosts": "sends requests to other hosts",
}
#: Settings of error responses. ``test_error_responses.py`` covers them.
ERROR_SETTINGS = (
    "detail_shape", "error_codes", "validation_status", "unknown_operation_node_status", "unknown_node_types",
    "repeated_connection", "repeated_delete", "empty_agents", "cancel_terminal_status", "unknown_input_status",
    "unknown_ignored_node_status", "mixed_shorthand", "unknown_channel_removal", "unknown_trigger_runs",
    "platforms_allowed", "unknown_workspace_status", "past_schedule", "wrong_post_state_status", "repeated_post_delete",
    "unpublished_status", "connection_limit_status", "out_of_range_status", "same_plan_status", "required_params",
)  # fmt: skip


def values_of(field: FieldInfo) -> list[Any]:
    """Return the values of a setting other than its default. Numbers, text and lists have none."""
    kinds = [field.annotation, *get_args(field.annotation)]
    choices = list(chain.from_iterable(get_args(kind) for kind in kinds if get_origin(kind) is Literal))
    if field.annotation is bool:
        choices = [True, False]
    elif choices and type(None) in kinds:
        choices.append(None)
    return [value for value in choices if value != field.default]


#: The values of each setting, the default first.
SETTINGS = {
    name: [field.default, *values_of(field)]
    for name, field in Settings.model_fields.items()
    if name not in BEHAVIOR_SETTINGS and name not in ERROR_SETTINGS and values_of(field)
}
ALONE = {f"{name}={value}": {name: value} for name, values in SETTINGS.items() for value in values[1:]}

_PAIRWISE_FILE = Path(__file__).with_name("pairwise.json")
#: Mixtures of all settings. Each pair of values occurs in one.
DEFAULTS = {name: values[0] for name, values in SETTINGS.items()}
PAIRWISE: dict[str, dict[str, Any]] = {
    f"mixture {number}": DEFAULTS | changes for number, changes in enumerate(json.loads(_PAIRWISE_FILE.read_text()), 1)
}

#: Settings that only have an effect together, and older versions of the documentation.
MIXTURES: dict[str, dict[str, Any]] = {
    "as documented": {},
    "no plan": {"plan": None, "free_plan": "object"},
    "queued at first": {"initial_status": "queued", "queue_seconds": 5},
    "restricted key": {
        "scopes": [
            f"{entity}:{level}"
            for entity in (
                "agents", "agent_runs", "triggers", "uploads", "social", "avatars", "credits", "plan",
            )
            for level in ("read", "write")
        ]
    },
    "early 2026": {
        "agent_response": "nodes",
        "agent_change_response": "metadata",
        "credits_response": "nested",
        "plan_list_response": "prices",
        "post_create_response": "results",
        "post_outcomes": "results",
        "patch_response": "success",
        "start_response": "summary",
        "error_codes": False,
    },
    "2025": {
        "whoami": "user",
        "triggers_response": "object",
        "listed_channels": "urls",
        "add_channels_response": "status_ok",
        "remove_channels_response": "status_ok",
        "finalize_response": "file_uuid",
        "callback_required": True,
        "manual_trigger": "manual",
        "webhook_trigger": "sample",
        "webhook_inputs": "files",
        "upload_success_status": 201,
        "error_codes": True,
    },
    "minimal": {
        "optional_fields": "absent",
        "needs_credits_key": "absent",
        "agent_change_response": "operations",
        "avatar_create_response": "id",
        "post_create_response": "short",
        "channel_details": "missing",
        "thumbnails": False,
        "success_status": 204,
        "finalize_response": "empty",
        "remove_channels_response": "empty",
        "manual_trigger": "absent",
    },
    "maximal": {
        "extra_fields": True,
        "optional_fields": "null",
        "timestamps": "offset",
        "agent_change_response": "both",
        "avatar_create_response": "wrapped",
        "start_response": "summary",
        "premiere_zip": True,
        "licensed_sources": True,
        "automations_total": True,
        "analytics_post_id": True,
        "success_status": 201,
        "created_status": 201,
        "generated_url": "both",
    },
    "other names": {
        "needs_credits_key": "needsCredits",
        "cursor_key": "cursor",
        "observability_lists": "items",
        "pipeline_run_id": "agent_state_id",
        "avatar_status_key": "processing_status",
        "plan_family_key": "family",
        "listed_trigger": "nested",
        "list_order": "oldest",
    },
}  # fmt: skip

#: ``make test`` runs these shapes. ``make test-exhaustive`` also runs each value alone.
SHAPES = MIXTURES | PAIRWISE


def main() -> None:
    """Write pairwise.json."""
    from allpairspy import AllPairs

    mixtures = [
        {name: value for (name, values), value in zip(SETTINGS.items(), row, strict=True) if value != values[0]}
        for row in AllPairs(list(SETTINGS.values()))
    ]
    _PAIRWISE_FILE.write_text("[\n" + ",\n".join(map(json.dumps, mixtures)) + "\n]\n")


if __name__ == "__main__":
    main()
