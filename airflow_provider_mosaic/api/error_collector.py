"""Collect all errors of one argument and raise them together."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_mosaic.api.arguments import representation
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.api.suggestions import nearest

#: Errors that a message lists: a definition of a wrong type can have tens of thousands.
_MOST_SHOWN = 100


class ErrorCollector:
    """All that is wrong with something, collected so that it is told at once. The first hundred faults are shown."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, place: str, value: object, why: str, *, unknown: str = "", known: Iterable[str] = ()) -> None:
        """
        Record a fault.

        :param place: Where it is.
        :param value: What stands there.
        :param why: What is wrong and what to do.
        :param unknown: A word that is not known; those of ``known`` that are nearest to it are named.
        :param known: The words that would have done.
        """
        self._count += 1
        if self._count > _MOST_SHOWN:
            return
        if unknown:
            why = f"{why} {nearest(unknown, known)}"
        shown = redact(representation(value))
        self._lines.append(redact(f"{place}={shown if len(shown) <= 120 else shown[:120] + '…'}: {why}"))

    def raise_any(self, name: str) -> None:
        """
        Raise if there are any.

        :param name: The argument that they are in.
        :raises MosaicValidationError: There are some.
        """
        if self._lines:
            many = f"{self._count} faults" if self._count > 1 else "a fault"
            more = self._count - len(self._lines)
            lines = [*self._lines, f"... and {more} more"] if more else self._lines
            raise MosaicValidationError(f"{name}: it has {many}.\n  " + "\n  ".join(lines))
