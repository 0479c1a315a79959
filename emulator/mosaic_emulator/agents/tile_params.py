"""The documented parameters of tiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mosaic_emulator.catalogue import NodeType
from mosaic_emulator.settings import Settings

Check = Callable[[Any], bool]
#: Returns the names of the parameters that are required, given the others.
Required = Callable[[Mapping[str, Any]], tuple[str, ...]]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _int_between(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _between(low: float, high: float) -> Check:
    return lambda value: _number(value) and low <= value <= high


def _one_of(*texts: str) -> Check:
    return lambda value: value in texts


def _anything(value: Any) -> bool:
    return True


def _non_empty_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _pixels(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 256 <= value <= 3840 and value % 16 == 0


def _corner(value: Any) -> bool:
    # The documentation shows the four corners, but not how they are spelled.
    return isinstance(value, str) and re.fullmatch(r"(top|bottom)[-_ ]?(left|right)", value, re.IGNORECASE) is not None


def _context(*names: str) -> Check:
    return lambda value: isinstance(value, dict) and set(value) <= set(names)


def _images(value: Any) -> bool:
    return _context("images")(value) and isinstance(value.get("images", []), list)


def _none_required(params: Mapping[str, Any]) -> tuple[str, ...]:
    return ()


def _required_for_image(params: Mapping[str, Any]) -> tuple[str, ...]:
    return ("prompt", "custom_width", "custom_height") if params.get("image_size") == "custom" else ("prompt",)


def _required_for_audio(params: Mapping[str, Any]) -> tuple[str, ...]:
    return ("script",) if params.get("mode") == "voiceover" else ()


def _required_for_watermark(params: Mapping[str, Any]) -> tuple[str, ...]:
    return ("image_id",) if params.get("use_custom_logo") == "custom" else ()


@dataclass(frozen=True)
class ParamTable:
    """The parameters of one node type."""

    checks: dict[str, Check]
    #: Default values.
    defaults: dict[str, Any] = field(default_factory=dict)
    #: Whether the documentation lists all parameters, so that any other name is invalid.
    complete: bool = False
    required: Required = _none_required


PARAM_TABLES: Final[dict[str, ParamTable]] = {
    "Clips": ParamTable(
        {"prompt": _text, "num_clips": _int_between(1, 20), "target_duration": _between(1, 300)},
        defaults={"prompt": ""},
        complete=True,
    ),
    "Captions": ParamTable(
        {
            "caption_style": _one_of("colored", "scaling", "karaoke"),
            "base_color": _text,
            "highlight_color": _text,
            "stroke_color": _text,
            "stroke_width": _number,
            "caption_font": _text,
            # As documented: a number is rejected.
            "caption_font_weight": _text,
            "caption_vertical_position": _anything,
            "caption_font_size": _number,
            "caption_min_words": _number,
            "caption_max_words": _number,
        }
    ),
    "Cinematic Captions": ParamTable(
        {
            "font1": _text,
            "font2": _text,
            "color_override": _text,
            "text_bg_enabled": _flag,
            "text_bg_color": _text,
            "text_bg_opacity": _number,
            "animation_style": _one_of("fade", "pop", "slide", "typewriter", "cinematic", "highlight"),
            "stroke_enabled": _flag,
            "stroke_color": _text,
            "stroke_width": _number,
            "caption_position": _text,
        }
    ),
    "AI Music": ParamTable({"use_intelligent_analysis": _flag, "genre": _text}),
    "Image Generation": ParamTable(
        {
            "prompt": _non_empty_text,
            "model": _text,
            # The names of the eight presets are not documented.
            "image_size": _non_empty_text,
            "custom_width": _pixels,
            "custom_height": _pixels,
            "quality": _one_of("low", "medium", "high"),
            "output_format": _one_of("jpeg", "png", "webp"),
            "selected_context": _images,
        },
        complete=True,
        required=_required_for_image,
    ),
    "Audio Generation": ParamTable(
        {
            "mode": _one_of("voiceover", "music"),
            "model": _text,
            "script": _non_empty_text,
            "voice_id": _text,
            "use_upstream_voice_reference": _flag,
            "selected_context": _context("audio", "videos", "voice_reference"),
        },
        defaults={"use_upstream_voice_reference": True},
        required=_required_for_audio,
    ),
    "Video Generation": ParamTable(
        {
            "prompt": _text,
            "model": _text,
            "resolution": _text,
            # A string, unlike other durations.
            "duration": _text,
            "aspect_ratio": _text,
            "generate_audio": _flag,
        }
    ),
    "Watermark": ParamTable(
        {
            "use_custom_logo": _one_of("mosaic", "custom"),
            # Documented as a UUID, but ids of uploaded images start with "img-".
            "image_id": _non_empty_text,
            "logo_position": _corner,
            "logo_size": _number,
            "logo_opacity": _between(10, 100),
            "logo_margin_x": _number,
            "logo_margin_y": _number,
        },
        defaults={"logo_size": 30, "logo_opacity": 80, "logo_margin_x": 20, "logo_margin_y": 20},
        complete=True,
        required=_required_for_watermark,
    ),
}
#: When a missing required parameter is rejected, from the earliest to the latest.
CHECK_POINTS: Final = ("update", "start", "run")


def params_json(node_type: NodeType) -> dict[str, Any]:
    """Return the known parameters of a node type as an API response might list them."""
    table = PARAM_TABLES.get(node_type.name)
    return {"params": [{"name": name} for name in table.checks]} if table else {}


def defaults(node_type: NodeType) -> dict[str, Any]:
    """Return the default parameters of a node type."""
    table = PARAM_TABLES.get(node_type.name)
    return dict(table.defaults) if table else {}


def invalid_param(node_type: NodeType, params: dict[str, Any], settings: Settings) -> str | None:
    """
    Return what is invalid about the parameters of a tile, or None.

    Null is always valid: it means that the parameter is not set.
    """
    table = PARAM_TABLES.get(node_type.name)
    if table is None or settings.checked_params == "none":
        return None
    for name, value in params.items():
        check = table.checks.get(name)
        if check is None:
            if table.complete or settings.checked_params == "listed":
                return f"{node_type.name} has no parameter {name}"
        elif value is not None and not check(value):
            return f"{node_type.name}: {name} has a value that is not valid"
    return None


def missing_param(node_type: NodeType, params: Mapping[str, Any], settings: Settings, check_point: str) -> str | None:
    """
    Return which required parameter is missing, or None. Return None if it is not checked at this point.

    :param check_point: One of :data:`MOMENTS`.
    """
    table = PARAM_TABLES.get(node_type.name)
    first = settings.required_params
    if table is None or first == "ignore" or CHECK_POINTS.index(check_point) < CHECK_POINTS.index(first):
        return None
    for name in table.required(params):
        if params.get(name) is None:
            return f"{node_type.name}: {name} is required"
    return None
