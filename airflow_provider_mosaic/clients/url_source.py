"""An upload that is read from a URL."""

from __future__ import annotations

import io
import os
import re
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import requests

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_url
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicValidationError
from airflow_provider_mosaic.api.link_policy import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.media_types import MEDIA_TYPES, suffix_of_type
from airflow_provider_mosaic.api.redaction import MASK, looks_random, one_line
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.clients.destinations.local import SPACE_CHECK_INTERVAL, check_free_space
from airflow_provider_mosaic.clients.file_info import FileInfo, file_info, file_name_of
from airflow_provider_mosaic.clients.progress import format_size
from airflow_provider_mosaic.clients.signed_urls import open_storage_session, open_url, origin, transfer_errors
from airflow_provider_mosaic.clients.sources import Source, source_changed
from airflow_provider_mosaic.clients.storage_responses import ErrorResponse

#: Bytes of one read. requests copies each block, so smaller ones are faster here.
_BLOCK_SIZE = 256 * 1024
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
    stamp = _stamp(info.size, info)

    def open_stream() -> BinaryIO:
        response, current = request()
        if current.size != info.size or _stamp(current.size, current) != stamp:
            response.close()
            raise source_changed(shown, "the URL leads to another file now")
        return cast("BinaryIO", _ResponseStream(shown, url, response))

    return Source(name=name, size=info.size, stamp=stamp, open=open_stream, shown=shown)


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
        with transfer_errors(action=f"read source={self._shown!r}", method="GET", url=self._url):
            data: bytes = self._response.raw.read(min(len(buffer), _BLOCK_SIZE), decode_content=False)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


def _spool(shown: str, stream: _ResponseStream, max_bytes: int) -> tuple[int, Callable[[], BinaryIO]]:
    """Save a body of unknown size. Return its size, and a function that opens it: for one stream at a time."""
    buffer = memoryview(bytearray(_BLOCK_SIZE))
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
