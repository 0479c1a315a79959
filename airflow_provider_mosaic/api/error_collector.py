"""Collect all errors of one argument and raise them together; suggest known names for unknown ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from airflow_provider_mosaic.api.arguments import representation
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact

#: Characters of a name that are compared. The time grows with the square of the length.
_COMPARED = 100
#: Known names that are compared with an unknown one.
_MAX_COMPARED = 1_000


def normalize_name(name: str) -> str:
    """Return a name without the differences of spelling that do not count: case, spaces, hyphens, underscores."""
    return re.sub(r"[\W_]+", "", name).casefold()


def suggest(unknown: object, known: Iterable[str], *, similarity: float = 0.6) -> str:
    """
    Return a space and "Did you mean ...?" for the end of an error; an empty text if no known name is similar.

    :param similarity: Of two names, from 0 to 1, from which one is suggested for the other.
    """
    if not isinstance(unknown, str):
        return ""
    by_plain = {normalize_name(each)[:_COMPARED]: each for each in sorted(known)[:_MAX_COMPARED]}
    similar = difflib.get_close_matches(normalize_name(unknown[:_COMPARED]), list(by_plain), cutoff=similarity)
    return f" Did you mean {', '.join(one_line(by_plain[each]) for each in similar)}?" if similar else ""


def suggest_or_list(unknown: str, known: Iterable[str]) -> str:
    """Return what :func:`suggest` returns, or else the first thirty known names."""
    names = sorted(set(known))
    if not names:
        return " There are none."
    shown = [*names[:30], *(["..."] if len(names) > 30 else [])]
    return suggest(unknown, names) or f" Known:{one_a_line(shown)}"


def one_a_line(choices: Iterable[str]) -> str:
    """Return choices as indented lines, for the end of an error."""
    return "".join(f"\n    {one_line(choice)}" for choice in choices)


#: Errors that a message lists. A definition of a wrong type can have tens of thousands.
_MAX_SHOWN = 100


class ErrorCollector:
    """The errors of one argument. The message shows the first hundred."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, path: str, value: object, why: str, *, unknown: str = "", known: Iterable[str] = ()) -> None:
        """
        Record an error.

        :param why: What is wrong and what to do. It follows the value in the message.
        :param unknown: An unknown name. The message suggests similar names of ``known``.
        """
        self._count += 1
        if self._count > _MAX_SHOWN:
            return
        if unknown:
            why += suggest_or_list(unknown, known)
        shown = redact(representation(value), longest=120)
        self._lines.append(redact(f"{path}={shown}: {why}"))

    def raise_any(self, name: str) -> None:
        """Raise if there are errors."""
        if self._lines:
            count = f"{self._count} errors" if self._count > 1 else "an error"
            more = self._count - len(self._lines)
            lines = [*self._lines, f"... and {more} more"] if more else self._lines
            raise MosaicValidationError(f"{name} has {count}:\n  " + "\n  ".join(lines))
