"""Hypothesis strategies that change documented responses."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: Undocumented values.
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        [
            "running",
            "queued",
            "under_review",
            "2026-07-01T10:00:00.123456+00:00",
            "2026-13-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "now",
            "P1D",
            "",
            10**400,
            "\ud800",
            "a\0b",
            "x" * 1000,
            "2026-07-01T10:00:00+24:00",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


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


@st.composite
def changed(draw: st.DrawFn, answer: Any) -> Any:
    """Change up to three fields of a response: drop, null, replace or add."""
    whole = {"answer": copy.deepcopy(answer)}
    for _ in range(draw(st.integers(1, 3))):
        path = ("answer", *draw(st.sampled_from(places(whole["answer"]))))
        parent, key = at(whole, path[:-1]), path[-1]
        match draw(st.sampled_from(["drop", "null", "odd", "number", "add"])):
            case "drop" if len(path) > 1:
                del parent[key]
            case "null":
                parent[key] = None
            case "number":
                parent[key] = draw(st.integers(0, 10**6))
            case "add" if isinstance(parent[key], dict):
                parent[key][draw(st.text(max_size=10))] = draw(ODD)
            case "add" if isinstance(parent[key], list):
                parent[key].append(draw(ODD))
            case _:
                parent[key] = draw(ODD)
    return whole["answer"]
