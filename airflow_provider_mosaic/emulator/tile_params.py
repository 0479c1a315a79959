"""What is known of the parameters of tiles, as far as the documentation could be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_mosaic.emulator.catalogue import NodeType
from airflow_provider_mosaic.emulator.settings import Settings

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _between(low: float, high: float) -> Check:
    return lambda value: _number(value) and low <= value <= high


def _one_of(*texts: str) -> Check:
    return lambda value: value in texts


def _anything(value: Any) -> bool:
    return True


@dataclass(frozen=True)
class Table:
    """The parameters of one kind of tile."""

    checks: dict[str, Check]
    #: What a parameter is where none is given.
    defaults: dict[str, Any] = field(default_factory=dict)
    #: Whether the whole table was to be read, so that another name is wrong.
    complete: bool = False


TABLES: Final[dict[str, Table]] = {
    "Clips": Table(
        {"prompt": _text, "num_clips": _whole(1, 20), "target_duration": _between(1, 300)},
        defaults={"prompt": ""},
        complete=True,
    ),
    "Captions": Table(
        {
            "caption_style": _one_of("colored", "scaling", "karaoke"),
            "base_color": _text,
            "highlight_color": _text,
            "stroke_color": _text,
            "stroke_width": _number,
            "caption_font": _text,
            # The vendor's own warning: a number is refused.
            "caption_font_weight": _text,
            "caption_vertical_position": _anything,
            "caption_font_size": _number,
            "caption_min_words": _number,
            "caption_max_words": _number,
        }
    ),
    "Cinematic Captions": Table(
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
    "AI Music": Table({"use_intelligent_analysis": _flag, "genre": _text}),
}


def listed(kind: NodeType) -> dict[str, Any]:
    """Write the params that are known of a kind of tile, as an answer might list them; nothing where none are."""
    table = TABLES.get(kind.name)
    return {"params": [{"name": name} for name in table.checks]} if table else {}


def defaults(kind: NodeType) -> dict[str, Any]:
    """Return the params that a tile has without being told."""
    table = TABLES.get(kind.name)
    return dict(table.defaults) if table else {}


def objection(kind: NodeType, params: dict[str, Any], settings: Settings) -> str | None:
    """
    Say what is wrong with parameters of a tile; none when nothing is.

    A null is never wrong: it stands for a parameter that is not set.
    """
    table = TABLES.get(kind.name)
    if table is None or settings.checked_params == "none":
        return None
    for name, value in params.items():
        check = table.checks.get(name)
        if check is None:
            if table.complete or settings.checked_params == "listed":
                return f"{kind.name} has no parameter {name}"
        elif value is not None and not check(value):
            return f"{kind.name}: {name} has a value that is not valid"
    return None
