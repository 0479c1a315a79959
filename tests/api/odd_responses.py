"""Random changes of documented responses, without Hypothesis: its choices take ten times as long as what is tested."""

from __future__ import annotations

import copy
import math
from random import Random
from typing import Any

_ODD_CONSTANTS: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, -0.0, 0.5, 1e308, math.inf, -math.inf, math.nan,
    "", "running", "queued", "under_review", "now", "P1D", "12", "true", "null", "\ud800", "a\0b", "x" * 1000,
    "2026-07-01T10:00:00.123456+00:00", "2026-13-01T00:00:00Z", "2026-07-01T10:00:00+24:00",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
)  # fmt: skip


def odd_text(random: Random, longest: int) -> str:
    """Return any characters, most of them printable."""
    ends = random.choice([0x7F, 0x7F, 0x2FF, 0xFFFF, 0x10FFFF])
    return "".join(chr(random.randint(0, ends)) for _ in range(random.randint(0, longest)))


def odd_value(random: Random, depth: int = 2) -> Any:
    """Return an undocumented value."""
    match random.choice(["constant", "integer", "float", "text", *(["list", "object"] if depth else [])]):
        case "integer":
            return random.randint(-(2 ** random.randint(1, 70)), 2 ** random.randint(1, 70))
        case "float":
            return random.uniform(-1, 1) * 10 ** random.randint(-20, 20)
        case "text":
            return odd_text(random, 20)
        case "list":
            return [odd_value(random, depth - 1) for _ in range(random.randint(0, 3))]
        case "object":
            return {odd_text(random, 8): odd_value(random, depth - 1) for _ in range(random.randint(0, 3))}
        case _:
            return random.choice(_ODD_CONSTANTS)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a response, and of the response itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value at a path."""
    for key in path:
        value = value[key]
    return value


def fields_of(answer: Any) -> set[str]:
    """Return every field name in a response."""
    return {str(key) for path in places(answer) for key in path if isinstance(key, str)}


def changed(random: Random, answer: Any) -> Any:
    """Change up to three fields of a response: drop, null, replace or add."""
    whole = {"answer": copy.deepcopy(answer)}
    for _ in range(random.randint(1, 3)):
        path = ("answer", *random.choice(places(whole["answer"])))
        parent, key = at(whole, path[:-1]), path[-1]
        match random.choice(["drop", "null", "odd", "number", "add"]):
            case "drop" if len(path) > 1:
                del parent[key]
            case "null":
                parent[key] = None
            case "number":
                parent[key] = random.randint(0, 10**6)
            case "add" if isinstance(parent[key], dict):
                parent[key][odd_text(random, 10)] = odd_value(random)
            case "add" if isinstance(parent[key], list):
                parent[key].append(odd_value(random))
            case _:
                parent[key] = odd_value(random)
    return whole["answer"]
