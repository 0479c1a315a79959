"""Where an upload is read from: a local file or object storage. Each source knows its size."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.api.redaction import one_line, redact, visible
from airflow_provider_mosaic.clients.storage_errors import raise_unreadable

#: Bytes of one read. Local files upload faster with it than with less. In object storage each read is a request, and
#: more would cost memory.
_BLOCK_SIZE = 2 * 1024 * 1024
#: Fields in which storages report what changes with the content.
_VERSION_FIELDS = (
    "generation",
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "checksum",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
_IS_DIRECTORY = "it is a directory. Give one file; map the task over the files of a directory."


@dataclass(frozen=True, kw_only=True)
class Source:
    """
    A readable file of known size.

    :param name: File name, for the form; its suffix gives the media type.
    :param size: Bytes, at least one.
    :param stamp: Changes when the content changes.
    :param open: Opens a new stream at the first byte. The caller closes it.
    :param shown: The source in messages; a link without its query.
    :param read_stamp: Returns the stamp that a stream's file has now. None if a stream reads one version of the file.
    """

    name: str
    size: int
    stamp: str
    open: Callable[[], BinaryIO]
    shown: str
    read_stamp: Callable[[BinaryIO], str] | None = None


def local_source(path: str | os.PathLike[str]) -> Source:
    """Return a regular file on this machine as a source. Raise MosaicValidationError if it cannot be one."""
    try:
        file = Path(os.fspath(path))
    except TypeError:
        raise_invalid("source", path, f"it must be a path or a URL, not {type(path).__name__}.")
    shown = str(file)
    try:
        info = file.stat()
        if stat.S_ISDIR(info.st_mode):
            raise_invalid("source", shown, _IS_DIRECTORY)
        if not stat.S_ISREG(info.st_mode):
            raise_invalid("source", shown, "it is not a regular file.")
        with file.open("rb", buffering=0):
            pass
    except (OSError, ValueError) as error:
        raise_unreadable("source", shown, error, where=" on this worker")
    if not info.st_size:
        raise_invalid("source", shown, "it is empty.")
    return Source(
        name=file.name,
        size=info.st_size,
        stamp=_local_stamp(info),
        open=lambda: cast("BinaryIO", file.open("rb", buffering=0)),
        # A name that is not UTF-8 has half characters, which no log can hold.
        shown=visible(shown),
        # Of the open file: another one may have its name by now.
        read_stamp=lambda stream: _local_stamp(os.fstat(stream.fileno())),
    )


def _local_stamp(info: os.stat_result) -> str:
    return f"{info.st_size}:{info.st_mtime_ns}"


def storage_source(path: Any) -> Source:
    """
    Return a file in object storage as a source. It is read forward in ranges, and one range is in memory at a time.

    :param path: An ``ObjectStoragePath`` or another path of universal_pathlib; ``file://`` is a local file.
    """
    if (getattr(path, "protocol", "") or "file") in ("file", "local"):
        return local_source(getattr(path, "path", path))
    shown = redact(str(path))
    try:
        # The cached listing of an earlier task may be outdated.
        path.fs.invalidate_cache(path.parent.path)
        info = path.fs.info(path.path)
    except Exception as error:  # each storage raises its own
        raise_unreadable("source", shown, error, where=" on this worker")
    if info.get("type") == "directory":
        raise_invalid("source", shown, _IS_DIRECTORY)
    size = info.get("size")
    if size is None:
        raise_invalid("source", shown, "the storage does not report its size.")
    if not size:
        raise_invalid("source", shown, "it is empty.")

    def open_stream() -> BinaryIO:
        try:
            # fsspec's default cache reads ahead: 50 MiB at a time from S3.
            return cast("BinaryIO", path.open("rb", block_size=_BLOCK_SIZE, cache_type="none"))
        except TypeError:
            return cast("BinaryIO", path.open("rb"))

    def read_stamp(stream: BinaryIO) -> str:
        try:
            path.fs.invalidate_cache(path.parent.path)
            return _storage_stamp(path.fs.info(path.path))
        except Exception:
            # The whole file was read. It may have been deleted since.
            return stamp

    stamp = _storage_stamp(info)
    return Source(name=path.name, size=int(size), stamp=stamp, open=open_stream, shown=shown, read_stamp=read_stamp)


def _storage_stamp(info: Mapping[str, Any]) -> str:
    return f"{info.get('size')}:{next((str(info[field]) for field in _VERSION_FIELDS if info.get(field)), '')}"


def read_blocks(source: Source) -> Generator[memoryview, None, None]:
    """
    Yield the content of a source: exactly as many bytes as its size. A block is valid until the next one is read.

    :raises MosaicValidationError: The source changed since its size was read. It may be complete later.
    :raises MosaicTransportError: Reading it failed.
    """
    bytes_left = source.size
    try:
        stream = source.open()
    except MosaicError:
        raise
    except Exception as error:  # each storage raises its own
        raise _read_error(source.shown, error) from error
    with closing(stream):
        # A raw stream reads into one buffer. Other streams bring their own bytes.
        buffer = memoryview(bytearray(min(_BLOCK_SIZE, bytes_left))) if isinstance(stream, io.RawIOBase) else None
        while bytes_left:
            block = _read(source, stream, buffer, bytes_left)
            if not block:
                raise source_changed(
                    source.shown, f"it ended {bytes_left:,} bytes before the {source.size:,} that it had"
                )
            bytes_left -= len(block)
            yield block
            # Frees the block before the next one is read.
            block.release()
        if _read(source, stream, None, 1):
            raise source_changed(source.shown, f"it has more than the {source.size:,} bytes that it had")
        # A program that writes over the file in place leaves its size as it was.
        if source.read_stamp is not None and source.read_stamp(stream) != source.stamp:
            raise source_changed(source.shown, "its content is another one now")


def source_changed(shown: str, reason: str) -> MosaicValidationError:
    """Return the error for a source that changed during its upload. A retry can succeed."""
    return MosaicValidationError(
        f"source={shown!r}: it changed while it was being sent ({reason}). Upload it when it is complete.",
        transient=True,
    )


def _read(source: Source, stream: BinaryIO, buffer: memoryview | None, bytes_left: int) -> memoryview:
    try:
        if buffer is None:
            return memoryview(stream.read(min(bytes_left, _BLOCK_SIZE)))
        return buffer[: cast("io.RawIOBase", stream).readinto(buffer[:bytes_left]) or 0]
    except MosaicError:
        raise
    except Exception as error:  # each storage raises its own
        # fsspec's error for an object that was replaced since it was opened.
        if type(error).__name__ == "FileExpired":
            raise source_changed(source.shown, "it was replaced by another file") from error
        raise _read_error(source.shown, error) from error


def _read_error(shown: str, error: BaseException) -> MosaicTransportError:
    reason = one_line(str(error), longest=300)
    return MosaicTransportError(
        f"source={shown!r}: reading it failed ({type(error).__name__}: {reason}).", effect_unknown=False
    )
