"""
Which runs of an agent have ended since the last look: what one who watches the lists has to remember, and decides.

The lists have no "ended since" (https://docs.mosaic.so/api/agent-runs/get-agent-runs filters by creation and status),
so each look reads two: what is running now, however old, and everything that was created lately. A run that was going
on and is in neither has ended, and so has a new one that shows an end. Lists lag, so the run itself is read before
its end is believed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from airflow_provider_mosaic.api.candidates import SKEW
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.outcomes import run_outcome

log = logging.getLogger(__name__)

#: How a run can end, in the API's words.
ENDS = tuple(
    status.value for status in (RunStatus.COMPLETED, RunStatus.PARTIAL_COMPLETE, RunStatus.FAILED, RunStatus.CANCELLED)
)
#: How far before the last look the list of new runs begins: clocks differ, and lists lag.
OVERLAP = SKEW + timedelta(minutes=5)
#: How long it is remembered that an end was told, also when no list shows the run any more.
_REMEMBERED = 2 * OVERLAP
#: Answers "there is no such run" in a row that are believed.
_MOST_NOT_FOUND = 3
#: Running runs that are followed at a time: their ids are kept by Airflow, too.
_MOST_GOING = 100_000
#: The end of a run that is not there any more.
_GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class RunCompletion:
    """
    A run that has ended.

    :param run_id: The run.
    :param agent_id: Its agent.
    :param status: How it ended.
    """

    run_id: str
    agent_id: str
    status: str


class RunCompletionTracker:
    """
    What is known of an agent's runs between two looks. The first look only takes stock: what has ended by then is old.

    Each poll calls :meth:`add_listing`, :meth:`add_run` for each run that it names, and :meth:`finish_poll`. An
    interrupted poll loses nothing: the next one names the rest again. A run that was resumed ends again.

    :param agent_id: The agent.
    :param status: The ends that are told; None for all.
    :param now: The time, in seconds since the epoch, by the wall clock.
    :param kept: What :meth:`as_json` gave to an earlier watch that is to be continued; None for a new one.
    """

    def __init__(self, agent_id: str, *, status: Collection[str] | None, now: float, kept: Any = None) -> None:
        self._agent_id = agent_id
        self._wanted = frozenset(ENDS if status is None else status)
        self._began = now
        self._looked: float | None = None
        self._going: set[str] = set()
        self._told: dict[str, tuple[str, float]] = {}
        self._recent: frozenset[str] = frozenset()
        self._not_found: dict[str, int] = {}
        if isinstance(kept, Mapping):
            self._restore(kept)

    def _restore(self, kept: Mapping[str, Any]) -> None:
        try:
            looked = float(kept["looked"])
            going = {str(run_id) for run_id in kept["going"]}
            told = {str(run_id): (str(status), float(when)) for run_id, (status, when) in kept["told"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        self._looked, self._going, self._told = looked, going, told

    @property
    def is_new(self) -> bool:
        """Whether there was no look yet, also not by the watch that this one continues."""
        return self._looked is None

    @property
    def since(self) -> datetime:
        """Where the list of new runs has to begin."""
        last = self._began if self._looked is None else self._looked
        return datetime.fromtimestamp(last, timezone.utc) - OVERLAP

    def add_listing(self, running: Iterable[Run], recent: Iterable[Run], *, now: float) -> list[str]:
        """
        Take in both lists.

        :param running: The runs that are running, whenever they were created.
        :param recent: The runs that were created after :attr:`since`, in any status.
        :param now: The time.
        :returns: The runs that have to be read.
        """
        newest = list(recent)
        ended = {run.run_id: run.status for run in newest if run_outcome(run).ended}
        going = {run.run_id for run in (*running, *newest) if run.run_id not in ended}
        self._recent = frozenset(run.run_id for run in newest)
        if self.is_new:
            self._told |= {run_id: (status, now) for run_id, status in ended.items()}
        # One that was told and is going on was resumed, if it isn't the list that lags.
        doubtful = [run_id for run_id in self._told if run_id in going]
        doubtful += [run_id for run_id, status in ended.items() if self._reported_status(run_id) not in (status, _GONE)]
        doubtful += [run_id for run_id in sorted(self._going - going) if run_id not in ended]
        room = max(0, _MOST_GOING - len(self._going))
        new = going - self._going
        if len(new) > room:
            log.warning(
                "Agent %r has more than %d running runs. Only so many are followed at a time.",
                self._agent_id,
                _MOST_GOING,
            )
        self._going |= set(islice(new, room))
        return doubtful

    def _reported_status(self, run_id: str) -> str | None:
        told = self._told.get(run_id)
        return None if told is None else told[0]

    def add_run(self, run_id: str, run: Run | None, *, now: float) -> RunCompletion | None:
        """
        Take in what reading a run showed.

        :param run_id: The run.
        :param run: How it stands; None if there is no such run.
        :param now: The time.
        :returns: Its end, if it is to be told.
        """
        if run is None:
            self._not_found[run_id] = self._not_found.get(run_id, 0) + 1
            if self._not_found[run_id] >= _MOST_NOT_FOUND:
                self._mark_reported(run_id, _GONE, now)
            return None
        self._not_found.pop(run_id, None)
        if not run_outcome(run).ended:
            self._told.pop(run_id, None)
            self._going.add(run_id)
            return None
        known = self._reported_status(run_id) == run.status
        self._mark_reported(run_id, run.status, now)
        if known or run.status not in self._wanted:
            return None
        return RunCompletion(run_id=run_id, agent_id=self._agent_id, status=run.status)

    def _mark_reported(self, run_id: str, status: str, now: float) -> None:
        self._going.discard(run_id)
        self._not_found.pop(run_id, None)
        self._told[run_id] = (status, now)

    def finish_poll(self, *, now: float) -> None:
        """
        Note that the look was whole.

        :param now: When it began.
        """
        self._looked = now
        oldest = now - _REMEMBERED.total_seconds()
        self._told = {
            run_id: (status, when)
            for run_id, (status, when) in self._told.items()
            if when > oldest or run_id in self._recent
        }

    def as_json(self) -> dict[str, Any]:
        """What a later watch needs to go on with."""
        return {
            "looked": self._began if self._looked is None else self._looked,
            "going": sorted(self._going),
            "told": {run_id: [status, round(when)] for run_id, (status, when) in sorted(self._told.items())},
        }
