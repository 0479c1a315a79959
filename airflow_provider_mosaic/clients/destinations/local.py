"""Destinations on a local disk."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from airflow_provider_mosaic.clients.destinations.base import Destination, PartialFile
from airflow_provider_mosaic.clients.progress import format_size

#: Free space to leave on a disk by files of unknown length. On small disks, a twentieth of the disk.
_RESERVED_SPACE = 1024**3
#: Bytes between two checks of the free space.
SPACE_CHECK_INTERVAL = 64 * 1024 * 1024


def local_destination(path: str | os.PathLike[str]) -> Destination:
    """Return the destination for a local path."""
    return _LocalDestination(Path(os.fspath(path)).absolute())


def check_free_space(directory: Path, size: int | None) -> None:
    """
    Raise unless a disk has room for a file.

    :param size: Bytes of the file; None if unknown. Then some space stays reserved.
    :raises OSError: There is too little space (``ENOSPC``).
    """
    disk = shutil.disk_usage(directory)
    needed = min(_RESERVED_SPACE, disk.total // 20) if size is None else size
    if disk.free < needed:
        raise OSError(errno.ENOSPC, f"{format_size(disk.free)} are free, {format_size(needed)} are needed")


def temporary_name(suffix: str = "part") -> str:
    """Return a name for a file beside the final one."""
    return f".mosaic-{secrets.token_hex(8)}.{suffix}"


class _LocalDestination(Destination):
    def __init__(self, path: Path) -> None:
        super().__init__(name=path.name, shown=str(path))
        self._path = path

    def open(self, size: int | None) -> PartialFile:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", str(self._path))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        check_free_space(self._path.parent, size)
        return _LocalFile(self._path, size)


class _LocalFile(PartialFile):
    def __init__(self, path: Path, size: int | None) -> None:
        self._path = path
        self._size = size
        # In the same directory, hence on the same disk, where a rename is atomic.
        self._temporary = path.with_name(temporary_name())
        self._stream = self._temporary.open("xb", buffering=0)
        self._unchecked = 0

    def write(self, data: bytes) -> None:
        self._unchecked += len(data)
        if self._size is None and self._unchecked >= SPACE_CHECK_INTERVAL:
            check_free_space(self._path.parent, None)
            self._unchecked = 0
        view = memoryview(data)
        while view:
            # A disk that is nearly full writes a part, and fails at the next write.
            view = view[self._stream.write(view) :]

    def restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()

    def commit(self) -> None:
        # Network file systems report a full disk only here.
        self._stream.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
