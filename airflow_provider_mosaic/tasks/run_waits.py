"""The wait for a run that a task began or resumed: how its end is judged, and what cancels it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

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
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.poll_state import PollState, run_poll_state
from airflow_provider_mosaic.api.reports import node_lines, run_failure
from airflow_provider_mosaic.durable.completion_waiter import CompletionWaiter, Deadlines, Deferral, WaitOptions
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.outages import api_server_is_unreachable
from airflow_provider_mosaic.durable.resume_permission import ResumePermission
from airflow_provider_mosaic.durable.xcoms import push_agent_link, push_xcom
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_with_timeout, read_with_timeout
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

log = logging.getLogger(__name__)

#: Seconds of the five that Airflow leaves a killed task, for the question whether its API server is away.
_LONGEST_QUESTION = 1.5

#: XCom key under which a task pushes the id of its run, at once after the start.
RUN_ID_KEY = "mosaic_run_id"

#: Seconds between the reads of a run whose cancel was accepted: whether cancelling is synchronous is not documented.
_CANCEL_PAUSES = (0.5, 1.0, 2.0, 4.0)


def push_run(context: Mapping[str, Any], hook: MosaicHook, run_id: str, agent_id: str | None) -> None:
    """
    Push the id and the link: they are needed most when the task does not come to its end.

    :param context: The task's context.
    :param hook: The connection.
    :param run_id: The run.
    :param agent_id: Its agent, if it is known.
    """
    push_xcom(context, RUN_ID_KEY, run_id, subject=f"run {run_id!r}")
    push_agent_link(context, hook, agent_id, subject=f"run {run_id!r}")


class RunWait(CompletionWaiter[Run]):
    """
    The wait for one run, which is cancelled when the task is killed or out of time, unless the order says otherwise.

    :param order: How to wait.
    :param hook: The connection.
    :param cure: What a person can do about a run that ended badly, if it is not the usual.
    :param durable: Whether anything is kept for the next try.
    """

    noun = "Run"
    key = "run_id"
    id_key = RUN_ID_KEY
    kinds = ("run", "resume")

    def __init__(
        self,
        order: WaitOptions,
        hook: MosaicHook,
        *,
        cure: Callable[[Mapping[str, Any], Run], str] = lambda *_: "",
        durable: bool = True,
    ) -> None:
        super().__init__(order, hook)
        self._cure = cure
        self._durable = durable
        self._active_run_id: str | None = None
        self._killed = False
        # Whether Airflow ended the task because its API server was away.
        self._in_outage = False
        self._kill_result = ""
        self._cancelled: str | None = None
        self._left: Mapping[str, Any] | None = None

    @property
    def held(self) -> str | None:
        """The run that a kill cancels, once there is one."""
        return self._active_run_id

    @property
    def may_run(self) -> str:
        """What it means that the wait for the run failed."""
        return f"Run {self._active_run_id!r} may keep running, and cost credits." if self._active_run_id else ""

    def set_active(self, run_id: str) -> None:
        """
        From now on this is the run that a kill cancels.

        :param run_id: The run.
        """
        self._active_run_id = run_id

    def wait(
        self, context: Mapping[str, Any], subject_id: str, *, deadline: float | None, begun: float | None = None
    ) -> str | Deferral:
        """See :meth:`EndWait.wait`; what was begun while the task was killed is cancelled."""
        self.set_active(subject_id)
        if self._killed:
            # There was no id yet to cancel.
            raise self._killed_error(context, subject_id)
        with self._cancelling_on_failure(context):
            return super().wait(context, subject_id, deadline=deadline, begun=begun)

    def resume(
        self,
        context: Mapping[str, Any],
        event: Mapping[str, Any] | None,
        subject_id: str,
        *,
        deadline: float | None,
        began: float | None,
    ) -> str | Deferral:
        """See :meth:`EndWait.go_on`."""
        self.set_active(subject_id)
        with self._cancelling_on_failure(context):
            return super().resume(context, event, subject_id, deadline=deadline, began=began)

    def failure(self, context: Mapping[str, Any], run: Run, advice: str) -> MosaicRunFailedError:
        """
        The story of a run that did not end as it should; its status and outputs are pushed.

        :param context: The task's context.
        :param run: The run.
        :param advice: What happens next, or what to do.
        """
        push_end(context, run)
        return run_failure(run, nodes_of(self._hook, run), advice=advice)

    # Who cancelled it

    def permission(self, context: Mapping[str, Any]) -> ResumePermission:
        """
        What is kept of a cancel that a retry may undo.

        :param context: The task's context.
        """
        return ResumePermission(context, durable=self._durable)

    def fail_if_cancelled_elsewhere(self, context: Mapping[str, Any], run: Run) -> None:
        """
        Fail at once if somebody else has cancelled the run: a retry would have it go on, or start another one.

        :param context: The task's context.
        :param run: The run.
        """
        if run.status == RunStatus.CANCELLED and not self.permission(context).is_granted(run.run_id):
            advice = "Somebody else cancelled it, not this task: no retry has it go on."
            raise fail_exception(self.failure(context, run, advice))

    def _save_cancel(self, context: Mapping[str, Any]) -> None:
        if self._cancelled is not None:
            self.permission(context).grant(self._cancelled)

    @contextmanager
    def _cancelling_on_failure(self, context: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        except Exception:
            raise
        except BaseException:
            # What Airflow raises when execution_timeout is over, and then it has the task killed.
            self._left = context
            raise

    # What cancels it

    @property
    def cancels(self) -> bool:
        """Whether the trigger cancels the run when a person marks or clears the task."""
        return self._order.wait_for_completion and self._order.cancel_on_kill

    def on_kill(self) -> None:
        """Cancel the run with one short request: about five seconds are left before the process is killed."""
        self._killed = True
        # A user's mark or clear reaches the task through the API server. While that is away, a lost heartbeat ends it.
        self._in_outage = self._order.cancel_on_kill and api_server_is_unreachable(_LONGEST_QUESTION)
        if self._active_run_id is not None:
            self._kill_result = self._cancel_best_effort(self._active_run_id, in_a_hurry=True)
            log.warning("Run %r: %s", self._active_run_id, self._kill_result)
        if self._left is not None:
            # Otherwise it is noted by the code that the signal has interrupted, which may be talking to Airflow now.
            self._save_cancel(self._left)
            if self._active_run_id is not None:
                self._push_current_state(self._left, self._active_run_id)

    def _known_id(self, context: Mapping[str, Any]) -> str | None:
        known = super()._known_id(context)
        if known is not None:
            # From now on a kill cancels it.
            self.set_active(known)
        return known

    def on_trigger_timeout(self, context: Mapping[str, Any], subject_id: str) -> None:
        """Cancel the run: it would keep running, and cost credits, unwatched."""
        log.warning("Run %r: %s", subject_id, self._cancel_best_effort(subject_id))
        self._save_cancel(context)
        self._push_current_state(context, subject_id)

    def cancel_cleared_run(self, run_id: str) -> None:
        """
        Cancel what the order before a clear waited for, if the trigger that should have done so never ran.

        :param run_id: The run.
        """
        if self.cancels and not self._has_ended(run_id):
            log.warning("Run %r: %s", run_id, self._cancel_best_effort(run_id))

    def _cancel_best_effort(self, run_id: str, *, in_a_hurry: bool = False) -> str:
        """Cancel the run unless the order says otherwise, and say in a sentence what came of it."""
        if not self._order.cancel_on_kill:
            return "It goes on, since cancel_on_kill is off."
        if self._in_outage:
            return (
                "It keeps running: Airflow's API server does not answer, so no user ended the task. A retry continues "
                "with it; without one, wait for it with a MosaicRunSensor or cancel it in the editor."
            )
        try:
            if in_a_hurry:
                cancel_with_timeout(self._hook.access, run_id)
            else:
                self._hook.cancel_run(run_id)
            self._cancelled = run_id
            said = "Mosaic accepted its cancel." if in_a_hurry else self._cancel_words(run_id)
        except MosaicNotFoundError:
            said = "It is not there any more."
        except MosaicError as error:
            # How a run that has ended refuses to be cancelled is not documented.
            if (in_a_hurry and isinstance(error, MosaicConflictError)) or (
                not in_a_hurry and self._has_ended(run_id, unread=isinstance(error, MosaicConflictError))
            ):
                said = "It had ended already."
            else:
                said = f"It could not be cancelled and may go on: cancel it in the editor. ({error})"
        return said

    def _cancel_words(self, run_id: str) -> str:
        if self._killed:
            # Few seconds are left, and that this task has cancelled the run must be saved in them.
            return "Mosaic accepted its cancel."
        run = run_after_cancel(self._hook, run_id, _CANCEL_PAUSES)
        if run is None:
            return "Mosaic accepted its cancel; it could not be read since."
        if run.status == RunStatus.CANCELLED:
            return "It is cancelled."
        if run_outcome(run).ended:
            return f"It had ended already, as {run.status}."
        seconds = sum(_CANCEL_PAUSES)
        return (
            f"Mosaic accepted its cancel, but {seconds:g} s later it is still {run.status} and may cost credits: check "
            "it in the editor."
        )

    def _has_ended(self, run_id: str, *, unread: bool = False) -> bool:
        try:
            return run_outcome(self._hook.get_run(run_id)).ended
        except MosaicError:
            return unread

    # The wait

    def _read(self, subject_id: str) -> Call[Run]:
        return get_run(subject_id)

    def _poll_state(self, subject_id: str, **course: Any) -> PollState[Run]:
        return run_poll_state(subject_id, **course)

    def _trigger(self, subject_id: str, **course: Any) -> MosaicRunTrigger:
        return MosaicRunTrigger(run_id=subject_id, cancel_on_kill=self._order.cancel_on_kill, **course)

    def _stopped(self) -> bool:
        return self._killed

    def _finish(self, context: Mapping[str, Any], subject: Run) -> str:
        run = with_outputs(self._hook, subject)
        push_end(context, run)
        if run.status == RunStatus.CANCELLED and self._killed:
            raise self._killed_error(context, run.run_id)
        self.fail_if_cancelled_elsewhere(context, run)
        try:
            raise_unless_successful(
                run,
                on_partial=self._order.on_partial,
                nodes_of=lambda run: nodes_of(self._hook, run),
                cure=self._cure(context, run),
            )
        except MosaicRunPartialError:
            # A user who takes what there is marks the task as success: what follows finds the run then.
            push_xcom(context, "return_value", run.run_id, subject=f"run {run.run_id!r}")
            raise
        return run.run_id

    def _timeout_error(self, context: Mapping[str, Any], subject_id: str, clocks: Deadlines) -> Exception:
        if self._killed:
            return self._killed_error(context, subject_id)
        what = f"Run {subject_id!r}: {self._cancel_best_effort(subject_id)}"
        self._save_cancel(context)
        self._push_current_state(context, subject_id)
        # Both are None where dag.test() has dropped the deadline.
        if clocks.deadline == clocks.first_to_run_out:
            limit = timedelta(seconds=self._order.timeout or 0)
            # This clock began with the first try: a retry would be out of time at once.
            return fail_exception(
                MosaicTimeoutError(f"Run {subject_id!r} has not ended within timeout={limit}.", means=what)
            )
        limit = context["ti"].task.execution_timeout
        return MosaicTimeoutError(f"Run {subject_id!r} has not ended within execution_timeout={limit}.", means=what)

    def _killed_error(self, context: Mapping[str, Any], run_id: str) -> MosaicRunCancelledError:
        what = f"Run {run_id!r}: {self._kill_result or self._cancel_best_effort(run_id)}"
        self._save_cancel(context)
        return MosaicRunCancelledError(
            f"The task was killed while it waited for run {run_id!r}.", means=what, run_id=run_id
        )

    def _push_current_state(self, context: Mapping[str, Any], run_id: str) -> None:
        """Push the status and the outputs of a run that is not waited for any more; if it can't be read, neither."""
        try:
            push_end(context, read_with_timeout(self._hook.access, run_id))
        except MosaicError as error:
            log.info("The status of run %r at the end of the wait is not known: %s", run_id, error)


def push_end(context: Mapping[str, Any], run: Run) -> None:
    """
    Push how a run stands at the end of the wait for it, good or bad.

    :param context: The task's context.
    :param run: The run.
    """
    push_xcom(context, "status", run.status, subject=f"run {run.run_id!r}")
    push_xcom(context, "output_ids", run.output_ids, subject=f"run {run.run_id!r}")


def run_after_cancel(hook: MosaicHook, run_id: str, pauses: Iterable[float]) -> Run | None:
    """
    Read a run whose cancel Mosaic has accepted until it has ended, or the pauses are over.

    :param hook: The connection.
    :param run_id: The run.
    :param pauses: Seconds between two reads.
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
    """
    The nodes of a run, for the story of its end; none when they can't be read, since the end is what matters.

    :param hook: The connection.
    :param run: The run.
    """
    try:
        return hook.get_run_nodes(run.run_id)
    except MosaicError as error:
        log.info("The names of the nodes are not known: %s", error)
        return ()


def raise_unless_successful(
    run: Run, *, on_partial: str, nodes_of: Callable[[Run], tuple[RunNode, ...]], cure: str = ""
) -> None:
    """
    Say how a run ended, and fail or skip by it.

    :param run: A run that has ended.
    :param on_partial: What a partial end means: ``warn``, ``fail`` or ``skip``.
    :param nodes_of: Reads the nodes of the run; only asked when some failed.
    :param cure: What a person can do about a bad end, if it is not the usual.
    :raises MosaicRunFailedError: It ended badly.
    """
    standing = run_outcome(run).outcome
    if standing is Outcome.SUCCESS:
        log.info("Run %r is completed with %d output(s).", run.run_id, len(run.outputs))
        return
    nodes = nodes_of(run)
    if standing is Outcome.FAILED or on_partial == "fail":
        raise run_failure(run, nodes, advice=cure)
    story = f"Run {run.run_id!r} ended partly: {len(run.outputs)} output(s) are there."
    log_lines((story, *node_lines(run, nodes)), level=logging.WARNING)
    if on_partial == "skip":
        raise AirflowSkipException(story)
