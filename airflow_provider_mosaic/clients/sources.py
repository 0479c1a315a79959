"""Where an upload is read from: a local file, object storage or a URL. Each source knows its size."""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import requests

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_url
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicResponseError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.file_links import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.media_types import MEDIA_TYPES, suffix_of_type
from airflow_provider_mosaic.api.redaction import MASK, looks_random, one_line, redact, visible
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.clients.destinations import SPACE_CHECK_INTERVAL, check_free_space
from airflow_provider_mosaic.clients.progress import format_size
from airflow_provider_mosaic.clients.signed_urls import (
    open_storage_session,
    open_url,
    origin,
    response_secrets,
    transfer_errors,
)
from airflow_provider_mosaic.clients.storage_errors import raise_unreadable
from airflow_provider_mosaic.clients.storage_responses import ErrorResponse, FileInfo, file_info, file_name_of

#: Bytes of one read. Local files upload faster with it than with less. In object storage each read is a request, and
#: more would cost memory.
_BLOCK_SIZE = 2 * 1024 * 1024
#: Fields in which storages report what changes with the content.
_VERSION_FIELDS = (
    "generation", "ETag", "etag", "md5Hash", "md5", "checksum", "LastModified", "last_modified", "mtime",
    "modificationTime", "modify", "modified", "created",
)  # fmt: skip
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
        # A name that is not UTF-8 can't be written to a log.
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
            raise source_changed(source.shown, "its content changed")


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


# A URL

#: Bytes of one read. requests copies each block, so smaller ones are faster here.
_RESPONSE_BLOCK_SIZE = 256 * 1024
#: The largest video that Mosaic documents (https://docs.mosaic.so/api/asset-management/upload-flow).
_MAX_SPOOLED = 5 * 1024**3
_PARAMETERS = re.compile(r"[?#;].*", re.DOTALL)
_SUFFIXES = frozenset(suffix for suffixes in MEDIA_TYPES.values() for suffix in suffixes)


def url_source(
    url: str,
    *,
    policy: LinkPolicy = PUBLIC,
    timeout: float = 60.0,
    max_bytes: int = _MAX_SPOOLED,
) -> Source:
    """
    Return a file behind a URL as a source. It is requested here by GET (servers often reject HEAD), and for each read.

    :param url: A URL that needs no credentials.
    :param policy: Where the URL may redirect to. The host of the URL itself may be anywhere.
    :param max_bytes: The most that is saved on disk if the server does not report the size.
    """
    validate_url("source", url)
    shown = _shown_url(url)
    source_policy = replace(policy, written=url)

    def request() -> tuple[requests.Response, FileInfo]:
        try:
            # The connection of the response outlives its session.
            with open_storage_session(source_policy) as session:
                response = open_url(session, url, action=f"read source={shown!r}", timeout=timeout)
        except MosaicResponseError as error:
            raise MosaicValidationError(str(error)) from None
        try:
            return response, _validated_info(shown, response)
        except BaseException:
            response.close()
            raise

    response, info = request()
    with response:
        name = _choose_name(url, response.url or url, info)
        if info.size is None:
            size, open_spooled = _spool(shown, _ResponseStream(shown, url, response), max_bytes)
            return Source(name=name, size=size, stamp=_stamp(size, info), open=open_spooled, shown=shown)

    def open_stream() -> BinaryIO:
        response, current = request()
        # Not Last-Modified: some servers send the time of the response.
        has_other_tag = info.etag and current.etag and current.etag != info.etag
        if current.size != info.size or has_other_tag:
            response.close()
            raise source_changed(shown, "the URL leads to another file now")
        return cast("BinaryIO", _ResponseStream(shown, url, response))

    return Source(name=name, size=info.size, stamp=_stamp(info.size, info), open=open_stream, shown=shown)


def _validated_info(shown: str, response: requests.Response) -> FileInfo:
    status = response.status_code
    if status in (404, 410):
        raise_invalid("source", shown, f"there is nothing there (the server returned {status}).")
    if status in (401, 403):
        raise_invalid(
            "source",
            shown,
            f"the server denies access ({status}). The URL must need no credentials and must not have expired.",
        )
    if kind := ErrorResponse(status=status).transient_kind:
        raise kind(
            f"source={shown!r}: the server returned {status}. Nothing was sent. A retry may succeed.",
            status=status,
            method="GET",
            effect_unknown=False,
            retry_after=Response(status, response.headers).retry_after(),
        )
    if status != 200:
        raise_invalid("source", shown, f"the server returned {status} instead of the file.")
    info = file_info(response)
    if info.problem:
        raise_invalid("source", shown, f"the server {info.problem}. Nothing was sent. Give the URL of the file itself.")
    if info.size == 0:
        raise_invalid("source", shown, "it is empty.")
    return info


class _ResponseStream(io.RawIOBase):
    """Read the body of a response without decoding it."""

    def __init__(self, shown: str, url: str, response: requests.Response) -> None:
        self._shown = shown
        self._url = url
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        secrets = response_secrets(self._response)
        with transfer_errors(action=f"read source={self._shown!r}", method="GET", url=self._url, secrets=secrets):
            data: bytes = self._response.raw.read(min(len(buffer), _RESPONSE_BLOCK_SIZE), decode_content=False)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


def _spool(shown: str, stream: _ResponseStream, max_bytes: int) -> tuple[int, Callable[[], BinaryIO]]:
    """Save a body of unknown size. Return its size, and a function that opens it: for one stream at a time."""
    buffer = memoryview(bytearray(_RESPONSE_BLOCK_SIZE))
    size = checked = 0
    try:
        # A file without a name, so that nothing is left if the process is killed.
        file = tempfile.TemporaryFile(prefix="mosaic-", buffering=0)  # noqa: SIM115 - it lives as long as open_stream

        def open_stream() -> BinaryIO:
            opened = os.fdopen(os.dup(file.fileno()), "rb", buffering=0)
            opened.seek(0)
            return cast("BinaryIO", opened)

        weakref.finalize(open_stream, file.close)
        while count := stream.readinto(buffer):
            size += count
            if size > max_bytes:
                raise_invalid("source", shown, f"it is larger than {format_size(max_bytes)} ({max_bytes:,} bytes).")
            data = buffer[:count]
            while data:
                data = data[file.write(data) :]
            if size - checked >= SPACE_CHECK_INTERVAL:
                check_free_space(Path(tempfile.gettempdir()), None)
                checked = size
    except OSError as error:
        raise MosaicValidationError(
            f"source={shown!r}: the server does not report its size, and there is no room for it in the temporary "
            f"directory (TMPDIR) of this worker ({error.strerror or error}). Nothing was sent. Free some disk space.",
            transient=True,
        ) from error
    if not size:
        raise_invalid("source", shown, "it is empty.")
    return size, open_stream


def _stamp(size: int | None, info: FileInfo) -> str:
    # Where Last-Modified is new in each response, a retry of the task uploads the file again.
    return f"{size}:{info.etag or info.modified}"


def _choose_name(url: str, final_url: str, info: FileInfo) -> str:
    """Return the first name with a media suffix; else the first name, with the suffix of the media type."""
    candidates = (file_name_of(url), info.file_name, file_name_of(final_url))
    names = [name for name in candidates if name and not _may_be_token(name)]
    for name in names:
        if PurePosixPath(name).suffix.lower() in _SUFFIXES:
            return name
    first, suffix = (names[0] if names else "source"), suffix_of_type(info.media_type)
    return first if first.lower().endswith(suffix) else first + suffix


def _shown_url(url: str) -> str:
    """Return a URL without its signature: no query, password or fragment, and no token in its path."""
    path = _PARAMETERS.sub("", url).partition("://")[2].partition("/")[2]
    parts = [MASK if _may_be_token(part) else part for part in path.split("/")]
    return one_line("/".join([origin(url), *parts]), longest=500)


def _may_be_token(part: str) -> bool:
    """Return whether a part of a path may be a token: long, without a suffix, and not made of words."""
    return "." not in part and (len(part) >= 24 or looks_random(part))
