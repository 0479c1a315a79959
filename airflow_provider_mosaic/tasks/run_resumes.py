"""Resume a run that failed or was cancelled."""

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
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.metrics import RUNS_RESUMED, count
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
from airflow_provider_mosaic.durable.failures import Consequences, fail_exception
from airflow_provider_mosaic.durable.reads import read_until
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.run_waits import RunWait, push_run

log = logging.getLogger(__name__)


class ResumeTask:
    """The task of ``MosaicResumeRunOperator``, in one execution."""

    def __init__(self, options: WaitOptions, hook: MosaicHook, context: Mapping[str, Any], *, run_id: Any) -> None:
        self._options = options
        self._hook = hook
        self._context = context
        self._run_id = validate_id("run_id", run_id)
        self.wait = RunWait(options, hook, context)

    def non_retryable(self) -> tuple[type[MosaicError], ...]:
        """Return the errors of a run that a retry would meet again."""
        return (MosaicRunPartialError,)

    def consequences(self, error: MosaicError) -> Consequences:
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

    def start(self) -> str:
        """Resume the run if it failed or was cancelled, then wait for it. Return its id."""
        run_id, wait = self._run_id, self.wait
        state = TaskState(self._context, kind="resume", request=run_id)
        record = state.load()
        run = self._hook.get_run(run_id)
        is_retry = record is not None and record.is_saved
        if record is None or not record.is_saved:
            # Without a saved record this counts as the first attempt, which also resumes a cancelled run.
            if run.status == RunStatus.CANCELLED:
                # The user who set run_id decided to resume it. A retry may do so if this attempt dies before.
                wait.permission.grant(run_id)
            now, timeout = time.time(), self._options.timeout
            record = StartRecord(started_at=now, id=run_id, deadline=None if timeout is None else now + timeout)
            state.save_best_effort(record)
        push_run(self._context, self._hook, run_id, run.agent_id)
        if not self._options.wait_for_completion:
            self.wait.report_lineage(agent_id=run.agent_id)
        outcome = run_outcome(run).outcome
        if outcome is Outcome.FAILED:
            if is_retry:
                wait.fail_if_cancelled_elsewhere(run)
            resume(run, wait, deadline=record.deadline)
        elif outcome is Outcome.PENDING:
            log.info("Run %r is already %s. There is nothing to resume.", run_id, run.status)
            if state.cleared_id == run_id:
                resume_after_late_kill(run_id, wait, deadline=record.deadline)
        else:
            log.info("Run %r is %s and can't be resumed. The task continues with it.", run_id, run.status)
        return wait.wait(run_id, deadline=record.deadline)


def resume(run: Run, wait: RunWait, *, deadline: float | None) -> None:
    """
    Resume a run that failed or was cancelled: only what is missing is done again.

    :param run: The run as it was read last.
    :param wait: The wait for the run. It reports a run that can't be resumed.
    :param deadline: When the wait stops, in seconds since the epoch.
    :raises MosaicError: The run is not resumed.
    """
    if deadline is not None and time.time() >= deadline:
        # The wait would end at once and cancel the run, which would still cost credits.
        raise fail_exception(wait.failure(run, "Its timeout has passed, so it is not resumed."))
    try:
        resumed = wait.hook.resume_run(run.run_id)
    except MosaicConnectionError:
        # A subclass of MosaicValidationError. Nothing was sent.
        raise
    except (MosaicConflictError, MosaicValidationError) as conflict:
        # It may have been resumed a moment ago, by a user or by an earlier attempt that was killed.
        now = _read_until_changed(wait.hook, run)
        if run_outcome(now).ended and now.status == run.status:
            why = conflict.detail or "its state does not allow it"
            raise fail_exception(wait.failure(now, f"It can't be resumed: {why}.")) from conflict
        log.info("Run %r was resumed outside this task. The task continues with it.", run.run_id)
    except MosaicAmbiguousOutcomeError as lost:
        # The status shows whether the resume had an effect. A short run may already have ended, with another status.
        if _read_until_changed(wait.hook, run).status == run.status:
            raise (lost.__cause__ or lost) from None
        log.info("Run %r was resumed, although the response was lost.", run.run_id)
    else:
        count(RUNS_RESUMED)
        log.info(
            "Resumed run %r, which was %s. %d node(s) are queued again.", run.run_id, run.status, resumed.nodes_queued
        )
        # The wait must not read the old status as the end of the run.
        _read_until_changed(wait.hook, run)
    if run.status == RunStatus.CANCELLED:
        # The permission is for one resume.
        wait.permission.revoke()


def resume_after_late_kill(run_id: str, wait: RunWait, *, deadline: float | None) -> None:
    """
    Resume a run that the trigger of a cleared deferral cancels, because the cleared task continues with the same run.

    Airflow kills that trigger a little after the new attempt has started.

    :param deadline: When the wait stops, in seconds since the epoch.
    """
    if not (wait.cancels and triggers_receive_kills()):
        return
    # The kill came 1.1 and 1.4 s after the new attempt.
    run = read_until(lambda: wait.hook.get_run(run_id), lambda run: run_outcome(run).ended)
    if run.status == RunStatus.CANCELLED:
        log.info("Run %r was cancelled by the trigger from before the clear. Resuming it.", run_id)
        resume(run, wait, deadline=deadline)


def _read_until_changed(hook: MosaicHook, run: Run) -> Run:
    """Read a run that may have been resumed: it may still show its old status for some seconds."""
    # Mosaic does not resume a run that ended partly: its status does not change.
    can_change = run_outcome(run).outcome is Outcome.FAILED
    return read_until(lambda: hook.get_run(run.run_id), lambda now: now.status != run.status or not can_change)
