"""What a storage host says when it refuses: the XML of Google Cloud Storage and S3, cut to code and message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from html import unescape

import requests

from airflow_provider_mosaic.api.access import lowered
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.clients.signed_urls import TRANSFER_ERRORS, secrets_of
from airflow_provider_mosaic.clients.stall_timeout import time_limit

_MOST_READ = 64 * 1024
_LONGEST_WAIT = 30.0
_LONGEST_WORDS = 300
# Not an XML parser: the body comes from outside, may be cut short, and two texts are all that is wanted.
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """
    An answer that is not good.

    :param status: HTTP status.
    :param code: The host's code, for example ``EntityTooLarge``; empty when it gives none.
    :param message: The host's words, cleaned of links and keys.
    :param retry_after: Seconds that the host asks to wait.
    """

    status: int
    code: str = ""
    message: str = ""
    retry_after: float | None = None

    @property
    def words(self) -> str:
        """Status, code and message, as they follow "answered"."""
        said = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.status} ({said})" if said else str(self.status)


def refusal_in(response: requests.Response, secrets: Iterable[str] = ()) -> Refusal:
    """
    Read a refusal; a body that can't be read, or is too long, still leaves the status.

    :param response: An answer whose body was not read yet.
    :param secrets: What the host may repeat of the request, besides the link.
    """
    hidden = (*secrets, *secrets_of(response))
    body = b""
    # A body that is compressed is not decompressed: 1 KB may become 1 GB.
    with suppress(*TRANSFER_ERRORS), time_limit(_LONGEST_WAIT):
        body = response.raw.read(_MOST_READ, decode_content=False)
    text = body.decode("utf-8", "replace")
    return Refusal(
        status=response.status_code,
        code=_first(_CODE, text, hidden),
        message=_first(_MESSAGE, text, hidden),
        retry_after=Response(response.status_code, lowered(response.headers)).retry_after(),
    )


def _first(pattern: re.Pattern[str], text: str, secrets: tuple[str, ...]) -> str:
    match = pattern.search(text)
    return one_line(" ".join(unescape(match[1]).split()), secrets, longest=_LONGEST_WORDS) if match else ""
