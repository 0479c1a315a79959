"""
Read an HTTP response: its body up to a limit, its JSON, the pause that it asks for, and its explanation of an error.

An explanation is quoted on one line, without secrets. HTML and binary bodies are described, not quoted.

:func:`decode_json` returns only values that everything else can store and print. Python's decoder accepts more:
structures too deep for ``repr``, halves of surrogate pairs, NUL, and ``NaN``. XCom, PostgreSQL and log formatters
reject these, long after the request.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.redaction import one_line, redact

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.call import Call

#: Characters of the server's explanation that an error quotes.
_MAX_DETAIL_LENGTH = 500
#: Bytes that are read of an error response.
_MAX_ERROR_BYTES = 64 * 1024
#: Chunks of one response. However little is in a chunk, it costs the event loop as much as 10 KiB of a large one.
_MAX_CHUNKS = 20_000
#: Values of the largest response: a run with 5,000 outputs has 75,000. Decoding JSON blocks all threads until it ends,
#: and a value takes up to a kilobyte once it is validated.
MAX_VALUES = 200_000
#: Headers with the end of a rate limit, in the spellings of different servers.
_RESET_HEADERS = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset", "x-ratelimit-reset-after")
#: Smallest number that means seconds since the epoch, not a pause; 100 times as much means milliseconds.
_MIN_EPOCH = 1e9
#: Characters of the longest Retry-After; a date has 29.
_MAX_RETRY_AFTER_LENGTH = 64


#: Replaces a character that can't be stored.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Documented responses have nine levels.
MAX_LEVELS = 100


def _finite(number: str) -> float | None:
    return value if math.isfinite(value := float(number)) else None


# The constants are NaN and Infinity, which are not JSON.
_decoder = json.JSONDecoder(parse_constant=lambda name: None, parse_float=_finite)
_ESCAPES = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")


def decode_json(content: bytes | str) -> Any:
    """
    Decode JSON. Replace characters that can't be stored. Return None for ``NaN``, ``Infinity`` and ``1e999``.

    :param content: Text, or bytes in UTF-8, UTF-16 or UTF-32.
    :raises ValueError: It is not JSON, is nested too deeply, or has a number with thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    try:
        data = _decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_levels(data)
    # In decoded bytes, only escapes can produce such characters. Pairs of escapes, as for emojis, are already joined.
    return _cleaned(data) if isinstance(content, str) or _ESCAPES.search(text) else data


def has_more_values(content: bytes, most: int) -> bool:
    """Return whether JSON may have more values, without decoding it."""
    return len(content) > most and count_values(content) > most


def count_values(content: bytes) -> int:
    """Return the most values that JSON may have, without decoding it."""
    return sum(map(content.count, (b",", b"[", b"{")))


def is_fit(text: str) -> bool:
    """Return whether all characters of a text can be stored."""
    return _UNFIT.search(text) is None


def unescaped(text: str) -> str:
    """Return a text of HTML or XML without character references."""
    try:
        return html.unescape(text)
    except ValueError:
        # A reference has more digits than Python reads.
        return text


def _check_levels(data: Any) -> None:
    level = [data]
    for _ in range(MAX_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _cleaned(data: Any) -> Any:
    if isinstance(data, str):
        return _UNFIT.sub(REPLACEMENT, data)
    if isinstance(data, list):
        return [_cleaned(item) for item in data]
    if isinstance(data, dict):
        return {_cleaned(name): _cleaned(value) for name, value in data.items()}
    return data


@dataclass(frozen=True)
class Response:
    """
    An HTTP response of either transport.

    :param headers: Finds names in lower case.
    :param content: The whole body. Only responses of the API are held in memory, never a file.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx. Which one an endpoint returns is not documented."""
        return 200 <= self.status < 300

    def retry_after(self, *, now: datetime | None = None) -> float | None:
        """
        Return the seconds that the server asks to wait; None if it does not ask.

        ``Retry-After`` wins, as a number or a date. With a 429, ``X-RateLimit-Reset`` counts too: seconds from now, or
        since the epoch. With other statuses it does not mean a pause.
        """
        # The server's own clock, if it is known: this machine's may be wrong.
        now = _parse_date(self.headers.get("date", "")) or now
        seconds = _seconds_until(self.headers.get("retry-after", ""), now)
        if seconds is None and self.status == 429:
            resets = (_seconds_until(self.headers.get(name, ""), now, epoch=True) for name in _RESET_HEADERS)
            seconds = next((reset for reset in resets if reset is not None), None)
        return seconds

    def clock_ahead(self) -> float | None:
        """Return the seconds by which this machine's clock is ahead of the server's; None if it reports no time."""
        date = _parse_date(self.headers.get("date", ""))
        return None if date is None else (datetime.now(timezone.utc) - date).total_seconds()

    @property
    def encoding(self) -> str:
        """Compression of the body, which is never requested; empty if there is none."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return encoding if encoding != "identity" and self.content else ""

    @property
    def has_too_many_values(self) -> bool:
        """Whether the body, read as JSON, has more values than any response of the API."""
        return has_more_values(self.content, MAX_VALUES)

    def json(self, decode: Callable[[bytes], Any] = decode_json) -> Any:
        """
        Decode the body as JSON. Return None if it is empty.

        :raises ValueError: The body is not JSON, compressed, or too large to decode.
        """
        if self.encoding or self.has_too_many_values:
            raise ValueError(describe_body(self))
        try:
            return decode(self.content) if self.content.strip() else None
        except UnicodeDecodeError:
            # A byte that is not UTF-8 in a message must not hide the id of a run that was started.
            return decode(self.content.decode("utf-8", "replace").encode())
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


class ResponseBody:
    """
    Collects a response body up to a limit, without decompressing it.

    :param status: HTTP status. Only the beginning of an error response is kept.
    """

    def __init__(self, call: Call[Any], status: int) -> None:
        self._call = call
        self._status = status
        self._is_error = not 200 <= status < 300
        self._content = bytearray()
        self._max_bytes = _MAX_ERROR_BYTES if self._is_error else call.max_bytes
        self.chunks = 0

    @property
    def content(self) -> bytes:
        """The body, or its beginning."""
        return bytes(self._content[: self._max_bytes])

    def add(self, block: bytes) -> bool:
        """
        Add a block, and return whether to read more.

        :raises MosaicResponseError: The body is longer than any response to this call.
        """
        self._content += block
        self.chunks += 1
        if len(self._content) <= self._max_bytes and self.chunks <= _MAX_CHUNKS:
            return True
        if self._is_error:
            return False
        is_long = len(self._content) > self._max_bytes
        size = f"{self._max_bytes // 1024 // 1024} MiB" if is_long else f"{_MAX_CHUNKS:,} chunks"
        raise self._call.error(
            MosaicResponseError,
            f"returned {self._status} with more than {size}.",
            to_do="The API has no response of that size: check the connection's host.",
            status=self._status,
            accepted=True,
        )


def _seconds_until(value: str, now: datetime | None, *, epoch: bool = False) -> float | None:
    """Parse a number of seconds or an HTTP date; with ``epoch``, large numbers are times since the epoch."""
    value = value.strip()
    if not value or len(value) > _MAX_RETRY_AFTER_LENGTH:
        return None
    now = now or datetime.now(timezone.utc)
    try:
        seconds = float(value)
        if epoch and seconds >= _MIN_EPOCH:
            seconds = (seconds / 1000 if seconds >= _MIN_EPOCH * 100 else seconds) - now.timestamp()
    except ValueError:
        date = _parse_date(value)
        if date is None:
            return None
        seconds = (date - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _parse_date(value: str) -> datetime | None:
    """Parse an HTTP date."""
    if not value or len(value) > _MAX_RETRY_AFTER_LENGTH:
        return None
    try:
        date = parsedate_to_datetime(value)
        date = date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date
        # Raises if the date is outside of the calendar in UTC.
        date - datetime(2000, 1, 1, tzinfo=timezone.utc)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return date


def describe_body(response: Response, secrets: Iterable[str] = ()) -> str:
    """Describe an unreadable body without quoting it, except for the title of an HTML page without ``secrets``."""
    if not response.content.strip():
        return "an empty body"
    if response.encoding:
        return f"a body that is compressed ({redact(response.encoding)[:40]}), which was not requested"
    if response.has_too_many_values:
        return f"{len(response.content)} bytes with too many values for a response of the API"
    start = _start(response)
    if is_web_page(response):
        title = re.search(r"(?i)<title[^<>]*>([^<]*)</title>", start)
        titled = f" titled '{one_line(title[1].strip(), secrets, longest=80)}'" if title else ""
        return f"an HTML page{titled}, as a proxy or a login page would send"
    if start.startswith(("{", "[")):
        return f"JSON that is cut short or broken ({len(response.content)} bytes)"
    return f"{len(response.content)} bytes that are not JSON"


def is_web_page(response: Response) -> bool:
    """Return whether the body is an HTML page."""
    return re.match(r"(?i)<(!doctype html|html|head|body)", _start(response)) is not None


def _start(response: Response) -> str:
    return response.content[:2048].decode("utf-8", "replace").lstrip("\ufeff \r\n\t")


def detail_of(response: Response, secrets: Iterable[str] = ()) -> str | None:
    """
    Return the server's explanation of an error, on one line and without secrets; None if there is none.

    Documented is ``{"detail": "text"}``. Lists and objects in the style of FastAPI, and the plain text of a 4xx, are
    read too.
    """
    try:
        return explanation(response.json(), secrets)
    except (ValueError, RecursionError):
        return explanation(_plain_text(response), secrets)


def explanation(value: Any, secrets: Iterable[str] = ()) -> str | None:
    """Return the text of an error body of any shape, on one line and without secrets; None if there is none."""
    return redact(" ".join(_texts(value).split()), secrets, longest=_MAX_DETAIL_LENGTH) or None


def _plain_text(response: Response) -> str:
    """Return the body of a 4xx if it is text; empty for HTML, XML, broken JSON and binary data."""
    if not 400 <= response.status < 500 or response.encoding or response.has_too_many_values:
        return ""
    if re.search("html|xml|image|video|audio", response.headers.get("content-type", "").lower()):
        return ""
    text = " ".join(response.content[: _MAX_DETAIL_LENGTH * 8].decode("utf-8", "replace").lstrip("\ufeff").split())
    unprintable = sum(not char.isprintable() or char == REPLACEMENT for char in text)
    if unprintable > len(text) / 4 or re.match(r'[<{]|\[\s*["{\[\d]', text):
        return ""
    return text


def _texts(value: Any) -> str:
    if isinstance(value, Mapping):
        for key in ("detail", "message", "msg", "error_description", "error"):
            if value.get(key):
                text = _texts(value[key])
                place = ".".join(map(str, value["loc"])) if isinstance(value.get("loc"), list) else ""
                return f"{place}: {text}" if place else text
        return json.dumps(value, ensure_ascii=False, default=str) if value else ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_texts, value)))
    return "" if value is None else str(value)
