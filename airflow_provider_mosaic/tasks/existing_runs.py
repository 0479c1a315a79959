"""What tasks do to a run that exists already, whoever started it: resume it, wait for it, or cancel it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import triggers_receive_kills
from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicResponseError,
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.durable.completion_waiter import Deferral, WaitOptions
from airflow_provider_mosaic.durable.failures import Consequences, fail_exception
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.run_waits import RunWait, push_run, run_after_cancel

log = logging.getLogger(__name__)

#: Seconds between the looks at a run that was resumed a moment ago.
_EFFECT_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Seconds between the reads of a run whose cancel was accepted: whether cancelling is synchronous is not documented.
_CANCEL_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
#: Seconds between the looks for the kill of a cleared deferral; it was seen 1.1 and 1.4 s after the new try's start.
_KILL_PAUSES = (1.0, 2.0, 4.0, 8.0)


class ResumeTask:
    """
    One slice of the task on a worker.

    :param order: How to wait.
    :param hook: The connection.
    :param run_id: The run.
    """

    def __init__(self, order: WaitOptions, hook: MosaicHook, *, run_id: Any) -> None:
        self._order = order
        self._hook = hook
        self._run_id = validate_id("run_id", run_id)
        self.wait = RunWait(order, hook)

    def non_retryable(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """
        Bad ends of the run that a retry would only meet again.

        :param context: The task's context.
        """
        return (MosaicRunPartialError,)

    def stakes(self, context: Mapping[str, Any], error: MosaicError) -> Consequences:
        """
        Return what a failure of the task means.

        :param context: The task's context.
        :param error: What happened.
        """
        run_id = self._run_id
        return Consequences(
            means=self.wait.may_run if self.wait.held else f"Run {run_id!r} was not resumed by this try.",
            retry=f"resumes run {run_id!r} again, or waits for it: only what is missing is paid",
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
            # Mosaic resumes no run that ended partly.
            choices=()
            if isinstance(error, MosaicRunPartialError)
            else (f"Clear this task to resume run {run_id!r} once more: only what is missing is paid.",),
        )

    def waits_for(self, run_id: str) -> None:
        """
        After a deferral: this is the run.

        :param run_id: The run.
        """
        self._run_id = run_id

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Resume the run if it failed or was cancelled, then wait for it.

        :param context: The task's context.
        :returns: The run id, or how to wait for it in the triggerer.
        """
        run_id = self._run_id
        memory = TaskState(context, kind="resume", request=run_id)
        record = memory.load()
        if memory.cleared_id is None:
            # After a clear it is the same run that is resumed.
            memory.record_failure_reason()
        run = self._hook.get_run(run_id)
        if (record is None or not record.is_saved) and run.status == RunStatus.CANCELLED:
            # Whoever cancelled it, this task is asked for to have it go on: also if this try dies before it does.
            self.wait.permission(context).grant(run_id)
        deadline = self._deadline(memory, record)
        push_run(context, self._hook, run_id, run.agent_id)
        standing = run_outcome(run).outcome
        if standing is Outcome.FAILED:
            if record is not None and record.is_saved:
                self.wait.fail_if_cancelled_elsewhere(context, run)
            resume(self._hook, run, self.wait, context, deadline=deadline)
        elif standing is Outcome.PENDING:
            log.info("Run %r is %s already: there is nothing to resume.", run_id, run.status)
            if memory.cleared_id is not None:
                resume_after_late_kill(self._hook, run_id, self.wait, context, deadline=deadline)
        else:
            log.info("Run %r is %s, which can't be resumed: taking it as it is.", run_id, run.status)
        return self.wait.wait(context, run_id, deadline=deadline)

    def _deadline(self, memory: TaskState, record: StartRecord | None) -> float | None:
        """When to stop waiting: set by the first try, and kept by those that follow."""
        if record is None or not record.is_saved:
            now, timeout = time.time(), self._order.timeout
            record = StartRecord(started_at=now, id=self._run_id, deadline=None if timeout is None else now + timeout)
            memory.save_best_effort(record)
        return record.deadline


def resume(hook: MosaicHook, run: Run, wait: RunWait, context: Mapping[str, Any], *, deadline: float | None) -> None:
    """
    Resume a run that failed or was cancelled: only what is missing is done again.

    :param hook: The connection.
    :param run: The run as it was read last.
    :param wait: The wait for it, which tells its story when it can't be resumed.
    :param context: The task's context.
    :param deadline: When waiting for it stops, in seconds since the epoch.
    :raises MosaicError: It is not resumed.
    """
    if deadline is not None and time.time() >= deadline:
        # What is resumed now would be cancelled at once, and paid.
        raise fail_exception(wait.failure(context, run, "The time given for it is over: it is not resumed."))
    try:
        resumed = hook.resume_run(run.run_id)
    except MosaicConnectionError:
        # Nothing was sent: it is no answer.
        raise
    except (MosaicConflictError, MosaicValidationError) as conflict:
        # Somebody else may have resumed it a moment ago, be it an earlier try that was killed.
        now = _read_until_changed(hook, run)
        if run_outcome(now).ended and now.status == run.status:
            # No retry can help: the state that refuses the resume stays.
            why = conflict.detail or "its state does not allow it"
            raise fail_exception(wait.failure(context, now, f"It can't be resumed: {why}.")) from conflict
        log.info("Run %r was resumed by someone else: going on with it.", run.run_id)
    except MosaicAmbiguousOutcomeError as lost:
        # A second resume is refused, so looking is enough: if the first took effect, the run is going on.
        # A short rest may have come to its end by now, and then shows another one than before.
        if _read_until_changed(hook, run).status == run.status:
            raise (lost.__cause__ or lost) from None
        log.info("Run %r is going on again, although the answer to the resume was lost.", run.run_id)
    else:
        log.info("Resumed run %r, which was %s: %d node(s) again.", run.run_id, run.status, resumed.nodes_queued)
        _read_until_changed(hook, run)
    if run.status == RunStatus.CANCELLED:
        wait.permission(context).revoke()


def _read_until_changed(hook: MosaicHook, run: Run) -> Run:
    """
    A run that may have been resumed a moment ago: its old end may be shown a little longer, and is not a new one.

    One that ended partly can't have been resumed.
    """
    now = hook.get_run(run.run_id)
    for pause in _EFFECT_PAUSES if run_outcome(run).outcome is Outcome.FAILED else ():
        if now.status != run.status:
            break
        time.sleep(pause)
        now = hook.get_run(run.run_id)
    return now


def resume_after_late_kill(
    hook: MosaicHook, run_id: str, wait: RunWait, context: Mapping[str, Any], *, deadline: float | None
) -> None:
    """
    Keep a run going that a deferred task was waiting for when a person cleared it, and that it goes on with.

    Airflow kills the trigger of the cleared deferral a little after the new try has begun, and what is waited for is
    cancelled by that: it is resumed then.

    :param hook: The connection.
    :param run_id: The run.
    :param wait: The wait for it.
    :param context: The task's context.
    :param deadline: When waiting for it stops, in seconds since the epoch.
    """
    if not (wait.cancels and triggers_receive_kills()):
        return
    for pause in _KILL_PAUSES:
        time.sleep(pause)
        run = hook.get_run(run_id)
        if run.status == RunStatus.CANCELLED:
            log.info("Run %r was cancelled with the cleared task's old wait.", run_id)
            resume(hook, run, wait, context, deadline=deadline)
            return
        if run_outcome(run).ended:
            return


def cancel(hook: MosaicHook, run_id: str) -> str:
    """
    Cancel a run and read it until it has ended; one that has ended already is left as it is.

    :param hook: The connection.
    :param run_id: The run.
    :returns: The run id.
    :raises MosaicError: It goes on, or it is not known.
    """
    run_id = validate_id("run_id", run_id)
    try:
        hook.cancel_run(run_id)
    except MosaicConnectionError:
        raise
    except (MosaicConflictError, MosaicValidationError, MosaicResponseError) as refusal:
        # How a run that has ended refuses to be cancelled is not documented, so the run itself is asked.
        run = hook.get_run(run_id)
        if not run_outcome(run).ended:
            raise refusal
        log.info("Run %r had ended already, as %s: there is nothing to cancel.", run_id, run.status)
        return run_id
    now = run_after_cancel(hook, run_id, _CANCEL_PAUSES)
    if now is None:
        log.warning(
            "Mosaic accepted the cancel of run %r, but the run could not be read since. If it still runs, it costs "
            "credits: check it in the editor.",
            run_id,
        )
    elif now.status == RunStatus.CANCELLED:
        log.info("Run %r is cancelled.", run_id)
    elif run_outcome(now).ended:
        log.info("Run %r had ended already, as %s: there is nothing to cancel.", run_id, now.status)
    else:
        raise MosaicError(
            f"Mosaic accepted the cancel of run {run_id!r}, but {sum(_CANCEL_PAUSES):g} s later the run is still "
            f"{now.status}. It may go on and cost credits. Retry this task, which cancels it once more, or cancel it "
            "in the editor.",
            transient=True,
        )
    return run_id
