"""Resume or cancel a run that exists."""

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
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.metrics import RUNS_RESUMED, count
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
from airflow_provider_mosaic.durable.failures import Consequences, fail_exception
from airflow_provider_mosaic.durable.reads import read_until
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.run_waits import RunWait, push_run, run_after_cancel

log = logging.getLogger(__name__)

#: Seconds between reads of a cancelled run: it is not documented whether cancelling is synchronous.
_CANCEL_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class ResumeTask:
    """The task of ``MosaicResumeRunOperator``, in one execution."""

    def __init__(self, options: WaitOptions, hook: MosaicHook, *, run_id: Any) -> None:
        self._options = options
        self._hook = hook
        self._run_id = validate_id("run_id", run_id)
        self.wait = RunWait(options, hook)

    def non_retryable(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """Return the errors of a run that a retry would meet again."""
        return (MosaicRunPartialError,)

    def consequences(self, context: Mapping[str, Any], error: MosaicError) -> Consequences:
        """Return what an error of the task means."""
        run_id = self.wait.item_id or self._run_id
        return Consequences(
            means=f"Run {run_id!r} may keep running, and cost credits."
            if self.wait.item_id
            else f"Run {run_id!r} was not resumed by this attempt.",
            retry=f"resumes run {run_id!r} again, or waits for it: only what is missing is done again",
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
            # Mosaic does not resume a run that ended partly.
            choices=()
            if isinstance(error, MosaicRunPartialError)
            else (f"Clear this task to resume run {run_id!r} once more: only what is missing is done again.",),
        )

    def start(self, context: Mapping[str, Any]) -> str:
        """Resume the run if it failed or was cancelled, then wait for it. Return its id."""
        run_id = self._run_id
        state = TaskState(context, kind="resume", request=run_id)
        record = state.load()
        if state.cleared_id is None:
            # After a clear the task resumes the same run. The log line would deny that.
            state.log_discarded()
        run = self._hook.get_run(run_id)
        if record is None or not record.is_saved:
            # Without a saved record this counts as the first attempt, which also resumes a cancelled run.
            if run.status == RunStatus.CANCELLED:
                # The user who set run_id decided to resume it. A retry may do so if this attempt dies before.
                self.wait.permission(context).grant(run_id)
            now, timeout = time.time(), self._options.timeout
            record = StartRecord(started_at=now, id=run_id, deadline=None if timeout is None else now + timeout)
            is_retry = False
            state.save_best_effort(record)
        else:
            is_retry = True
        push_run(context, self._hook, run_id, run.agent_id)
        if not self._options.wait_for_completion:
            self.wait.report_lineage(agent_id=run.agent_id)
        outcome = run_outcome(run).outcome
        if outcome is Outcome.FAILED:
            if is_retry:
                self.wait.fail_if_cancelled_elsewhere(context, run)
            resume(self._hook, run, self.wait, context, deadline=record.deadline)
        elif outcome is Outcome.PENDING:
            log.info("Run %r is already %s. There is nothing to resume.", run_id, run.status)
            if state.cleared_id is not None:
                resume_after_late_kill(self._hook, run_id, self.wait, context, deadline=record.deadline)
        else:
            log.info("Run %r is %s and can't be resumed. The task continues with it.", run_id, run.status)
        return self.wait.wait(context, run_id, deadline=record.deadline)


def resume(hook: MosaicHook, run: Run, wait: RunWait, context: Mapping[str, Any], *, deadline: float | None) -> None:
    """
    Resume a run that failed or was cancelled: only what is missing is done again.

    :param run: The run as it was read last.
    :param wait: The wait for the run. It reports a run that can't be resumed.
    :param deadline: When the wait stops, in seconds since the epoch.
    :raises MosaicError: The run is not resumed.
    """
    if deadline is not None and time.time() >= deadline:
        # The wait would end at once and cancel the run, which would still cost credits.
        raise fail_exception(wait.failure(context, run, "Its timeout has passed, so it is not resumed."))
    try:
        resumed = hook.resume_run(run.run_id)
    except MosaicConnectionError:
        # A subclass of MosaicValidationError. Nothing was sent.
        raise
    except (MosaicConflictError, MosaicValidationError) as conflict:
        # It may have been resumed a moment ago, by a user or by an earlier attempt that was killed.
        now = _read_until_changed(hook, run)
        if run_outcome(now).ended and now.status == run.status:
            why = conflict.detail or "its state does not allow it"
            raise fail_exception(wait.failure(context, now, f"It can't be resumed: {why}.")) from conflict
        log.info("Run %r was resumed outside this task. The task continues with it.", run.run_id)
    except MosaicAmbiguousOutcomeError as lost:
        # The status shows whether the resume had an effect. A short run may already have ended, with another status.
        if _read_until_changed(hook, run).status == run.status:
            raise (lost.__cause__ or lost) from None
        log.info("Run %r was resumed, although the response was lost.", run.run_id)
    else:
        count(RUNS_RESUMED)
        log.info(
            "Resumed run %r, which was %s. %d node(s) are queued again.", run.run_id, run.status, resumed.nodes_queued
        )
        # The wait must not read the old status as the end of the run.
        _read_until_changed(hook, run)
    if run.status == RunStatus.CANCELLED:
        # The permission is for one resume.
        wait.permission(context).revoke()


def _read_until_changed(hook: MosaicHook, run: Run) -> Run:
    """Read a run that may have been resumed: it may still show its old status for some seconds."""
    # Mosaic does not resume a run that ended partly: its status does not change.
    can_change = run_outcome(run).outcome is Outcome.FAILED
    return read_until(lambda: hook.get_run(run.run_id), lambda now: now.status != run.status or not can_change)


def resume_after_late_kill(
    hook: MosaicHook, run_id: str, wait: RunWait, context: Mapping[str, Any], *, deadline: float | None
) -> None:
    """
    Resume a run that the trigger of a cleared deferral cancels, because the cleared task continues with the same run.

    Airflow kills that trigger a little after the new attempt has started.

    :param deadline: When the wait stops, in seconds since the epoch.
    """
    if not (wait.cancels and triggers_receive_kills()):
        return
    # The kill came 1.1 and 1.4 s after the new attempt.
    run = read_until(lambda: hook.get_run(run_id), lambda run: run_outcome(run).ended)
    if run.status == RunStatus.CANCELLED:
        log.info("Run %r was cancelled by the trigger from before the clear. Resuming it.", run_id)
        resume(hook, run, wait, context, deadline=deadline)


def cancel(hook: MosaicHook, run_id: str) -> str:
    """
    Cancel a run and read it until it has ended. A run that has ended stays as it is.

    :returns: The run id.
    :raises MosaicError: The run still runs, or is unknown.
    """
    try:
        hook.cancel_run(run_id)
    except MosaicConnectionError:
        # A subclass of MosaicValidationError. Nothing was sent.
        raise
    except (
        MosaicConflictError,
        MosaicValidationError,
        MosaicResponseError,
        MosaicServerError,
        MosaicTransportError,
    ) as error:
        # It is not documented how Mosaic rejects the cancel of a run that has ended. After a lost response the run may
        # be cancelled.
        run = hook.get_run(run_id)
        if not run_outcome(run).ended:
            raise error
        log.info("Run %r had ended already, as %s. There is nothing to cancel.", run_id, run.status)
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
        log.info("Run %r had ended already, as %s. There is nothing to cancel.", run_id, now.status)
    else:
        raise MosaicError(
            f"Mosaic accepted the cancel of run {run_id!r}, but {sum(_CANCEL_PAUSES):g} s later the run is still "
            f"{now.status}.",
            means="It may keep running and cost credits.",
            to_do="Retry this task, which cancels it once more, or cancel it in the editor.",
            transient=True,
        )
    return run_id
