"""Validate the inputs of a run: videos, entries for each Video Input tile, parameters of tiles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import (
    ListOf,
    raise_invalid,
    validate_id,
    validate_integer,
    validate_mapping,
    validate_name,
    validate_url,
    whole_number,
)


def _validate_mimir_asset(name: str, value: Any) -> dict[str, Any]:
    asset = validate_mapping(name, value)
    validate_id(f"{name}.id", asset.get("id"))
    return asset


#: Arguments with videos, for agents with one Video Input tile.
SOURCES = {
    "video_urls": ListOf(validate_url),
    "video_ids": ListOf(validate_id),
    "node_render_ids": ListOf(validate_id),
    "mimir_assets": ListOf(_validate_mimir_asset),
}
INPUT_FORMS = tuple(SOURCES)


def validate_one_way(video_inputs: object, options: Mapping[str, object]) -> None:
    """Raise if both ``video_inputs`` and any of :data:`INPUT_FORMS` are given."""
    given = [form for form in INPUT_FORMS if options.get(form) is not None]
    if given and video_inputs is not None:
        raise_invalid(
            "video_inputs",
            video_inputs,
            f"it excludes {', '.join(given)}. Put them into the entries, or leave video_inputs out.",
        )


def validate_params(name: str, update_params: object) -> dict[str, Any]:
    """
    Return the parameters of tiles.

    :param update_params: ``{tile: {name: value}}``, where a tile is an id or a name.
    """
    params = validate_mapping(name, update_params)
    return {_validate_tile(node): validate_mapping(f"{name}[{node!r}]", value) for node, value in params.items()}


def _validate_tile(key: Any) -> str:
    # A name may have spaces. It is resolved to an id before the start is sent.
    if isinstance(key, str) and " " in key.strip() and key.isprintable() and "{{" not in key and "{%" not in key:
        return key
    return validate_name("update_params key", key)


def _validate_entry(name: str, entry: Any) -> dict[str, Any]:
    entry = validate_mapping(name, entry)
    if entry.get("agent_node_id") is None:
        raise_invalid(name, entry, "it has no agent_node_id. Add the id of its Video Input tile.")
    validate_id(f"{name}.agent_node_id", entry["agent_node_id"])
    for form in INPUT_FORMS:
        if entry.get(form) is not None:
            entry[form] = SOURCES[form](f"{name}.{form}", entry[form])
    if not any(entry.get(form) for form in INPUT_FORMS):
        raise_invalid(name, entry, f"it has no source. Add one of {', '.join(INPUT_FORMS)}.")
    bounds = {key: _validate_bound(name, key, entry) for key in ("input_clip_start_ms", "input_clip_end_ms")}
    start, end = bounds.values()
    if start is not None and end is not None and start >= end:
        raise_invalid(name, bounds, "the clip ends before it starts.")
    return {key: value for key, value in {**entry, **bounds}.items() if value is not None}


validate_video_inputs = ListOf(_validate_entry)


def _validate_bound(name: str, key: str, entry: Mapping[str, Any]) -> int | None:
    value = whole_number(entry.get(key))
    return None if value is None else validate_integer(f"{name}.{key}", value, " of milliseconds", in_object=True)


# The documented ids of node types and nodes are UUIDs. Text of another form is an id only if Mosaic lists it.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(text: str) -> bool:
    """Return whether text has the form of an id, so that it is not a name."""
    return _ID.fullmatch(text) is not None


def has_names(update_params: Mapping[str, Any]) -> bool:
    """Return whether any tile may be named by something other than its id."""
    return not all(map(is_id, update_params))
