"""Suggest known names for an unknown one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Characters of a name to compare: the time grows with the square of their number.
_COMPARED = 100


def normalize_name(name: str) -> str:
    """Return a name in lower case without spaces, hyphens and underscores."""
    return re.sub(r"[\W_]+", "", name).casefold()


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the known names that are most similar to ``word``, or with the first 30 if none is."""
    names = sorted(set(known))
    by_normalized = {normalize_name(name)[:_COMPARED]: name for name in names}
    close = difflib.get_close_matches(normalize_name(word)[:_COMPARED], list(by_normalized), n=3, cutoff=0.6)
    if close:
        return f"Nearest: {', '.join(by_normalized[each] for each in close)}."
    if not names:
        return "There are none."
    return f"There is:{one_a_line([*names[:30], *(['...'] if len(names) > 30 else [])])}"


def one_a_line(choices: Iterable[str]) -> str:
    """Return choices one a line, as the end of a message."""
    return "".join(f"\n    {choice}" for choice in choices)
