"""
Wait for a run that a task started or resumed, and succeed, fail or skip by its outcome.

If the task ends early, the run is cancelled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, RunStatus, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.api.metrics import RUNS_DURATION, RUNS_ENDED, count, record_duration
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.poll_state import PollState, run_poll_state
from airflow_provider_mosaic.api.reports import node_lines, run_failure
from airflow_provider_mosaic.durable.completion_waiter import CompletionWaiter, WaitOptions
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.outages import api_server_is_unreachable
from airflow_provider_mosaic.durable.xcoms import push_xcom
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_with_timeout, read_with_timeout
from airflow_provider_mosaic.links import push_agent_link
from airflow_provider_mosaic.tasks.asset_events import add_to_outlet_events
from airflow_provider_mosaic.tasks.items import NEEDS_CREDITS_KEY, OUTPUT_IDS_KEY, STATUS_KEY, push_run_item
from airflow_provider_mosaic.tasks.lineage import mosaic_uris, report_lineage
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.tasks.resume_permission import ResumePermission
from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

log = logging.getLogger(__name__)

#: XCom key of the id of a task's run, pushed right after the start.
RUN_ID_KEY = "mosaic_run_id"

#: Seconds to check Airflow's API server. Airflow ends a killed task after five.
_OUTAGE_CHECK_TIMEOUT = 1.5
#: Seconds between reads of a cancelled run: it is not documented whether cancelling is synchronous.
_CANCEL_PAUSES = (0.5, 1.0, 2.0, 4.0)


class RunWait(CompletionWaiter[Run]):
    """
    The wait for a run. It cancels the run when the task is killed or out of time, unless ``cancel_on_kill=False``.

    :param advise: Returns what a user can do about a failed run; empty for the usual advice.
    :param durable: Whether anything is saved for the next attempt.
    :param inputs: Returns the URIs of what the run reads, for lineage.
    """

    noun = "Run"
    key = "run_id"
    id_key = RUN_ID_KEY
    kinds = ("run", "resume")

    def __init__(
        self,
        options: WaitOptions,
        hook: MosaicHook,
        *,
        advise: Callable[[Mapping[str, Any], Run], str] = lambda *_: "",
        durable: bool = True,
        inputs: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        super().__init__(options, hook)
        self._advise = advise
        self._durable = durable
        self._inputs = inputs
        #: The run that a kill cancels at once. The run of an earlier attempt is none until the wait for it starts: the
        #: task may resume or replace it before, and the wait must cancel what comes of that.
        self.active_run_id: str | None = None
        self._killed = False
        # Whether Airflow ended the task because its API server is away.
        self._in_outage = False
        self._kill_result = ""
        self._cancelled_run_id: str | None = None
        # The context of a wait that a BaseException ended.
        self._interrupted: Mapping[str, Any] | None = None

    def failure(self, context: Mapping[str, Any], run: Run, advice: str) -> MosaicRunFailedError:
        """
        Push the status and outputs of a failed run, and return its error.

        :param advice: What to do, or what happens next.
        """
        push_end(context, run)
        return run_failure(run, nodes_of(self._hook, run), advice=advice)

    # Cancelled by the task or elsewhere

    def permission(self, context: Mapping[str, Any]) -> ResumePermission:
        """Return the task's permission to resume a cancelled run."""
        return ResumePermission(context, durable=self._durable)

    def fail_if_cancelled_elsewhere(self, context: Mapping[str, Any], run: Run) -> None:
        """Fail without retries if the run was cancelled outside this task. A retry would resume or replace it."""
        if run.status == RunStatus.CANCELLED and not self.permission(context).is_granted(run.run_id):
            advice = "This task did not cancel it, so no retry resumes it."
            raise fail_exception(self.failure(context, run, advice))

    def _save_cancel(self, context: Mapping[str, Any]) -> None:
        """Let a retry resume the run that this task cancelled."""
        if self._cancelled_run_id is not None:
            self.permission(context).grant(self._cancelled_run_id)

    def _save_end_of_wait(self, context: Mapping[str, Any], run_id: str) -> None:
        """Save the cancel, and push the status and outputs that the run has now."""
        self._save_cancel(context)
        try:
            push_end(context, read_with_timeout(self._hook.access, run_id))
        except MosaicError as error:
            log.info("Run %r could not be read at the end of the wait. Its status is not in XCom. %s", run_id, error)

    # Cancelling

    @property
    def cancels(self) -> bool:
        """Whether the trigger cancels the run when a user marks or clears the task."""
        return self._options.wait_for_completion and self._options.cancel_on_kill

    def on_kill(self) -> None:
        """Cancel the run."""
        self._killed = True
        # A user's mark or clear reaches the task through the API server. During an outage, a lost heartbeat ends it.
        self._in_outage = self._options.cancel_on_kill and api_server_is_unreachable(_OUTAGE_CHECK_TIMEOUT)
        if self.active_run_id is None:
            # The wait cancels the run as soon as its id is known.
            return
        self._kill_result = self._cancel_best_effort(self.active_run_id)
        log.warning("%s", self._kill_result)
        if self._interrupted is not None:
            # The wait is over, so nothing else saves the cancel. A running wait saves it itself: the signal may have
            # interrupted it in a request to Airflow.
            self._save_end_of_wait(self._interrupted, self.active_run_id)

    def _saved_id(self, context: Mapping[str, Any]) -> str | None:
        run_id = super()._saved_id(context)
        self.active_run_id = run_id
        return run_id

    def on_trigger_timeout(self, context: Mapping[str, Any], item_id: str) -> None:
        """Cancel the run: it costs credits, and nothing waits for it any more."""
        log.warning("%s", self._cancel_best_effort(item_id))
        self._save_end_of_wait(context, item_id)

    def cancel_cleared_run(self, run_id: str) -> None:
        """Cancel the run from before a clear, if its trigger never ran and could not cancel it."""
        if self.cancels and not self._has_ended(run_id):
            log.warning("%s", self._cancel_best_effort(run_id))

    def _cancel_best_effort(self, run_id: str) -> str:
        """
        Cancel the run unless ``cancel_on_kill=False``. Return what happened as a sentence.

        After a kill, one short request must do: Airflow ends the process five seconds later.
        """
        run = f"Run {run_id!r}"
        if not self._options.cancel_on_kill:
            return f"{run} keeps running because cancel_on_kill=False."
        if self._in_outage:
            return (
                f"{run} keeps running: Airflow's API server does not respond, so no user ended the task. A retry "
                "continues with it. Without a retry, wait for it with a MosaicRunSensor or cancel it in the editor."
            )
        try:
            if self._killed:
                cancel_with_timeout(self._hook.access, run_id)
            else:
                self._hook.cancel_run(run_id)
        except MosaicError as error:
            # A new run may not be found yet, and keeps running then.
            if isinstance(error, MosaicNotFoundError) and not self._killed and self._is_gone(run_id):
                return f"{run} does not exist any more."
            # It is not documented how Mosaic rejects the cancel of a run that has ended.
            conflict = isinstance(error, MosaicConflictError)
            has_ended = conflict if self._killed else self._has_ended(run_id, if_unread=conflict)
            if has_ended:
                return f"{run} had ended already."
            return f"{run} could not be cancelled and may keep running: cancel it in the editor. ({error.what})"
        self._cancelled_run_id = run_id
        # After a kill there is no time to read the run: the cancel must be saved.
        return f"Mosaic accepted the cancel of run {run_id!r}." if self._killed else self._cancel_result(run_id)

    def _cancel_result(self, run_id: str) -> str:
        run = run_after_cancel(self._hook, run_id, _CANCEL_PAUSES)
        if run is None:
            return f"Mosaic accepted the cancel of run {run_id!r}. The run could not be read since."
        if run.status == RunStatus.CANCELLED:
            return f"Run {run_id!r} is cancelled."
        if run_outcome(run).ended:
            return f"Run {run_id!r} had ended already, as {run.status}."
        return (
            f"Mosaic accepted the cancel of run {run_id!r}, but {sum(_CANCEL_PAUSES):g} s later it is still "
            f"{run.status} and may cost credits: check it in the editor."
        )

    def _has_ended(self, run_id: str, *, if_unread: bool = False) -> bool:
        try:
            return run_outcome(self._hook.get_run(run_id)).ended
        except MosaicError:
            return if_unread

    def _is_gone(self, run_id: str) -> bool:
        try:
            self._hook.get_run(run_id)
        except MosaicError as error:
            return isinstance(error, MosaicNotFoundError)
        return False

    # Waiting

    def _read(self, item_id: str) -> Call[Run]:
        return get_run(item_id)

    def _poll_state(self, item_id: str, **options: Any) -> PollState[Run]:
        return run_poll_state(item_id, **options)

    def _trigger(self, item_id: str, **options: Any) -> MosaicRunTrigger:
        return MosaicRunTrigger(run_id=item_id, cancel_on_kill=self._options.cancel_on_kill, **options)

    def _stopped(self) -> bool:
        return self._killed

    def _wait(self, context: Mapping[str, Any], item_id: str, **options: Any) -> str:
        self.active_run_id = item_id
        if self._killed:
            # The id was unknown when the task was killed.
            raise self._killed_error(context, item_id)
        try:
            return super()._wait(context, item_id, **options)
        except (Exception, TaskDeferred):
            raise
        except BaseException:
            # Airflow raises one when execution_timeout has passed, and kills the task next.
            self._interrupted = context
            raise

    def _count_end(self, item: Run) -> None:
        count(RUNS_ENDED, item.status)
        if item.started_at is not None:
            # Mosaic reports no end. The clocks may differ by seconds.
            now = datetime.now(timezone.utc)
            record_duration(RUNS_DURATION, max(timedelta(0), now - item.started_at))

    def finish(self, context: Mapping[str, Any], item: Run) -> str:
        """Push the status and outputs. Return the id of a run that succeeded, else raise or skip."""
        run = with_outputs(self._hook, item)
        push_end(context, run)
        self.report_lineage(agent_id=run.agent_id, output_ids=run.output_ids)
        if run.status == RunStatus.CANCELLED and self._killed:
            raise self._killed_error(context, run.run_id)
        self.fail_if_cancelled_elsewhere(context, run)
        try:
            raise_unless_successful(
                run,
                on_partial=self._options.on_partial,
                read_nodes=lambda run: nodes_of(self._hook, run),
                advice=self._advise(context, run),
            )
        except MosaicRunPartialError:
            # Downstream tasks find the run if a user marks this task as success.
            push_xcom(context, "return_value", run.run_id, subject=f"run {run.run_id!r}")
            raise
        add_to_outlet_events(
            context,
            run_id=run.run_id,
            agent_id=run.agent_id,
            status=run.status,
            output_ids=run.output_ids,
            output_count=len(run.outputs),
        )
        return run.run_id

    def report_lineage(self, *, agent_id: str | None = None, output_ids: Iterable[str] = ()) -> None:
        """Report the agent, the inputs and the outputs of the run, as far as they are known."""
        report_lineage(
            self._hook,
            inputs=chain(mosaic_uris(self._hook, "agents", [agent_id]), self._inputs()),
            outputs=mosaic_uris(self._hook, "outputs", output_ids),
        )

    def _timeout_error(self, context: Mapping[str, Any], item_id: str, *, is_final: bool) -> Exception:
        if self._killed:
            return self._killed_error(context, item_id)
        means = self._cancel_best_effort(item_id)
        self._save_end_of_wait(context, item_id)
        if is_final:
            limit = timedelta(seconds=self._options.timeout or 0)
            # The first attempt set this deadline: a retry would fail at once.
            return fail_exception(
                MosaicTimeoutError(
                    f"Run {item_id!r} has not ended within timeout={limit}.", items=self._last_poll, means=means
                )
            )
        return MosaicTimeoutError(
            f"Run {item_id!r} has not ended within execution_timeout={context['ti'].task.execution_timeout}.",
            items=self._last_poll,
            means=means,
        )

    def _killed_error(self, context: Mapping[str, Any], run_id: str) -> MosaicRunCancelledError:
        means = self._kill_result or self._cancel_best_effort(run_id)
        self._save_cancel(context)
        return MosaicRunCancelledError(
            f"The task was killed while it waited for run {run_id!r}.", means=means, run_id=run_id
        )


def push_run(context: Mapping[str, Any], hook: MosaicHook, run_id: str, agent_id: str | None) -> None:
    """Push the id and the link of a run, before the wait: they matter most if the task fails."""
    add_to_outlet_events(context, run_id=run_id, agent_id=agent_id)
    push_xcom(context, RUN_ID_KEY, run_id, subject=f"run {run_id!r}")
    push_run_item(context, hook, run_id, agent_id)
    push_agent_link(context, hook, agent_id, subject=f"run {run_id!r}")


def push_end(context: Mapping[str, Any], run: Run) -> None:
    """Push the status and the outputs of a run at the end of the wait, and whether it is short of credits."""
    push_xcom(context, STATUS_KEY, run.status, subject=f"run {run.run_id!r}")
    push_xcom(context, OUTPUT_IDS_KEY, run.output_ids, subject=f"run {run.run_id!r}")
    if run.needs_credits:
        push_xcom(context, NEEDS_CREDITS_KEY, True, subject=f"run {run.run_id!r}")


def run_after_cancel(hook: MosaicHook, run_id: str, pauses: Iterable[float]) -> Run | None:
    """
    Read a run after Mosaic accepted its cancel, until it has ended.

    :returns: The run as it was read last; None if it could not be read.
    """
    run = None
    for pause in (*pauses, None):
        try:
            run = hook.get_run(run_id)
        except MosaicError as error:
            log.info("Run %r could not be read after its cancel: %s", run_id, error)
            if not error.transient:
                return None
        if pause is None or (run is not None and run_outcome(run).ended):
            return run
        time.sleep(pause)
    raise AssertionError("the last read returns")


def nodes_of(hook: MosaicHook, run: Run) -> tuple[RunNode, ...]:
    """Return the nodes of a run for its report; none if they can't be read."""
    try:
        return hook.get_run_nodes(run.run_id)
    except MosaicError as error:
        log.info("The nodes of run %r could not be read. Its report does not name them. %s", run.run_id, error)
        return ()


def raise_unless_successful(
    run: Run, *, on_partial: str, read_nodes: Callable[[Run], tuple[RunNode, ...]], advice: str = ""
) -> None:
    """
    Log how a run ended, and fail or skip accordingly.

    :param on_partial: What to do if only some nodes succeeded: ``warn``, ``fail`` or ``skip``.
    :param read_nodes: Reads the nodes of the run, if it did not succeed.
    :param advice: What a user can do about a failed run, instead of the usual advice.
    :raises MosaicRunFailedError: The run failed.
    """
    outcome = run_outcome(run).outcome
    if outcome is Outcome.SUCCESS:
        log.info("Run %r is completed with %d output(s).", run.run_id, len(run.outputs))
        return
    nodes = read_nodes(run)
    if outcome is Outcome.FAILED or on_partial == "fail":
        raise run_failure(run, nodes, advice=advice)
    summary = f"Run {run.run_id!r} ended partly: {len(run.outputs)} output(s) exist."
    log_lines((summary, *node_lines(run, nodes)), level=logging.WARNING)
    if on_partial == "skip":
        raise AirflowSkipException(summary)
