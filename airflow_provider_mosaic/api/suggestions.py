"""The words nearest to one that is not known, for the complaint about it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Characters of a name that are compared: the time grows with the square of their number.
_COMPARED = 100


def normalize_name(name: str) -> str:
    """
    A name without what people write differently: case, spaces, hyphens, underscores.

    :param name: The name of a tile, a parameter or a key.
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def nearest(word: str, known: Iterable[str]) -> str:
    """
    The end of a complaint about a word: what was probably meant, or else what there is.

    :param word: What was given.
    :param known: The words that would have done.
    """
    words = sorted(set(known))
    by_plain = {normalize_name(each)[:_COMPARED]: each for each in words}
    close = difflib.get_close_matches(normalize_name(word)[:_COMPARED], list(by_plain), n=3, cutoff=0.6)
    if close:
        return f"Nearest: {', '.join(by_plain[each] for each in close)}."
    if not words:
        return "There is none at all."
    return f"There is:{one_a_line([*words[:30], *(['...'] if len(words) > 30 else [])])}"


def one_a_line(choices: Iterable[str]) -> str:
    """
    Write choices one a line, as the end of a complaint.

    :param choices: What there is to choose from.
    """
    return "".join(f"\n    {choice}" for choice in choices)
