"""
Find out which runs of an agent have ended since the last poll.

The API has no filter "ended since" (https://docs.mosaic.so/api/agent-runs/get-agent-runs filters by creation and
status). Each poll reads two lists instead: the runs that are running, and the runs that were created recently. A run
that was running and is in neither list has ended, and so has a new run with the status of an ended one. Lists lag, so
each of these runs is read by itself before it is reported.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

from airflow_provider_mosaic.api.candidates import SKEW
from airflow_provider_mosaic.api.endpoints.runs import UNKNOWN, Run
from airflow_provider_mosaic.api.options import EndStatus
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import MAX_NOT_FOUND, NOT_FOUND_GRACE, Streak

log = logging.getLogger(__name__)

#: Statuses of runs that have ended.
ENDS: tuple[str, ...] = get_args(EndStatus)
#: How far the list of recent runs reaches back behind the last poll: clocks differ, and lists lag.
OVERLAP = SKEW + timedelta(minutes=5)
#: How long to remember a reported run that no list shows any more.
_RETENTION = 2 * OVERLAP
#: Most running runs that are tracked: Airflow stores their ids.
_MAX_RUNNING = 100_000
#: Most characters of the ids that are tracked, and of those in a list. Mosaic's ids have 36.
MAX_ID_CHARACTERS = 5_000_000
#: Recorded instead of a status for a run that was deleted.
_DELETED = "deleted"


@dataclass(frozen=True, kw_only=True)
class RunCompletion:
    """A run that has ended."""

    run_id: str
    agent_id: str
    status: str


class RunCompletionTracker:
    """
    Remember between two polls which runs of an agent are running and which were reported.

    The first poll reports nothing. A later poll does not report a run that may have ended before the first listing.

    Each poll calls :meth:`add_listing`, then :meth:`add_run` or :meth:`keep` for each run that it returns, then
    :meth:`finish_poll`. A poll that fails in between loses nothing: the next one returns the rest again. A run that is
    resumed ends again.

    :param status: Statuses to report; None for all.
    :param now: The time, in seconds since the epoch.
    :param state: What :meth:`as_json` returned to an earlier watch; None for a new watch.
    """

    def __init__(self, agent_id: str, *, status: Collection[str] | None, now: float, state: Any = None) -> None:
        self._agent_id = agent_id
        self._statuses = frozenset(ENDS if status is None else status)
        #: Whether the lists were not read yet, also not by an earlier watch.
        self.is_new = True
        #: When the last complete poll started; before the first one, when the watch started.
        self._polled_at = now
        self._running: set[str] = set()
        self._reported: dict[str, tuple[str, float]] = {}
        self._recent: frozenset[str] = frozenset()
        self._not_found: dict[str, Streak] = {}
        if isinstance(state, Mapping):
            self._restore(state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            polled_at = float(state["polled_at"])
            running = {str(run_id) for run_id in state["running"]}
            reported = {str(run_id): (str(status), float(when)) for run_id, (status, when) in state["reported"].items()}
            # Raises for a time outside of the calendar.
            _earliest_creation(polled_at)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError):
            return
        self._polled_at, self._running, self._reported = polled_at, running, reported
        self.is_new = False

    @property
    def since(self) -> datetime:
        """Earliest creation time for the list of recent runs."""
        return _earliest_creation(self._polled_at)

    def add_listing(self, running: Iterable[Run], recent: Iterable[Run], *, now: float) -> list[str]:
        """
        Record both lists, and return the runs that must be read by themselves.

        :param running: The runs that are running, whenever they were created.
        :param recent: The runs that were created after :attr:`since`, in any status.
        """
        newest = list(recent)
        listed = [*running, *newest]
        self._recent = frozenset(run.run_id for run in newest)
        ended = {run.run_id: run.status for run in newest if run_outcome(run).ended}
        now_running = {run.run_id for run in listed} - ended.keys()
        unclear = [run.run_id for run in listed if run.status == UNKNOWN]
        if self.is_new:
            self._reported = {run_id: (status, now) for run_id, status in ended.items()}
            # These may have ended before, too.
            self._reported |= dict.fromkeys(unclear, (UNKNOWN, now))
            self.is_new = False
        # Running according to the list: they were resumed, or the list lags.
        reported = [run_id for run_id in self._reported if run_id in now_running]
        newly_ended = [id for id, status in ended.items() if self._reported_status(id) not in (status, _DELETED)]
        vanished = sorted(self._running - now_running - ended.keys())
        self._track(now_running)
        return list(dict.fromkeys((*reported, *newly_ended, *vanished, *unclear)))

    def _track(self, running: set[str]) -> None:
        characters = sum(map(len, self._running))
        for run_id in running - self._running:
            characters += len(run_id)
            if len(self._running) >= _MAX_RUNNING or characters > MAX_ID_CHARACTERS:
                log.warning(
                    "Agent %r has more running runs than the %d that are tracked. The end of the others may not be "
                    "reported.",
                    self._agent_id,
                    len(self._running),
                )
                return
            self._running.add(run_id)

    def _reported_status(self, run_id: str) -> str | None:
        return self._reported.get(run_id, (None,))[0]

    def add_run(self, run_id: str, run: Run | None, *, now: float) -> RunCompletion | None:
        """
        Record what reading a run returned, and return what to report about it.

        :param run: The run; None if it was not found.
        """
        if run is None:
            not_found = self._not_found.setdefault(run_id, Streak())
            not_found.record(now)
            # A webhook's hint makes polls follow each other within seconds; a new run may take longer to appear.
            if not_found.has_lasted(MAX_NOT_FOUND, NOT_FOUND_GRACE, now):
                del self._not_found[run_id]
                self._mark_reported(run_id, _DELETED, now)
            return None
        self._not_found.pop(run_id, None)
        if not run_outcome(run).ended:
            self._reported.pop(run_id, None)
            self._running.add(run_id)
            return None
        # UNKNOWN: the first listing did not show its status, so it may have ended before the watch started.
        is_known = self._reported_status(run_id) in (run.status, UNKNOWN)
        self._mark_reported(run_id, run.status, now)
        if is_known or run.status not in self._statuses:
            return None
        return RunCompletion(run_id=run_id, agent_id=self._agent_id, status=run.status)

    def keep(self, run_id: str) -> None:
        """Record that a run could not be read: later polls return it, also when it is too old for the list."""
        self._running.add(run_id)

    def _mark_reported(self, run_id: str, status: str, now: float) -> None:
        self._running.discard(run_id)
        self._reported[run_id] = (status, now)

    def finish_poll(self, *, now: float) -> None:
        """
        Record that the poll is complete.

        :param now: When it started, in seconds since the epoch.
        """
        self._polled_at = now
        oldest = now - _RETENTION.total_seconds()
        if sum(map(len, self._reported)) > MAX_ID_CHARACTERS:
            # Of the runs that no list shows, keep only those of this poll.
            oldest = now
        self._reported = {
            run_id: (status, when)
            for run_id, (status, when) in self._reported.items()
            if when >= oldest or run_id in self._recent
        }

    def as_json(self) -> dict[str, Any]:
        """Return the state for a later watch."""
        reported = {run_id: [status, round(when)] for run_id, (status, when) in self._reported.items()}
        return {
            "polled_at": self._polled_at,
            "running": sorted(self._running),
            # A sort blocks the other threads, and a sort of texts is the shortest.
            "reported": {run_id: reported[run_id] for run_id in sorted(reported)},
        }


def _earliest_creation(polled_at: float) -> datetime:
    return datetime.fromtimestamp(polled_at, timezone.utc) - OVERLAP
