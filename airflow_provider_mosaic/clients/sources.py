"""Where the bytes of an upload come from: a local file, object storage, or an open link. Each knows its size."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn, cast

import requests

from airflow_provider_mosaic.api.access import lowered
from airflow_provider_mosaic.api.arguments import raise_invalid, validate_url
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.link_policy import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.media_types import MEDIA_TYPES, suffix_of_type
from airflow_provider_mosaic.api.redaction import one_line, redact, visible
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.clients.destinations import check_room
from airflow_provider_mosaic.clients.progress import size_words
from airflow_provider_mosaic.clients.signed_urls import (
    TRANSFER_ERRORS,
    FileInfo,
    file_info,
    file_name_of,
    may_be_token,
    open_link,
    shown,
    transfer_error,
)
from airflow_provider_mosaic.clients.spool import Spool
from airflow_provider_mosaic.clients.storage_errors import is_missing, may_pass
from airflow_provider_mosaic.clients.storage_session import open_storage_session

#: One reading. From a local file 2 MiB make 1.5 of curl's throughput at half of its CPU (16 KiB: 0.6 of it); from
#: object storage each is a request of its own, and more would cost its size in memory.
_BLOCK = 2 * 1024 * 1024
#: What a link brings is copied once more; there less is better.
_LINK_BLOCK = 256 * 1024
#: The largest video that Mosaic documents (https://docs.mosaic.so/api/asset-management/upload-flow).
_MOST_SPOOLED = 5 * 1024**3
#: Where the storages say what changes with the content.
_CHANGES = (
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
#: Bytes between two looks at how much is free on disk.
_ROOM_CHECKED = 64 * 1024 * 1024
_SUFFIXES = frozenset(suffix for kind in MEDIA_TYPES.values() for suffix in kind)


@dataclass(frozen=True, kw_only=True)
class Source:
    """
    Something readable of known size.

    :param name: File name, for the form and for the suffix that says what it is.
    :param size: Bytes, more than none.
    :param stamp: Changes when the content changes.
    :param open: Opens a fresh stream from the beginning; who opens it closes it.
    :param shown: How it is named in messages; a link without its query.
    """

    name: str
    size: int
    stamp: str
    open: Callable[[], BinaryIO]
    shown: str


def local_source(path: str | os.PathLike[str]) -> Source:
    """
    A file on this machine.

    :param path: Its path.
    :raises MosaicValidationError: It is missing, a directory, empty, no plain file, or may not be read.
    """
    try:
        where = Path(os.fspath(path))
    except TypeError:
        raise_invalid("source", path, f"it must be a path or a URL, not {type(path).__name__}.")
    named = str(where)
    try:
        facts = where.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise_invalid(
                "source", named, "it is a directory. Give one file; map the task over the files of a directory."
            )
        if not stat.S_ISREG(facts.st_mode):
            raise_invalid("source", named, "it is not a plain file.")
        with where.open("rb", buffering=0):
            pass
    except (OSError, ValueError) as error:
        _refuse_unreadable(named, error)
    if not facts.st_size:
        raise_invalid("source", named, "it is empty.")
    return Source(
        name=where.name,
        size=facts.st_size,
        stamp=f"{facts.st_size}:{facts.st_mtime_ns}",
        open=lambda: cast("BinaryIO", where.open("rb", buffering=0)),
        # A name that is no UTF-8 has half characters in it, which no log can hold.
        shown=visible(named),
    )


def storage_source(path: Any) -> Source:
    """
    A file in object storage, read forward in ranges, of which no more than one is held.

    :param path: An ``ObjectStoragePath`` or any other path of universal_pathlib; ``file://`` is read as a local file.
    :raises MosaicValidationError: It is missing, a directory, empty, or may not be read.
    """
    if (getattr(path, "protocol", "") or "file") in ("file", "local"):
        return local_source(getattr(path, "path", path))
    named = redact(str(path))
    try:
        # A listing that is remembered from an earlier task may be out of date.
        path.fs.invalidate_cache(path.parent.path)
        facts = path.fs.info(path.path)
    except Exception as error:  # each kind of storage raises its own
        _refuse_unreadable(named, error)
    if facts.get("type") == "directory":
        raise_invalid("source", named, "it is a directory. Give one file; map the task over the files of a directory.")
    size = facts.get("size")
    if size is None:
        raise_invalid("source", named, "the storage does not say how large it is.")
    if not size:
        raise_invalid("source", named, "it is empty.")

    def opened() -> BinaryIO:
        try:
            # Left alone, fsspec reads ahead: 50 MiB at a time from S3.
            return cast("BinaryIO", path.open("rb", block_size=_BLOCK, cache_type="none"))
        except TypeError:
            return cast("BinaryIO", path.open("rb"))

    return Source(
        name=path.name,
        size=int(size),
        stamp=f"{size}:{next((str(facts[key]) for key in _CHANGES if facts.get(key)), '')}",
        open=opened,
        shown=named,
    )


def url_source(
    url: str,
    *,
    policy: LinkPolicy = PUBLIC,
    connect_timeout: float = 10.0,
    timeout: float = 60.0,
    max_bytes: int = _MOST_SPOOLED,
) -> Source:
    """
    A file behind an open link. It is asked for here, by a GET (a HEAD is often refused), and again for each stream.

    :param url: The link; it must be open to anyone who has it.
    :param policy: Where the link may redirect to; its own host may be anywhere.
    :param connect_timeout: Seconds to wait for a connection.
    :param timeout: Seconds to wait for the next byte.
    :param max_bytes: The most that is put on disk when the server does not say the length.
    :raises MosaicValidationError: It leads to nothing, to a web page, or to an empty file.
    :raises MosaicError: The server could not be reached, or failed.
    """
    validate_url("source", url)
    what = f"read source={shown(url)!r}"
    around = replace(policy, written=url)

    def ask() -> tuple[requests.Response, FileInfo]:
        try:
            # A closed session closes the connection of the response when that is closed.
            with open_storage_session(around) as session:
                response = open_link(session, url, what=what, connect_timeout=connect_timeout, timeout=timeout)
        except MosaicResponseError as error:
            raise MosaicValidationError(str(error)) from None
        try:
            return response, _checked_answer(url, response)
        except BaseException:
            response.close()
            raise

    response, facts = ask()
    with response:
        name = _name(url, response.url or url, facts)
        if facts.size is None:
            spool = _spooled(url, response, facts, max_bytes)
            return Source(
                name=name, size=spool.size, stamp=_stamp(spool.size, facts), open=spool.open, shown=shown(url)
            )
    stamp = _stamp(facts.size, facts)

    def opened() -> BinaryIO:
        again, now = ask()
        if now.size != facts.size or _stamp(facts.size or 0, now) != stamp:
            again.close()
            raise changed(shown(url), "it is another file now than when it was first asked for")
        return cast("BinaryIO", _LinkStream(url, again))

    return Source(name=name, size=facts.size, stamp=stamp, open=opened, shown=shown(url))


def blocks(source: Source) -> Iterator[memoryview]:
    """
    A source's bytes, exactly as many as it said. A block is good until the next one is asked for.

    :param source: The source.
    :raises MosaicValidationError: It has fewer or more bytes now; the same source may be whole later.
    :raises MosaicTransportError: It could not be read on.
    """
    left = source.size
    try:
        stream = source.open()
    except MosaicError:
        raise
    except Exception as error:  # each kind of storage raises its own
        raise _unreadable(source.shown, error) from error
    try:
        # A raw stream reads into one buffer; other ones bring their own bytes.
        buffer = memoryview(bytearray(min(_BLOCK, left))) if isinstance(stream, io.RawIOBase) else None
        while left:
            block = _read(source, stream, buffer, left)
            if not block:
                raise _ended(source, left)
            left -= len(block)
            yield block
            # Freed before the next one comes: two would count twice.
            block.release()
        if _read(source, stream, None, 1):
            raise changed(source.shown, f"it has more than the {source.size:,} bytes that it had")
    finally:
        stream.close()


def _ended(source: Source, left: int) -> MosaicValidationError:
    return changed(source.shown, f"it ended {left:,} bytes before the {source.size:,} that it had")


def changed(named: str, how: str) -> MosaicValidationError:
    """
    The error for a source that changed while it was sent: it is wrong now, and may be whole later.

    :param named: The source, as it may be shown.
    :param how: What was seen.
    """
    return MosaicValidationError(
        f"source={named!r}: it changed while it was being sent ({how}). Upload it when it is complete.", transient=True
    )


def _read(source: Source, stream: BinaryIO, buffer: memoryview | None, left: int) -> memoryview:
    try:
        if buffer is None:
            return memoryview(stream.read(min(left, _BLOCK)))
        return buffer[: cast("io.RawIOBase", stream).readinto(buffer[:left]) or 0]
    except MosaicError:
        raise
    except Exception as error:  # each kind of storage raises its own
        # fsspec's own name for an object that was replaced since it was opened.
        if type(error).__name__ == "FileExpired":
            raise changed(source.shown, "another file is in its place") from error
        raise _unreadable(source.shown, error) from error


def _unreadable(named: str, error: BaseException) -> MosaicTransportError:
    words = one_line(str(error), longest=300)
    return MosaicTransportError(
        f"source={named!r}: it could not be read to its end ({type(error).__name__}: {words}).",
        effect_unknown=False,
    )


def _refuse_unreadable(named: str, error: BaseException) -> NoReturn:
    """Raise for a source that can't be read: an error that may pass is transient."""
    if isinstance(error, MosaicError):
        raise error
    words = f"{type(error).__name__}: {one_line(str(error), longest=300)}"
    if may_pass(error):
        raise MosaicTransportError(
            f"source={named!r}: it could not be read ({words}). Nothing was sent; the error may pass, so a retry "
            "tries again.",
            effect_unknown=False,
        ) from error
    if isinstance(error, NotADirectoryError):
        raise_invalid(
            "source", named, "there is no such file, as seen from this worker: a file stands where a folder should."
        )
    if is_missing(error):
        raise_invalid("source", named, "there is no such file, as seen from this worker.")
    if isinstance(error, PermissionError):
        raise_invalid("source", named, f"this worker may not read it ({words}).")
    raise_invalid("source", named, f"it can't be read ({words}).")


def _checked_answer(url: str, response: requests.Response) -> FileInfo:
    status = response.status_code
    named = shown(url)
    if status in (404, 410):
        raise_invalid("source", named, f"there is nothing there (the server answered {status}).")
    if status in (401, 403):
        raise_invalid(
            "source", named, f"the server does not hand it out ({status}). Its link must be open, and not have expired."
        )
    if status == 429 or status >= 500 or status in (408, 425):
        kind = MosaicRateLimitError if status == 429 else MosaicServerError
        raise kind(
            f"source={named!r}: the server answered {status}; it may pass.",
            status=status,
            method="GET",
            effect_unknown=False,
            retry_after=Response(status, lowered(response.headers)).retry_after(),
        )
    if status != 200:
        raise_invalid("source", named, f"the server answered {status} instead of the file.")
    facts = file_info(response)
    if facts.page:
        raise_invalid("source", named, "it leads to a web page, not to a file. Give the link of the file itself.")
    if facts.playlist:
        raise_invalid(
            "source", named, "it leads to a streaming playlist (HLS or DASH), not to a file. Nothing was sent."
        )
    if facts.encoded:
        raise_invalid("source", named, f"the server sends it only compressed ({facts.encoded}).")
    if facts.size == 0:
        raise_invalid("source", named, "it is empty.")
    return facts


def _spooled(url: str, response: requests.Response, facts: FileInfo, max_bytes: int) -> Spool:
    named = shown(url)
    if not facts.delimited:
        raise_invalid("source", named, "the server does not say how long it is, nor where it ends.")
    try:
        spool = Spool()
    except OSError as error:
        raise _no_room(named, error) from error
    stream = _LinkStream(url, response)
    buffer = memoryview(bytearray(_LINK_BLOCK))
    checked = 0
    while count := stream.readinto(buffer):
        if spool.size + count > max_bytes:
            raise_invalid("source", named, f"it is larger than {size_words(max_bytes)} ({max_bytes:,} bytes).")
        try:
            spool.write(buffer[:count])
            if spool.size - checked >= _ROOM_CHECKED:
                check_room(Path(tempfile.gettempdir()), None)
                checked = spool.size
        except OSError as error:
            raise _no_room(named, error) from error
    if not spool.size:
        raise_invalid("source", named, "it is empty.")
    return spool


def _no_room(named: str, error: OSError) -> MosaicValidationError:
    return MosaicValidationError(
        f"source={named!r}: its length is only known at its end, and there is no room for it in the temporary "
        f"directory (TMPDIR) of this worker ({error.strerror or error}). Nothing was sent. Free some.",
        transient=True,
    )


class _LinkStream(io.RawIOBase):
    """The body of an answer, as it comes, never decoded."""

    def __init__(self, url: str, response: requests.Response) -> None:
        self._url = url
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data: bytes = self._response.raw.read(min(len(buffer), _LINK_BLOCK), decode_content=False)
        except TRANSFER_ERRORS as error:
            raise transfer_error(error, what=f"read source={shown(self._url)!r}", method="GET", url=self._url) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


def _stamp(size: int, facts: FileInfo) -> str:
    return f"{size}:{facts.etag or facts.modified}"


def _name(url: str, landed: str, facts: FileInfo) -> str:
    """The first name that says what the file is; else the first one, with the suffix of the media type."""
    given = (file_name_of(url), facts.file_name, file_name_of(landed))
    names = [name for name in given if name and not may_be_token(name)]
    for name in names:
        if PurePosixPath(name).suffix.lower() in _SUFFIXES:
            return name
    first, suffix = (names[0] if names else "source"), suffix_of_type(facts.media_type)
    return first if first.lower().endswith(suffix) else first + suffix
