"""One wait of a poller: what to read, what is known so far, and the event at its end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run, get_run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.metrics import WAITS, count
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.api.running_runs import Counts, RunningRow, counts_of, still_running

S = TypeVar("S")

#: Outcomes in the events.
ENDED, TIMEOUT, ERROR = "ended", "timeout", "error"


class Wait(Generic[S]):
    """
    One wait. Await :attr:`event` for the payload of the trigger's event.

    Airflow keeps the event in its database until the task resumes. The event holds only ids and statuses; the resumed
    task reads the rest itself.

    :param read_call: Returns the call that reads the item. Each poll creates a new call: calls are large, and there are
        many waits.
    """

    __slots__ = ("_context", "due", "event", "item_id", "last_pause", "read_call", "state")

    def __init__(self, read_call: Callable[[], Call[S]], state: PollState[S], item_id: str) -> None:
        self.read_call = read_call
        self.state = state
        self.item_id = item_id
        self.event: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        #: When to poll next, by the loop's clock; infinity while it is polled or scanned.
        self.due = 0.0
        #: Seconds from the last poll to the next one.
        self.last_pause = 0.0
        # Airflow's log handlers read the task of a log line from the context.
        self._context = contextvars.copy_context()

    @property
    def is_done(self) -> bool:
        """Whether the wait has ended or was cancelled."""
        return self.event.done()

    def record_success(self, item: S) -> None:
        """Record what a poll returned. End the wait if the item has ended or the deadline has passed."""
        outcome = self._context.run(self.state.record_success, item)
        if outcome.ended:
            self._set_event(ENDED, status=outcome.status)
        elif self.state.expired:
            self._set_event(TIMEOUT)

    def record_error(self, error: MosaicError) -> None:
        """Record a failed poll. End the wait if the error is final or the deadline has passed."""
        try:
            self._context.run(self.state.record_error, error)
        except MosaicError as final:
            self._set_event(ERROR, error=type(final).__name__, message=str(final), transient=final.transient)
        except Exception as unexpected:
            self.set_exception(unexpected)
        else:
            if self.state.expired:
                self._set_event(TIMEOUT)

    def set_exception(self, error: BaseException) -> None:
        """End the wait with an unexpected exception."""
        if not self.is_done:
            self.event.set_exception(error)

    def _set_event(self, outcome: str, **details: Any) -> None:
        if not self.is_done:
            count(WAITS, outcome)
            self.event.set_result({"outcome": outcome, "id": self.item_id, **details})


class BatchedRunWait(Wait[Run]):
    """The wait for a run. The list of running runs can replace polls of the run itself."""

    __slots__ = ("_counts", "_has_failed", "_needs_credits")

    def __init__(self, run_id: str, state: PollState[Run]) -> None:
        super().__init__(partial(get_run, run_id), state, run_id)
        self._counts: Counts | None = None
        self._needs_credits = False
        self._has_failed = False

    def record_success(self, item: Run) -> None:
        """Record the run as its own GET returned it."""
        self._counts, self._needs_credits, self._has_failed = counts_of(item), item.needs_credits, False
        super().record_success(item)

    def record_error(self, error: MosaicError) -> None:
        """Record a failed poll, as :meth:`Wait.record_error`."""
        self._has_failed = True
        super().record_error(error)

    def on_listed(self, row: RunningRow) -> bool:
        """
        Record that the list shows the run as running. The list never ends a wait.

        :returns: Whether nodes have progressed since the last poll, which proves that the row is current.
        """
        progressed = row.counts is not None and row.counts != self._counts
        if progressed or self._has_failed:
            self._counts, self._has_failed = row.counts or self._counts or (0, 0, 0), False
            run = still_running(self.item_id, self._counts, needs_credits=self._needs_credits)
            self._context.run(self.state.record_success, run)
        return progressed
