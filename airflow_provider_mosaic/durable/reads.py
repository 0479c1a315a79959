"""Read an item that may be new, that an earlier attempt started, or that was readable before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.api.poll_state import NOT_FOUND_GRACE, FailureTolerance, is_refusal
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

S = TypeVar("S")
log = logging.getLogger(__name__)

#: Seconds between reads of an item that may be new, or that may show an effect late.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_FIRST_PAUSE = 1.0
#: The longest pause between reads that fail.
_MAX_PAUSE = 30.0


def read_started(hook: MosaicHook, call: Call[S], *, name: str, started_at: float) -> S:
    """
    Read the item of an earlier attempt. "Not found" counts as in a wait: one such response starts no second item.

    :param call: Reads the item.
    :param name: The item, as a log line starts with it.
    :param started_at: When the item was started, in seconds since the epoch.
    :raises MosaicNotFoundError: The item does not exist any more.
    """
    not_found_until = started_at + NOT_FOUND_GRACE
    return read_known(hook, lambda: hook.send(call), name=name, not_found_until=not_found_until)


def read_new(read: Callable[[], S]) -> S:
    """
    Read for the first time an item that may be new. A missing item or a refused read fails after 15 seconds.

    :raises MosaicError: The item can't be read.
    """
    for pause in _PAUSES:
        try:
            return read()
        except MosaicError as error:
            if not (isinstance(error, MosaicNotFoundError) or is_refusal(error)):
                raise
            time.sleep(pause)
    return read()


def pauses_between_reads(sleep: Callable[[float], None] | None = None) -> Iterator[None]:
    """
    Sleep before each further read of an item that may show an effect late: for 15 seconds in all.

    :param sleep: Default: ``time.sleep``.
    """
    for pause in _PAUSES:
        (sleep or time.sleep)(pause)
        yield


def read_until(
    read: Callable[[], S], is_shown: Callable[[S], bool], *, sleep: Callable[[float], None] | None = None
) -> S:
    """
    Read until an effect is shown, for up to 15 seconds. Return what was read last.

    :param sleep: Sleeps between the reads. Default: ``time.sleep``.
    """
    item = read()
    if not is_shown(item):
        for _ in pauses_between_reads(sleep):
            item = read()
            if is_shown(item):
                break
    return item


def read_known(hook: MosaicHook, read: Callable[[], S], *, name: str, not_found_until: float = 0.0) -> S:
    """
    Read an item that was readable before. "Not found" and refused reads are repeated as long as in a wait: see
    :class:`~airflow_provider_mosaic.api.poll_state.FailureTolerance`.

    :param hook: The connection. It is looked up again after each refusal.
    :param name: The item, as a log line starts with it.
    :param not_found_until: Until when "not found" does not count, in seconds since the epoch.
    :raises MosaicError: The item can't be read.
    """
    tolerance = FailureTolerance(name, log.warning, not_found_until, now=time.time, monotonic=time.monotonic)
    pause = _FIRST_PAUSE
    while True:
        try:
            return read()
        except MosaicError as error:
            is_missing = isinstance(error, MosaicNotFoundError)
            if not (is_missing or is_refusal(error)):
                raise
            if is_missing and pause == _FIRST_PAUSE:
                log.info("%s is not found. It may need time to appear: it is read again for at least a minute.", name)
            tolerance.record_error(error)
        time.sleep(pause)
        pause = min(_MAX_PAUSE, pause * 2)
        hook.renew()
