"""What a run is given, checked: videos under four names, an entry for each Video Input tile, parameters of tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import (
    raise_invalid,
    validate_id,
    validate_mapping,
    validate_name,
    validate_url,
)
from airflow_provider_mosaic.api.validators import ListOf


def _validate_mimir_asset(name: str, value: Any) -> dict[str, Any]:
    asset = validate_mapping(name, value)
    validate_id(f"{name}.id", asset.get("id"))
    return asset


#: The ways to name inputs, shorthand for agents with one Video Input tile.
SOURCES = {
    "video_urls": ListOf(validate_url),
    "video_ids": ListOf(validate_id),
    "node_render_ids": ListOf(validate_id),
    "mimir_assets": ListOf(_validate_mimir_asset),
}
INPUT_FORMS = tuple(SOURCES)


def validate_videos(video_inputs: object, shorthands: Mapping[str, object]) -> dict[str, Any]:
    """
    The videos of a run as they are sent.

    :param video_inputs: An entry for each Video Input tile; None for none.
    :param shorthands: What is given under each of :data:`INPUT_FORMS`; None for nothing.
    :raises MosaicValidationError: One is wrong in itself, or both ways are taken at once.
    """
    validate_one_way(video_inputs, shorthands)
    if video_inputs is not None:
        return {"video_inputs": validate_video_inputs("video_inputs", video_inputs)}
    return {form: SOURCES[form](form, value) for form, value in shorthands.items() if value is not None}


def validate_one_way(video_inputs: object, shorthands: Mapping[str, object]) -> None:
    """
    Raise if the videos of a run are given in both ways.

    :param video_inputs: An entry for each Video Input tile; None for none.
    :param shorthands: What is given under each of :data:`INPUT_FORMS`; None for nothing.
    :raises MosaicValidationError: Both are given.
    """
    given = [form for form, value in shorthands.items() if value is not None]
    if given and video_inputs is not None:
        raise_invalid(
            "video_inputs",
            video_inputs,
            f"it excludes {', '.join(given)}: put them into the entries, or leave video_inputs out.",
        )


def validate_params(name: str, update_params: object) -> dict[str, Any]:
    """
    Parameters by tile as they are sent.

    :param name: The argument's name.
    :param update_params: ``{tile: {name: value}}``; a tile by its id or its name.
    :raises MosaicValidationError: It is not that.
    """
    params = validate_mapping(name, update_params)
    return {_checked_tile(node): validate_mapping(f"{name}[{node!r}]", value) for node, value in params.items()}


def _checked_tile(key: Any) -> str:
    # The name of a tile, which may have spaces; what it comes to is looked up before the start is sent.
    if isinstance(key, str) and " " in key.strip() and key.isprintable() and "{{" not in key and "{%" not in key:
        return key
    return validate_name("update_params key", key)


def _checked_input(name: str, entry: Any) -> dict[str, Any]:
    checked = validate_mapping(name, entry)
    if checked.get("agent_node_id") is None:
        raise_invalid(name, checked, "it has no agent_node_id: name the Video Input tile that it is for.")
    validate_id(f"{name}.agent_node_id", checked["agent_node_id"])
    for form in INPUT_FORMS:
        if checked.get(form) is not None:
            checked[form] = SOURCES[form](f"{name}.{form}", checked[form])
    if not any(checked.get(form) for form in INPUT_FORMS):
        raise_invalid(name, checked, f"it has no source: give one of {', '.join(INPUT_FORMS)}.")
    bounds = [_checked_bound(name, key, checked) for key in ("input_clip_start_ms", "input_clip_end_ms")]
    if None not in bounds and bounds[0] >= bounds[1]:  # type: ignore[operator]
        raise_invalid(
            name, {"input_clip_start_ms": bounds[0], "input_clip_end_ms": bounds[1]}, "the clip ends before it begins."
        )
    return {key: value for key, value in checked.items() if value is not None}


validate_video_inputs = ListOf(_checked_input)


def _checked_bound(name: str, key: str, entry: Mapping[str, Any]) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise_invalid(f"{name}.{key}", value, "it must be a whole number of milliseconds.")
    if value < 0:
        raise_invalid(f"{name}.{key}", value, "it must not be negative.")
    return value
