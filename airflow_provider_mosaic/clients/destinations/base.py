"""The interface of a destination, and the errors of all kinds of storage as errors of ours."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.clients.storage_errors import is_transient

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class PartialFile(ABC):
    """A file that is being written and does not have its name yet. Each storage raises its own errors."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append bytes."""

    @abstractmethod
    def restart(self) -> None:
        """Delete what was written, to start again."""

    @abstractmethod
    def commit(self) -> None:
        """Finish the file under its name."""

    @abstractmethod
    def discard(self) -> None:
        """Delete the file without raising; do nothing after :meth:`commit`."""


class Destination(ABC):
    """
    A place for one file.

    :param shown: An absolute path or a URI, for messages and results.
    """

    def __init__(self, *, name: str, shown: str) -> None:
        self.name = name
        self.shown = shown

    @abstractmethod
    def open(self, size: int | None) -> PartialFile:
        """Open a partial file, and create missing directories."""

    @contextmanager
    def errors(self, *, started: bool = True) -> Iterator[None]:
        """Raise what the storage raises as an error of ours; see :func:`destination_error`."""
        try:
            yield
        except MosaicError:
            raise
        except Exception as error:  # each storage raises its own
            raise destination_error(self.shown, error, started=started) from error


def destination_error(shown: str, error: Exception, *, started: bool = False) -> MosaicError:
    """
    Return the error for a destination that could not be written.

    :param started: Whether the transfer had started. From then on a connection error can be of nearly any class.
    """
    reason = one_line(str(error), longest=300)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return MosaicValidationError(
            f"destination={shown!r}: there is no room for the file ({error.strerror}). Nothing was saved. Free some "
            "disk space.",
            transient=True,
        )
    if not is_transient(error) and (isinstance(error, OSError) or not started):
        return MosaicValidationError(
            f"destination={shown!r}: it can't be written ({type(error).__name__}: {reason}). Nothing was saved."
        )
    return MosaicTransportError(
        f"destination={shown!r}: writing it failed ({type(error).__name__}: {reason}). Nothing was saved.",
        effect_unknown=False,
    )
