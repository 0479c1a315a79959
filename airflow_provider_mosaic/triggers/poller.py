"""
Poll everything that a triggerer waits for over one connection, with as few requests as possible.

A triggerer holds thousands of waits on one event loop. The waits of a connection share one :class:`Poller`, one client
and one rate limit. Each wait has a time at which it is due. One timer calls :meth:`Poller._poll_due`, which polls the
due waits by a scan of the list or one by one. A wait that is not polled stays due. The poller has six rules:

**Scan the list, or poll one by one.** A page of the list of running runs shows a hundred runs, so a thousand waits take
ten pages instead of a thousand requests. A run that a scan shows is still running. A due run that a scan does not show
has most likely ended, and is polled by itself: only the GET of a run ends a wait. Fewer than four due runs, other
items and waits at their deadline are always polled by themselves, at most 32 at a time.
:class:`~airflow_provider_mosaic.api.poll_strategy.PollStrategy` knows what the list costs and which way is cheaper.

**Keep waits together.** A scan also covers runs that are due soon, and reschedules every run that it shows. New waits
are due within five seconds, at random, and join the next scan if that is early enough. The result is one scan in each
poll interval.

**Audit the list.** A list can be stale. After each complete scan, the poller polls one of the listed runs by itself:
the one whose last own poll, or progress of its nodes, is longest ago. If two audits in a row find an ended run, the
list is not used for a while.

**Respect rate limits.** After a 429 or a ``Retry-After``, no wait of the connection sends a request until the cooldown
is over, not even at its deadline: its last poll is still to come. The cancels of killed triggers wait too, with
one exception: from half a minute after the kill, the first cancel of a run is sent although more than half a minute of
a cooldown is left.

**Tolerate errors.** Each wait counts its own errors and ends when its
:class:`~airflow_provider_mosaic.api.poll_state.FailureTolerance` is exhausted. After 20 requests in a row with a
connection or server error, the other due polls fail with the same error without being sent: in an outage, thousands of
them would each wait for a timeout. An error of the list ends no wait: the runs are polled one by one for a while. An
unexpected exception ends only the waits that it concerns.

**Never block the loop.** Airflow's triggerer shares the loop. Rows are processed twenty at a time. Log lines are paced:
the triggerer's supervisor reads them through a socket and is busy for half a second at a time, and a full socket blocks
the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import anyio

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicRateLimitError,
    MosaicServerError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.metrics import POLLS, count
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.poll_strategy import MIN_RUNS_FOR_LIST, ListScan, PollStrategy
from airflow_provider_mosaic.api.rate_limit import RateLimit
from airflow_provider_mosaic.api.running_runs import RunningRow
from airflow_provider_mosaic.triggers.log_thread import pace_lines
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait, Wait
from airflow_provider_mosaic.triggers.shared_client import SharedClient

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Polls of single waits at the same time.
_MAX_POLLS = 32
#: Seconds after which a poll does not count any more: a request that hangs delays only its own wait.
_SLOW = 3.0
#: The same while many requests hang. Each holds a socket until its timeout, and the sockets of a process are limited.
_SLOW_AMONG_MANY, _MANY = 10.0, 200
#: Cancels of killed triggers at the same time. Each holds a socket. Airflow kills all triggers of a DAG run at once.
_MAX_CANCELS = 20
#: Seconds for each request of a cancel: one that hangs holds its slot.
_MAX_CANCEL_SECONDS = 10.0
#: New waits are spread over this many seconds for each wait, and over this many at most.
_SPREAD_PER_WAIT, _MAX_SPREAD = 0.005, 5.0
#: Least seconds between two calls of the timer, for each wait: a call visits all of them.
_TIMER_INTERVAL_PER_WAIT = 5e-6
#: Number of consecutive failures after which due polls fail without being sent.
_MAX_CONSECUTIVE_FAILURES = 20
#: Waits that are processed before other tasks of the loop get a turn.
_BATCH = 20
#: A wait joins a scan early when less than this fraction of its pause is left.
_EARLY = 0.25
#: A wait may be late by this fraction of its poll interval to join the next scan.
_LATE = 0.1
#: Due runs for each page of the list from which other runs join early.
_MIN_DUE_PER_PAGE = 0.25
#: Least seconds between two scans, for each page of a scan. A shorter poll interval overrides it.
_SCAN_INTERVAL_PER_PAGE = 0.3
#: Seconds that a scan may wait for pages, unless the poll interval is longer; and for one page.
_MAX_SCAN_SECONDS, _MAX_PAGE_SECONDS = 60.0, 30.0
#: Requests for a page that fail, and that are rate limited. More of the latter: polling each run instead would send a
#: hundred times as many requests to a server that already limits them.
_MAX_PAGE_ERRORS, _MAX_PAGE_RATE_LIMITS = 3, 10
_NEVER = float("inf")


class _Timer:
    """
    Call back at the earliest of the requested times.

    :param callback: Called in an empty context: polls belong to no task instance.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        # The handles of uvloop do not tell their time if it has passed.
        self._due = _NEVER
        #: No call is earlier.
        self.not_before = 0.0

    def wake_by(self, when: float) -> None:
        when = max(when, self.not_before)
        if when >= self._due:
            return
        self.cancel()
        self._due = when
        self._handle = asyncio.get_running_loop().call_at(when, self._on_due, context=contextvars.Context())

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _on_due(self) -> None:
        self._handle, self._due = None, _NEVER
        self._callback()


class Poller:
    """Poll the waits of one connection on one event loop."""

    def __init__(self, client: SharedClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        # All waits. The one whose last poll of its own, or progress, is longest ago comes first.
        self._waits: dict[Wait[Any], None] = {}
        self._runs: dict[str, list[BatchedRunWait]] = {}
        self._timer = _Timer(self._on_timer)
        # Polls that are running, the newest last: when each has started, and its task.
        self._polls: dict[Wait[Any], tuple[float, asyncio.Task[None]]] = {}
        # Whether due waits could not be polled because too many polls were running.
        self._lacks_slots = False
        self._strategy = PollStrategy()
        self._scan: asyncio.Task[None] | None = None
        self._next_scan = 0.0
        # Due runs that a scan has not shown, or not in time. They are polled by themselves.
        self._to_poll_alone: set[Wait[Any]] = set()
        self._rate_limit = RateLimit()
        self._cancels = asyncio.Semaphore(_MAX_CANCELS)
        #: Killed triggers that cancel their runs.
        self.killed = 0
        self._consecutive_failures = 0
        self._background: set[asyncio.Task[None]] = set()

    @property
    def is_empty(self) -> bool:
        """Whether there are no waits, and no killed triggers."""
        return not self._waits and not self.killed

    def add(self, wait: Wait[Any]) -> None:
        """Poll a wait from now on."""
        self._waits[wait] = None
        if isinstance(wait, BatchedRunWait):
            self._runs.setdefault(wait.item_id, []).append(wait)
        self._client.request_refresh()
        longest = min(_MAX_SPREAD, _SPREAD_PER_WAIT * len(self._waits))
        spread = random.uniform(0.0, longest) if len(self._waits) > 1 else 0.0
        self._set_due(wait, self._loop.time() + spread)

    def remove(self, wait: Wait[Any]) -> None:
        """Stop polling a wait."""
        del self._waits[wait]
        self._to_poll_alone.discard(wait)
        if isinstance(wait, BatchedRunWait):
            waits = self._runs[wait.item_id]
            waits.remove(wait)
            if not waits:
                del self._runs[wait.item_id]
        wait.event.cancel()
        if wait in self._polls:
            self._polls[wait][1].cancel()

    async def aclose(self) -> None:
        """Stop all requests, and close the client."""
        tasks = [*(task for _, task in self._polls.values()), *self._background, *([self._scan] if self._scan else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._timer.cancel()
        await self._client.aclose()

    @asynccontextmanager
    async def slot_for_cancel(self, killed_at: float, *, max_cooldown: float) -> AsyncIterator[None]:
        """
        Wait until another cancel may be sent: no cooldown is active, and few cancels are running.

        :param max_cooldown: Seconds after the kill from which the cancel may be sent during a cooldown too, if more
            seconds of it are left. A short cooldown is waited for: all cancels of a mass kill would extend it.
        """
        while True:
            # Not in the slot: cancels that may be sent during the cooldown need it.
            await asyncio.sleep(self._cancel_at(killed_at, max_cooldown) - self._loop.time())
            async with self._cancels:
                if self._cancel_at(killed_at, max_cooldown) <= self._loop.time():
                    yield
                    return

    def _cancel_at(self, killed_at: float, max_cooldown: float) -> float:
        """Return when a cancel may be sent."""
        cooldown_until, send_by = self._rate_limit.cooldown_until, killed_at + max_cooldown
        is_long = cooldown_until - max(send_by, self._loop.time()) > max_cooldown
        return send_by if is_long else cooldown_until

    async def open_client(self) -> None:
        """Look up the connection, if that was never done: the next request is sent without a delay."""
        await self._client.open()

    async def send_once(self, call: Call[T]) -> T:
        """Send a call of a killed trigger. Its errors say nothing about the polls, except for a rate limit."""
        try:
            with anyio.fail_after(_MAX_CANCEL_SECONDS):
                result = await self._client.send(call)
        except TimeoutError:
            problem = f"got no response within {_MAX_CANCEL_SECONDS:g} s."
            raise call.error(MosaicTransportError, problem) from None
        except MosaicError as error:
            self._rate_limit.record_error(error, now=self._loop.time())
            raise
        self._rate_limit.record_success()
        return result

    # When to poll

    def _set_due(self, wait: Wait[Any], due: float) -> None:
        """Poll a wait at a time or at its deadline, whichever is first."""
        deadline = wait.state.deadline
        wait.due = due if deadline is None else min(due, self._loop.time() + deadline - time.time())
        self._timer.wake_by(wait.due)

    def _set_next_due(self, wait: Wait[Any], polled_at: float) -> None:
        """Poll a wait again, a pause after the poll at that time."""
        if not wait.is_done:
            # Runs of one scan stay together. A wait that is polled by itself gets jitter, to stay apart from others.
            together = len(self._runs) >= MIN_RUNS_FOR_LIST and isinstance(wait, BatchedRunWait)
            wait.last_pause = wait.state.pause(jitter=0.0) if together else wait.state.pause()
            self._set_due(wait, polled_at + wait.last_pause)

    def _on_timer(self) -> None:
        self._timer.not_before = self._loop.time() + _TIMER_INTERVAL_PER_WAIT * len(self._waits)
        try:
            self._poll_due()
        except Exception as error:
            # In a timer's callback, nothing else would end the waits.
            for wait in list(self._waits):
                wait.set_exception(error)
            raise

    def _is_idle(self, wait: Wait[Any]) -> bool:
        """Return whether a wait has not ended, and is not being polled."""
        return not wait.is_done and wait not in self._polls

    def _due_waits(self, now: float) -> list[Wait[Any]]:
        return [wait for wait in self._waits if wait.due <= now and not wait.is_done]

    def _poll_due(self) -> None:
        """Poll the waits that are due: by a scan of the list, or one by one while there are slots."""
        now = self._loop.time()
        if now < self._rate_limit.cooldown_until:
            self._timer.wake_by(self._rate_limit.cooldown_until)
            return
        self._timer.wake_by(min((wait.due for wait in self._waits if wait.due > now), default=_NEVER))
        due = self._due_waits(now)
        runs = [
            wait
            for wait in due
            if isinstance(wait, BatchedRunWait) and wait not in self._to_poll_alone and not wait.state.expired
        ]
        left_to_scans = self._leave_to_scans(runs, now)
        alone = [wait for wait in due if wait not in left_to_scans]
        self._lacks_slots = False
        # First the waits at their deadline, then the others in the order of all waits. Each poll moves its wait to the
        # end of that order, which therefore gives each of them a slot in turn.
        for wait in sorted(alone, key=lambda wait: not wait.state.expired):
            slot_at = self._slot_at(now)
            if slot_at > now:
                self._lacks_slots = True
                self._timer.wake_by(slot_at)
                break
            self._start_poll(wait)

    def _leave_to_scans(self, due: list[BatchedRunWait], now: float) -> set[BatchedRunWait]:
        """Leave due runs to the running scan, the next one, or a new one, and return them."""
        if self._scan is not None:
            # Many stay due until it ends, unless it shows them.
            return set(due) if len(due) >= MIN_RUNS_FOR_LIST else set()
        postponed: set[BatchedRunWait] = set()
        if now < self._next_scan and self._strategy.prefers_list(len(self._runs), now=now):
            postponed = {wait for wait in due if self._can_join_next_scan(wait, now)}
            for wait in postponed:
                self._set_due(wait, self._next_scan)
            due = [wait for wait in due if wait not in postponed]
        # A few due runs do not make many others early.
        early = self._due_soon(now) if len(due) >= _MIN_DUE_PER_PAGE * self._strategy.pages else []
        if self._strategy.prefers_list(len(due) + len(early), now=now):
            self._start_scan([*due, *early], now)
            return postponed.union(due)
        return postponed

    def _can_join_next_scan(self, wait: BatchedRunWait, now: float) -> bool:
        """Return whether the next scan is within the poll interval of a wait."""
        # A due wait was polled last_pause ago. The first pauses are shorter than the poll interval. Among many runs,
        # only the interval counts.
        return self._next_scan - now + wait.last_pause <= (1.0 + _LATE) * wait.state.poll_interval

    def _due_soon(self, now: float) -> list[BatchedRunWait]:
        return [
            wait
            for waits in self._runs.values()
            for wait in waits
            if 0.0 < wait.due - now <= _EARLY * wait.last_pause and not wait.is_done
        ]

    # One by one

    def _slot_at(self, now: float) -> float:
        """Return when another poll may start. Slow polls do not count."""
        if len(self._polls) < _MAX_POLLS:
            return now
        # If the 32nd newest poll is slow, all older ones are too.
        started_at, _ = next(islice(reversed(self._polls.values()), _MAX_POLLS - 1, None))
        return started_at + (_SLOW if len(self._polls) < _MANY else _SLOW_AMONG_MANY)

    def _start_poll(self, wait: Wait[Any], *, is_audit: bool = False) -> None:
        wait.due = _NEVER
        poll = self._loop.create_task(self._poll(wait, is_audit=is_audit))
        self._polls[wait] = self._loop.time(), poll
        # A callback, since a task that is cancelled before its first step runs no finally clause.
        poll.add_done_callback(partial(self._on_poll_done, wait))

    async def _poll(self, wait: Wait[Any], *, is_audit: bool) -> None:
        """Read the item of a wait."""
        was_alone = wait in self._to_poll_alone
        self._to_poll_alone.discard(wait)
        try:
            wait.record_success(await self._send(wait.read_call(), "single"))
        except MosaicError as error:
            wait.record_error(error)
            if was_alone and isinstance(error, MosaicRateLimitError) and not wait.is_done:
                # Its next poll does not wait for a scan. Otherwise scans could use up all requests that the server
                # permits, and no run would end.
                self._to_poll_alone.add(wait)
        except Exception as error:
            wait.set_exception(error)
        else:
            if is_audit:
                # At its deadline, a wait is done although the run is still running.
                had_ended = wait.is_done and not wait.state.expired
                self._strategy.record_audit(had_ended=had_ended, now=self._loop.time(), cycle=wait.state.poll_interval)

    def _on_poll_done(self, wait: Wait[Any], _: asyncio.Task[None]) -> None:
        now = self._loop.time()
        del self._polls[wait]
        self._move_to_end(wait)
        self._set_next_due(wait, now)
        if self._lacks_slots:
            self._timer.wake_by(now)

    # By the list

    def _start_scan(self, due: list[BatchedRunWait], now: float) -> None:
        shortest = min(wait.state.poll_interval for wait in due)
        self._next_scan = now + min(shortest, _SCAN_INTERVAL_PER_PAGE * self._strategy.pages)
        for wait in due:
            self._set_due(wait, _NEVER)
        self._scan = self._loop.create_task(self._scan_list(dict.fromkeys(due), now))

    async def _scan_list(self, due: dict[BatchedRunWait, None], started_at: float) -> None:
        """Scan the list of running runs. An error ends the scan, and no wait."""
        # All runs, also those that are not due: runs that a scan shows are due together from then on.
        scan = ListScan(self._runs)
        try:
            await self._read_pages(scan, due, started_at)
        except Exception as error:
            rest = self._strategy.record_error(error, now=self._loop.time(), first_page=not scan.pages)
            unexpected = None if isinstance(error, MosaicError) else error
            log.info("%s The runs are polled one by one for %.0f s.", error, rest, exc_info=unexpected)
        finally:
            self._scan = None
        now = self._loop.time()
        if scan.is_complete:
            due |= dict.fromkeys(wait for run_id in scan.missing for wait in self._runs.get(run_id, ()))
        for wait in due:
            if self._is_idle(wait):
                self._set_due(wait, now)
                # During a cooldown, it waits for a new scan: see _on_error.
                if now >= self._rate_limit.cooldown_until:
                    self._to_poll_alone.add(wait)
        if scan.is_complete and scan.found:
            self._start_audit(now)
        # Other runs may have become due during the scan.
        self._timer.wake_by(now)

    async def _read_pages(self, scan: ListScan, due: dict[BatchedRunWait, None], started_at: float) -> None:
        """Read pages until all due runs were shown, or the scan ends. Remove the due runs that were shown."""
        seconds_left = max(_MAX_SCAN_SECONDS, *(wait.state.poll_interval for wait in due))
        while scan.next_call is not None:
            if all(wait.is_done for wait in due):
                return
            page, seconds = await self._read_page(scan.next_call)
            seconds_left -= seconds
            if seconds_left < 0:
                raise MosaicTransportError("Reading the list of running runs took too long.")
            await self._process_rows(scan.add_page(page), due, started_at)
        self._strategy.record_scan(scan, now=self._loop.time())

    async def _read_page(self, call: Call[Page[RunningRow]]) -> tuple[Page[RunningRow], float]:
        """Read a page, with retries: many waits depend on it. Return it, and the seconds of the requests."""
        errors = rate_limits = 0
        seconds = 0.0
        while True:
            await asyncio.sleep(max(float(errors), self._rate_limit.cooldown_until - self._loop.time()))
            requested_at = self._loop.time()
            if requested_at < self._rate_limit.cooldown_until:
                # The response to another request extended the cooldown.
                continue
            try:
                # Not asyncio.wait_for: see the asynchronous client.
                with anyio.fail_after(_MAX_PAGE_SECONDS):
                    page = await self._send(call, "list")
            except TimeoutError:
                raise MosaicTransportError(f"Could not {call.description}: no response came in time.") from None
            except MosaicError as error:
                if isinstance(error, MosaicRateLimitError):
                    rate_limits += 1
                else:
                    errors += 1
                if errors >= _MAX_PAGE_ERRORS or rate_limits >= _MAX_PAGE_RATE_LIMITS or not error.transient:
                    raise
                seconds += self._loop.time() - requested_at
            else:
                return page, seconds + self._loop.time() - requested_at

    async def _process_rows(self, rows: list[RunningRow], due: dict[BatchedRunWait, None], started_at: float) -> None:
        for first in range(0, len(rows), _BATCH):
            for row in rows[first : first + _BATCH]:
                for wait in self._runs.get(row.run_id, ()):
                    self._on_listed(wait, row, started_at)
                    due.pop(wait, None)
            await pace_lines(_BATCH)

    def _on_listed(self, wait: BatchedRunWait, row: RunningRow, started_at: float) -> None:
        """Record that the list shows a run, and poll it again later."""
        if not self._is_idle(wait):
            return
        progressed = False
        try:
            progressed = wait.on_listed(row)
        except Exception as error:
            wait.set_exception(error)
        if progressed:
            self._move_to_end(wait)
        self._to_poll_alone.discard(wait)
        self._set_next_due(wait, started_at)

    def _start_audit(self, now: float) -> None:
        """Poll the listed run whose last poll of its own, or progress, is longest ago."""
        if now < self._rate_limit.cooldown_until:
            return
        for wait in self._waits:
            if isinstance(wait, BatchedRunWait) and self._is_idle(wait) and wait not in self._to_poll_alone:
                self._start_poll(wait, is_audit=True)
                return

    def _move_to_end(self, wait: Wait[Any]) -> None:
        """Move a wait behind all others: they are audited, and get a slot for a poll, before it."""
        if wait in self._waits:
            del self._waits[wait]
            self._waits[wait] = None

    # Requests, rate limits and outages

    async def _send(self, call: Call[T], kind: str) -> T:
        """Send a call, and record what its outcome means for the other waits."""
        count(POLLS, kind)
        try:
            result = await self._client.send(call)
        except MosaicError as error:
            self._on_error(error)
            raise
        self._consecutive_failures = 0
        self._rate_limit.record_success()
        return result

    def _on_error(self, error: MosaicError) -> None:
        """Handle an error that may concern all waits: a rate limit or an outage."""
        now = self._loop.time()
        self._rate_limit.record_error(error, now=now)
        is_outage = isinstance(error, MosaicTransportError | MosaicServerError)
        self._consecutive_failures = self._consecutive_failures + 1 if is_outage else 0
        if now < self._rate_limit.cooldown_until:
            # After the cooldown, a new scan is cheaper than many polls.
            self._to_poll_alone.clear()
        elif self._consecutive_failures >= _MAX_CONSECUTIVE_FAILURES and (waits := self._due_waits(now)):
            for wait in waits:
                wait.due = _NEVER
            task = self._loop.create_task(self._fail_polls(waits, error))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _fail_polls(self, waits: list[Wait[Any]], error: MosaicError) -> None:
        """Record an error for polls that are not sent."""
        for number, wait in enumerate(waits):
            if self._is_idle(wait):
                wait.record_error(error)
                self._set_next_due(wait, self._loop.time())
            if number % _BATCH == 0:
                await pace_lines(_BATCH)
