"""Wrong values of every argument of every method: the error names argument and value, and nothing is sent."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints import posts, runs
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .endpoint_calls import ENDPOINT_CALLS, HOOK_CALLS

AGENT = "a0000000-0000-4000-8000-000000000001"
IDS: list[Any] = [5, "", "  ", "None", "{{ ti.xcom_pull() }}", "two words", ["a"], "a/b", "a\\b", "a%b", "\ud800"]
TEXTS: list[Any] = [5, "", "  ", ["a"]]
TIMES: list[Any] = ["tomorrow", "2030-01-01T10:00:00", datetime(2030, 1, 1), 5]
SECONDS: list[Any] = [-1, "60", 1.5, True]
FLAGS: list[Any] = ["False", 1]
URLS: list[Any] = ["film.mp4", "ftp://host/a.mp4", 5]

#: Wrong values by argument, or by ``method.argument``.
WRONG: dict[str, list[Any]] = {
    **dict.fromkeys(
        (
            "agent_id", "agent_node_id", "node_type_id", "run_id", "trigger_id", "batch_id", "avatar_profile_id",
            "social_connection_id", "post_id", "asset_id", "plan_id", "platform", "workspace_id", "storage_trigger_id",
            "production_id", "image_id", "audio_id", "video_id",
        ),
        IDS,
    ),
    **dict.fromkeys(("folder_id", "batch_key", "connection_name", "list_posts.platform"), TEXTS),
    **dict.fromkeys(
        ("created_from", "created_to", "updated_from", "since", "start_date", "end_date", "schedule_date"), TIMES
    ),
    "status": [5, [], [5], [None], {"running": 1}, ""],
    "list_pipeline_runs.status": TEXTS,
    "list_posts.status": TEXTS,
    "name": ["", 5, "n" * 121],
    "create_avatar_profile.name": ["", 5, None],
    "description": [5, "d" * 5001],
    "visibility": ["secret", 5],
    "operations": [
        [], 5, [5], [{"op": "paint"}], [{"op": "create_node"}],
        [{"op": "create_connection", "source_temp_ref_id": "in"}],
    ],
    "asset_type": ["film", "", 5, None],
    "upload_asset.asset_type": ["film", "", 5],
    "source": [None, "", 5, "/nowhere/film.mp4", "nosuch://bucket/film.mp4"],
    "youtube_channels": [None, [], 7, {"a": "b"}, [""], [5], "", ["two words"]],
    "trigger_callback_url": ["http://example.com/hook", "hook", "airflow", 5],
    "min_seconds": SECONDS,
    "max_seconds": SECONDS,
    "video_url": URLS,
    "image_url": URLS,
    "audio_url": URLS,
    "video_urls": [[], "", *URLS],
    "video_ids": [[], 7, [""]],
    "node_render_ids": [[], 7, ["https://storage.example/a.mp4"]],
    "mimir_assets": [[], 5, [{"id": ""}]],
    "video_inputs": [[], 5, [{}], [{"agent_node_id": "n"}]],
    "update_params": ["text", [], {"": {}}, {"node": 5}, {"node": {"when": datetime(2026, 1, 1)}}, {5: {}}],
    "ignore_nodes": [[], 7, [""]],
    "callback_url": ["http://example.com/hook", "hook", "airflow", 5],
    "text": [None, 5, ["Hello"]],
    "social_connection_ids": [[], 7, [""]],
    "platforms": [[], 7, [""]],
    "media_urls": [[], "", *URLS],
    "redirect_url": URLS,
    "success_url": URLS,
    "cancel_url": URLS,
    "create_post.schedule_date": [*TIMES, "2020-01-01T00:00:00Z"],
    "approve": FLAGS,
    "disable_comments": FLAGS,
    "platform_options": [5, "text", []],
    "provider_options": [5, "text", [], {"post": "x"}, {"youTubeOptions": {"visibility": "secret"}}],
    "limit": [0, 10_001, 1.5, "7", True],
    "enabled": ["False", 1, None],
    "threshold": [-1, 1_000_001, "5", math.nan, True],
    "quantity": [-1, 1_000_001, "5", math.nan, True],
    "definition": [None, 5, "captions", {"nodez": {}}],
    "unknown_nodes": ["delete", None],
    "dry_run": ["False", 1, None],
    "node_ids": ["False", 1, None],
}  # fmt: skip

#: Valid arguments, by method.
GOOD: dict[str, dict[str, Any]] = {
    "create_avatar_profile": {"name": "Host", "image_url": "https://a.example/i.jpg", "audio_id": "a"},
    "create_connect_link": {"platform": "tiktok"},
    "create_post": {"text": "Hello", "social_connection_ids": ["c"]},
    "update_post": {"post_id": "p", "approve": True},
    "update_agent": {"agent_id": "a", "name": "A name"},
    "start_upload": {"asset_type": "video"},
    "finalize_upload": {"asset_type": "video", "asset_id": "v"},
    "get_view_url": {"asset_type": "video", "asset_id": "v"},
    "set_auto_topup": {"enabled": False},
    "add_youtube_channels": {"agent_id": "a", "youtube_channels": ["@demo"]},
    "remove_youtube_channels": {"agent_id": "a", "youtube_channels": ["@demo"]},
    "upload_asset": {"source": __file__},
    "apply_agent": {"definition": {"name": "Nightly", "nodes": {}}},
}
#: Arguments that exclude a valid one, with the one to leave out.
INSTEAD = {
    ("create_avatar_profile", "image_id"): "image_url",
    ("create_avatar_profile", "audio_url"): "audio_id",
    ("create_post", "platforms"): "social_connection_ids",
}
#: Methods with other names than their endpoints.
ENDPOINTS = {"run_agent": runs.start_run, "create_post": posts.create_post}

METHODS = sorted({*ENDPOINT_CALLS, *HOOK_CALLS})


def arguments_of(method: str) -> list[str]:
    function = ENDPOINTS.get(method, getattr(MosaicHook, method))
    return [name for name in inspect.signature(function).parameters if name != "self"]


def cases() -> Iterator[tuple[str, str, Any]]:
    for method in METHODS:
        for name in arguments_of(method):
            for value in WRONG.get(f"{method}.{name}", WRONG.get(name, [])):
                yield method, name, value


CASES = list(cases())


@pytest.fixture(scope="module")
def hook(_mosaic_emulator_process: Emulator) -> Iterator[MosaicHook]:
    hook = MosaicHook()
    hook._access = Access(api_key=_mosaic_emulator_process.api_key, base_url=_mosaic_emulator_process.url)
    yield hook
    hook.close()


def valid_arguments(method: str) -> dict[str, Any]:
    """Return valid arguments: those in GOOD, and an id for each other required one."""
    function = ENDPOINTS.get(method, getattr(MosaicHook, method))
    required = [
        p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.name != "self"
    ]
    return {**dict.fromkeys(required, AGENT), **GOOD.get(method, {})}


def call(method: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Call a method. Request the first item of a list."""
    result = method(**arguments)
    if isinstance(result, Iterator):
        next(result, None)


def nested_values(value: Any) -> Iterator[Any]:
    """Yield the values in a list or an object. An error may name one of them."""
    for each in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield each
        yield from nested_values(each)


@pytest.mark.parametrize(("method", "name", "value"), CASES, ids=lambda value: repr(value)[:40])
def test_an_error_names_argument_and_value(
    mosaic_emulator: Emulator, hook: MosaicHook, evidence: Counter[str], method: str, name: str, value: Any
) -> None:
    arguments = {**valid_arguments(method), name: value}
    arguments.pop(INSTEAD.get((method, name), ""), None)
    evidence["wrong values of arguments of hook methods"] += 1
    with pytest.raises(MosaicValidationError) as error:
        call(getattr(hook, method), arguments)
    message = str(error.value)
    assert error.value.status is None, "a request was sent"
    assert name in message or (name == "definition" and "nodez" in message)
    assert any(str(each)[:40] in message or repr(each)[:40] in message for each in (value, *nested_values(value)))
    assert mosaic_emulator.requests() == []


def test_every_argument_of_every_method_has_a_wrong_value() -> None:
    covered = {(method, name) for method, name, _ in CASES}
    assert {(method, name) for method in METHODS for name in arguments_of(method)} == covered
    known = {name for method in METHODS for name in arguments_of(method)}
    assert {name.rpartition(".")[2] for name in WRONG} <= known


# Access and retry policy

ACCESS: dict[str, list[Any]] = {
    "api_key": ["", "  ", None, 5, "two words"],
    "base_url": [
        "",
        "http://api.mosaic.so",
        "api.mosaic.so",
        "https://api.mosaic.so/v1",
        "ftp://host",
        "https://user:word@host",
        5,
    ],
    "workspace_id": IDS,
    "allow_http": FLAGS,
    "connect_timeout": [0, -1, "30", math.nan, math.inf, True, 90_000],
    "timeout": [0, -1, "30", math.nan, math.inf, True, 90_000, 10**400],
    "allow_private_storage": FLAGS,
}
POLICY: dict[str, list[Any]] = {
    "attempts": [0, -1, 1.5, "3", True, None],
    "budget": [-1, "30", math.nan, True, None],
    "first_pause": [-1, "1", math.nan, True, None],
    "longest_pause": [-1, "30", math.nan, True, None],
}


@pytest.mark.parametrize(
    ("kind", "good", "name", "value"),
    [
        *[(Access, {"api_key": "mk_x"}, name, value) for name, values in ACCESS.items() for value in values],
        *[(RetryPolicy, {}, name, value) for name, values in POLICY.items() for value in values],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_access_and_retry_policy_are_validated(
    evidence: Counter[str], kind: type[Any], good: dict[str, Any], name: str, value: Any
) -> None:
    evidence["wrong values of arguments of Access and RetryPolicy"] += 1
    shown = {"api_key": "API key", "base_url": "host"}.get(name, name)
    with pytest.raises(MosaicValidationError, match=shown):
        kind(**{**good, name: value})


@pytest.mark.parametrize(("kind", "table"), [(Access, ACCESS), (RetryPolicy, POLICY)])
def test_every_argument_of_access_and_retry_policy_has_a_wrong_value(kind: type[Any], table: dict[str, Any]) -> None:
    assert set(table) == set(inspect.signature(kind).parameters)
