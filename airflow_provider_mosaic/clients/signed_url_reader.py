"""Read a file from signed URLs, with fresh ones when they expire, and with pauses after interruptions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypedDict

import requests

from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.file_links import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.retries import DEFAULT_RETRIES, RetryPolicy
from airflow_provider_mosaic.clients.error_mapper import ResponseTooSlow
from airflow_provider_mosaic.clients.signed_urls import (
    TRANSFER_ERRORS,
    open_storage_session,
    open_url,
    origin,
    response_secrets,
    transfer_error,
)
from airflow_provider_mosaic.clients.storage_responses import PLAYLIST, read_error_response

#: Statuses with which storage hosts report an expired link.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_MAX_RENEWALS = 3
#: Interruptions in all. A host that sends a few bytes each time would otherwise keep the task forever.
_MAX_INTERRUPTIONS = 100


class Interrupted(Exception):  # noqa: N818 - internal to this package
    """The transfer stopped, and may continue after a pause."""

    def __init__(self, error: MosaicError, *, too_slow: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.too_slow = too_slow


class ReaderOptions(TypedDict, total=False):
    """Options of :class:`SignedUrlReader` with a default."""

    policy: LinkPolicy
    timeout: float
    retries: RetryPolicy
    sleep: Callable[[float], None]


@dataclass(kw_only=True)
class SignedUrlReader:
    """
    Requests a file, with fresh URLs when they expire, and counts interruptions.

    :param get_url: Returns a signed URL, a fresh one at each call.
    :param action: What the requests are for, as it follows "could not".
    :param policy: Where the URL and its redirects may lead.
    :param timeout: Seconds to wait for the next byte, and over which the least rate is averaged.
    :param retries: Interruptions in a row without a new byte, and the pauses between them.
    :param sleep: Waits before a retry.
    """

    get_url: Callable[[], str]
    action: str
    policy: LinkPolicy = PUBLIC
    timeout: float = 60.0
    retries: RetryPolicy = DEFAULT_RETRIES
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._session = open_storage_session(self.policy)
        self._url: str | None = None
        self._renewals = self._interruptions_in_row = self._interruptions = 0

    def __enter__(self) -> SignedUrlReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    @property
    def _host(self) -> str:
        return origin(self._url or "")

    def request(self, headers: dict[str, str]) -> requests.Response:
        """
        Request the file, with a fresh URL if the present one is rejected.

        :returns: A 200, a 206 or a 416; the caller closes it.
        """
        while True:
            if self._url is None:
                self._url = self.get_url()
            try:
                response = open_url(self._session, self._url, action=self.action, headers=headers, timeout=self.timeout)
            except MosaicTransportError as error:
                if not error.transient:
                    raise
                raise Interrupted(error) from None
            status = response.status_code
            if status in (200, 206) or (status == 416 and "Range" in headers):
                return response
            with response:
                if status in _EXPIRED and self._renewals < _MAX_RENEWALS:
                    self._renewals += 1
                    self._url = None
                    continue
                raise self._rejection_error(response)

    def wait_to_retry(self, interruption: Interrupted, *, has_new_bytes: bool) -> None:
        """Wait before the next request. Raise the error if there were too many interruptions."""
        if has_new_bytes:
            self._renewals = self._interruptions_in_row = 0
        self._interruptions_in_row += 1
        self._interruptions += 1
        if self._interruptions_in_row >= self.retries.attempts or self._interruptions >= _MAX_INTERRUPTIONS:
            raise interruption.error from None
        self.sleep(self.retries.pause_within_budget(self._interruptions_in_row, interruption.error))

    def read(self, response: requests.Response, size: int) -> bytes:
        """Return the next bytes of a body; none at its end."""
        handled = sys.exc_info()[1]
        try:
            # Not read1: over TLS it returns records of 16 KiB, each at the cost of a block.
            block: bytes = response.raw.read(size, decode_content=False)
        except TRANSFER_ERRORS as error:
            secrets = response_secrets(response)
            raise Interrupted(
                transfer_error(
                    error, action=self.action, method="GET", url=self._url or "", secrets=secrets, handled=handled
                ),
                # urllib3 wraps the error.
                too_slow=isinstance(error.__context__, ResponseTooSlow),
            ) from None
        return block

    def interruption(self, problem: str) -> Interrupted:
        """Return the interruption for a response that is incomplete or does not fit."""
        return Interrupted(self._error(MosaicTransportError, f"{problem}."))

    def raise_not_a_file(self, problem: str, status: int) -> NoReturn:
        """Raise for a response that a retry would not change."""
        raise self._error(
            MosaicResponseError,
            f"{problem}.",
            means="Nothing was saved.",
            to_do="Open the output in Mosaic, or download the segments with ffmpeg." if problem == PLAYLIST else "",
            status=status,
            effect_unknown=False,
        )

    def _rejection_error(self, response: requests.Response) -> Exception:
        error = read_error_response(response)
        returned = f"returned {error}"
        facts: dict[str, Any] = {
            "status": error.status,
            "detail": error.detail or None,
            "retry_after": error.retry_after,
            "effect_unknown": False,
        }
        if error.transient_kind is not None:
            return Interrupted(self._error(error.transient_kind, f"{returned}. A retry may succeed.", **facts))
        if error.status not in _EXPIRED:
            return self._error(MosaicResponseError, f"{returned} instead of a file.", **facts)
        returned += f", also for {self._renewals} fresh links."
        if error.status in (404, 410):
            return self._error(MosaicNotFoundError, f"{returned} The file no longer exists.", **facts)
        return self._error(MosaicPermissionError, returned, **facts)

    def _error(self, kind: type[MosaicError], problem: str, **facts: Any) -> MosaicError:
        return kind(f"Could not {self.action}: {self._host} {problem}", method="GET", path=self._host, **facts)
