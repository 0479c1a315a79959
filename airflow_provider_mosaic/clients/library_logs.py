"""
The log lines of the HTTP libraries, without what must not be logged.

They write at every level what signs a link, and what a server answers: urllib3 the target of each request at DEBUG, and
address and headers in a warning where it can't parse a header; httpcore each header that it receives, ``Location`` and
``Set-Cookie`` among them. Their loggers are many, are created at any time, and each has its own handlers and level. So
the lines are cleaned where all of them are made.

That is done for the whole process: what others send through these libraries is logged without its secrets too.
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
_LONGEST_LINE = 1_000
# httpcore writes whatever an event holds as a repr. Of these parts it is known what they are, and where they end.
_EVENT = re.compile(
    r"(?P<event>[\w.]+)(?: (?:return_value=\(b'HTTP/[\d.]+', (?P<status>\d+)|exception=(?P<error>\w+)"
    r"|host='(?P<host>[\w.:\-]*)' port=(?P<port>\d+)))?"
)
# To the end: where a value ends depends on how it is written.
_HEADER = re.compile(
    r"\b((?:set-)?cookie2?|(?:content-)?location|(?:proxy-)?authorization)\b\W{0,4}[:,=].*", re.I | re.S
)

_hidden: ContextVar[tuple[str, ...]] = ContextVar("mosaic_hidden", default=())


@contextmanager
def hiding(secrets: Iterable[str]) -> Iterator[None]:
    """
    Mask some values in the lines that are logged within.

    :param secrets: The values of a link or a form.
    """
    before = _hidden.set((*_hidden.get(), *secrets))
    try:
        yield
    finally:
        _hidden.reset(before)


class _CleaningFactory:
    """
    Makes log records, as the factory before it does, and cleans those of the HTTP libraries.

    :param before: The factory that others have set.
    """

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self._before = before

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._before(name, *args, **kwargs)
        # A record that came from another process is made without a name.
        if name and name.partition(".")[0] in _LIBRARIES:
            _clean(record)
        return record


def clean_library_lines() -> None:
    """Keep secrets out of the lines of the HTTP libraries; calling it again does nothing."""
    current = logging.getLogRecordFactory()
    if not isinstance(current, _CleaningFactory):
        logging.setLogRecordFactory(_CleaningFactory(current))


def _clean(record: logging.LogRecord) -> None:
    # An error repeats what it could not read: its type has to do.
    if isinstance(record.args, tuple):
        record.args = tuple(type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in record.args)
    try:
        line = record.getMessage()
    except Exception:
        line = str(record.msg) if isinstance(record.msg, str) else type(record.msg).__name__
    if record.name.partition(".")[0] == "httpcore":
        line = _event(line)
    record.msg = one_line(_HEADER.sub(rf"\1: {MASK}", line), _hidden.get(), longest=_LONGEST_LINE)
    record.args = ()
    record.exc_info = record.exc_text = None


def _event(line: str) -> str:
    known = _EVENT.match(line)
    if known is None:
        return ""
    host = known["host"] and f"{known['host']}:{known['port']}"
    return " ".join(part for part in (known["event"], known["status"], known["error"], host) if part)
