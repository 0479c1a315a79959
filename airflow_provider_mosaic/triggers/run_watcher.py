"""The loop of a watch for runs that end: look, tell, note what was told, sleep. It never ends by itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import AsyncGenerator
from typing import Any

from airflow_provider_mosaic.airflow_compat import AssetStateStore
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus, get_run, list_runs
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.api.paging import aiterate
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown
from airflow_provider_mosaic.api.run_completions import RunCompletion, RunCompletionTracker
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_client import SharedClient

log = logging.getLogger(__name__)

#: Seconds after an end was told until that is noted. Airflow writes events down about once a second; one that was noted
#: before it was written would be lost with a triggerer that dies in between.
_HANDOVER = 5.0
#: Seconds from one event to the next, at least. An event that Airflow saves while the one before it still waits for
#: its DAG run reaches the DAG only with a later event (https://github.com/apache/airflow/issues/56050), so the
#: scheduler gets the time of a slow loop.
_EVENT_INTERVAL = 30.0
#: Runs in one event, at most: some 130 bytes each, in Airflow's database and in what a task reads of it.
_MOST_RUNS = 200
#: What is noted without an end, at the most every so many seconds: the list of new runs overlaps by more.
_SAVE_INTERVAL = 300.0
_LONGEST_PAUSE = 600.0
#: Pages of a list that are read at most: more runs than an agent has within a poll, or within an outage.
_MOST_PAGES = 1000


class RunWatcher:
    """
    A watch for the ends of an agent's runs.

    :param agent_id: The agent.
    :param status: The ends that are told; None for all.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The pause between two looks, in seconds.
    :param store: Where Airflow keeps how far the watch has come; None begins anew each time.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        status: list[str] | None,
        mosaic_conn_id: str,
        poll_interval: float,
        store: AssetStateStore | None,
    ) -> None:
        self._agent_id = agent_id
        self._status = status
        self._mosaic_conn_id = mosaic_conn_id
        self._poll_interval = poll_interval
        self._store = store
        self._noted: dict[str, Any] = {}
        # Another agent, status or connection is another watch.
        watched = json.dumps([agent_id, status, mosaic_conn_id])
        self._key = f"mosaic_finished_runs_{hashlib.sha256(watched.encode()).hexdigest()[:16]}"

    async def completions(self) -> AsyncGenerator[list[RunCompletion], None]:
        """Yield the runs that have ended since the last poll: one list a poll, none of them empty, each run once."""
        known = await self._load()
        session = SharedClient(MosaicHook(self._mosaic_conn_id).look_up_access)
        faults, told_of = 0, ""
        try:
            while True:
                ended: list[RunCompletion] = []
                all_read, asked_pause = True, 0.0
                try:
                    all_read = await self._poll(session, known, ended)
                except MosaicError as error:
                    # A user may fix what is wrong, like a key or an agent's id; nothing would start the watch again.
                    faults += 1
                    asked_pause = bounded_cooldown(error.retry_after or 0.0)
                    if faults == 1 or (not error.transient and str(error) != told_of):
                        told_of = str(error)
                        log.error("The runs of agent %r can't be watched just now: %s", self._agent_id, error)
                else:
                    if faults:
                        log.info("The runs of agent %r can be watched again.", self._agent_id)
                    faults = 0
                pause = max(self._pause(faults), asked_pause) if all_read else 0.0
                if ended:
                    yield ended
                    await asyncio.sleep(_HANDOVER)
                    pause = max(pause, _EVENT_INTERVAL) - _HANDOVER
                await self._save(known, told=bool(ended))
                await asyncio.sleep(pause)
        finally:
            await session.aclose()

    async def _poll(self, session: SharedClient, known: RunCompletionTracker, ended: list[RunCompletion]) -> bool:
        """
        Poll once, and append the runs that have ended to a list, which is right also where the poll breaks off.

        :returns: Whether all runs were read; False if the list was full before. The next poll reads the rest.
        """

        async def listed(**narrowed: Any) -> list[Run]:
            listing = list_runs(self._agent_id, **narrowed).all_or_error(most_pages=_MOST_PAGES)
            # A list may be long, and all that a row has beside these two would be held until it is read.
            return [Run(run_id=run.run_id, status=run.status) async for run in aiterate(session.send, listing)]

        began = time.time()
        # In this order: a run that ends between the two is in one of them.
        running = await listed(status=RunStatus.RUNNING.value)
        recent = await listed(created_from=known.since)
        for run_id in known.add_listing(running, recent, now=began):
            if len(ended) >= _MOST_RUNS:
                return False
            try:
                run = await session.send(get_run(run_id))
            except MosaicNotFoundError:
                run = None
            end = known.add_run(run_id, run, now=time.time())
            if end is not None:
                log.info("Run %r of agent %r has ended: %s.", end.run_id, end.agent_id, end.status)
                ended.append(end)
        known.finish_poll(now=began)
        return True

    def _pause(self, faults: int) -> float:
        grown = self._poll_interval * 2.0 ** min(faults, 16)
        longest = max(self._poll_interval, _LONGEST_PAUSE)
        return min(grown, longest) * random.uniform(0.85, 1.0)

    # What is kept over restarts

    async def _load(self) -> RunCompletionTracker:
        """What an earlier watch has kept, as soon as Airflow can say."""
        kept: Any = None
        faults = 0
        while self._store is not None:
            try:
                kept = await self._store.aget(self._key)
            except ValueError as error:
                # https://github.com/apache/airflow/issues/71460
                log.error(
                    "Nothing is kept over a restart, since this watch belongs to several assets: give each of them "
                    "other arguments, or use one asset. (%s)",
                    error,
                )
                self._store = None
            except Exception as error:
                # A fresh start would lose what ended in the meantime.
                faults += 1
                if faults == 1:
                    log.warning("Airflow can't be asked yet where the watch stopped: %s", error)
                await asyncio.sleep(self._pause(faults))
            else:
                break
        known = RunCompletionTracker(self._agent_id, status=self._status, now=time.time(), kept=kept)
        if known.is_new:
            log.info("Watching the runs of agent %r from now on.", self._agent_id)
        else:
            log.info("Watching the runs of agent %r since %s.", self._agent_id, known.since)
        return known

    async def _save(self, known: RunCompletionTracker, *, told: bool) -> None:
        if self._store is None or known.is_new:
            return
        now = known.as_json()
        same = all(now[part] == self._noted.get(part) for part in ("going", "told"))
        if same and not told and now["looked"] - self._noted.get("looked", 0.0) < _SAVE_INTERVAL:
            return
        try:
            await self._store.aset(self._key, now)
        except Exception as error:
            # It is tried again at the next look; until then a restart would tell some ends again.
            log.warning("Airflow could not note how far the watch has come: %s", error)
        else:
            self._noted = now
