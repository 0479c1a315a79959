"""
Files from signed links, in constant memory, gone on with where they broke, and there only when they are whole.

A link expires: whoever asks for a file gives a way to a fresh link, not a link. Storage hosts say "expired" with any of
400, 401, 403, 404 and 410.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

import requests

from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.link_policy import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.destinations import Part, Target, local_target, null_target, storage_target
from airflow_provider_mosaic.clients.error_mapper import AnswerTooSlow
from airflow_provider_mosaic.clients.progress import Progress, ProgressLines, size_words
from airflow_provider_mosaic.clients.signed_urls import (
    TRANSFER_ERRORS,
    FileInfo,
    begins_playlist,
    file_info,
    open_link,
    origin,
    transfer_error,
)
from airflow_provider_mosaic.clients.storage_responses import refusal_in
from airflow_provider_mosaic.clients.storage_session import open_storage_session

__all__ = ["FileInfo", "Target", "fetch", "fetched_size", "local_target", "measure", "read_file_info", "storage_target"]

_BLOCK = 1024 * 1024
#: On a slow line: what has come of a block is lost when the line breaks within it.
_SMALL_BLOCK = 32 * 1024
_SLOW = 0.5
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_MOST_RENEWALS = 3
#: Breaks in all. A line that gives a few bytes each time would otherwise go on for ever.
_MOST_BREAKS = 100
#: The largest file that is fetched. A body without a length may have no end, and is given up earlier.
_LARGEST = 256 * 1024**3
_LARGEST_WITHOUT_LENGTH = 16 * 1024**3


class _Broken(Exception):  # noqa: N818 - it never leaves this module
    """What may be gone on with after a pause."""

    def __init__(self, error: MosaicError, *, too_slow: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.too_slow = too_slow


def fetch(
    link: Callable[[], str],
    target: Target,
    *,
    policy: LinkPolicy = PUBLIC,
    progress: Callable[[Progress], None] | None = None,
    connect_timeout: float = 10.0,
    timeout: float = 60.0,
    retries: RetryPolicy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """
    Fetch a file whole, or leave nothing.

    A connection that breaks is followed by another one that goes on from there, and a link that expired by a fresh
    one; where the file is another one by then, or the server can't go on, it is begun anew.

    :param link: Gives a link, a fresh one each time.
    :param target: Where the file goes.
    :param policy: Where the link, and what it redirects to, may lead.
    :param progress: Gets a look at the transfer now and then, and one at its end.
    :param connect_timeout: Seconds to wait for a connection.
    :param timeout: Seconds to wait for the next byte; the lowest rate is measured over as many.
    :param retries: How many breaks in a row without a new byte, and the pauses between them.
    :param sleep: Waits between two tries.
    :return: Bytes of the file.
    :raises MosaicError: The kind that says what to do about it.
    """
    with open_storage_session(policy) as session:
        way = _SignedUrlReader(
            link, session, f"fetch {target.name!r}", connect_timeout, timeout, retries or RetryPolicy(), sleep
        )
        download = _Download(way, target, ProgressLines(name=target.name, total=None, told=progress))
        return download.run()


def read_file_info(
    link: Callable[[], str],
    *,
    policy: LinkPolicy = PUBLIC,
    connect_timeout: float = 10.0,
    timeout: float = 60.0,
    retries: RetryPolicy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> FileInfo:
    """
    What is behind a link: size, media type, name. The file itself is not fetched.

    :param link: Gives a link, a fresh one each time.
    :param policy: Where the link, and what it redirects to, may lead.
    :raises MosaicError: The kind that says what to do about it.
    """
    with open_storage_session(policy) as session:
        way = _SignedUrlReader(
            link, session, "look at an output", connect_timeout, timeout, retries or RetryPolicy(), sleep
        )
        while True:
            try:
                # Signed links are signed for GET, and refuse HEAD; one byte tells the length too.
                with way.ask({"Range": "bytes=0-0"}) as response:
                    if response.status_code == 416:
                        return FileInfo(size=0)
                    facts = file_info(response)
                    way.refuse_strange(response, facts)
                    return facts
            except _Broken as broken:
                way.pause(broken, new=False)


def fetched_size(link: Callable[[], str], *, policy: LinkPolicy = PUBLIC) -> int | None:
    """
    Bytes that a link leads to, to compare with a file that is there.

    :param link: Gives a link, a fresh one each time.
    :param policy: Where the link, and what it redirects to, may lead.
    :return: Bytes; None when the server does not say.
    :raises MosaicError: The kind that says what to do about it.
    """
    return read_file_info(link, policy=policy).size


def measure(
    link: Callable[[], str],
    *,
    most: int,
    policy: LinkPolicy = PUBLIC,
    progress: Callable[[Progress], None] | None = None,
    connect_timeout: float = 10.0,
    timeout: float = 60.0,
    retries: RetryPolicy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """
    Return the bytes of a file whose length is not told beforehand: it is fetched and kept nowhere.

    :param link: Gives a link, a fresh one each time.
    :param most: The length of interest: no more is fetched.
    :param policy: Where the link, and what it redirects to, may lead.
    :param progress: Gets a look at the transfer now and then, and one at its end.
    :return: Bytes; None when there are more than ``most``.
    :raises MosaicError: The kind that says what to do about it.
    """
    with open_storage_session(policy) as session:
        way = _SignedUrlReader(
            link, session, "measure an output", connect_timeout, timeout, retries or RetryPolicy(), sleep
        )
        lines = ProgressLines(name="an output, only measured", total=None, told=progress)
        try:
            return _Download(way, null_target(), lines, most=most).run()
        except _Longer:
            return None


class _Longer(Exception):  # noqa: N818 - it never leaves this module
    """The file has more bytes than are of interest."""


class _SignedUrlReader:
    """The way to a file: links while they last, and pauses while it is broken."""

    def __init__(
        self,
        link: Callable[[], str],
        session: requests.Session,
        what: str,
        connect_timeout: float,
        timeout: float,
        retries: RetryPolicy,
        sleep: Callable[[float], None],
    ) -> None:
        self._link = link
        self._session = session
        self._timeouts = {"connect_timeout": connect_timeout, "timeout": timeout}
        self._retries = retries
        self._sleep = sleep
        self._url: str | None = None
        self._renewals = 0
        self._breaks = 0
        self._all_breaks = 0
        self.what = what

    @property
    def host(self) -> str:
        """The host that is asked."""
        return origin(self._url or "")

    def ask(self, headers: dict[str, str]) -> requests.Response:
        """
        Ask with the link that we have, or with a fresh one where it is refused.

        :param headers: ``Range`` and its conditions.
        :return: A 200, a 206 or a 416; the caller closes it.
        """
        while True:
            if self._url is None:
                self._url = self._link()
            try:
                response = open_link(self._session, self._url, what=self.what, headers=headers, **self._timeouts)
            except MosaicTransportError as error:
                if not error.transient:
                    raise
                raise _Broken(error) from None
            status = response.status_code
            if status in (200, 206) or (status == 416 and "Range" in headers):
                return response
            with response:
                if status in _EXPIRED and self._renewals < _MOST_RENEWALS:
                    self._renewals += 1
                    self._url = None
                    continue
                raise self._refused(response)

    def moved(self) -> None:
        """New bytes came: the way is good again."""
        self._renewals = self._breaks = 0

    def pause(self, broken: _Broken, *, new: bool) -> None:
        """
        Wait before the next try.

        :param broken: How the last one ended.
        :param new: Whether it brought new bytes.
        :raises MosaicError: These were enough.
        """
        if new:
            self.moved()
        self._breaks += 1
        self._all_breaks += 1
        if self._breaks >= self._retries.attempts or self._all_breaks >= _MOST_BREAKS:
            raise broken.error from None
        self._sleep(self._retries.pause_within_budget(self._breaks, broken.error))

    def broke(self, error: BaseException) -> _Broken:
        """The break that an error of the HTTP library is."""
        return _Broken(
            transfer_error(error, what=self.what, method="GET", url=self._url or ""),
            # urllib3 makes an error of its own of it.
            too_slow=isinstance(error.__context__, AnswerTooSlow),
        )

    def cut_short(self, how: str) -> _Broken:
        """A break that only we noticed."""
        return _Broken(MosaicTransportError(f"Could not {self.what}: {self.host} {how}.", method="GET", path=self.host))

    def refuse_strange(self, response: requests.Response, facts: FileInfo) -> None:
        """
        Refuse an answer that is no file.

        :raises MosaicResponseError: It is a web page, or compressed, or its end can't be told.
        """
        if facts.page:
            self._unreadable("answered an HTML page, as a proxy or a login page would send", response.status_code)
        if facts.playlist:
            self.refuse_playlist(response.status_code)
        if facts.encoded:
            self._unreadable(f"sent it compressed ({facts.encoded}), unasked", response.status_code)
        if not facts.delimited:
            self._unreadable("sent it without its length, so that its end can't be told", response.status_code)

    def refuse_playlist(self, status: int) -> NoReturn:
        """Refuse a list of pieces to play: as a file, it would pass for the video."""
        self._unreadable(
            "sent a streaming playlist (HLS or DASH), which lists the pieces of a video and is no video. Nothing was "
            "saved. Open the output in Mosaic, or fetch the pieces with a tool for streams such as ffmpeg",
            status,
        )

    def _unreadable(self, how: str, status: int) -> NoReturn:
        raise MosaicResponseError(
            f"Could not {self.what}: {self.host} {how}.",
            status=status,
            method="GET",
            path=self.host,
            effect_unknown=False,
        )

    def _refused(self, response: requests.Response) -> Exception:
        refusal = refusal_in(response)
        status = refusal.status
        head = f"Could not {self.what}: {self.host} answered {refusal.words}"
        facts: dict[str, Any] = {
            "status": status,
            "method": "GET",
            "path": self.host,
            "detail": refusal.message or None,
            "retry_after": refusal.retry_after,
            "effect_unknown": False,
        }
        if status == 429:
            return _Broken(MosaicRateLimitError(f"{head}.", **facts))
        if status >= 500 or status in (408, 425):
            return _Broken(MosaicServerError(f"{head}; it may pass.", **facts))
        if status in (404, 410):
            return MosaicNotFoundError(f"{head}, to {self._renewals} fresh links too: the file is gone.", **facts)
        if status in _EXPIRED:
            return MosaicPermissionError(f"{head}, to {self._renewals} fresh links too.", **facts)
        return MosaicResponseError(f"{head} instead of a file.", **facts)


class _Download:
    """One file on its way: what is there of it, and what it must still be to be the same file."""

    def __init__(self, way: _SignedUrlReader, target: Target, lines: ProgressLines, *, most: int | None = None) -> None:
        self._way = way
        self._longest = most
        self._target = target
        self._lines = lines
        self._part: Part | None = None
        self._facts: FileInfo | None = None
        self._received = 0
        self._most = 0

    def run(self) -> int:
        try:
            while True:
                before = self._most
                try:
                    with self._way.ask(self._conditions()) as response:
                        part = self._placed(response)
                        self._receive(response, part)
                    break
                except _Broken as broken:
                    # Few bytes a try would otherwise be worth a hundred tries.
                    self._way.pause(broken, new=self._most > before and not broken.too_slow)
            part.commit()
        except BaseException:
            if self._part is not None:
                self._part.discard()
            raise
        self._lines.finish(self._received)
        return self._received

    def _conditions(self) -> dict[str, str]:
        """Go on only where the server can be held to the same file."""
        facts = self._facts
        if not self._received or facts is None or not (facts.etag or (facts.size is not None and facts.modified)):
            return {}
        conditions = {"Range": f"bytes={self._received}-"}
        if facts.etag:
            conditions["If-Range"] = facts.etag
        return conditions

    def _placed(self, response: requests.Response) -> Part:
        """Bring what is there and what is coming together."""
        if response.status_code == 416:
            raise self._anew("has less of it now than was fetched")
        now = file_info(response)
        self._way.refuse_strange(response, now)
        if now.start != (self._received if response.status_code == 206 else 0):
            raise self._anew("sent another part of it than the one that was asked for")
        if response.status_code == 206:
            before = self._facts
            if before is None or not self._received:
                raise self._anew("sent a part of it unasked")
            if (
                _differs(before.etag, now.etag)
                or _differs(before.modified, now.modified)
                or (now.size is not None and before.size is not None and now.size != before.size)
            ):
                raise self._anew("has another file there now")
            assert self._part is not None  # noqa: S101 - bytes were received into it
            return self._part
        if now.size == 0:
            self._way._unreadable("sent an empty file", response.status_code)
        if now.size is not None and now.size > _LARGEST:
            self._way._unreadable(f"announced {now.size:,} bytes, which no output has", response.status_code)
        if self._part is None:
            self._part = self._target.open_part(now.size)
        elif self._received:
            self._part.restart()
        self._received = 0
        self._facts = now
        self._lines.total = now.size
        return self._part

    def _anew(self, why: str) -> _Broken:
        if self._part is not None:
            self._part.restart()
        self._received = 0
        self._facts = None
        return self._way.cut_short(why)

    def _receive(self, response: requests.Response, part: Part) -> None:
        wanted = _SMALL_BLOCK
        size = self._facts.size if self._facts else None
        while True:
            began = time.monotonic()
            try:
                # Not read1: over TLS it hands over records of 16 KiB, each at the price of a block.
                block: bytes = response.raw.read(wanted, decode_content=False)
            except TRANSFER_ERRORS as error:
                raise self._way.broke(error) from None
            if not block:
                break
            if not self._received and begins_playlist(block):
                self._way.refuse_playlist(response.status_code)
            wanted = _BLOCK if time.monotonic() - began < _SLOW * len(block) / _BLOCK else _SMALL_BLOCK
            if self._longest is not None and self._received + len(block) > self._longest:
                raise _Longer
            part.write(block)
            self._received += len(block)
            if self._received > (_LARGEST_WITHOUT_LENGTH if size is None else size):
                break
            self._most = max(self._most, self._received)
            self._lines.at(self._received)
        if size is None and self._received > _LARGEST_WITHOUT_LENGTH:
            self._way._unreadable(
                f"sent more than {size_words(_LARGEST_WITHOUT_LENGTH)} without a length", response.status_code
            )
        # urllib3 1.26 ends short of the length without a word.
        if size is not None and self._received < size:
            raise self._way.cut_short(f"sent {self._received:,} of {size:,} bytes")
        if size is not None and self._received > size:
            raise self._anew(f"sent {self._received:,} bytes instead of {size:,}")
        if not self._received:
            self._way._unreadable("sent an empty file", response.status_code)


def _differs(before: str, now: str) -> bool:
    return bool(before) and before != now
