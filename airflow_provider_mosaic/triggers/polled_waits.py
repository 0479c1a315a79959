"""One wait among many: what it looks at, what it has seen, and how it ended."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any, Generic, TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.running import Counts, RunningRow, counts_of, still_running
from airflow_provider_mosaic.api.endpoints.runs import Run, get_run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.poll_state import PollState

S = TypeVar("S")

#: How a wait can end, as the events say it.
ENDED, TIMEOUT, ERROR = "ended", "timeout", "error"
#: The longest row of looks without the list, for a run that waits but is not among the running.
_MOST_SKIPS = 16


class Wait(Generic[S]):
    """
    One wait. Whoever made it awaits :attr:`outcome`, the payload of a trigger's event.

    The event is kept in Airflow's database until the task goes on: it holds ids and words, and the task that goes on
    reads the rest anew.

    :param call: Reads what is waited for.
    :param watch: The course of the wait.
    :param subject_id: The id of what is waited for.
    """

    __slots__ = ("_call", "_context", "due", "last_pause", "looking", "outcome", "subject_id", "watch")

    def __init__(self, call: Call[S] | None, watch: PollState[S], subject_id: str) -> None:
        self._call = call
        self.watch = watch
        self.subject_id = subject_id
        self.outcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        #: When it wants to be looked at, by the loop's clock.
        self.due = 0.0
        #: Seconds between the last look and that.
        self.last_pause = 0.0
        #: Whether a look of its own is under way.
        self.looking = False
        # Airflow's loggers know by it whose lines these are.
        self._context = contextvars.copy_context()

    @property
    def call(self) -> Call[S]:
        """What reads it."""
        assert self._call is not None  # noqa: S101 - those without one make it
        return self._call

    @property
    def is_done(self) -> bool:
        """Whether it has ended, or nobody waits any more."""
        return self.outcome.done()

    def record_success(self, subject: S) -> None:
        """
        Take in what a look showed.

        :param subject: What was looked at.
        """
        verdict = self._context.run(self.watch.record_success, subject)
        if verdict.ended:
            self._set_result({"outcome": ENDED, "id": self.subject_id, "status": verdict.status})
        else:
            self._check_deadline()

    def record_error(self, error: MosaicError) -> None:
        """
        Take in that a look failed.

        :param error: Why.
        """
        try:
            self._context.run(self.watch.record_error, error)
        except MosaicError as reason:
            self._set_result(
                {
                    "outcome": ERROR,
                    "id": self.subject_id,
                    "error": type(reason).__name__,
                    "message": str(reason),
                    "transient": reason.transient,
                }
            )
        except Exception as unforeseen:
            self.set_exception(unforeseen)
        else:
            self._check_deadline()

    def set_exception(self, error: BaseException) -> None:
        """
        End it by an error that is none of Mosaic's.

        :param error: A mistake in the program.
        """
        if not self.is_done:
            self.outcome.set_exception(error)

    def _check_deadline(self) -> None:
        if self.watch.expired:
            self._set_result({"outcome": TIMEOUT, "id": self.subject_id})

    def _set_result(self, event: dict[str, Any]) -> None:
        if not self.is_done:
            self.outcome.set_result(event)


class BatchedRunWait(Wait[Run]):
    """
    The wait for a run, which the list of running runs can spare a look.

    :param run_id: The run.
    :param watch: The course of the wait.
    """

    __slots__ = ("_counts", "_failing", "_short", "_skips", "_skips_left")

    def __init__(self, run_id: str, watch: PollState[Run]) -> None:
        super().__init__(None, watch, run_id)
        self._counts: Counts | None = None
        self._short = False
        self._failing = False
        self._skips = 1
        self._skips_left = 0

    @property
    def call(self) -> Call[Run]:
        """Made for each look: it is large, and there are many waits."""
        return get_run(self.subject_id)

    @property
    def can_be_batched(self) -> bool:
        """Whether the list may show it. One that waited without being listed is looked at by itself for a while."""
        return not self._skips_left

    def record_success(self, subject: Run) -> None:
        """
        Take in what a look of its own showed.

        :param subject: The run.
        """
        self._counts, self._short, self._failing = counts_of(subject), subject.needs_credits, False
        self._skips_left = max(0, self._skips_left - 1)
        super().record_success(subject)

    def record_error(self, error: MosaicError) -> None:
        """
        Take in that a look failed.

        :param error: Why.
        """
        self._failing = True
        super().record_error(error)

    def on_listed(self, row: RunningRow) -> bool:
        """
        Take in that the list shows the run as running: maybe news, never an end.

        :param row: Its row.
        :returns: Whether its nodes have moved on: a sign that the row is no old one.
        """
        self._skips, self._skips_left = 1, 0
        moved = row.counts is not None and row.counts != self._counts
        if moved or self._failing:
            self._counts, self._failing = row.counts or self._counts or (0, 0, 0), False
            run = still_running(self.subject_id, self._counts, needs_credits=self._short)
            self._context.run(self.watch.record_success, run)
        return moved

    def on_not_listed(self) -> None:
        """Take in that the list did not show it: should it wait all the same, the list is of no use for it."""
        self._skips_left = self._skips
        self._skips = min(_MOST_SKIPS, self._skips * 2)
