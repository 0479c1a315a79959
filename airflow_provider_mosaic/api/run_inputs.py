"""What a run is given, checked: videos under four names, an entry for each Video Input tile, parameters of tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import (
    checked_id,
    checked_ids,
    checked_list,
    checked_mapping,
    checked_name,
    checked_urls,
    refuse,
)

#: The ways to name inputs, shorthand for agents with one Video Input tile.
INPUT_FORMS = ("video_urls", "video_ids", "node_render_ids", "mimir_assets")


def checked_videos(video_inputs: object, shorthands: Mapping[str, object]) -> dict[str, Any]:
    """
    The videos of a run as they are sent.

    :param video_inputs: An entry for each Video Input tile; None for none.
    :param shorthands: What is given under each of :data:`INPUT_FORMS`; None for nothing.
    :raises MosaicValidationError: One is wrong in itself, or both ways are taken at once.
    """
    given = {form: value for form, value in shorthands.items() if value is not None}
    if video_inputs is None:
        return {form: _checked_sources(form, form, value) for form, value in given.items()}
    if given:
        refuse(
            "video_inputs",
            video_inputs,
            f"it excludes {', '.join(given)}: put them into the entries, or leave video_inputs out.",
        )
    entries = checked_list("video_inputs", video_inputs)
    return {"video_inputs": [_checked_input(f"video_inputs[{i}]", entry) for i, entry in enumerate(entries)]}


def checked_params(update_params: object) -> dict[str, Any]:
    """
    Parameters by tile as they are sent.

    :param update_params: ``{tile: {name: value}}``; a tile by its id or its name.
    :raises MosaicValidationError: It is not that.
    """
    params = checked_mapping("update_params", update_params)
    return {_checked_tile(node): checked_mapping(f"update_params[{node!r}]", value) for node, value in params.items()}


def _checked_tile(key: Any) -> str:
    # The name of a tile, which may have spaces; what it comes to is looked up before the start is sent.
    if isinstance(key, str) and " " in key.strip() and key.isprintable() and "{{" not in key and "{%" not in key:
        return key
    return checked_name("update_params key", key)


def _checked_sources(form: str, name: str, value: Any) -> list[Any]:
    if form == "video_urls":
        return checked_urls(name, value)
    if form == "mimir_assets":
        assets = [checked_mapping(f"{name}[{i}]", item) for i, item in enumerate(checked_list(name, value))]
        for i, asset in enumerate(assets):
            checked_id(f"{name}[{i}].id", asset.get("id"))
        return assets
    return checked_ids(name, value)


def _checked_input(name: str, entry: Any) -> dict[str, Any]:
    checked = checked_mapping(name, entry)
    if checked.get("agent_node_id") is None:
        refuse(name, checked, "it has no agent_node_id: name the Video Input tile that it is for.")
    checked_id(f"{name}.agent_node_id", checked["agent_node_id"])
    for form in INPUT_FORMS:
        if checked.get(form) is not None:
            checked[form] = _checked_sources(form, f"{name}.{form}", checked[form])
    if not any(checked.get(form) for form in INPUT_FORMS):
        refuse(name, checked, f"it has no source: give one of {', '.join(INPUT_FORMS)}.")
    bounds = [_checked_bound(name, key, checked) for key in ("input_clip_start_ms", "input_clip_end_ms")]
    if None not in bounds and bounds[0] >= bounds[1]:  # type: ignore[operator]
        refuse(
            name, {"input_clip_start_ms": bounds[0], "input_clip_end_ms": bounds[1]}, "the clip ends before it begins."
        )
    return {key: value for key, value in checked.items() if value is not None}


def _checked_bound(name: str, key: str, entry: Mapping[str, Any]) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"{name}.{key}", value, "it must be a whole number of milliseconds.")
    if value < 0:
        refuse(f"{name}.{key}", value, "it must not be negative.")
    return value
