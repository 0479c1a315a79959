"""
The poller: all waits of one connection on one event loop, looked after with as few requests as they allow.

It has no task of its own: its agenda wakes it when the first wait is due, and a look lasts as long as its request. A
run that the list shows as running is not asked for by itself; how a run ended is only ever believed of its own GET.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from airflow_provider_mosaic.api.endpoints.running import RunningRow
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicServerError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.poll_strategy import FEWEST_FOR_LIST, ListScan, PollStrategy
from airflow_provider_mosaic.api.rate_limit import RateLimit
from airflow_provider_mosaic.triggers.concurrency import ConcurrencyLimit
from airflow_provider_mosaic.triggers.pages import fetch_page_with_retry
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait, Wait
from airflow_provider_mosaic.triggers.schedule import Schedule
from airflow_provider_mosaic.triggers.shared_client import SharedClient

log = logging.getLogger(__name__)

#: Single looks at the same time.
_MAX_POLLS = 32
#: The first looks of many are spread over so many seconds each, and over so many at most.
_SPREAD_EACH, _LONGEST_SPREAD = 0.005, 5.0
#: A wait that is due within this part of its pause is looked at together with those that are due.
_EARLY = 0.25
#: By this part of its longest pause a wait may be looked at later than that, with others.
_LATE = 0.1
#: Seconds between two sweeps for each page of one, unless a wait wants to be looked at more often.
_GAP_A_PAGE = 0.3
#: Seconds between two rounds for each wait: a round looks at all of them.
_ROUND_EACH = 5e-6
#: Seconds of waiting for pages after which a sweep is broken off, unless the waits want to be looked at more seldom.
_SLOW_SCAN = 60.0
#: Seconds of a sweep for each line that it writes: a triggerer's supervisor turns away for half a second at a time, and
#: whoever writes more lines meanwhile than its socket holds, some two hundred, holds the loop.
_EACH_LINE = 0.004
#: Seconds that no sweep takes.
_MAX_SCAN_SECONDS = 3600.0
#: So many looks in a row without an answer speak for all that are queued behind them.
_MAX_CONSECUTIVE_FAILURES = 20
#: So many waits are seen to before others have a turn on the loop.
_BATCH = 20


class Poller:
    """
    Looks after waits.

    :param session: What the requests are sent with; it is closed with the last wait.
    """

    def __init__(self, session: SharedClient) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._plan = PollStrategy()
        self._pacing = RateLimit()
        # In the order in which something sure was heard of them.
        self._waits: dict[Wait[Any], None] = {}
        self._runs: dict[str, list[BatchedRunWait]] = {}
        self._agenda = Schedule(self._wake)
        self._queue: deque[Wait[Any]] = deque()
        self._looks: dict[Wait[Any], asyncio.Task[None]] = {}
        self._slots = ConcurrencyLimit(_MAX_POLLS, self._start_polls)
        self._sweep: asyncio.Task[None] | None = None
        self._next_sweep = 0.0
        self._parked: dict[BatchedRunWait, None] = {}
        self._audited: Wait[Any] | None = None
        self._unanswered = 0
        self._others: set[asyncio.Task[None]] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._waits

    def add(self, wait: Wait[Any]) -> None:
        """
        Look after a wait from now on.

        :param wait: The wait.
        """
        self._waits[wait] = None
        if isinstance(wait, BatchedRunWait):
            self._runs.setdefault(wait.subject_id, []).append(wait)
        self._session.request_refresh()
        many = len(self._waits)
        spread = 0.0 if many == 1 else random.uniform(0.0, min(_LONGEST_SPREAD, _SPREAD_EACH * many))
        self._schedule(wait, self._loop.time() + spread)

    def remove(self, wait: Wait[Any]) -> None:
        """
        Look after a wait no longer, whatever became of it.

        :param wait: The wait.
        """
        del self._waits[wait]
        if isinstance(wait, BatchedRunWait):
            waits = self._runs[wait.subject_id]
            waits.remove(wait)
            if not waits:
                del self._runs[wait.subject_id]
        if not wait.is_done:
            wait.outcome.cancel()
        if look := self._looks.get(wait):
            look.cancel()

    async def aclose(self) -> None:
        """Stop, and close the session."""
        self._agenda.close()
        tasks = [*self._looks.values(), *self._others, *([self._sweep] if self._sweep else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._session.aclose()

    # When

    def _schedule(self, wait: Wait[Any], due: float) -> None:
        """Look at a wait at some time, and at its deadline if that comes before; never in a quiet."""
        deadline = wait.watch.deadline
        if deadline is not None:
            due = min(due, self._loop.time() + deadline - time.time())
        self._agenda.add(wait, max(due, self._pacing.quiet_until))

    def _wake(self) -> None:
        now = self._loop.time()
        self._agenda.not_before = now + _ROUND_EACH * len(self._waits)
        try:
            self._round(now)
        except Exception as error:
            # Nobody else would ever hear of it, and all would wait for ever.
            for wait in list(self._waits):
                wait.set_exception(error)
            raise
        finally:
            self._agenda.set_timer()

    def _round(self, now: float) -> None:
        due: list[BatchedRunWait] = []
        for wait in self._agenda.pop_due(now):
            if now < self._pacing.quiet_until:
                # Also one whose time is up: how it stands then is asked of Mosaic.
                self._schedule(wait, self._pacing.quiet_until)
            elif wait.watch.expired:
                self._queue_poll(wait)
            elif isinstance(wait, BatchedRunWait) and wait.can_be_batched:
                due.append(wait)
            else:
                self._queue_poll(wait)
        if due:
            self._poll_runs(due, now)
        self._start_polls()

    def _poll_runs(self, due: list[BatchedRunWait], now: float) -> None:
        if self._sweep is not None and len(due) >= FEWEST_FOR_LIST:
            self._parked |= dict.fromkeys(due)
            self._hold(due)
            return
        if self._sweep is None and now < self._next_sweep and self._plan.prefers_list(len(self._runs), now=now):
            hasty = []
            for wait in due:
                if self._can_await_next_scan(wait, now):
                    self._schedule(wait, self._next_sweep)
                else:
                    hasty.append(wait)
            due = hasty
        early = self._early(now) if self._sweep is None and len(due) >= _EARLY * self._plan.pages else []
        if self._sweep is not None or not self._plan.prefers_list(len(due) + len(early), now=now):
            for wait in due:
                self._queue_poll(wait)
        else:
            wanted = dict.fromkeys([*due, *early])
            shortest = min(wait.watch.poll_interval for wait in wanted)
            self._next_sweep = now + min(shortest, _GAP_A_PAGE * self._plan.pages)
            self._hold(wanted)
            self._sweep = self._loop.create_task(self._scan(wanted, now))

    def _can_await_next_scan(self, wait: BatchedRunWait, now: float) -> bool:
        """Whether that is soon enough: the short pauses of its beginning are for runs that are few."""
        return self._next_sweep - now + wait.last_pause <= (1.0 + _LATE) * wait.watch.poll_interval

    def _early(self, now: float) -> list[BatchedRunWait]:
        return [
            wait
            for waits in self._runs.values()
            for wait in waits
            if wait.can_be_batched
            and not wait.looking
            and not wait.is_done
            and wait.due - now <= _EARLY * wait.last_pause
        ]

    def _hold(self, waits: Iterable[BatchedRunWait]) -> None:
        """A sweep sees to them; only deadlines that may come meanwhile are minded."""
        soon = time.time() + _MAX_SCAN_SECONDS
        for wait in waits:
            wait.due = float("inf")
            if wait.watch.deadline is not None and wait.watch.deadline < soon:
                self._schedule(wait, wait.due)

    def _on_polled(self, wait: Wait[Any], at: float) -> None:
        """Say when a wait is looked at next."""
        if not wait.is_done:
            # Runs that were seen together stay together; alone, nobody should fall into step with others.
            together = len(self._runs) >= FEWEST_FOR_LIST and isinstance(wait, BatchedRunWait)
            wait.last_pause = wait.watch.pause(jitter=0.0) if together else wait.watch.pause()
            self._schedule(wait, at + wait.last_pause)

    # One by one

    def _queue_poll(self, wait: Wait[Any]) -> None:
        wait.looking = True
        if wait.watch.expired:
            self._queue.appendleft(wait)
        else:
            self._queue.append(wait)

    def _start_polls(self) -> None:
        if self._loop.time() < self._pacing.quiet_until:
            self._postpone()
        while self._queue and self._slots.free > 0:
            wait = self._queue.popleft()
            if not wait.is_done:
                look = self._looks[wait] = self._loop.create_task(self._poll_one(wait))
                # Also when it is cancelled before its first step.
                look.add_done_callback(partial(self._on_poll_done, wait, self._slots.acquire()))

    async def _poll_one(self, wait: Wait[Any]) -> None:
        audited = wait is self._audited
        if audited:
            self._audited = None
        try:
            subject = await self._session.send(wait.call)
            self._unanswered = 0
            self._pacing.record_response()
            wait.record_success(subject)
            if audited:
                self._plan.record_audit(had_ended=wait.is_done, now=self._loop.time(), cycle=wait.watch.poll_interval)
        except MosaicError as error:
            wait.record_error(error)
            self._failed(error)
        except Exception as error:
            wait.set_exception(error)

    def _on_poll_done(self, wait: Wait[Any], give_back: Callable[[], None], _: asyncio.Task[None]) -> None:
        del self._looks[wait]
        wait.looking = False
        self._on_row(wait)
        self._on_polled(wait, self._loop.time())
        give_back()

    def _failed(self, error: MosaicError) -> None:
        """Take in a fault that may be everybody's."""
        now = self._loop.time()
        self._pacing.record_error(error, now=now)
        away = isinstance(error, MosaicTransportError | MosaicServerError)
        self._unanswered = self._unanswered + 1 if away else 0
        if now < self._pacing.quiet_until:
            self._postpone()
        elif self._unanswered >= _MAX_CONSECUTIVE_FAILURES and self._queue:
            queued, self._queue = self._queue, deque()
            others = list(queued)
            # Should it be theirs alone who came first, others come first the next time.
            random.shuffle(others)
            self._start_scan(self._share(error, others))

    def _postpone(self) -> None:
        """Let those that are queued wait for the end of the quiet."""
        queued, self._queue = self._queue, deque()
        for wait in queued:
            wait.looking = False
            self._schedule(wait, self._pacing.quiet_until)

    async def _share(self, error: MosaicError, waits: list[Wait[Any]]) -> None:
        """Let a fault stand for those that were not asked for."""
        for number, wait in enumerate(waits):
            if not wait.is_done:
                wait.record_error(error)
                wait.looking = False
                self._on_polled(wait, self._loop.time())
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    def _start_scan(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    # By the list

    async def _scan(self, wanted: dict[BatchedRunWait, None], began: float) -> None:
        # All are looked for, also those that are not due yet: who is seen together is due together from then on.
        sweep = ListScan(run_id for run_id, waits in self._runs.items() if any(wait.can_be_batched for wait in waits))
        whole = False
        patience = max(_SLOW_SCAN, *(wait.watch.poll_interval for wait in wanted))
        lines = 0
        try:
            while sweep.next_call is not None and not all(wait.is_done for wait in wanted):
                asked = self._loop.time()
                page = await fetch_page_with_retry(self._session, self._pacing, sweep.next_call)
                self._unanswered = 0
                patience -= self._loop.time() - asked
                if patience < 0:
                    raise MosaicTransportError("Reading the running runs took too long.")
                for number, row in enumerate(sweep.add_page(page)):
                    if number % _BATCH == 0:
                        # Airflow's own work on this loop comes between, and what its supervisor does with the lines.
                        await asyncio.sleep(lines * _EACH_LINE)
                        lines = 0
                    for wait in self._runs.get(row.run_id, ()):
                        lines += self._was_listed(wait, row, wanted, began)
            if sweep.next_call is None:
                self._plan.record_scan(sweep, now=self._loop.time())
                whole = sweep.whole
        except Exception as error:
            rest = self._plan.record_error(error, now=self._loop.time(), first_page=not sweep.pages)
            # Whatever is wrong with the list, or with how it is read: the runs can be asked for without it.
            unforeseen = None if isinstance(error, MosaicError) else error
            log.info("%s The runs are asked for one by one for %.0f s.", error, rest, exc_info=unforeseen)
        finally:
            self._sweep = None
            self._after_scan(wanted, sweep, whole=whole)

    def _was_listed(
        self, wait: BatchedRunWait, row: RunningRow, wanted: dict[BatchedRunWait, None], began: float
    ) -> bool:
        """Whether that was news, which the task's log tells."""
        if wait.looking or wait.is_done:
            return False
        news = False
        try:
            if news := wait.on_listed(row):
                self._on_row(wait)
        except Exception as error:
            wait.set_exception(error)
        if wait in wanted or wait in self._parked or not wait.last_pause:
            wanted.pop(wait, None)
            self._parked.pop(wait, None)
            self._on_polled(wait, began)
        elif wait.due < began + wait.last_pause:
            self._schedule(wait, began + wait.last_pause)
        return news

    def _after_scan(self, wanted: dict[BatchedRunWait, None], sweep: ListScan, *, whole: bool) -> None:
        # What is in no page of a whole list has most likely ended, due or not.
        missing = [wait for run_id in sweep.missing for wait in self._runs.get(run_id, ())] if whole else list(wanted)
        for wait in missing:
            if wait.can_be_batched and not wait.looking and not wait.is_done:
                if whole:
                    wait.on_not_listed()
                self._queue_poll(wait)
        parked, self._parked = self._parked, {}
        for wait in parked:
            if not wait.looking and not wait.is_done:
                self._schedule(wait, self._loop.time())
        if whole and sweep.found:
            self._audit()
        self._start_polls()

    def _on_row(self, wait: Wait[Any]) -> None:
        """Note that it was asked for by itself, or that its nodes have moved on."""
        if wait in self._waits:
            del self._waits[wait]
            self._waits[wait] = None

    def _audit(self) -> None:
        """
        Ask for one run by itself that the list has shown as running: the one of which nothing sure was heard for the
        longest time. Lists can be old.
        """
        for wait in self._waits:
            if isinstance(wait, BatchedRunWait) and wait.can_be_batched and not wait.looking and not wait.is_done:
                self._audited = wait
                self._queue_poll(wait)
                return
