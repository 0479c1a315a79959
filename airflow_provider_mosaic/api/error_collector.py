"""Collect all errors of one argument and raise them together."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_mosaic.api.arguments import representation
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.api.suggestions import suggest_or_list

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
