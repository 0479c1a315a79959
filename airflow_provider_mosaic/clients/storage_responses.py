"""Error responses of storage hosts: the XML of Google Cloud Storage and S3, reduced to code and message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from html import unescape

import requests

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError, MosaicServerError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.clients.signed_urls import TRANSFER_ERRORS, response_secrets
from airflow_provider_mosaic.clients.stall_timeout import time_limit

_MAX_BYTES = 64 * 1024
_READ_TIME_LIMIT = 30.0
_MAX_MESSAGE = 300
# S3 returns 400 with RequestTimeout after a transfer that was too slow.
_SERVER_ERRORS = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable", "SlowDown"})
# Not an XML parser: the body is untrusted and may be cut off, and two texts are enough.
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    """
    An error response.

    :param code: The host's code, for example ``EntityTooLarge``; empty without one.
    """

    status: int
    code: str = ""
    message: str = ""
    retry_after: float | None = None

    @property
    def detail(self) -> str:
        """Code and message."""
        return ": ".join(part for part in (self.code, self.message) if part)

    @property
    def transient_kind(self) -> type[MosaicError] | None:
        """The class of its error if a retry may succeed; None otherwise."""
        if self.status == 429:
            return MosaicRateLimitError
        is_server_error = self.status >= 500 or self.status in (408, 425, 460, 499) or self.code in _SERVER_ERRORS
        return MosaicServerError if is_server_error else None

    def __str__(self) -> str:
        return f"{self.status} ({self.detail})" if self.detail else str(self.status)


def read_error_response(response: requests.Response, secrets: Iterable[str] = ()) -> ErrorResponse:
    """
    Read an error response. Without a readable body it has only its status.

    :param secrets: Values of the request to mask, besides those of its URL.
    """
    masked = (*secrets, *response_secrets(response))
    body = b""
    # Not decompressed: 1 KB may become 1 GB.
    with suppress(*TRANSFER_ERRORS), time_limit(_READ_TIME_LIMIT):
        body = response.raw.read(_MAX_BYTES, decode_content=False)
    text = body.decode("utf-8", "replace")
    return ErrorResponse(
        status=response.status_code,
        code=_first_match(_CODE, text, masked),
        message=_first_match(_MESSAGE, text, masked),
        retry_after=Response(response.status_code, response.headers).retry_after(),
    )


def _first_match(pattern: re.Pattern[str], text: str, secrets: tuple[str, ...]) -> str:
    match = pattern.search(text)
    return one_line(" ".join(unescape(match[1]).split()), secrets, longest=_MAX_MESSAGE) if match else ""
