"""
Where a download is written. A file gets its name only when it is complete, and a failed download leaves nothing.

This module has local disks, and object storage that shows a file only when it is committed: S3, Google Cloud Storage,
Azure. :mod:`.renaming_storage` has all others.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact
from airflow_provider_mosaic.clients.progress import format_size
from airflow_provider_mosaic.clients.storage_errors import is_missing, is_transient

log = logging.getLogger(__name__)

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class PartialFile(ABC):
    """A file that is being written and does not have its name yet. Each storage raises its own errors."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append bytes."""

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


# A local disk

#: Free space to leave on a disk by files of unknown length. On small disks, a twentieth of the disk.
_RESERVED_SPACE = 1024**3
#: Bytes between two checks of the free space.
SPACE_CHECK_INTERVAL = 64 * 1024 * 1024
#: Seconds since its last write after which an unlocked partial file counts as abandoned. Before that, its process may
#: not have locked it yet, or be on a machine whose locks are not visible here.
_MIN_ABANDONED_AGE = 600.0


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
        _delete_abandoned(self._path.parent)
        check_free_space(self._path.parent, size)
        return _LocalFile(self._path, size)


def _delete_abandoned(directory: Path) -> None:
    """Delete the partial files of killed downloads: old ones that no process has locked."""
    for path in directory.glob(f".mosaic-{'[0-9a-f]' * 16}.part"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime < _MIN_ABANDONED_AGE:
                continue
            # Network file systems lock only files that are open for writing.
            with path.open("r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            log.info("Deleted %s: a download that was killed left it.", path)


def _sync(descriptor: int) -> None:
    """Write a file or directory to the disk, if its file system supports that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


class _LocalFile(PartialFile):
    def __init__(self, path: Path, size: int | None) -> None:
        self._path = path
        self._size = size
        # In the same directory, and so on the same disk, where a rename is atomic.
        self._temporary = path.with_name(temporary_name())
        self._stream = self._temporary.open("xb", buffering=0)
        with suppress(OSError):
            # The lock ends with the process, also if it is killed.
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def commit(self) -> None:
        # Network file systems report a full disk only here. After a power loss a file that was not synced can be empty.
        _sync(self._stream.fileno())
        self._stream.close()
        self._temporary.replace(self._path)
        with suppress(OSError):
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                _sync(directory)
            finally:
                os.close(directory)

    def discard(self) -> None:
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


# Object storage

_AZURE = frozenset({"abfs", "abfss", "az"})
#: A rename in these would copy all bytes again, cost money, and leave a version in buckets that keep versions.
ATOMIC_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs"}) | _AZURE
# S3 takes at most 10,000 parts of 5 MiB or more (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
_MIN_PART_SIZE = 5 * 1024 * 1024
_MAX_PARTS = 9_000


class ObjectDestination(Destination):
    """An object that is written as a multipart upload."""

    def __init__(self, path: Any) -> None:
        super().__init__(name=path.name, shown=redact(str(path)))
        self._path = path

    def open(self, size: int | None) -> PartialFile:
        """Start the upload."""
        if self._path.protocol in _AZURE and _adlfs_deletes_first() and self._path.exists():
            raise MosaicValidationError(
                f"destination={self.shown!r}: a file is there, and this version of adlfs deletes it before the new one "
                "is complete. Nothing was downloaded. Install adlfs>=2024.12.0, or delete the file."
            )
        return _MultipartUpload(self._path, self.shown, max(_MIN_PART_SIZE, (size or 0) // _MAX_PARTS))


def _adlfs_deletes_first() -> bool:
    try:
        year, month = version("adlfs").split(".")[:2]
        return (int(year), int(month)) < (2024, 12)
    except (PackageNotFoundError, ValueError):
        return False


class _MultipartUpload(PartialFile):
    def __init__(self, path: Any, shown: str, part_size: int) -> None:
        self._path = path
        self._shown = shown
        self._part_size = part_size
        self._written = 0
        self._before = self._info()
        # The file system's own stream: Airflow's wrapper commits when an exception leaves it.
        self._stream = path.fs.open(path.path, "wb", block_size=part_size)
        self._finished = False

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._written += len(data)

    def commit(self) -> None:
        try:
            self._stream.close()
        except Exception as error:
            # A smaller file is sent in one request, whose repetition is harmless.
            if self._written < self._part_size or not is_missing(error):
                raise
            if not self._is_saved():
                raise MosaicTransportError(
                    f"destination={self._shown!r}: the storage has no such upload any more when it should be completed "
                    f"({type(error).__name__}: {one_line(str(error), longest=300)}). The file was not saved.",
                    effect_unknown=False,
                ) from error
        self._finished = True

    def _is_saved(self) -> bool:
        """Return whether the file is complete: the response was lost, and the repeated request found no upload."""
        info = self._info()
        # An older file may have the same size, but not the same time or entity tag.
        return info is not None and info.get("size") == self._written and info != self._before

    def _info(self) -> dict[str, Any] | None:
        """Return what the storage reports about the file; None if there is none, or if it cannot be read."""
        try:
            self._path.fs.invalidate_cache(self._path.parent.path)
            return dict(self._path.fs.info(self._path.path))
        except Exception:
            return None

    def discard(self) -> None:
        if not self._finished:
            self._finished = True
            self._abort()

    def _abort(self) -> None:
        try:
            self._stream.discard()
        except Exception as error:
            log.warning(
                "Uploaded parts of %s could not be deleted (%s). They cost storage until the bucket's lifecycle rule "
                "for incomplete uploads removes them.",
                self._shown,
                type(error).__name__,
            )
        # fsspec commits a file when it is closed, and garbage collection closes an open file.
        self._stream.closed = True


def storage_destination(path: Any) -> Destination:
    """
    Return the destination for a path of fsspec.

    :param path: An ``ObjectStoragePath`` or another path of universal_pathlib; ``file://`` is a local file.
    """
    protocol = getattr(path, "protocol", "") or "file"
    if protocol in ("file", "local"):
        return local_destination(getattr(path, "path", path))
    if protocol in ATOMIC_PROTOCOLS:
        return ObjectDestination(path)
    from airflow_provider_mosaic.clients.renaming_storage import RenamingDestination

    return RenamingDestination(path)
