"""From an HTTP answer to its JSON, or to the exception that says what to do about it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_mosaic.api.decoding import REPLACEMENT, decode_json
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.redaction import label, one_line, redact
from airflow_provider_mosaic.api.refusals import Denial
from airflow_provider_mosaic.api.scopes import scope_words

_LONGEST_DETAIL = 500
#: Values of the largest answer, about; a run with 5,000 outputs has 75,000. A thread that decodes JSON does not let
#: others run before its end, and each value takes up to 100 bytes.
_MOST_VALUES = 500_000
#: Headers that say when a rate limit is over, as servers of many kinds spell them.
_RESETS = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset", "x-ratelimit-reset-after")
#: From this on a number is no pause: it is the seconds, and a thousand times as much the milliseconds, since the epoch.
_LEAST_EPOCH = 1e9
#: Characters of the longest Retry-After; a date has 29.
_LONGEST_RETRY_AFTER = 64

#: What to do about a status, said to the person who reads the error.
_ADVICE: Mapping[int, tuple[type[MosaicError], str]] = {
    400: (MosaicValidationError, "Change what is asked; sending it again won't help."),
    401: (MosaicAuthenticationError, "The API key was not accepted: set a valid key as the connection's password."),
    402: (MosaicNeedsCreditsError, "Buy credits first: nothing was started."),
    403: (
        MosaicPermissionError,
        "The API key may not do this: look at its scopes{needs}, at the organization's plan, and at the connection's "
        "workspace id.",
    ),
    404: (MosaicNotFoundError, "Check the id, and that the API key belongs to the organization that owns it."),
    409: (MosaicConflictError, "It is not in a state that allows this."),
    413: (MosaicValidationError, "It is larger or longer than Mosaic takes."),
    422: (MosaicValidationError, "Change what is asked; sending it again won't help."),
    429: (MosaicRateLimitError, "Too many requests: nothing was done."),
}
#: Machine-readable codes that say more than the status: documented in 2025, not since, and possible still.
_CODES: Mapping[tuple[int, str], tuple[type[MosaicError], str]] = {
    (403, "insufficient_credits"): (MosaicNeedsCreditsError, "Buy credits first: nothing was started."),
    (403, "concurrent_agent_limit"): (MosaicRateLimitError, "Too many runs at once: nothing was started."),
}


@dataclass(frozen=True)
class Response:
    """
    An HTTP answer as both transports hand it over.

    :param status: HTTP status.
    :param headers: Header names in lower case.
    :param content: The whole body. Only answers of the API are held like this, never a file.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)

    @property
    def good(self) -> bool:
        """Whether the status is any 2xx: the documentation does not say which one a call answers with."""
        return 200 <= self.status < 300

    def retry_after(self, *, now: datetime | None = None) -> float | None:
        """
        Seconds that the server asks to wait, from a number or a date; None if it does not say.

        ``Retry-After`` counts first. With a 429 the end of the rate limit's window does as well: ``X-RateLimit-Reset``
        is seconds from now or since the epoch. Other statuses carry that header too, and mean nothing by it.

        :param now: The present, for tests.
        """
        asked = _seconds_until(self.headers.get("retry-after", ""), now)
        if asked is None and self.status == 429:
            # By the clock of the server, where it tells it: ours may be wrong.
            there = _date(self.headers.get("date", "")) or now
            resets = (_seconds_until(self.headers.get(name, ""), there, or_epoch=True) for name in _RESETS)
            asked = next((seconds for seconds in resets if seconds is not None), None)
        return asked

    @property
    def encoding(self) -> str:
        """How the body is compressed, which is never asked for; empty when it is not."""
        named = self.headers.get("content-encoding", "").strip().lower()
        return named if named != "identity" and self.content else ""

    @property
    def crowded(self) -> bool:
        """Whether the body, taken for JSON, has more values than any answer of the API."""
        content = self.content
        return len(content) > _MOST_VALUES and sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES

    def json(self, decode: Callable[[bytes], Any] = decode_json) -> Any:
        """
        The body as JSON; None when it is empty.

        :param decode: Decodes it.
        :raises ValueError: The body is not JSON, or more than should be decoded.
        """
        if self.encoding or self.crowded:
            raise ValueError(describe_body(self))
        try:
            return decode(self.content) if self.content.strip() else None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _seconds_until(value: str, now: datetime | None, *, or_epoch: bool = False) -> float | None:
    value = value.strip()
    if not value or len(value) > _LONGEST_RETRY_AFTER:
        return None
    now = now or datetime.now(timezone.utc)
    try:
        seconds = float(value)
        if or_epoch and seconds >= _LEAST_EPOCH:
            seconds = (seconds / 1000 if seconds >= _LEAST_EPOCH * 100 else seconds) - now.timestamp()
    except ValueError:
        when = _date(value)
        if when is None:
            return None
        seconds = (when - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(value: str) -> datetime | None:
    """The time that an HTTP date names."""
    if not value or len(value) > _LONGEST_RETRY_AFTER:
        return None
    try:
        when = parsedate_to_datetime(value)
        when = when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when
        # Of some offsets the time in UTC is before the calendar's first day, or after its last.
        when - datetime(2000, 1, 1, tzinfo=timezone.utc)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return when


def describe_body(answer: Response, secrets: Iterable[str] = ()) -> str:
    """What kind of thing an unreadable body is, without pasting it; its title is cleaned of ``secrets``."""
    if not answer.content.strip():
        return "an empty body"
    if answer.encoding:
        return f"a body that is compressed ({redact(answer.encoding)[:40]}), which was not asked for"
    if answer.crowded:
        return f"{len(answer.content)} bytes with too many values for an answer of the API"
    start = answer.content[:2048].decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
    if re.match(r"(?i)<(!doctype html|html|head|body)", start):
        title = re.search(r"(?i)<title[^<>]*>([^<]*)</title>", start)
        named = f" titled '{one_line(title[1].strip(), secrets, longest=80)}'" if title else ""
        return f"an HTML page{named}, as a proxy or a login page would send"
    if start.startswith(("{", "[")):
        return f"JSON that is cut short or broken ({len(answer.content)} bytes)"
    return f"{len(answer.content)} bytes that are not JSON"


def detail_of(answer: Response, secrets: Iterable[str] = ()) -> str | None:
    """
    The server's own words about an error, on one line and cleaned of secrets.

    Documented is ``{"detail": "text"}``; lists and objects as FastAPI sends them are read too, and the plain text of a
    4xx; HTML never.
    """
    try:
        text = _words(answer.json())
    except (ValueError, RecursionError):
        text = _plain_text(answer)
    if not text:
        return None
    return redact(" ".join(text.split()), secrets, longest=_LONGEST_DETAIL)


def _plain_text(answer: Response) -> str:
    """The body of a 4xx that is neither HTML nor XML nor broken JSON, but words; nothing otherwise."""
    if not 400 <= answer.status < 500 or answer.encoding or answer.crowded:
        return ""
    if re.search("html|xml|image|video|audio", answer.headers.get("content-type", "").lower()):
        return ""
    text = " ".join(answer.content[: _LONGEST_DETAIL * 8].decode("utf-8", "replace").lstrip("\ufeff").split())
    odd = sum(not each.isprintable() or each == REPLACEMENT for each in text)
    if not text or odd > len(text) / 4 or re.match(r'[<{]|\[\s*["{\[\d]', text):
        return ""
    return text


def _code(answer: Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    code = body.get("error") if isinstance(body, Mapping) else None
    return code if isinstance(code, str) else ""


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        for key in ("detail", "message", "msg", "error_description", "error"):
            if value.get(key):
                words = _words(value[key])
                place = ".".join(str(part) for part in value["loc"]) if isinstance(value.get("loc"), list) else ""
                return f"{place}: {words}" if place else words
        return json.dumps(value, ensure_ascii=False, default=str) if value else ""
    if isinstance(value, list):
        return "; ".join(words for words in map(_words, value) if words)
    return "" if value is None else str(value)


def error_for(
    answer: Response,
    *,
    what: str,
    method: str,
    path: str,
    secrets: Iterable[str] = (),
    why_not_followed: str = "",
    now: datetime | None = None,
) -> MosaicError:
    """
    The exception for an answer that is not 2xx.

    :param what: What was asked, as it follows "could not", for example ``start a run of agent 'x'``.
    :param path: The path template.
    :param why_not_followed: What to say of a redirect; empty for one to another host.
    """
    status = answer.status
    detail = detail_of(answer, secrets)
    retry_after = answer.retry_after(now=now)
    said = f": {detail}" if detail else ("" if not answer.content.strip() else f" ({describe_body(answer, secrets)})")
    facts: dict[str, Any] = {
        "status": status,
        "method": method,
        "path": path,
        "detail": detail,
        "retry_after": retry_after,
    }
    head = f"Could not {what}: {method} {path} answered {status}{said}."
    kind, advice = _CODES.get((status, _code(answer)), _ADVICE.get(status, (MosaicError, "")))
    if advice:
        words = scope_words(method, path)
        advice = advice.replace("{needs}", f" ({words})" if words else "")
        # That nothing was done is what it means, and nothing that a user can do.
        facts["means" if kind is MosaicRateLimitError else "to_do"] = advice
        return kind(head, **facts)
    if status == 408:
        return MosaicServerError(f"{head} The server gave up waiting.", **facts)
    if status >= 500:
        # A 503 that says when to come back was refused before any work; every other 5xx leaves open what was done.
        refused = status == 503 and retry_after is not None
        advice = "Nothing was done." if refused else "The server failed; it may pass."
        return MosaicServerError(head, means=advice, effect_unknown=not refused, **facts)
    if 300 <= status < 400:
        elsewhere = (
            "It points to another address, which the API key is not sent to: check the connection's host."
            if answer.headers.get("location")
            else "It names no address to ask instead: check the connection's host."
        )
        return MosaicResponseError(
            head,
            to_do=why_not_followed or elsewhere,
            # "See the result over there": only after it was done (https://www.rfc-editor.org/rfc/rfc9110#section-15.4.4).
            effect_unknown=status == 303,
            **facts,
        )
    if 400 <= status < 500:
        return MosaicValidationError(f"{head} The server refused it.", **facts)
    return MosaicResponseError(f"{head} This status is not one that the API is known to use.", **facts)


def refusal_error(
    denial: Denial, answer: Response, *, what: str, method: str, path: str, secrets: Iterable[str] = ()
) -> MosaicError:
    """
    The exception for a 2xx whose body says no.

    :param denial: What the body says.
    :param what: What was asked, as it follows "could not".
    :param path: The path template.
    """
    words = redact(" ".join(_words(denial.words).split()), secrets, longest=_LONGEST_DETAIL) or None
    facts: dict[str, Any] = {"status": answer.status, "method": method, "path": path, "detail": words}
    said = f": {words.rstrip('.')}." if words else ", and no reason is given."
    head = f"Could not {what}: {method} {path} answered {answer.status}, but {denial.mark}{said}"
    if denial.signs:
        fields = ", ".join(map(label, denial.signs))
        return MosaicResponseError(
            f"{head} The body contradicts itself: these fields suggest that something was done: {fields}.",
            candidates=tuple(map(label, denial.ids)),
            **facts,
        )
    if denial.code is not None and denial.code >= 500:
        return MosaicServerError(f"{head} The server failed; it may pass.", **facts)
    known = _ADVICE.get(denial.code or 0)
    if known is not None:
        kind, advice = known
        scopes = scope_words(method, path)
        facts["retry_after"] = answer.retry_after()
        return kind(f"{head} {advice.replace('{needs}', f' ({scopes})' if scopes else '')}", **facts)
    if method == "GET":
        return MosaicResponseError(f"{head} Nothing was read. Check the id, the API key and the host.", **facts)
    return MosaicValidationError(
        head,
        means="Mosaic refused it, so nothing was started, paid or published by it.",
        to_do="Fix the cause that it gives, then clear the task.",
        **facts,
    )
