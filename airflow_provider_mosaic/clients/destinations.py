"""Where a download goes. Nothing stands under the final name before it is whole, and nothing is left of what failed."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact
from airflow_provider_mosaic.clients.progress import size_words
from airflow_provider_mosaic.clients.storage_errors import is_missing, may_pass

log = logging.getLogger(__name__)

# In these a name appears when its last part is in, not before; a copy within the storage would move all bytes again,
# cost money, and leave a version behind in buckets that keep versions. Other storages show a file while it grows.
_APPEARS_WHEN_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
_AZURE = frozenset({"abfs", "abfss", "az"})
# S3 takes parts of 5 MiB or more, and 10,000 of them (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
_SMALLEST_PART = 5 * 1024 * 1024
_MOST_PARTS = 9_000
#: Left free on a disk by files without a length: this much, or a twentieth of the disk where that is less.
_KEPT_FREE = 1024**3
#: Bytes between two looks at how much is free.
_ROOM_CHECKED = 64 * 1024 * 1024
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
            raise destination_fault(self._named, error, started=True) from error

    def restart(self) -> None:
        """Discard what is there and start again."""
        try:
            self._restart()
        except Exception as error:
            raise destination_fault(self._named, error, started=True) from error

    def commit(self) -> None:
        """Give it its name."""
        try:
            self._commit()
        except Exception as error:
            raise destination_fault(self._named, error, started=True) from error

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

    def open_part(self, size: int | None) -> Part:
        """
        Begin to write, and make the folders that are missing.

        :param size: Bytes that will come; None when nobody knows.
        :raises MosaicValidationError: It can't be written to.
        """
        try:
            return self._open_part(size)
        except Exception as error:
            raise destination_fault(self.shown, error) from error

    @abstractmethod
    def _open_part(self, size: int | None) -> Part: ...


def local_target(path: str | os.PathLike[str]) -> Target:
    """
    A file on this machine.

    :param path: Its path.
    """
    return _LocalTarget(Path(os.fspath(path)).absolute())


def null_target() -> Target:
    """Nowhere: what is written is counted by the one who writes, and forgotten."""
    return _NullTarget(name="an output", shown="nowhere")


def storage_target(path: Any) -> Target:
    """
    A file in object storage.

    :param path: An ``ObjectStoragePath`` or any other path of universal_pathlib; ``file://`` is a local file.
    """
    protocol = getattr(path, "protocol", "") or "file"
    if protocol in ("file", "local"):
        return local_target(getattr(path, "path", path))
    return _ObjectTarget(path) if protocol in _APPEARS_WHEN_WHOLE else _RenamingTarget(path)


def destination_fault(named: str, error: Exception, *, started: bool = False) -> MosaicError:
    """
    The error for a destination that does not take the file.

    :param named: The destination, as it may be shown.
    :param error: What the file system or the storage raised.
    :param started: Whether the transfer had started. Then a library may raise nearly anything for a connection error.
    """
    if isinstance(error, MosaicError):
        return error
    words = one_line(str(error), longest=300)
    if isinstance(error, OSError) and error.errno in _ROOM:
        return MosaicValidationError(
            f"destination={named!r}: there is no room for it ({error.strerror}); nothing is left there. Free some.",
            transient=True,
        )
    if not may_pass(error) and (isinstance(error, OSError) or not started):
        return MosaicValidationError(f"destination={named!r}: it can't be written ({type(error).__name__}: {words}).")
    return MosaicTransportError(
        f"destination={named!r}: it could not be written to its end ({type(error).__name__}: {words}).",
        effect_unknown=False,
    )


def check_room(folder: Path, size: int | None) -> None:
    """
    Raise unless a disk has room for a file.

    :param folder: A folder on the disk.
    :param size: Bytes of the file; None when the length is unknown. Then some room is left for all else.
    :raises OSError: There is too little room (``ENOSPC``).
    """
    disk = shutil.disk_usage(folder)
    needed = min(_KEPT_FREE, disk.total // 20) if size is None else size
    if disk.free < needed:
        raise OSError(errno.ENOSPC, f"{size_words(disk.free)} are free, {size_words(needed)} must be")


def _part_name(suffix: str = "part") -> str:
    return f".mosaic-{secrets.token_hex(8)}.{suffix}"


class _NullTarget(Target):
    def _open_part(self, size: int | None) -> Part:
        return _NullPart(self.shown)


class _NullPart(Part):
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

    def _open_part(self, size: int | None) -> Part:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", str(self._path))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        check_room(self._path.parent, size)
        return _LocalPart(self._path, size)


class _LocalPart(Part):
    def __init__(self, path: Path, size: int | None) -> None:
        super().__init__(str(path))
        self._path = path
        self._size = size
        # In the same folder, and so on the same disk: a rename there is one step.
        self._part = path.with_name(_part_name())
        self._stream = self._part.open("xb", buffering=0)
        self._unchecked = 0

    def _write(self, data: bytes) -> None:
        self._unchecked += len(data)
        if self._size is None and self._unchecked >= _ROOM_CHECKED:
            check_room(self._part.parent, None)
            self._unchecked = 0
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

    def _open_part(self, size: int | None) -> Part:
        if self._path.protocol in _AZURE and _adlfs_deletes_first() and self._path.exists():
            raise MosaicValidationError(
                f"destination={self.shown!r}: a file is there, and this version of adlfs deletes it before the new one "
                "is whole. Nothing was fetched. Install adlfs>=2024.12.0, or delete the file."
            )
        return _ObjectPart(self._path, self.shown, max(_SMALLEST_PART, (size or 0) // _MOST_PARTS))


def _adlfs_deletes_first() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        year, month = version("adlfs").split(".")[:2]
        return (int(year), int(month)) < (2024, 12)
    except (PackageNotFoundError, ValueError):
        return False


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

    def _open_part(self, size: int | None) -> Part:
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", self.shown)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return _RenamedPart(self._path, self.shown)


@dataclass(frozen=True, kw_only=True)
class _Sftp:
    """
    The renames of the SFTP protocol.

    What fsspec's file systems make of them is not safe: where a server lacks OpenSSH's extension, one fails, and the
    other copies by a shell and deletes the original, also when the copy failed.

    :param replace: OpenSSH's extension, which takes a name that is not free in one step.
    :param plain: What every server has; it takes only a free name.
    """

    replace: Callable[[str, str], object]
    plain: Callable[[str, str], object]

    def rename(self, old: str, new: str) -> None:
        """Rename a file to a name that is free."""
        try:
            self.replace(old, new)
        except Exception:
            self.plain(old, new)


def _sftp_of(path: Any) -> _Sftp | None:
    """Return the renames of a file system over SFTP, fsspec's own (paramiko) or Airflow's (sshfs); else None."""
    fs = path.fs
    client: Any = getattr(fs, "ftp", None)
    if hasattr(client, "posix_rename"):
        return _Sftp(replace=client.posix_rename, plain=client.rename)
    pool = getattr(fs, "_pool", None)
    if pool is None or path.protocol not in ("sftp", "ssh"):
        return None
    from fsspec.asyn import sync

    def over_channel(method: str) -> Callable[[str, str], object]:
        async def rename(old: str, new: str) -> None:
            async with pool.get() as channel:
                await getattr(channel, method)(old, new)

        return lambda old, new: sync(fs.loop, rename, old, new)

    return _Sftp(replace=over_channel("posix_rename"), plain=over_channel("rename"))


def _moves_by_copy(fs: Any) -> bool:
    from fsspec import AbstractFileSystem

    return getattr(type(fs), "mv", None) is AbstractFileSystem.mv


class _RenamedPart(Part):
    """A file under another name, renamed when it is whole. What stood there before is deleted only after that."""

    def __init__(self, path: Any, named: str) -> None:
        super().__init__(named)
        self._fs = path.fs
        self._folder = path.parent
        self._final = path.path
        self._part = self._beside()
        self._sftp = _sftp_of(path)
        self._check_renames()
        self._stream = self._open()

    def _beside(self, suffix: str = "part") -> str:
        return str(self._folder.joinpath(_part_name(suffix)).path)

    def _check_renames(self) -> None:
        """Rename an empty file: where that is impossible, all the bytes would come for nothing."""
        tried = self._beside()
        try:
            with self._fs.open(tried, "wb"):
                pass
            try:
                self._rename(tried, self._part)
                if self._size(tried) is not None or self._size(self._part) is None:
                    raise NotImplementedError("a renamed file was still under its old name")
            except Exception as error:
                raise MosaicValidationError(
                    f"destination={self._named!r}: its storage can't rename files ({type(error).__name__}: "
                    f"{redact(str(error))[:200]}), without which half a file could stay there, or an old one be lost. "
                    "Nothing was fetched. Choose a destination that can.",
                    transient=not isinstance(error, NotImplementedError),
                ) from error
        except BaseException:
            self._remove(tried, self._part)
            raise

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
        old = self._size(self._final)
        if old is None:
            self._place()
        elif not self._replaced():
            self._replace_aside(old)

    def _place(self) -> None:
        """Give the new file its name, which is free."""
        size = self._size(self._part)
        try:
            self._rename(self._part, self._final)
        except BaseException as error:
            # It may have been done although its answer was lost.
            if isinstance(error, Exception) and size is not None and self._stands_alone(size):
                return
            if _moves_by_copy(self._fs):
                # Half a copy.
                self._remove(self._final)
            raise

    def _stands_alone(self, size: int) -> bool:
        try:
            return self._size(self._part) is None and self._size(self._final) == size
        except Exception:
            return False

    def _replaced(self) -> bool:
        """Whether the storage could rename the new file onto the old one, in one step."""
        # Of fsspec's storages only SFTP promises that; many copy, which may break off in the middle of the old file.
        if self._sftp is None:
            return False
        try:
            self._sftp.replace(self._part, self._final)
        except Exception:
            if self._size(self._part) is not None and self._size(self._final) is not None:
                return False
            raise
        return True

    def _replace_aside(self, old: int) -> None:
        """Move the old file aside, the new one to its place, and delete the old one last."""
        aside = self._beside("old")
        try:
            self._rename(self._final, aside)
            if self._size(aside) != old:
                raise OSError("the old file is not whole after its move")
            self._place()
        except BaseException as error:
            self._restore(aside, old, error)
            raise
        try:
            self._fs.rm_file(aside)
        except Exception as error:
            log.warning("%s: the old file stays beside the new one, as %s (%s).", self._named, aside, error)

    def _restore(self, aside: str, old: int, error: BaseException) -> None:
        """Give the old file its name back, unless it still has it."""
        try:
            if self._size(self._part) is not None and self._size(self._final) == old:
                # It was copied, perhaps in part, and never left its place.
                self._remove(aside)
                return
            if self._size(aside) != old:
                raise OSError("the old file is not whole")
            if self._size(self._final) is not None:
                # Half of the new file, or all of it.
                self._fs.rm_file(self._final)
            self._rename(aside, self._final)
        except Exception:
            raise MosaicTransportError(
                f"destination={self._named!r}: the new file could not be put in its place ({type(error).__name__}). "
                f"The old one is beside it, as {aside.rpartition('/')[2]!r}: rename it back before a retry.",
                effect_unknown=False,
            ) from error

    def _rename(self, old: str, new: str) -> None:
        """Rename a file to a name that is free."""
        if self._sftp is not None:
            self._sftp.rename(old, new)
        elif _moves_by_copy(self._fs):
            # fsspec's own move does this too, but takes the signs *, ? and [ in a name for a pattern.
            self._fs.cp_file(old, new)
            if self._size(new) != self._size(old):
                raise OSError("the copy within the storage is not whole")
            self._fs.rm_file(old)
        else:
            self._fs.mv(old, new)

    def _size(self, path: str) -> int | None:
        """Return the bytes of a file; None if there is none. fsspec's ``exists`` takes any error for a missing file."""
        with suppress(Exception):
            # A cached listing may be out of date.
            self._fs.invalidate_cache(str(self._folder.path))
        try:
            return int(self._fs.info(path).get("size") or 0)
        except Exception as error:
            if is_missing(error):
                return None
            raise

    def discard(self) -> None:
        with suppress(Exception):
            self._stream.close()
        self._remove(self._part)

    def _remove(self, *paths: str) -> None:
        for path in paths:
            with suppress(Exception):
                self._fs.rm_file(path)
