"""Poll an agent for runs that have ended, without end. Errors only delay the next poll."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_mosaic.airflow_compat import AssetStateStore
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus, get_run, list_runs
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRateLimitError,
    MosaicResponseError,
)
from airflow_provider_mosaic.api.paging import aiterate
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown
from airflow_provider_mosaic.api.run_completions import MAX_ID_CHARACTERS, RunCompletion, RunCompletionTracker
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_client import SharedClient
from airflow_provider_mosaic.triggers.webhook_hints import Hints, webhook_hints
from airflow_provider_mosaic.webhook_address import webhooks_are_on

log = logging.getLogger(__name__)

#: Seconds from an event until its runs are saved as reported. Airflow stores events about once a second. If the
#: triggerer died before that, an event that is saved as reported would be lost.
_HANDOVER = 5.0
#: Least seconds between two events. If Airflow stores an event while the one before it still waits for its DAG run, the
#: DAG gets it only with a later event (https://github.com/apache/airflow/issues/56050).
_EVENT_INTERVAL = 30.0
#: Most runs of an event. A run takes some 130 bytes in Airflow's database and in the task that reads the event.
_MAX_RUNS_PER_EVENT = 200
#: Least seconds between two saves of an unchanged state. The list of new runs overlaps by more.
_SAVE_INTERVAL = 300.0
_MAX_PAUSE = 600.0
#: Least seconds between two polls because of webhooks, which may be about runs of other agents.
_HINT_INTERVAL = 10.0
#: Most seconds after a poll because of a webhook until the next: the lists may not have shown the end yet.
_RECHECK_INTERVAL = 30.0
#: Failed reads in a row that end a poll.
_MAX_FAILED_READS = 3
#: Errors that all reads of a poll share.
_OUTAGES = (MosaicAuthenticationError, MosaicConnectionError, MosaicRateLimitError)
#: Most pages of a list that are read, and most seconds for all of them.
_MAX_PAGES, _MAX_LIST_SECONDS = 1000, 1800.0


@dataclass
class _PollResult:
    """
    What a poll has found, also if it failed later.

    :param has_more: Whether there are more runs than an event may have: the next poll follows at once.
    """

    completions: list[RunCompletion] = field(default_factory=list)
    has_more: bool = False


@dataclass(kw_only=True)
class RunWatcher:
    """
    Watch for runs of an agent that end.

    :param webhook: Whether to poll earlier if a webhook reports the end of a run.
    """

    agent_id: str
    status: Sequence[str] | None
    mosaic_conn_id: str
    poll_interval: float
    store: AssetStateStore | None
    webhook: bool = False

    def __post_init__(self) -> None:
        # Watches that differ in one of these have separate states.
        watched = [self.agent_id, self.status, self.mosaic_conn_id]
        self._state = SavedState(self.store, agent_id=self.agent_id, watched=watched)
        # Polls in a row that failed, the error that was logged last, and the pause that the server requested.
        self._errors, self._logged, self._cooldown = 0, "", 0.0
        # The runs whose last read failed, and when it failed.
        self._unreadable: dict[str, float] = {}

    async def completions(self) -> AsyncGenerator[list[RunCompletion], None]:
        """Yield the runs that have ended since the last poll: a list for each poll that found some."""
        if self.webhook and not webhooks_are_on():
            log.warning(
                "The runs of agent %r are watched with webhook=True, but [mosaic] webhooks is off in the triggerer. "
                "If it is off in the API server too, ended runs are found only by the polls every %g s.",
                self.agent_id,
                self.poll_interval,
            )
        reading = webhook_hints(self.mosaic_conn_id) if self.webhook else nullcontext(Hints())
        async with reading as hints, aclosing(SharedClient(MosaicHook(self.mosaic_conn_id).look_up_access)) as client:
            tracker = await self._start_tracker()
            hinted = False
            while True:
                result = await self._try_poll(client, tracker)
                least, longest = (0.0, 0.0) if result.has_more else self._pauses(hinted)
                if result.completions:
                    yield result.completions
                    await asyncio.sleep(_HANDOVER)
                    least = max(least, _EVENT_INTERVAL) - _HANDOVER
                    longest = max(longest - _HANDOVER, least)
                await self._state.save(tracker, has_reported=bool(result.completions))
                await asyncio.sleep(least)
                hinted = await hints.wait(longest - least)

    async def _try_poll(self, client: SharedClient, tracker: RunCompletionTracker) -> _PollResult:
        """Poll, and log an error."""
        result = _PollResult()
        try:
            await self._poll(client, tracker, result)
        except Exception as error:
            # The watch never fails: nothing would start it again after a user has fixed the key or the agent.
            known = error if isinstance(error, MosaicError) else None
            self._errors += 1
            self._cooldown = bounded_cooldown((known.retry_after if known else None) or 0.0)
            if self._errors == 1 or (not (known and known.transient) and str(error) != self._logged):
                self._logged = str(error)
                log.error(
                    "The runs of agent %r could not be read. The next polls report what has ended. %s",
                    self.agent_id,
                    error,
                    exc_info=None if known else error,
                )
            return result
        if self._errors:
            rest = f", except {len(self._unreadable)} that are tried again" if self._unreadable else ""
            log.info("The runs of agent %r can be read again%s.", self.agent_id, rest)
        self._errors, self._cooldown = 0, 0.0
        return result

    async def _poll(self, client: SharedClient, tracker: RunCompletionTracker, result: _PollResult) -> None:
        """Add the runs that have ended to a result. If it is full before the end, the next poll reads the rest."""

        async def listed(**filters: Any) -> list[Run]:
            listing = list_runs(self.agent_id, **filters).all_or_error(
                most_pages=_MAX_PAGES, most_seconds=_MAX_LIST_SECONDS
            )
            # Keep only what is needed: the list may be long, and its rows are large.
            return [Run(run_id=run.run_id, status=run.status) async for run in aiterate(client.send, listing)]

        started_at = time.time()
        # In this order, a run that ends between the two requests is in one of the lists.
        running = await listed(status=RunStatus.RUNNING.value)
        recent = await listed(created_from=tracker.since)

        def add_listing() -> list[str]:
            for runs in (running, recent):
                if sum(len(run.run_id) for run in runs) > MAX_ID_CHARACTERS:
                    raise MosaicResponseError(
                        f"A list of runs has ids with more than {MAX_ID_CHARACTERS:,} characters in all.",
                        to_do="Check the connection's host.",
                    )
            run_ids = tracker.add_listing(running, recent, now=started_at)
            # The runs that could not be read before come last, so that they delay no other.
            return sorted(run_ids, key=lambda run_id: self._unreadable.get(run_id, 0.0))

        failed = 0
        # In a thread, like everything that visits each run: there may be 100,000.
        for run_id in await asyncio.to_thread(add_listing):
            if len(result.completions) >= _MAX_RUNS_PER_EVENT:
                result.has_more = True
                return
            is_known = run_id in self._unreadable
            if is_known and failed >= _MAX_FAILED_READS:
                break
            try:
                run = await client.send(get_run(run_id))
            except MosaicNotFoundError:
                run = None
            except _OUTAGES:
                raise
            except Exception as error:
                self._record_unreadable(run_id, error)
                tracker.keep(run_id)
                failed += 1
                if failed >= _MAX_FAILED_READS and not is_known:
                    raise
                continue
            failed = 0
            self._unreadable.pop(run_id, None)
            completion = tracker.add_run(run_id, run, now=time.time())
            if completion is not None:
                log.info("Run %r of agent %r has ended: %s.", run_id, self.agent_id, completion.status)
                result.completions.append(completion)
        await asyncio.to_thread(tracker.finish_poll, now=started_at)

    def _record_unreadable(self, run_id: str, error: Exception) -> None:
        """Record when a run could not be read, and log it once."""
        if run_id not in self._unreadable:
            log.error(
                "Run %r of agent %r could not be read. It is reported once it can be read. Other runs are not delayed. "
                "%s",
                run_id,
                self.agent_id,
                error,
                exc_info=None if isinstance(error, MosaicError) else error,
            )
        self._unreadable[run_id] = time.monotonic()

    def _pauses(self, hinted: bool) -> tuple[float, float]:
        """Return the least and the longest pause until the next poll. A hint ends what is between them."""
        pause = max(self._pause(self._errors), self._cooldown)
        if self._errors:
            return pause, pause
        if hinted:
            pause = min(pause, _RECHECK_INTERVAL)
        return min(pause, _HINT_INTERVAL), pause

    def _pause(self, errors: int) -> float:
        # The long pauses of a watch with webhooks suit polls that find nothing.
        interval = min(self.poll_interval, _RECHECK_INTERVAL) if errors and self.webhook else self.poll_interval
        longest = max(self.poll_interval, _MAX_PAUSE)
        return min(interval * 2.0 ** min(errors, 16), longest) * random.uniform(0.85, 1.0)

    async def _start_tracker(self) -> RunCompletionTracker:
        """Return a tracker that continues where the last watch ended."""
        state = await self._state.load(self._pause)
        tracker = await asyncio.to_thread(
            RunCompletionTracker, self.agent_id, status=self.status, now=time.time(), state=state
        )
        if tracker.is_new:
            log.info("Watching the runs of agent %r from now on.", self.agent_id)
        else:
            log.info("Watching the runs of agent %r since %s.", self.agent_id, tracker.since)
        return tracker


class SavedState:
    """
    The state of a watch over restarts of the triggerer, in the state store of its asset.

    :param store: The store; None keeps nothing.
    :param watched: Values of JSON that tell the watch from others.
    """

    def __init__(self, store: AssetStateStore | None, *, agent_id: str, watched: Sequence[Any]) -> None:
        self.key = f"mosaic_finished_runs_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"
        self._store = store
        self._agent_id = agent_id
        self._saved: dict[str, Any] = {}

    async def load(self, pause: Callable[[int], float]) -> Any:
        """
        Return the state of the last watch; None if there is none. Retry until Airflow returns it.

        :param pause: Returns the seconds to wait after a number of errors in a row.
        """
        errors = 0
        while self._store is not None:
            try:
                return await self._store.aget(self.key)
            except ValueError as error:
                # https://github.com/apache/airflow/issues/71460
                log.error(
                    "The watch of agent %r keeps no state over a restart of the triggerer, since it belongs to several "
                    "assets. Use one asset, or set asset_name. (%s)",
                    self._agent_id,
                    error,
                )
                self._store = None
            except Exception as error:
                # Without the state, runs that ended since the last poll would be lost.
                errors += 1
                if errors == 1:
                    log.warning(
                        "Airflow did not return the state of the watch of agent %r. Its runs are watched once the "
                        "state is read. Retrying. %s",
                        self._agent_id,
                        error,
                    )
                await asyncio.sleep(pause(errors))
        return None

    async def save(self, tracker: RunCompletionTracker, *, has_reported: bool) -> None:
        """Save the state if it has changed or is old."""
        if self._store is None or tracker.is_new:
            return

        def read_state() -> tuple[dict[str, Any], bool]:
            state = tracker.as_json()
            return state, all(state[name] == self._saved.get(name) for name in ("running", "reported"))

        state, is_same = await asyncio.to_thread(read_state)
        is_recent = state["polled_at"] - self._saved.get("polled_at", 0.0) < _SAVE_INTERVAL
        if is_same and is_recent and not has_reported:
            return
        try:
            await self._store.aset(self.key, state)
        except Exception as error:
            log.warning(
                "Airflow did not save the state of the watch of agent %r. The next poll retries. If the triggerer "
                "restarts before that, some runs are reported again. %s",
                self._agent_id,
                error,
            )
        else:
            self._saved = state
