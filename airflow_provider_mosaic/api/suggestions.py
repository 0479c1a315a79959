"""Suggest names in errors about unknown names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Characters of a name that are compared. The time grows with the square of the length.
_COMPARED = 100


def normalize_name(name: str) -> str:
    """Return a name without the differences of spelling that do not count: case, spaces, hyphens, underscores."""
    return re.sub(r"[\W_]+", "", name).casefold()


def suggest_names(unknown: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the similar names, or else the first thirty names."""
    names = sorted(set(known))
    by_plain = {normalize_name(each)[:_COMPARED]: each for each in names}
    similar = difflib.get_close_matches(normalize_name(unknown)[:_COMPARED], list(by_plain), n=3, cutoff=0.6)
    if similar:
        return f"Did you mean {', '.join(by_plain[each] for each in similar)}?"
    if not names:
        return "There are none."
    return f"Known:{one_a_line([*names[:30], *(['...'] if len(names) > 30 else [])])}"


def one_a_line(choices: Iterable[str]) -> str:
    """Return choices as indented lines, for the end of an error."""
    return "".join(f"\n    {choice}" for choice in choices)
