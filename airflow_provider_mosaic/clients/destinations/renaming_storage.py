"""
Destinations in storage that shows a file while it is written: SFTP, SMB, HDFS and the rest.

The file is written under a temporary name and renamed. An old file of that name is deleted only after that.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.clients.destinations.base import Destination, PartialFile
from airflow_provider_mosaic.clients.destinations.local import temporary_name
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
        return _TemporaryFile(self._path, self.shown)


@dataclass(frozen=True, kw_only=True)
class _SftpRenames:
    """
    The two renames of SFTP.

    fsspec's own moves over SFTP are not safe. One fails on servers without OpenSSH's extension; the other copies by a
    shell and deletes the original even if the copy failed.

    :param replace: OpenSSH's extension, which replaces an existing file atomically.
    :param rename: The rename of every server, which fails if the new name exists.
    """

    replace: Callable[[str, str], object]
    rename: Callable[[str, str], object]


def _sftp_renames(path: Any) -> _SftpRenames | None:
    """Return the renames of fsspec's SFTP (paramiko) or Airflow's (sshfs); None for another storage."""
    fs = path.fs
    client: Any = getattr(fs, "ftp", None)
    if hasattr(client, "posix_rename"):
        return _SftpRenames(replace=client.posix_rename, rename=client.rename)
    pool = getattr(fs, "_pool", None)
    if pool is None or path.protocol not in ("sftp", "ssh"):
        return None

    def over_channel(method: str) -> Callable[[str, str], object]:
        async def rename(old: str, new: str) -> None:
            async with pool.get() as channel:
                await getattr(channel, method)(old, new)

        return lambda old, new: sync(fs.loop, rename, old, new)

    return _SftpRenames(replace=over_channel("posix_rename"), rename=over_channel("rename"))


class _TemporaryFile(PartialFile):
    def __init__(self, path: Any, shown: str) -> None:
        self._fs = path.fs
        self._directory = path.parent
        self._final = path.path
        self._shown = shown
        self._temporary = self._beside()
        self._sftp = _sftp_renames(path)
        self._moves_by_copy = getattr(type(path.fs), "mv", None) is AbstractFileSystem.mv
        self._check_rename()
        self._stream = self._fs.open(self._temporary, "wb")

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def restart(self) -> None:
        self._stream.close()
        self._stream = self._fs.open(self._temporary, "wb")

    def commit(self) -> None:
        self._stream.close()
        old_size = self._size(self._final)
        if old_size is None:
            self._rename_to_final()
        elif not self._replace_atomically():
            self._replace_in_steps(old_size)

    def discard(self) -> None:
        with suppress(Exception):
            self._stream.close()
        self._delete(self._temporary)

    def _beside(self, suffix: str = "part") -> str:
        return str(self._directory.joinpath(temporary_name(suffix)).path)

    def _check_rename(self) -> None:
        """Rename an empty file, so that a storage without renames fails before the transfer."""
        probe = self._beside()
        try:
            with self._fs.open(probe, "wb"):
                pass
            try:
                self._rename(probe, self._temporary)
                if self._size(probe) is not None or self._size(self._temporary) is None:
                    raise NotImplementedError("a renamed file kept its old name")
            except Exception as error:
                raise MosaicValidationError(
                    f"destination={self._shown!r}: its storage can't rename files ({type(error).__name__}: "
                    f"{redact(str(error))[:200]}). Without renames an incomplete file could stay there, or an old one "
                    "be lost. Nothing was fetched. Choose another destination.",
                    transient=not isinstance(error, NotImplementedError),
                ) from error
        except BaseException:
            self._delete(probe, self._temporary)
            raise

    def _rename_to_final(self) -> None:
        """Rename the temporary file to its final name, which no file has."""
        size = self._size(self._temporary)
        try:
            self._rename(self._temporary, self._final)
        except BaseException as error:
            # The rename may have succeeded although its response was lost.
            if isinstance(error, Exception) and size is not None and self._was_renamed(size):
                return
            if self._moves_by_copy:
                self._delete(self._final)
            raise

    def _was_renamed(self, size: int) -> bool:
        try:
            return self._size(self._temporary) is None and self._size(self._final) == size
        except Exception:
            return False

    def _replace_atomically(self) -> bool:
        """Replace the old file in one step, and return whether the storage can do so. Only SFTP promises it."""
        if self._sftp is None:
            return False
        try:
            self._sftp.replace(self._temporary, self._final)
        except Exception:
            if self._size(self._temporary) is not None and self._size(self._final) is not None:
                return False
            raise
        return True

    def _replace_in_steps(self, old_size: int) -> None:
        """Move the old file aside, rename the new one, and delete the old one last."""
        aside = self._beside("old")
        try:
            self._rename(self._final, aside)
            if self._size(aside) != old_size:
                raise OSError("the old file is incomplete after its move")
            self._rename_to_final()
        except BaseException as error:
            self._restore(aside, old_size, error)
            raise
        try:
            self._fs.rm_file(aside)
        except Exception as error:
            log.warning(
                "%s was replaced, but the old file could not be deleted (%s). Delete %s.", self._shown, error, aside
            )

    def _restore(self, aside: str, old_size: int, error: BaseException) -> None:
        """Give the old file its name back, unless it still has it."""
        try:
            if self._size(self._temporary) is not None and self._size(self._final) == old_size:
                # It was copied, perhaps in part, and kept its name.
                self._delete(aside)
                return
            if self._size(aside) != old_size:
                raise OSError("the old file is incomplete")
            if self._size(self._final) is not None:
                # The new file, perhaps in part.
                self._fs.rm_file(self._final)
            self._rename(aside, self._final)
        except Exception:
            raise MosaicTransportError(
                f"destination={self._shown!r}: the new file could not be renamed ({type(error).__name__}). The old "
                f"file is beside it, as {aside.rpartition('/')[2]!r}. Rename it back before a retry.",
                effect_unknown=False,
            ) from error

    def _rename(self, old: str, new: str) -> None:
        """Rename a file to a name that no file has."""
        if self._sftp is not None:
            try:
                self._sftp.replace(old, new)
            except Exception:
                self._sftp.rename(old, new)
        elif self._moves_by_copy:
            # fsspec's own move does the same, but reads *, ? and [ in a name as a pattern.
            self._fs.cp_file(old, new)
            if self._size(new) != self._size(old):
                raise OSError("the copy within the storage is incomplete")
            self._fs.rm_file(old)
        else:
            self._fs.mv(old, new)

    def _size(self, path: str) -> int | None:
        """Return the bytes of a file; None if there is none. fsspec's ``exists`` reads any error as a missing file."""
        with suppress(Exception):
            # A cached listing may be outdated.
            self._fs.invalidate_cache(str(self._directory.path))
        try:
            return int(self._fs.info(path).get("size") or 0)
        except Exception as error:
            if is_missing(error):
                return None
            raise

    def _delete(self, *paths: str) -> None:
        for path in paths:
            with suppress(Exception):
                self._fs.rm_file(path)
