"""Where a download goes. Nothing stands under the final name before it is whole, and nothing is left of what failed."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact

log = logging.getLogger(__name__)

# In these a name appears when its last part is in, not before; a copy within the storage would move all bytes again,
# cost money, and leave a version behind in buckets that keep versions. Other storages show a file while it grows.
_APPEARS_WHEN_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
# S3 takes parts of 5 MiB or more, and 10,000 of them (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
_SMALLEST_PART = 5 * 1024 * 1024
_MOST_PARTS = 9_000
_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Part(ABC):
    """
    A file that is being written, not yet there under its name.

    :param named: The destination, as it may be shown.
    """

    def __init__(self, named: str) -> None:
        self._named = named

    def write(self, data: bytes) -> None:
        """Add bytes."""
        try:
            self._write(data)
        except Exception as error:  # each kind of storage raises its own
            raise destination_fault(self._named, error) from error

    def restart(self) -> None:
        """Throw away what is there and begin anew."""
        try:
            self._restart()
        except Exception as error:
            raise destination_fault(self._named, error) from error

    def commit(self) -> None:
        """Give it its name."""
        try:
            self._commit()
        except Exception as error:
            raise destination_fault(self._named, error) from error

    @abstractmethod
    def discard(self) -> None:
        """Throw it away; it can't fail, and does nothing after :meth:`commit`."""

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _restart(self) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...


class Target(ABC):
    """
    A place for one file.

    :param name: File name.
    :param shown: How it is named in messages and results: an absolute path, or a URI.
    """

    def __init__(self, *, name: str, shown: str) -> None:
        self.name = name
        self.shown = shown

    def begin(self, size: int | None) -> Part:
        """
        Begin to write, and make the folders that are missing.

        :param size: Bytes that will come; None when nobody knows.
        :raises MosaicValidationError: It can't be written to.
        """
        try:
            return self._begin(size)
        except Exception as error:
            raise destination_fault(self.shown, error) from error

    @abstractmethod
    def _begin(self, size: int | None) -> Part: ...


def local_target(path: str | os.PathLike[str]) -> Target:
    """
    A file on this machine.

    :param path: Its path.
    """
    return _LocalTarget(Path(os.fspath(path)).absolute())


def nowhere() -> Target:
    """Nowhere: what is written is counted by the one who writes, and forgotten."""
    return _NoTarget(name="an output", shown="nowhere")


def storage_target(path: Any) -> Target:
    """
    A file in object storage.

    :param path: An ``ObjectStoragePath`` or any other path of universal_pathlib; ``file://`` is a local file.
    """
    protocol = getattr(path, "protocol", "") or "file"
    if protocol in ("file", "local"):
        return local_target(getattr(path, "path", path))
    return _ObjectTarget(path) if protocol in _APPEARS_WHEN_WHOLE else _RenamingTarget(path)


def destination_fault(named: str, error: Exception) -> MosaicError:
    """
    The error for a destination that does not take the file.

    :param named: The destination, as it may be shown.
    :param error: What the file system or the storage raised.
    """
    if isinstance(error, MosaicError):
        return error
    words = one_line(str(error), longest=300)
    if isinstance(error, OSError) and error.errno in _ROOM:
        return MosaicValidationError(
            f"destination={named!r}: there is no room for it ({error.strerror}); nothing is left there. Free some.",
            transient=True,
        )
    if isinstance(error, (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)):
        return MosaicValidationError(f"destination={named!r}: it can't be written ({type(error).__name__}: {words}).")
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL):
        return MosaicValidationError(f"destination={named!r}: it can't be written ({words}).")
    return MosaicTransportError(
        f"destination={named!r}: it could not be written to its end ({type(error).__name__}: {words}).",
        effect_unknown=False,
    )


def _part_name() -> str:
    return f".mosaic-{secrets.token_hex(8)}.part"


class _NoTarget(Target):
    def _begin(self, size: int | None) -> Part:
        return _NoPart(self.shown)


class _NoPart(Part):
    def discard(self) -> None:
        pass

    def _write(self, data: bytes) -> None:
        pass

    def _restart(self) -> None:
        pass

    def _commit(self) -> None:
        pass


class _LocalTarget(Target):
    def __init__(self, path: Path) -> None:
        super().__init__(name=path.name, shown=str(path))
        self._path = path

    def _begin(self, size: int | None) -> Part:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", str(self._path))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return _LocalPart(self._path)


class _LocalPart(Part):
    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        # In the same folder, and so on the same disk: a rename there is one step.
        self._part = path.with_name(_part_name())
        self._stream = self._part.open("xb", buffering=0)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # A disk that is nearly full takes some of it first, and complains at the next write.
            view = view[self._stream.write(view) :]

    def _restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()

    def _commit(self) -> None:
        # Some file systems, those over the network among them, tell of a full disk only here.
        self._stream.close()
        self._part.replace(self._path)

    def discard(self) -> None:
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


class _ObjectTarget(Target):
    def __init__(self, path: Any) -> None:
        super().__init__(name=path.name, shown=redact(str(path)))
        self._path = path

    def _begin(self, size: int | None) -> Part:
        return _ObjectPart(self._path, self.shown, max(_SMALLEST_PART, (size or 0) // _MOST_PARTS))


class _ObjectPart(Part):
    """Parts of an object that appears when the last one is in; thrown away, all of them are."""

    def __init__(self, path: Any, named: str, part_size: int) -> None:
        super().__init__(named)
        self._path = path
        self._part_size = part_size
        self._stream = self._open()
        self._over = False

    def _open(self) -> Any:
        # The file system's own stream: Airflow's wrapper commits when it is left by an exception, and can't be told
        # that it is closed.
        return self._path.fs.open(self._path.path, "wb", block_size=self._part_size)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)

    def _restart(self) -> None:
        self._abandon()
        self._stream = self._open()

    def _commit(self) -> None:
        self._stream.close()
        self._over = True

    def discard(self) -> None:
        if not self._over:
            self._over = True
            self._abandon()

    def _abandon(self) -> None:
        try:
            self._stream.discard()
        except Exception as error:
            log.warning(
                "The parts of %s that were sent could not be removed (%s); the bucket's own rule for unfinished "
                "uploads will.",
                self._named,
                type(error).__name__,
            )
        # fsspec commits a file that is closed, and the garbage collector closes one that is not.
        self._stream.closed = True


class _RenamingTarget(Target):
    def __init__(self, path: Any) -> None:
        super().__init__(name=path.name, shown=redact(str(path)))
        self._path = path

    def _begin(self, size: int | None) -> Part:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", self.shown)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return _RenamedPart(self._path, self.shown)


class _RenamedPart(Part):
    def __init__(self, path: Any, named: str) -> None:
        super().__init__(named)
        self._fs = path.fs
        self._final = path.path
        self._part = path.parent.joinpath(_part_name()).path
        self._stream = self._open()

    def _open(self) -> BinaryIO:
        stream: BinaryIO = self._fs.open(self._part, "wb")
        return stream

    def _write(self, data: bytes) -> None:
        self._stream.write(data)

    def _restart(self) -> None:
        self._stream.close()
        self._stream = self._open()

    def _commit(self) -> None:
        self._stream.close()
        try:
            self._fs.mv(self._part, self._final)
        except Exception:
            # SFTP and some others rename only to a name that is free.
            if not self._fs.exists(self._final):
                raise
            self._fs.rm_file(self._final)
            self._fs.mv(self._part, self._final)

    def discard(self) -> None:
        with suppress(Exception):
            self._stream.close()
        with suppress(Exception):
            if self._fs.exists(self._part):
                self._fs.rm_file(self._part)
