"""
Compare a text in a list with the text that a request sent.

A server may normalize spaces, compose characters, escape or cut a text, or add to it.
"""

from __future__ import annotations

import enum
import functools
import re
import unicodedata
from typing import Literal

from airflow_provider_mosaic.api.responses import REPLACEMENT, unescaped

#: Least share of the parts of two texts that similar texts have in common. Unrelated sentences have less than a third.
_LEAST_SIMILARITY = 0.5
_LINK = re.compile(r"https?://\S*")
#: Characters of a text that are compared. A comparison takes some hundred bytes a character.
_MAX_COMPARED = 20_000
#: Most combining marks in a row that are compared.
_MAX_MARKS = 30


class Match(enum.IntEnum):
    """How well a listed item matches the request in one respect."""

    NONE = 0
    PARTIAL = 1
    FULL = 2


def match_text(shown: str | None, sent: str) -> Match:
    """Compare the texts of posts. A text that was changed in another way, for example by a short link, is similar."""
    match = match_name(shown, sent)
    if shown is None or match is not Match.NONE:
        return match
    is_similar = _are_similar(_normalize(sent[:_MAX_COMPARED]), _normalize(shown[:_MAX_COMPARED]))
    return Match.PARTIAL if is_similar else Match.NONE


def match_name(shown: str | None, sent: str) -> Match:
    """
    Compare names. A similar name, such as Host A and Host B, is another one.

    Only the beginnings of long texts are compared, so they are at most a partial match unless they are equal.
    """
    if shown is None or shown == sent:
        return Match.FULL
    match = _match_beginnings(shown[:_MAX_COMPARED], sent[:_MAX_COMPARED])
    return min(match, Match.PARTIAL) if max(len(shown), len(sent)) > _MAX_COMPARED else match


def is_same_name(shown: str, sent: str) -> bool:
    """Return whether two names are the same, but for composed characters, escapes and spaces. Case counts."""
    ours = _compose(sent, "NFC")
    return any(_compose(text, "NFC") == ours for text in (shown, unescaped(shown)))


def _match_beginnings(shown: str, sent: str) -> Match:
    ours = _normalize(sent)
    cut = _before_ellipsis(shown)
    for text in dict.fromkeys((shown, unescaped(shown))):
        theirs = _normalize(text)
        if theirs == ours or (cut and ours.startswith(_normalize(unescaped(cut)))):
            return Match.FULL
        # A cut may leave half of an emoji, which the decoder has replaced.
        theirs = theirs.removesuffix(REPLACEMENT).rstrip()
        # An empty text or an ellipsis may be the rest of any text.
        if not theirs.strip(". ") or ours.startswith(theirs) or (ours and theirs.startswith(ours)):
            return Match.PARTIAL
    return Match.NONE


def _are_similar(ours: str, theirs: str) -> bool:
    """Return whether two texts have half of their parts in common, without links, which may be shortened."""
    # Normalized, a text may be longer than before.
    our_parts, their_parts = (_parts(_LINK.sub("", text[:_MAX_COMPARED])) for text in (ours, theirs))
    return 2 * len(our_parts & their_parts) >= _LEAST_SIMILARITY * (len(our_parts) + len(their_parts))


def _parts(text: str) -> frozenset[str]:
    """Return all sequences of three characters. Words would not do: not every language separates them by spaces."""
    return frozenset(text[start : start + 3] for start in range(max(1, len(text) - 2)))


def _before_ellipsis(text: str) -> str:
    """Return the text before a final ellipsis, or nothing if there is none."""
    whole = text.strip()
    ellipsis = next((each for each in ("…", "...") if whole.endswith(each)), "")
    return whole.removesuffix(ellipsis).rstrip().removesuffix(REPLACEMENT).rstrip() if ellipsis else ""


def _normalize(text: str) -> str:
    return _compose(text, "NFKC").casefold()


def _compose(text: str, form: Literal["NFC", "NFKC"]) -> str:
    return " ".join(unicodedata.normalize(form, _limit_marks(text)).split())


@functools.lru_cache(4096)
def _is_mark(character: str) -> bool:
    # Some characters are no marks, but are decomposed into marks.
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0


def _limit_marks(text: str) -> str:
    """
    Remove combining marks after the thirtieth in a row: normalizing them takes time in the square of their number.

    Thirty is the limit of the stream-safe text format (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format).
    """
    if text.isascii():
        return text
    kept = []
    marks = 0
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)
