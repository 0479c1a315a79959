"""
Destinations in storage that shows a file while it is written: SFTP, SMB, HDFS and the rest.

The file is written under a temporary name and renamed. An old file of that name is deleted only after that.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact
from airflow_provider_mosaic.clients.destinations import Destination, PartialFile, temporary_name
from airflow_provider_mosaic.clients.storage_errors import is_missing

log = logging.getLogger(__name__)


class RenamingDestination(Destination):
    """A file that is written under a temporary name in the same directory."""

    def __init__(self, path: Any) -> None:
        super().__init__(name=path.name, shown=redact(str(path)))
        self._path = path

    def open(self, size: int | None) -> PartialFile:
        """Open the temporary file."""
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", self.shown)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return _TemporaryFile(_Directory(self._path), self._path.path, self.shown)


class _TemporaryFile(PartialFile):
    def __init__(self, directory: _Directory, final: str, shown: str) -> None:
        self._directory = directory
        self._final = final
        self._shown = shown
        self._temporary = directory.temporary_path()
        self._check_rename()
        try:
            self._stream = directory.open(self._temporary)
        except BaseException:
            # The check left an empty file of this name.
            directory.delete(self._temporary)
            raise

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def commit(self) -> None:
        self._stream.close()
        old_size = self._directory.size(self._final)
        if old_size is None:
            self._rename_to_final()
        elif not self._directory.replace(self._temporary, self._final):
            self._replace_in_steps(old_size)

    def discard(self) -> None:
        with suppress(Exception):
            self._stream.close()
        self._directory.delete(self._temporary)

    def _check_rename(self) -> None:
        """Rename an empty file, so that a storage without renames fails before the transfer."""
        probe = self._directory.temporary_path()
        try:
            with self._directory.open(probe):
                pass
            try:
                self._directory.rename(probe, self._temporary)
                if self._directory.size(probe) is not None or self._directory.size(self._temporary) is None:
                    raise NotImplementedError("a renamed file kept its old name")
            except Exception as error:
                raise MosaicValidationError(
                    f"destination={self._shown!r}: its storage can't rename files ({type(error).__name__}: "
                    f"{redact(str(error))[:200]}). Without renames an incomplete file could stay there, or an old one "
                    "be lost. Nothing was downloaded. Choose another destination.",
                    transient=not isinstance(error, NotImplementedError),
                ) from error
        except BaseException:
            self._directory.delete(probe, self._temporary)
            raise

    def _rename_to_final(self) -> None:
        """Rename the temporary file to its final name, which no file has."""
        size = self._directory.size(self._temporary)
        try:
            self._directory.rename(self._temporary, self._final)
        except BaseException as error:
            # The rename may have succeeded although its response was lost.
            if isinstance(error, Exception) and size is not None and self._was_renamed(size):
                return
            if self._directory.moves_by_copy:
                self._directory.delete(self._final)
            raise

    def _was_renamed(self, size: int) -> bool:
        try:
            return self._directory.size(self._temporary) is None and self._directory.size(self._final) == size
        except Exception:
            return False

    def _replace_in_steps(self, old_size: int) -> None:
        """Move the old file aside, rename the new one, and delete the old one last."""
        aside = self._directory.temporary_path("old")
        try:
            self._directory.rename(self._final, aside)
            if self._directory.size(aside) != old_size:
                raise OSError("the old file is incomplete after its move")
            self._rename_to_final()
        except BaseException as error:
            self._restore(aside, old_size, error)
            raise
        try:
            self._directory.remove(aside)
        except Exception as error:
            log.warning(
                "%s was replaced, but the old file could not be deleted (%s). Delete %s.",
                self._shown,
                one_line(str(error), longest=300),
                aside,
            )

    def _restore(self, aside: str, old_size: int, error: BaseException) -> None:
        """Give the old file its name back, unless it still has it."""
        try:
            if self._directory.size(self._temporary) is not None and self._directory.size(self._final) == old_size:
                # It was copied, perhaps in part, and kept its name.
                self._directory.delete(aside)
                return
            if self._directory.size(aside) != old_size:
                raise OSError("the old file is incomplete")
            if self._directory.size(self._final) is not None:
                # The new file, perhaps in part.
                self._directory.remove(self._final)
            self._directory.rename(aside, self._final)
        except Exception:
            raise MosaicTransportError(
                f"destination={self._shown!r}: the new file could not be renamed ({type(error).__name__}). The old "
                f"file is beside it, as {aside.rpartition('/')[2]!r}. Rename it back before a retry.",
                effect_unknown=False,
            ) from error


class _Directory:
    """The directory of a file, with the renames that its storage supports."""

    def __init__(self, path: Any) -> None:
        self._fs = path.fs
        self._parent = path.parent
        self._sftp = _sftp_renames(path)
        #: Whether a move is fsspec's own: a copy that is followed by a deletion.
        self.moves_by_copy = getattr(type(path.fs), "mv", None) is AbstractFileSystem.mv

    def temporary_path(self, suffix: str = "part") -> str:
        """Return a new path in this directory."""
        return str(self._parent.joinpath(temporary_name(suffix)).path)

    def open(self, path: str) -> Any:
        """Open a file to write it."""
        return self._fs.open(path, "wb")

    def size(self, path: str) -> int | None:
        """Return the bytes of a file; None if there is none. fsspec's ``exists`` reads any error as a missing file."""
        with suppress(Exception):
            # A cached listing may be outdated.
            self._fs.invalidate_cache(str(self._parent.path))
        try:
            return int(self._fs.info(path).get("size") or 0)
        except Exception as error:
            if is_missing(error):
                return None
            raise

    def remove(self, path: str) -> None:
        """Delete a file."""
        self._fs.rm_file(path)

    def delete(self, *paths: str) -> None:
        """Delete files if they exist, without raising."""
        for path in paths:
            with suppress(Exception):
                self._fs.rm_file(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file to a name that no file has."""
        if self._sftp is not None:
            replace, rename = self._sftp
            try:
                replace(old, new)
            except Exception:
                rename(old, new)
        elif self.moves_by_copy:
            # fsspec's own move does the same, but reads *, ? and [ in a name as a pattern.
            self._fs.cp_file(old, new)
            if self.size(new) != self.size(old):
                raise OSError("the copy within the storage is incomplete")
            self._fs.rm_file(old)
        else:
            self._fs.mv(old, new)

    def replace(self, old: str, new: str) -> bool:
        """Replace a file in one step, and return whether the storage can do so. Only SFTP promises it."""
        if self._sftp is None:
            return False
        try:
            self._sftp[0](old, new)
        except Exception:
            if self.size(old) is not None and self.size(new) is not None:
                return False
            raise
        return True


_Rename = Callable[[str, str], object]


def _sftp_renames(path: Any) -> tuple[_Rename, _Rename] | None:
    """
    Return the two renames of fsspec's SFTP (paramiko) or Airflow's (sshfs); None for another storage.

    The first is OpenSSH's extension, which replaces an existing file atomically. Every server has the second, which
    fails if the new name exists. fsspec's own moves over SFTP are not safe: one fails on servers without the extension;
    the other copies by a shell and deletes the original even if the copy failed.
    """
    fs = path.fs
    client: Any = getattr(fs, "ftp", None)
    if hasattr(client, "posix_rename"):
        return client.posix_rename, client.rename
    pool = getattr(fs, "_pool", None)
    if pool is None or path.protocol not in ("sftp", "ssh"):
        return None

    def over_channel(method: str) -> _Rename:
        async def rename(old: str, new: str) -> None:
            async with pool.get() as channel:
                await getattr(channel, method)(old, new)

        return lambda old, new: sync(fs.loop, rename, old, new)

    return over_channel("posix_rename"), over_channel("rename")
