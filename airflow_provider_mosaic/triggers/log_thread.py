"""
Write the log lines of waits in a thread: thousands of waits log at the same time, and must not block the event loop.

A full socket to the triggerer's supervisor blocks the writer. The supervisor reads no log lines while it sends the loop
new triggers. If the message is larger than the buffer of its socket (about 250 triggers), and the loop waits until its
own log line is read, both wait forever: Airflow 3.3.2 did, with ten thousand triggers at once. Single lines, such as
those of the poller itself and of Airflow, are still written by the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio

log = logging.getLogger(__name__)

#: Seconds for each line of many: the supervisor reads with interruptions, and the socket holds about two hundred lines.
_SECONDS_PER_LINE = 0.004
#: Lines that wait to be written. Further ones are left out.
_MAX_LINES = 10_000
#: Seconds that the end of a wait is delayed until its lines are written.
_MAX_DELAY = 1.0


class _LogThread:
    """A thread that calls what is put into its queue."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], object]] = queue.Queue(_MAX_LINES)
        #: Lines that were not written, and not reported yet.
        self.left_out = 0
        threading.Thread(target=self._run, name="mosaic-log", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether lines wait to be written."""
        return not self._calls.empty()

    def put(self, call: Callable[[], object]) -> bool:
        """Call something after what was put before. Return False if too much waits already."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def put_line(self, call: Callable[[], object]) -> None:
        """Call what writes a line, or count the line if too much waits already."""
        if not self.put(call):
            self.left_out += 1

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            # Logging reports its own errors. The event loop may be closed.
            with suppress(Exception):
                call()
            if self.is_busy:
                time.sleep(_SECONDS_PER_LINE)
            elif self.left_out:
                left_out, self.left_out = self.left_out, 0
                self.put(partial(log.warning, "%d log lines of waits were left out: they came too fast.", left_out))


#: By process: a thread does not exist in a forked child.
_threads: dict[int, _LogThread] = {}


def _log_thread() -> _LogThread:
    pid = os.getpid()
    if pid not in _threads:
        _threads.clear()
        _threads[pid] = _LogThread()
    return _threads[pid]


def log_in_thread(log: Callable[[str], None], line: str) -> None:
    """Log a line in the thread, in the context of the caller: Airflow reads the task from the context."""
    _log_thread().put_line(partial(contextvars.copy_context().run, log, line))


async def pace_lines(count: int) -> None:
    """Give the thread the time for a number of lines, unless it has written all lines so far."""
    await asyncio.sleep(count * _SECONDS_PER_LINE if _log_thread().is_busy else 0)


async def wait_until_logged() -> None:
    """Wait until the lines so far are written, for up to a second: Airflow closes a task's log after its event."""
    loop = asyncio.get_running_loop()
    is_logged = asyncio.Event()
    if not _log_thread().put(partial(loop.call_soon_threadsafe, is_logged.set)):
        return
    with anyio.move_on_after(_MAX_DELAY):
        await is_logged.wait()
