"""
Download files from signed URLs, in constant memory. A failed download resumes, and a file appears only when complete.

A signed URL expires, so the functions take a callable that returns a fresh one at each call. Their options are those of
:class:`~airflow_provider_mosaic.clients.signed_url_reader.SignedUrlReader`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import requests

from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.metrics import BYTES_DOWNLOADED, count
from airflow_provider_mosaic.clients.destinations import Destination, PartialFile
from airflow_provider_mosaic.clients.progress import TransferProgress, format_size
from airflow_provider_mosaic.clients.signed_url_reader import Interrupted, ReaderOptions, SignedUrlReader
from airflow_provider_mosaic.clients.storage_responses import FileInfo, file_info, problem_of_content

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger(__name__)

__all__ = ["FileInfo", "fetch", "measure", "read_file_info"]

_BLOCK_SIZE = 1024 * 1024
#: For slow connections: a connection error loses the block that is being read.
_SMALL_BLOCK_SIZE = 32 * 1024
#: Seconds for a large block above which a connection counts as slow.
_SLOW = 0.5
#: Bytes of a file. A body of unknown size may be endless, so its limit is lower.
_MAX_SIZE = 256 * 1024**3
_MAX_UNKNOWN_SIZE = 16 * 1024**3


def read_file_info(get_url: Callable[[], str], **options: Unpack[ReaderOptions]) -> FileInfo:
    """Return size, media type and name of a file without downloading it."""
    with SignedUrlReader(get_url=get_url, action="read the headers of an output", **options) as reader:
        while True:
            try:
                # Signed URLs permit GET and reject HEAD. The response with one byte has the size too.
                with reader.request({"Range": "bytes=0-0"}) as response:
                    if response.status_code == 416:
                        return FileInfo(size=0)
                    info = file_info(response)
                    if info.problem:
                        reader.raise_not_a_file(info.problem, response.status_code)
                    return info
            except Interrupted as interruption:
                reader.wait_to_retry(interruption, has_new_bytes=False)


def fetch(
    get_url: Callable[[], str],
    destination: Destination,
    *,
    before_commit: Callable[[int], None] = lambda size: None,
    **options: Unpack[ReaderOptions],
) -> int:
    """
    Download a whole file, or leave nothing.

    After an interruption the download resumes, with a fresh URL if the old one has expired. It starts again if the host
    has another file by then, or cannot resume.

    :param before_commit: Called with the bytes of the complete file before it appears. It may raise.
    :returns: Bytes of the file.
    """
    with SignedUrlReader(get_url=get_url, action=f"download {destination.name!r}", **options) as reader:
        return _Download(reader, destination).run(before_commit)


def measure(get_url: Callable[[], str], *, max_bytes: int, **options: Unpack[ReaderOptions]) -> int | None:
    """
    Return the size of a file whose host does not report it; None if it is above the limit.

    The file is downloaded and not saved.

    :param max_bytes: Bytes after which the download stops.
    """
    with SignedUrlReader(get_url=get_url, action="measure an output", **options) as reader:
        try:
            return _Download(reader, _Measurement(max_bytes)).run()
        except _TooLong:
            return None


class _TooLong(MosaicError):  # noqa: N818 - internal to this module
    """The file is longer than the limit of the measurement."""


class _Measurement(Destination, PartialFile):
    """Counts bytes and saves none."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(name="an output, only measured", shown="nowhere")
        self._max_bytes = max_bytes
        self._bytes_left = 0

    def open(self, size: int | None) -> PartialFile:
        self._bytes_left = self._max_bytes
        return self

    def write(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise _TooLong("The file is longer than the limit.")

    def commit(self) -> None:
        pass

    def discard(self) -> None:
        pass


class _Download:
    """One download, in one request or several."""

    def __init__(self, reader: SignedUrlReader, destination: Destination) -> None:
        self._reader = reader
        self._destination = destination
        self._progress = TransferProgress(destination.name, log.info)
        self._file: PartialFile | None = None
        self._info: FileInfo | None = None
        self._received = 0
        #: The most that was received before a restart.
        self._most_received = 0

    def run(self, before_commit: Callable[[int], None] = lambda size: None) -> int:
        try:
            while True:
                before = self._most_received
                try:
                    with self._reader.request(self._range_headers()) as response:
                        file = self._open_file(response)
                        self._receive(response, file)
                    break
                except Interrupted as interruption:
                    # A host that is too slow brings new bytes each time, and would get a hundred requests.
                    has_new_bytes = self._most_received > before and not interruption.too_slow
                    self._reader.wait_to_retry(interruption, has_new_bytes=has_new_bytes)
            before_commit(self._received)
            with self._destination.errors():
                file.commit()
        except BaseException:
            self._discard()
            raise
        self._progress.finish(self._received)
        count(BYTES_DOWNLOADED, by=self._received)
        return self._received

    def _range_headers(self) -> dict[str, str]:
        """Return headers that resume the download, if the host can show that its file is the same."""
        info = self._info
        if not self._received or info is None or not (info.etag or (info.size is not None and info.modified)):
            return {}
        headers = {"Range": f"bytes={self._received}-"}
        if info.etag:
            headers["If-Range"] = info.etag
        return headers

    def _open_file(self, response: requests.Response) -> PartialFile:
        """Return the partial file for a response: the present one for the rest of the same file, else an empty one."""
        status = response.status_code
        if status == 416:
            raise self._restart("has fewer bytes now than were downloaded")
        info = file_info(response)
        if info.problem:
            self._reader.raise_not_a_file(info.problem, status)
        if info.start != (self._received if status == 206 else 0):
            raise self._restart("sent another range than the requested one")
        if status == 206:
            before = self._info
            if before is None or not self._received or self._file is None:
                raise self._restart("sent a range without a request for it")
            if _is_other_file(before, info):
                raise self._restart("has another file now")
            if before.size is None:
                self._save_size(before, info.size, status)
            return self._file
        if info.size == 0:
            self._reader.raise_not_a_file("sent an empty file", status)
        if info.size is not None and info.size > _MAX_SIZE:
            self._reader.raise_not_a_file(f"announced {info.size:,} bytes, more than any output has", status)
        # A new file also after a restart: the destination checks its space and chooses its parts by the size.
        self._discard()
        with self._destination.errors(started=self._most_received > 0):
            self._file = self._destination.open(info.size)
        self._info = info
        self._progress.total = info.size
        return self._file

    def _save_size(self, before: FileInfo, size: int | None, status: int) -> None:
        """Save the size of a file that started without one. A 206 may contain less than the rest."""
        if size is None:
            raise self._restart("does not report the size of its file, so that its end is unknown")
        if size > _MAX_UNKNOWN_SIZE:
            self._reader.raise_not_a_file(f"sent a file of {format_size(size)} without a length", status)
        self._info = replace(before, size=size)
        self._progress.total = size

    def _restart(self, problem: str) -> Interrupted:
        self._discard()
        return self._reader.interruption(problem)

    def _discard(self) -> None:
        if self._file is not None:
            self._file.discard()
        self._file = self._info = None
        self._received = 0

    def _receive(self, response: requests.Response, file: PartialFile) -> None:
        size = self._info.size if self._info else None
        limit = _MAX_UNKNOWN_SIZE if size is None else size
        block_size = _SMALL_BLOCK_SIZE
        while self._received <= limit:
            started = time.monotonic()
            block = self._reader.read(response, block_size)
            if not block:
                break
            if not self._received and (problem := problem_of_content(block)):
                self._reader.raise_not_a_file(problem, response.status_code)
            is_fast = time.monotonic() - started < _SLOW * len(block) / _BLOCK_SIZE
            block_size = _BLOCK_SIZE if is_fast else _SMALL_BLOCK_SIZE
            with self._destination.errors():
                file.write(block)
            self._received += len(block)
            # Frees the block before the next one is read.
            del block
            if self._received <= limit:
                self._most_received = max(self._most_received, self._received)
                self._progress.update(self._received)
        if size is None and self._received > limit:
            self._reader.raise_not_a_file(f"sent more than {format_size(limit)} without a length", response.status_code)
        # A 206 may contain a part of the rest. urllib3 1.26 reports no error for an incomplete body.
        if size is not None and self._received < size:
            raise self._reader.interruption(f"sent {self._received:,} of {size:,} bytes")
        if size is not None and self._received > size:
            raise self._restart(f"sent {self._received:,} bytes instead of {size:,}")
        if not self._received:
            self._reader.raise_not_a_file("sent an empty file", response.status_code)


def _is_other_file(before: FileInfo, now: FileInfo) -> bool:
    return (
        (bool(before.etag) and before.etag != now.etag)
        or (bool(before.modified) and before.modified != now.modified)
        or (now.size is not None and before.size is not None and now.size != before.size)
    )
