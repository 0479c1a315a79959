"""Request bodies on a blocking socket, with a length or chunked."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

_MAX_TRAILERS: Final = 100


class ClientDisconnectedError(Exception):
    """The client disconnected before the end of the body."""


class ResetConnectionError(Exception):
    """A fault resets the connection here."""


class Body(Protocol):
    """The body of a request."""

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return the number of bytes, 0 at the end."""


class SizedBody:
    """A body with a ``Content-Length``."""

    def __init__(self, file: Any, length: int) -> None:
        self._file = file
        self.remaining = length

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return the number of bytes, 0 at the end."""
        if self.remaining <= 0:
            return 0
        count: int = self._file.readinto1(view[: min(len(view), self.remaining)])
        if count == 0:
            raise ClientDisconnectedError
        self.remaining -= count
        return count


def _size(line: bytes) -> int:
    digits = line.split(b";")[0].strip() or b"0"
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
        raise ClientDisconnectedError
    return int(digits, 16)


class ChunkedBody:
    """A body with chunked transfer encoding."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._remaining = 0
        self._ended = False

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return the number of bytes, 0 at the end."""
        if self._ended:
            return 0
        if self._remaining == 0:
            line = self._file.readline(1024)
            if not line:
                raise ClientDisconnectedError
            self._remaining = _size(line)
            if self._remaining == 0:
                for _ in range(_MAX_TRAILERS):
                    if self._file.readline(1024) in (b"\r\n", b"\n", b""):
                        break
                else:
                    raise ClientDisconnectedError
                self._ended = True
                return 0
        count: int = self._file.readinto1(view[: min(len(view), self._remaining)])
        if count == 0:
            raise ClientDisconnectedError
        self._remaining -= count
        if self._remaining == 0:
            self._file.readline(16)
        return count


class ResettingBody:
    """A body after whose first bytes the connection is reset."""

    def __init__(self, body: Body, after: int) -> None:
        self._body = body
        self._remaining = after

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer. Raise at the byte where the connection is reset."""
        if self._remaining <= 0:
            raise ResetConnectionError
        count = self._body.readinto(view[: max(min(len(view), self._remaining), 1)])
        self._remaining -= count
        return count


def drain(body: Body) -> None:
    """Read a body to its end and discard it."""
    view = memoryview(bytearray(1 << 20))
    while body.readinto(view):
        pass
