"""
Poll everything that a triggerer waits for over one connection, with as few requests as possible.

A triggerer holds thousands of waits on one event loop. The waits of a connection share one :class:`Poller`, one client
and one rate limit. The poller has no task of its own: a :class:`~airflow_provider_mosaic.triggers.schedule.Schedule`
calls it when waits are due. The poller has six rules:

**Scan the list, or poll one by one.** A page of the list of running runs shows a hundred runs, so a thousand waits take
ten pages instead of a thousand requests. A listed run is still running and needs no poll of its own. A run in no page
has most likely ended, and is polled by itself: only the GET of a run ends a wait. Fewer than four runs that are due at
once or soon, other subjects and waits at their deadline are always polled by themselves, at most 32 at a time.
:class:`~airflow_provider_mosaic.api.poll_strategy.PollStrategy` knows what the list costs and which way is cheaper.

**Keep waits together.** A scan also covers runs that are due soon, and reschedules every run that it shows. New waits
are due within five seconds, at random, and join the next scan if that is early enough. The result is one scan in each
poll interval.

**Audit the list.** A list can be stale. After each complete scan, the poller polls one of the listed runs by itself:
the one with the oldest proof of life, which is a poll of its own or progress of its nodes. If two audits in a row find
an ended run, the list is not used for a while.

**Respect rate limits.** After a 429 or a ``Retry-After``, no wait of the connection sends a request until the cooldown
is over. Due waits are rescheduled to its end, also those at their deadline: their last poll is still to come.

**Tolerate errors.** Each wait counts its own errors and ends when its
:class:`~airflow_provider_mosaic.api.poll_state.FailureTolerance` is exhausted. After 20 polls in a row with a
connection or server error, the queued polls fail with the same error without being sent: in an outage, thousands of
them would each wait for a timeout. An error of the list ends no wait: the runs are polled one by one for a while. An
unexpected exception ends only the waits that it concerns.

**Never block the loop.** Airflow's triggerer shares the loop. Rows are processed twenty at a time. Log lines are paced:
the triggerer's supervisor reads them through a socket and is busy for half a second at a time, and a full socket blocks
the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from airflow_provider_mosaic.api.endpoints.running import RunningRow
from airflow_provider_mosaic.api.errors import MosaicError, MosaicServerError, MosaicTransportError
from airflow_provider_mosaic.api.metrics import POLLS, count
from airflow_provider_mosaic.api.poll_strategy import MIN_RUNS_FOR_LIST, ListScan, PollStrategy
from airflow_provider_mosaic.api.rate_limit import RateLimit
from airflow_provider_mosaic.triggers.concurrency import ConcurrencyLimit
from airflow_provider_mosaic.triggers.pages import fetch_page_with_retry
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait, Wait
from airflow_provider_mosaic.triggers.schedule import Schedule
from airflow_provider_mosaic.triggers.shared_client import SharedClient

log = logging.getLogger(__name__)

#: Polls of single waits at the same time.
_MAX_POLLS = 32
#: New waits are spread over this many seconds for each wait, and over this many at most.
_SPREAD_PER_WAIT, _MAX_SPREAD = 0.005, 5.0
#: A wait joins a scan early when less than this fraction of its pause is left.
_EARLY = 0.25
#: Due runs for each page of the list from which runs that are due soon are searched.
_MIN_DUE_PER_PAGE = 0.25
#: A wait may be late by this fraction of its poll interval to join the next scan.
_LATE = 0.1
#: Least seconds between two scans, for each page of a scan. A shorter poll interval overrides it.
_SCAN_INTERVAL_PER_PAGE = 0.3
#: Least seconds between two calls of the schedule, for each wait: a call visits all of them.
_INTERVAL_PER_WAIT = 5e-6
#: Seconds that a scan may wait for pages, unless the poll interval is longer.
_MAX_SCAN_WAIT = 60.0
#: Seconds for each log line of a scan. The socket to the supervisor holds about two hundred lines.
_SECONDS_PER_LOG_LINE = 0.004
#: Longer than any scan takes. A deadline that is further away needs no timer during a scan.
_LONGER_THAN_A_SCAN = 3600.0
#: Number of consecutive failures after which queued polls fail without being sent.
_MAX_CONSECUTIVE_FAILURES = 20
#: Waits that are processed before other tasks of the loop get a turn.
_BATCH = 20


class Poller:
    """Poll the waits of one connection on one event loop."""

    def __init__(self, client: SharedClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._strategy = PollStrategy()
        self._rate_limit = RateLimit()
        # All waits, in the order of the audits: the one with the oldest proof of life comes first.
        self._waits: dict[Wait[Any], None] = {}
        self._runs: dict[str, list[BatchedRunWait]] = {}
        self._schedule = Schedule(self._on_due)
        self._queue: deque[Wait[Any]] = deque()
        self._polls: dict[Wait[Any], asyncio.Task[None]] = {}
        self._slots = ConcurrencyLimit(_MAX_POLLS, self._start_polls)
        self._scan: asyncio.Task[None] | None = None
        # Earliest time of the next scan.
        self._next_scan = 0.0
        # Due waits that the running scan has not shown yet.
        self._awaiting_scan: dict[BatchedRunWait, None] = {}
        # The wait whose next poll is an audit.
        self._audited: Wait[Any] | None = None
        self._consecutive_failures = 0
        self._background: set[asyncio.Task[None]] = set()

    @property
    def is_empty(self) -> bool:
        """Whether there are no waits."""
        return not self._waits

    def add(self, wait: Wait[Any]) -> None:
        """Poll a wait from now on."""
        self._waits[wait] = None
        if isinstance(wait, BatchedRunWait):
            self._runs.setdefault(wait.subject_id, []).append(wait)
        self._client.request_refresh()
        count = len(self._waits)
        spread = 0.0 if count == 1 else random.uniform(0.0, min(_MAX_SPREAD, _SPREAD_PER_WAIT * count))
        self._schedule_poll(wait, self._loop.time() + spread)

    def remove(self, wait: Wait[Any]) -> None:
        """Stop polling a wait."""
        del self._waits[wait]
        if isinstance(wait, BatchedRunWait):
            waits = self._runs[wait.subject_id]
            waits.remove(wait)
            if not waits:
                del self._runs[wait.subject_id]
        wait.event.cancel()
        if poll := self._polls.get(wait):
            poll.cancel()

    async def aclose(self) -> None:
        """Stop all requests, and close the client."""
        self._schedule.close()
        tasks = [*self._polls.values(), *self._background, *([self._scan] if self._scan else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._client.aclose()

    # When to poll

    def _schedule_poll(self, wait: Wait[Any], due: float) -> None:
        """Poll a wait at a time or at its deadline, whichever is first, but not during a cooldown."""
        deadline = wait.state.deadline
        if deadline is not None:
            due = min(due, self._loop.time() + deadline - time.time())
        self._schedule.add(wait, max(due, self._rate_limit.cooldown_until))

    def _schedule_next(self, wait: Wait[Any], polled_at: float) -> None:
        """Schedule the next poll of a wait after one at that time."""
        if not wait.is_done:
            # Runs of one scan stay together. A wait that is polled by itself gets jitter, to stay apart from others.
            together = len(self._runs) >= MIN_RUNS_FOR_LIST and isinstance(wait, BatchedRunWait)
            wait.last_pause = wait.state.pause(jitter=0.0) if together else wait.state.pause()
            self._schedule_poll(wait, polled_at + wait.last_pause)

    def _on_due(self) -> None:
        now = self._loop.time()
        self._schedule.not_before = now + _INTERVAL_PER_WAIT * len(self._waits)
        try:
            self._poll_due(now)
        except Exception as error:
            # In a timer's callback, nothing else would end the waits.
            for wait in list(self._waits):
                wait.set_exception(error)
            raise
        finally:
            self._schedule.set_timer()

    def _poll_due(self, now: float) -> None:
        """Poll the waits that are due."""
        runs: list[BatchedRunWait] = []
        for wait in self._schedule.pop_due(now):
            if now < self._rate_limit.cooldown_until:
                self._schedule_poll(wait, self._rate_limit.cooldown_until)
            elif isinstance(wait, BatchedRunWait) and not wait.state.expired:
                runs.append(wait)
            else:
                self._queue_poll(wait)
        if runs:
            self._poll_runs(runs, now)
        self._start_polls()

    def _poll_runs(self, due: list[BatchedRunWait], now: float) -> None:
        """Poll runs by the running scan, the next scan, a new scan, or one by one."""
        if self._scan is None:
            if now < self._next_scan and self._strategy.prefers_list(len(self._runs), now=now):
                due = [wait for wait in due if not self._postpone_to_next_scan(wait, now)]
            # The search for early runs visits all of them, so a few due runs do not cause it if the list is long.
            early = self._due_soon(now) if len(due) >= _MIN_DUE_PER_PAGE * self._strategy.pages else []
            if self._strategy.prefers_list(len(due) + len(early), now=now):
                self._start_scan([*due, *early], now)
                return
        elif len(due) >= MIN_RUNS_FOR_LIST:
            self._add_to_scan(due)
            return
        for wait in due:
            self._queue_poll(wait)

    def _postpone_to_next_scan(self, wait: BatchedRunWait, now: float) -> bool:
        """Move a wait to the next scan if that is within its poll interval. Return whether it is."""
        # A due wait was polled last_pause ago. The first pauses are shorter than the poll interval. Among many runs,
        # only the interval counts.
        if self._next_scan - now + wait.last_pause > (1.0 + _LATE) * wait.state.poll_interval:
            return False
        self._schedule_poll(wait, self._next_scan)
        return True

    def _due_soon(self, now: float) -> list[BatchedRunWait]:
        return [
            wait
            for waits in self._runs.values()
            for wait in waits
            if wait.is_idle and wait.due - now <= _EARLY * wait.last_pause
        ]

    # One by one

    def _queue_poll(self, wait: Wait[Any]) -> None:
        wait.is_polling = True
        if wait.state.expired:
            self._queue.appendleft(wait)
        else:
            self._queue.append(wait)

    def _start_polls(self) -> None:
        """Start queued polls while there are slots."""
        if self._loop.time() < self._rate_limit.cooldown_until:
            self._postpone_queue()
        while self._queue and self._slots.free > 0:
            wait = self._queue.popleft()
            if not wait.is_done:
                poll = self._polls[wait] = self._loop.create_task(self._poll(wait))
                # A callback, since a task that is cancelled before its first step runs no finally clause.
                poll.add_done_callback(partial(self._on_poll_done, wait, self._slots.acquire()))

    async def _poll(self, wait: Wait[Any]) -> None:
        """Read the subject of a wait."""
        is_audit = wait is self._audited
        if is_audit:
            self._audited = None
        try:
            count(POLLS, "single")
            subject = await self._client.send(wait.read())
            self._consecutive_failures = 0
            self._rate_limit.record_success()
            wait.record_success(subject)
            if is_audit:
                self._strategy.record_audit(
                    had_ended=wait.is_done, now=self._loop.time(), cycle=wait.state.poll_interval
                )
        except MosaicError as error:
            wait.record_error(error)
            self._on_poll_error(error)
        except Exception as error:
            wait.set_exception(error)

    def _on_poll_done(self, wait: Wait[Any], release: Callable[[], None], _: asyncio.Task[None]) -> None:
        del self._polls[wait]
        wait.is_polling = False
        self._audit_later(wait)
        self._schedule_next(wait, self._loop.time())
        release()

    def _on_poll_error(self, error: MosaicError) -> None:
        """Handle an error that may concern all waits: a rate limit or an outage."""
        now = self._loop.time()
        self._rate_limit.record_error(error, now=now)
        is_outage = isinstance(error, MosaicTransportError | MosaicServerError)
        self._consecutive_failures = self._consecutive_failures + 1 if is_outage else 0
        if now < self._rate_limit.cooldown_until:
            self._postpone_queue()
        elif self._consecutive_failures >= _MAX_CONSECUTIVE_FAILURES and self._queue:
            waits = self._empty_queue()
            # Other waits come first the next time, in case only those that came first fail.
            random.shuffle(waits)
            task = self._loop.create_task(self._fail_polls(waits, error))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def _postpone_queue(self) -> None:
        """Reschedule the queued polls to the end of the cooldown."""
        for wait in self._empty_queue():
            wait.is_polling = False
            self._schedule_poll(wait, self._rate_limit.cooldown_until)

    def _empty_queue(self) -> list[Wait[Any]]:
        """Empty the queue, and return its waits. A later poll of a queued audit proves nothing about the list."""
        waits = list(self._queue)
        self._queue.clear()
        self._audited = None
        return waits

    async def _fail_polls(self, waits: list[Wait[Any]], error: MosaicError) -> None:
        """Record an error for polls that are not sent."""
        for number, wait in enumerate(waits):
            if not wait.is_done:
                wait.record_error(error)
                wait.is_polling = False
                self._schedule_next(wait, self._loop.time())
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    # By the list

    def _start_scan(self, waits: list[BatchedRunWait], now: float) -> None:
        shortest = min(wait.state.poll_interval for wait in waits)
        self._next_scan = now + min(shortest, _SCAN_INTERVAL_PER_PAGE * self._strategy.pages)
        self._add_to_scan(waits)
        self._scan = self._loop.create_task(self._scan_list(now))

    def _add_to_scan(self, waits: list[BatchedRunWait]) -> None:
        """Leave waits to the running scan. Only a deadline that may pass during the scan keeps a timer."""
        soon = time.time() + _LONGER_THAN_A_SCAN
        for wait in waits:
            self._awaiting_scan[wait] = None
            wait.due = float("inf")
            if wait.state.deadline is not None and wait.state.deadline < soon:
                self._schedule_poll(wait, wait.due)

    async def _scan_list(self, started_at: float) -> None:
        """Scan the list of running runs. An error ends the scan, and no wait."""
        # All runs, also those that are not due: runs that a scan shows are due together from then on.
        scan = ListScan(self._runs)
        is_complete = False
        try:
            await self._read_pages(scan, started_at)
            is_complete = scan.is_complete
        except Exception as error:
            rest = self._strategy.record_error(error, now=self._loop.time(), first_page=not scan.pages)
            unexpected = None if isinstance(error, MosaicError) else error
            log.info("%s The runs are polled one by one for %.0f s.", error, rest, exc_info=unexpected)
        finally:
            self._scan = None
            self._after_scan(scan, is_complete=is_complete)

    async def _read_pages(self, scan: ListScan, started_at: float) -> None:
        """Read pages until all due runs were shown, or the scan ends."""
        time_left = max(_MAX_SCAN_WAIT, *(wait.state.poll_interval for wait in self._awaiting_scan))
        while scan.next_call is not None:
            if all(wait.is_done for wait in self._awaiting_scan):
                return
            requested_at = self._loop.time()
            page = await fetch_page_with_retry(self._client, self._rate_limit, scan.next_call)
            self._consecutive_failures = 0
            time_left -= self._loop.time() - requested_at
            if time_left < 0:
                raise MosaicTransportError("Reading the list of running runs took too long.")
            rows = scan.add_page(page)
            for first in range(0, len(rows), _BATCH):
                lines = sum(
                    self._on_listed(wait, row, started_at)
                    for row in rows[first : first + _BATCH]
                    for wait in self._runs.get(row.run_id, ())
                )
                await asyncio.sleep(lines * _SECONDS_PER_LOG_LINE)
        self._strategy.record_scan(scan, now=self._loop.time())

    def _on_listed(self, wait: BatchedRunWait, row: RunningRow, started_at: float) -> bool:
        """Record that the list shows a run, and reschedule it. Return whether that wrote a log line."""
        if not wait.is_idle:
            return False
        progressed = False
        try:
            progressed = wait.on_listed(row)
        except Exception as error:
            wait.set_exception(error)
        if progressed:
            self._audit_later(wait)
        if wait in self._awaiting_scan or not wait.last_pause:
            # It was due, or was never polled.
            self._awaiting_scan.pop(wait, None)
            self._schedule_next(wait, started_at)
        elif wait.due < started_at + wait.last_pause:
            # It was not due yet. From now on it is due together with the other runs of the scan.
            self._schedule_poll(wait, started_at + wait.last_pause)
        return progressed

    def _after_scan(self, scan: ListScan, *, is_complete: bool) -> None:
        """Poll the runs that a complete scan did not show; after an incomplete one, the due runs."""
        awaiting, self._awaiting_scan = self._awaiting_scan, {}
        if is_complete:
            for wait in [wait for run_id in scan.missing for wait in self._runs.get(run_id, ())]:
                if wait.is_idle:
                    self._queue_poll(wait)
            if scan.found:
                self._start_audit()
        for wait in awaiting:
            if not wait.is_idle:
                continue
            if is_complete:
                # The wait was added while the scan ran.
                self._schedule_poll(wait, self._loop.time())
            else:
                self._queue_poll(wait)
        self._start_polls()

    def _start_audit(self) -> None:
        """Poll the listed run with the oldest proof of life."""
        for wait in self._waits:
            if isinstance(wait, BatchedRunWait) and wait.is_idle:
                self._audited = wait
                self._queue_poll(wait)
                return

    def _audit_later(self, wait: Wait[Any]) -> None:
        """Move a wait to the end of the audits, after a proof of life."""
        if wait in self._waits:
            del self._waits[wait]
            self._waits[wait] = None
