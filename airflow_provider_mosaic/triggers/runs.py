"""Wait for a run in the triggerer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import Any

import anyio

from airflow_provider_mosaic.airflow_compat import uncancelled
from airflow_provider_mosaic.api.arguments import validate_flag, validate_id
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.triggers.base import WaitTrigger, log
from airflow_provider_mosaic.triggers.log_thread import log_in_thread, wait_until_logged
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller
from airflow_provider_mosaic.triggers.shared_pollers import poller_of_killed
from airflow_provider_mosaic.triggers.task_states import read_state

#: Seconds between the attempts to cancel a run after a kill. A server can ask for longer pauses.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Seconds for all of them, without the waits for a slot. A late cancel could end a run that a user has resumed.
_TIME_LIMIT = 120.0
#: Seconds after the kill in which the waits for a slot do not count: the kills of a DAG run come at once.
_MAX_QUEUE = 600.0
#: Seconds that the first attempt waits for the end of a cooldown. It always waits if fewer seconds of it are left.
_MAX_COOLDOWN = 30.0
#: States of a task that needs its run. Neither a mark nor a clear of a deferred task leads to them: another triggerer
#: waits, or it has ended the wait, and a worker the attempt.
_MOVED = {"deferred": "is deferred", "up_for_retry": "waits for its retry"}


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
            log_in_thread(
                log.info,
                f"The deferred task was killed. Cancelling run {self.run_id!r} unless the task still needs it. The "
                "result follows here, or in the triggerer's own log if it takes more than a second.",
            )
            # Airflow 3.3 cancels this in its next loop, about a second later, and closes the task's log.
            await uncancelled(_KilledWait(self.run_id, self.task_instance).cancel(self.mosaic_conn_id))
            await wait_until_logged()


class _KilledWait:
    """The wait of a killed trigger, which cancels its run."""

    def __init__(self, run_id: str, task_instance: Any) -> None:
        self._run_id = run_id
        self._task_instance = task_instance
        #: For the last line: whether a cancel was sent, and why it or what precedes it failed.
        self._sent = False
        self._last_error: MosaicError | None = None

    async def cancel(self, mosaic_conn_id: str) -> None:
        """Cancel the run unless its task has moved. If that fails, log an error that names the run."""
        async with poller_of_killed(mosaic_conn_id) as poller:
            try:
                await self._cancel_within_limits(poller)
            except asyncio.CancelledError:
                # The event loop ends, and the thread of the log with it.
                log.error(self._failure("The triggerer ends. "))
                raise

    async def _cancel_within_limits(self, poller: Poller) -> None:
        try:
            with anyio.fail_after(_MAX_QUEUE) as limit:
                await self._cancel_with_retries(poller, limit)
        except (MosaicError, TimeoutError) as error:
            why = "The time limit is over. " if isinstance(error, TimeoutError) else ""
            log_in_thread(log.error, self._failure(why))
            await wait_until_logged()

    def _failure(self, why: str) -> str:
        return (
            f"The deferred task was killed, but run {self._run_id!r} could not be cancelled. It may continue and cost "
            f"credits: cancel it in the editor. {why}{'A' if self._sent else 'No'} cancel was sent. "
            f"{self._last_error or ''}"
        ).rstrip()

    async def _cancel_with_retries(self, poller: Poller, limit: anyio.CancelScope) -> None:
        loop = asyncio.get_running_loop()
        pauses, killed_at, queue_end = iter(_PAUSES), loop.time(), limit.deadline
        end = killed_at + _TIME_LIMIT
        while True:
            since = loop.time()
            limit.deadline = max(queue_end, end)
            try:
                # A cooldown can be longer than the rest of the run, so the first cancel does not wait for its end.
                async with poller.slot_for_cancel(killed_at, max_cooldown=inf if self._sent else _MAX_COOLDOWN):
                    # After a mass kill, a repeated cancel waits behind all others.
                    limit.deadline = end = min(end + loop.time() - since, queue_end + _TIME_LIMIT)
                    await self._cancel_once(poller, since)
                return
            except MosaicError as error:
                self._last_error = error
                # A gateway without a route answers 404, a key that is being replaced gets a 401 or 403, and the cancel
                # of a run that is being cancelled a 409. A later one can succeed. After a 429, the cooldown is enough.
                pause = 0.0 if isinstance(error, MosaicRateLimitError) else next(pauses, None)
                if pause is None:
                    raise
                when = f"in {pause:g} s" if pause else "after a cooldown"
                line = f"Run {self._run_id!r} is not cancelled yet. Trying again {when}. {error}"
                log_in_thread(log.warning, line)
            await asyncio.sleep(pause)

    async def _cancel_once(self, poller: Poller, since: float) -> None:
        # Before the state is read: while the secrets backend is slow, the task can move.
        await poller.open_client()
        # A triggerer that has stalled kills the triggers that another one has taken over. If the state can't be read,
        # nothing is cancelled: a failing database is a likely cause of the stall, no retry undoes the cancel of all its
        # runs, and a user can still cancel a run that the log names.
        state = await read_state(self._task_instance, since=since)
        if moved := _MOVED.get(state or ""):
            line = f"Run {self._run_id!r} keeps running: its task {moved}."
            if self._sent:
                # A clear leads to a new deferral too.
                line += " An earlier cancel failed: if the task was cleared, check the run in the editor."
            log_in_thread(log.warning if self._sent else log.info, line)
            return
        self._sent = True
        rejection: MosaicError
        try:
            cancelled = await poller.send_once(cancel_run(self._run_id))
        except (MosaicConflictError, MosaicValidationError, MosaicResponseError, MosaicNotFoundError) as error:
            rejection = error
        else:
            if not cancelled.had_no_effect:
                line = f"The deferred task was killed. Mosaic accepted the cancel of run {self._run_id!r}."
                log_in_thread(log.info, line)
                return
            # A queued run, or one between two nodes, can continue after that.
            what = f"Mosaic found nothing to cancel in run {self._run_id!r}, which has not ended."
            rejection = MosaicError(what, transient=True)
        # The API does not document how it rejects the cancel of a run that has ended.
        if not run_outcome(await poller.send_once(get_run(self._run_id))).ended:
            raise rejection
        log_in_thread(log.info, f"The deferred task was killed. Run {self._run_id!r} had ended already.")
