"""Wait for a run in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from airflow_provider_mosaic.airflow_compat import uncancelled
from airflow_provider_mosaic.api.arguments import validate_flag, validate_id
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.base import WaitTrigger, log
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.task_states import read_state

T = TypeVar("T")

#: Pauses after a kill, between reads of the task's state, lookups of the connection, and cancels that get a 404.
#: Airflow's ``[triggerer] on_kill_timeout`` is 30 s.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: States of a task that needs its run. Neither a mark nor a clear of a deferred task leads to them: another triggerer
#: waits, or it has ended the wait, and a worker the attempt.
_MOVED = frozenset({"deferred", "up_for_retry"})


@dataclass(kw_only=True, eq=False, repr=False)
class MosaicRunTrigger(WaitTrigger):
    """
    Wait for a run to end. Cancel it only in :meth:`on_kill`, and only if ``cancel_on_kill`` is set.

    For the event and the other parameters see :class:`~airflow_provider_mosaic.triggers.base.WaitTrigger`.

    :param run_id: The run.
    :param started_at: When the task started the run, in seconds since the epoch; None if it was started elsewhere. A
        new run may not be found at once.
    :param cancel_on_kill: Whether to cancel the run when a user marks or clears the deferred task, or Airflow ends the
        task with its DAG run (Airflow 3.3 and newer, which does not report which). A restart of the triggerer cancels
        nothing, and neither does a move of the trigger to another triggerer.
    """

    run_id: str
    started_at: float | None = None
    cancel_on_kill: bool = False

    def _wait(self) -> BatchedRunWait:
        validate_id("run_id", self.run_id)
        validate_flag("cancel_on_kill", self.cancel_on_kill)
        return BatchedRunWait(
            self.run_id, run_poll_state(self.run_id, started_at=self.started_at, **self._poll_options)
        )

    async def on_kill(self) -> None:
        """Cancel the run if a user or Airflow has ended the deferred task."""
        if self.cancel_on_kill:
            # Airflow 3.3 cancels this in its next loop, about a second later.
            await uncancelled(self._cancel_unless_moved())

    async def _cancel_unless_moved(self) -> None:
        pauses = iter(_PAUSES)
        open_client = MosaicHook(self.mosaic_conn_id).open_async_client
        try:
            # A triggerer that has stalled kills the triggers that another one has taken over. If the state can't be
            # read, nothing is cancelled: a failing database is a likely cause of the stall, no retry undoes the cancel
            # of all its runs, and a user can still cancel a run that the log names.
            read = partial(read_state, self.task_instance)
            state = await self._repeat(read, pauses, after=lambda error: error.transient)
            if state in _MOVED:
                log.info(
                    "Run %r keeps running: its task is %s, and another triggerer or attempt continues with it.",
                    self.run_id,
                    state,
                )
                return
            async with await self._repeat(open_client, pauses, after=lambda error: error.transient) as client:
                cancel = partial(client.send, cancel_run(self.run_id))
                try:
                    # A gateway without a route to Mosaic answers 404 too.
                    cancelled = await self._repeat(
                        cancel, pauses, after=lambda error: isinstance(error, MosaicNotFoundError)
                    )
                except (MosaicConflictError, MosaicValidationError, MosaicResponseError, MosaicNotFoundError):
                    # The API does not document how it rejects the cancel of a run that has ended.
                    if not run_outcome(await client.send(get_run(self.run_id))).ended:
                        raise
                    log.info("The deferred task was killed. Run %r had ended already.", self.run_id)
                else:
                    response = "found nothing to cancel in" if cancelled.had_no_effect else "accepted the cancel of"
                    log.info("The deferred task was killed. Mosaic %s run %r.", response, self.run_id)
        except MosaicError as error:
            log.error(
                "The deferred task was killed, but run %r could not be cancelled. It may continue and cost credits. %s",
                self.run_id,
                error,
            )

    async def _repeat(
        self, step: Callable[[], Awaitable[T]], pauses: Iterator[float], *, after: Callable[[MosaicError], bool]
    ) -> T:
        """
        Do a step of the cancel. Repeat it after the pauses that are left: no other process cancels the run.

        :param after: Return whether to repeat it after an error.
        """
        while True:
            try:
                return await step()
            except MosaicError as error:
                pause = next(pauses, None) if after(error) else None
                if pause is None:
                    raise
                log.warning("Run %r is not cancelled yet. Trying again in %g s. %s", self.run_id, pause, error)
            await asyncio.sleep(pause)
