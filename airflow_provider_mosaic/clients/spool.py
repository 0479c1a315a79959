"""A file on disk without a name, for bytes whose number nobody says beforehand: gone with its last reader."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from pathlib import Path
from typing import BinaryIO, cast


class Spool:
    """Bytes on disk, read from the beginning as often as is needed. Without a name nothing is left if we are killed."""

    def __init__(self) -> None:
        self._descriptor, name = tempfile.mkstemp(prefix="mosaic-")
        weakref.finalize(self, os.close, self._descriptor)
        Path(name).unlink()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """
        Add bytes.

        :raises OSError: The disk is full.
        """
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.size += written
            view = view[written:]

    def open(self) -> BinaryIO:
        """A fresh stream from the beginning."""
        return cast("BinaryIO", _Reader(self, self._descriptor))


class _Reader(io.RawIOBase):
    def __init__(self, spool: Spool, descriptor: int) -> None:
        self._spool = spool
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._descriptor, [buffer], self._position) if hasattr(os, "preadv") else self._copied(buffer)
        self._position += count
        return count

    def _copied(self, buffer: memoryview) -> int:
        # Older macOS has no preadv.
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        return len(data)
