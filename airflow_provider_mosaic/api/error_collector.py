"""Collect all errors in one argument and raise them together."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_mosaic.api.arguments import representation
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.api.suggestions import nearest

#: A definition of a wrong type can have tens of thousands of errors.
_MOST_SHOWN = 100


class ErrorCollector:
    """Collects the errors in an argument. The message shows the first hundred."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, place: str, value: object, why: str, *, unknown: str = "", known: Iterable[str] = ()) -> None:
        """
        Add an error.

        :param place: Place in the argument.
        :param value: Invalid value there.
        :param why: What is wrong and what to do.
        :param unknown: An unknown name. The message then suggests similar ones of ``known``.
        """
        self._count += 1
        if self._count > _MOST_SHOWN:
            return
        if unknown:
            why = f"{why} {nearest(unknown, known)}"
        shown = redact(representation(value))
        self._lines.append(redact(f"{place}={shown if len(shown) <= 120 else shown[:120] + '…'}: {why}"))

    def raise_any(self, name: str) -> None:
        """Raise a :class:`MosaicValidationError` if there are errors in the argument ``name``."""
        if self._lines:
            count = f"{self._count} faults" if self._count > 1 else "a fault"
            more = self._count - len(self._lines)
            lines = [*self._lines, f"... and {more} more"] if more else self._lines
            raise MosaicValidationError(f"{name}: it has {count}.\n  " + "\n  ".join(lines))
