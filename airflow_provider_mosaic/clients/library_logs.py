"""
Remove secrets from the log lines of the HTTP libraries.

The libraries log signed URLs and response headers: urllib3 the path of each request at DEBUG, and URL and headers in a
warning if a header can't be parsed; httpcore each response header, ``Location`` and ``Set-Cookie`` among them. They
have many loggers, created at any time, each with its own handlers and level. The lines are therefore cleaned where all
log records are created.

This holds for the whole process: requests of other code through these libraries are logged without secrets too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from airflow_provider_mosaic.api.redaction import MASK, one_line

_LIBRARIES = frozenset({"urllib3", "httpx", "httpcore"})
_MAX_LINE = 1_000
# httpcore logs each event with the repr of what it holds. Only these parts are known to be safe.
_EVENT = re.compile(
    r"(?P<event>[\w.]+)(?: (?:return_value=\(b'HTTP/[\d.]+', (?P<status>\d+)|exception=(?P<error>\w+)"
    r"|host='(?P<host>[\w.:\-]*)' port=(?P<port>\d+)))?"
)
# Up to the end of the line: how a value ends depends on how it is quoted.
_HEADER = re.compile(
    r"\b((?:set-)?cookie2?|(?:content-)?location|(?:proxy-)?authorization)\b\W{0,4}[:,=].*", re.I | re.S
)

_masked_values: ContextVar[tuple[str, ...]] = ContextVar("mosaic_masked_values", default=())


@contextmanager
def masking(secrets: Iterable[str]) -> Iterator[None]:
    """Mask the values of a signed URL or a form in the lines that are logged within the block."""
    token = _masked_values.set((*_masked_values.get(), *secrets))
    try:
        yield
    finally:
        _masked_values.reset(token)


class _RedactingFactory:
    """Creates log records, and cleans those of the HTTP libraries."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._factory(name, *args, **kwargs)
        # A record from another process is created without a name.
        if name and name.partition(".")[0] in _LIBRARIES:
            _redact(record)
        return record


def redact_library_logs() -> None:
    """Keep secrets out of the log lines of the HTTP libraries. Calling it again does nothing."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(factory))


def _redact(record: logging.LogRecord) -> None:
    # The text of an error quotes what could not be parsed, so only its class is kept.
    if isinstance(record.args, tuple):
        record.args = tuple(type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in record.args)
    try:
        line = record.getMessage()
    except Exception:
        line = str(record.msg) if isinstance(record.msg, str) else type(record.msg).__name__
    if record.name.partition(".")[0] == "httpcore":
        line = _safe_event(line)
    record.msg = one_line(_HEADER.sub(rf"\1: {MASK}", line), _masked_values.get(), longest=_MAX_LINE)
    record.args = ()
    record.exc_info = record.exc_text = None


def _safe_event(line: str) -> str:
    match = _EVENT.match(line)
    if match is None:
        return ""
    host = match["host"] and f"{match['host']}:{match['port']}"
    return " ".join(part for part in (match["event"], match["status"], match["error"], host) if part)
