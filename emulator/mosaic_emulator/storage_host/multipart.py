"""A streaming parser of ``multipart/form-data`` with constant memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

BLOCK: Final = 1 << 20
MAX_FIELD: Final = 64 << 10
MAX_HEADERS: Final = 16 << 10


class FormError(Exception):
    """The body is not a valid multipart form."""


class Source(Protocol):
    """A readable source of bytes."""

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return the number of bytes, 0 at the end."""


@dataclass(frozen=True)
class Part:
    """The header of a part."""

    name: str
    file_name: str | None
    content_type: str | None


def boundary_of(content_type: str) -> bytes:
    """
    Return the boundary in a ``Content-Type`` header.

    :raises FormError: If it has none.
    """
    found = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise FormError("not a multipart form")
    return (found[1] or found[2]).encode("latin-1")


class FormReader:
    """Parses a form part by part."""

    def __init__(self, *, source: Source, boundary: bytes) -> None:
        self._source = source
        self._first = b"--" + boundary
        self._mark = b"\r\n--" + boundary
        self._buffer = bytearray(BLOCK + len(self._mark) + 4)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._started = False

    def next_part(self) -> Part | None:
        """Return the header of the next part, or None at the end of the form."""
        if not self._started:
            self._started = True
            self._require(len(self._first))
            if bytes(self._view[self._start : self._start + len(self._first)]) != self._first:
                raise FormError("the form does not start with its boundary")
            self._start += len(self._first)
        self._require(2)
        ending = bytes(self._view[self._start : self._start + 2])
        self._start += 2
        if ending == b"--":
            return None
        if ending != b"\r\n":
            raise FormError("no line break after a boundary")
        return self._header()

    def read_field(self) -> bytes:
        """Return the value of a small part."""
        chunks: list[bytes] = []

        def keep(chunk: memoryview) -> None:
            chunks.append(bytes(chunk))
            if sum(map(len, chunks)) > MAX_FIELD:
                raise FormError("a field is too long")

        self.stream(keep)
        return b"".join(chunks)

    def stream(self, on_bytes: Callable[[memoryview], object]) -> int:
        """
        Pass the bytes of the current part to a callback, in chunks.

        :returns: The number of bytes.
        """
        mark, keep = self._mark, len(self._mark) - 1
        total = 0
        while True:
            found = self._buffer.find(mark, self._start, self._end)
            stop = found if found >= 0 else max(self._end - keep, self._start)
            if stop > self._start:
                on_bytes(self._view[self._start : stop])
                total += stop - self._start
                self._start = stop
            if found >= 0:
                self._start = found + len(mark)
                return total
            if not self._fill():
                raise FormError("the form ends inside a part")

    def _header(self) -> Part:
        while (stop := self._buffer.find(b"\r\n\r\n", self._start, self._end)) < 0:
            if self._end - self._start > MAX_HEADERS or not self._fill():
                raise FormError("the header of a part does not end")
        lines = bytes(self._view[self._start : stop]).decode("utf-8", "replace").split("\r\n")
        self._start = stop + 4
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
        }
        disposition = headers.get("content-disposition", "")
        name = re.search(r'(?:^|[;\s])name="((?:[^"\\]|\\.)*)"', disposition)
        if name is None:
            raise FormError("a part has no name")
        file_name = re.search(r'filename="((?:[^"\\]|\\.)*)"', disposition)
        return Part(name[1], file_name[1] if file_name else None, headers.get("content-type"))

    def _require(self, size: int) -> None:
        while self._end - self._start < size:
            if not self._fill():
                raise FormError("the form ends too early")

    def _fill(self) -> bool:
        left = self._end - self._start
        if self._start:
            self._view[:left] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, left
        if self._end >= len(self._buffer):
            raise FormError("a part's header is too long")
        count = self._source.readinto(self._view[self._end :])
        self._end += count
        return count > 0
