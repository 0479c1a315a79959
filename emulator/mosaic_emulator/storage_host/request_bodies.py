"""Request bodies on a blocking socket: of a known length, or in chunks."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

_MOST_TRAILERS: Final = 100


class BodyEndedError(Exception):
    """The client went before the end of its body."""


class ResetHereError(Exception):
    """A fault wants the connection reset at this byte."""


class Body(Protocol):
    """A request's body."""

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer as far as bytes are there; nothing means the end."""


class SizedBody:
    """A body whose length is known."""

    def __init__(self, file: Any, length: int) -> None:
        self._file = file
        self.left = length

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer as far as bytes are there; nothing means the end."""
        if self.left <= 0:
            return 0
        count: int = self._file.readinto1(view[: min(len(view), self.left)])
        if count == 0:
            raise BodyEndedError
        self.left -= count
        return count


def _size(line: bytes) -> int:
    digits = line.split(b";")[0].strip() or b"0"
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
        raise BodyEndedError
    return int(digits, 16)


class ChunkedBody:
    """A body that comes in chunks."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = 0
        self._ended = False

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer as far as bytes are there; nothing means the end."""
        if self._ended:
            return 0
        if self._left == 0:
            line = self._file.readline(1024)
            if not line:
                raise BodyEndedError
            self._left = _size(line)
            if self._left == 0:
                for _ in range(_MOST_TRAILERS):
                    if self._file.readline(1024) in (b"\r\n", b"\n", b""):
                        break
                else:
                    raise BodyEndedError
                self._ended = True
                return 0
        count: int = self._file.readinto1(view[: min(len(view), self._left)])
        if count == 0:
            raise BodyEndedError
        self._left -= count
        if self._left == 0:
            self._file.readline(16)
        return count


class ResettingBody:
    """A body of which only the first bytes are taken."""

    def __init__(self, body: Body, after: int) -> None:
        self._body = body
        self._left = after

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer, until the byte where the connection is to be reset."""
        if self._left <= 0:
            raise ResetHereError
        count = self._body.readinto(view[: max(min(len(view), self._left), 1)])
        self._left -= count
        return count


def drain(body: Body) -> None:
    """Read a body to its end and drop it."""
    view = memoryview(bytearray(1 << 20))
    while body.readinto(view):
        pass
