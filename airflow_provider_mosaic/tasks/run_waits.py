"""Wait for a run that a task started or resumed. If the task ends early, the run is cancelled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import chain
from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicRunFailedError,
)
from airflow_provider_mosaic.api.metrics import OUTCOMES_AMBIGUOUS, RUNS_DURATION, RUNS_ENDED, count, record_duration
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import PollState, run_poll_state
from airflow_provider_mosaic.api.reports import run_failure
from airflow_provider_mosaic.durable.completion_waiter import CompletionWaiter, WaitOptions
from airflow_provider_mosaic.durable.failures import fail_exception
from airflow_provider_mosaic.durable.reads import read_started
from airflow_provider_mosaic.durable.task_state import TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import (
    RUN_ID_KEY,
    add_to_outlet_events,
    mosaic_uris,
    push_run_links,
    push_xcom,
    report_lineage,
)
from airflow_provider_mosaic.tasks.run_cancels import EarlyEndCancels
from airflow_provider_mosaic.tasks.run_ends import nodes_of, push_end, raise_unless_successful, with_outputs
from airflow_provider_mosaic.tasks.run_resumes import ResumePermission
from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

log = logging.getLogger(__name__)


class RunWait(CompletionWaiter[Run]):
    """
    The wait for a run. When the task is killed or out of time, :class:`EarlyEndCancels` cancels the run.

    :param state: See :class:`CompletionWaiter`.
    :param advise: Returns what a user can do about a failed run; empty for the usual advice.
    :param durable: Whether anything is saved for the next attempt.
    :param inputs: Returns the URIs of what the run reads, for lineage.
    """

    noun = "Run"
    not_ended = "has not ended"
    id_argument = "run_id"
    xcom_key = RUN_ID_KEY
    kinds = ("run", "resume")

    def __init__(
        self,
        options: WaitOptions,
        hook: MosaicHook,
        context: Mapping[str, Any],
        *,
        state: Callable[[], TaskState],
        advise: Callable[[Run], str] = lambda _: "",
        durable: bool = True,
        inputs: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        super().__init__(options, hook, context, state=state)
        self._advise = advise
        self._inputs = inputs
        self._durable = durable
        self._was_killed = False
        #: The run that a kill cancels at once. None for the run of an earlier attempt, although ``item_id`` names it,
        #: until the wait for it starts: before that, the task may resume or replace it, and a kill must cancel the run
        #: that results.
        self.run_to_cancel: str | None = None

    @cached_property
    def _cancels(self) -> EarlyEndCancels:
        return EarlyEndCancels(
            self.hook,
            self._context,
            enabled=self._options.cancel_on_kill,
            durable=self._durable,
            kinds=self.kinds,
            was_running=lambda: self._was_pending,
        )

    @property
    def can_cancel_earlier_run(self) -> bool:
        """Whether the run of an earlier attempt may be cancelled: by its trigger after a clear, or by this task."""
        return self._options.wait_for_completion and self._options.cancel_on_kill

    @property
    def permission(self) -> ResumePermission:
        """The task's permission to resume a cancelled run."""
        return self._cancels.permission

    @property
    def is_cancelled(self) -> bool:
        """Whether this attempt cancelled the run."""
        return self._cancels.is_cancelled

    def failure(self, run: Run, advice: str) -> MosaicRunFailedError:
        """
        Push the status and outputs of a failed run, and return its error.

        :param advice: What to do, or what happens next.
        """
        push_end(self._context, run)
        return run_failure(run, nodes_of(self.hook, run), advice=advice)

    def fail_if_cancelled_elsewhere(self, run: Run) -> None:
        """Fail without retries if the run was cancelled outside this task. A retry would resume or replace it."""
        if run.status == RunStatus.CANCELLED and not self.permission.is_granted(run.run_id):
            raise fail_exception(self.failure(run, "No cancel by this task is known, so no retry resumes it."))

    # Kills, and other early ends

    def on_kill(self) -> None:
        """Cancel the run, if its id is known. Otherwise the wait cancels it."""
        self._was_killed = True
        # After an interruption nothing resumes or replaces the run of an earlier attempt any more.
        run_id = self.run_to_cancel or (self.item_id if self.is_interrupted else None)
        result = self._cancels.kill(run_id, is_in_signal=not self.is_interrupted)
        if run_id is None:
            log.warning(
                "The task was killed before its wait. %s may keep running, and cost credits: check the agent's runs in "
                "the editor.",
                f"Run {self.item_id!r}" if self.item_id else "A run of this task",
            )
        elif self.is_interrupted and result is not None:
            # Nothing else saves the cancel. A running wait saves it itself: the signal may have interrupted it in a
            # request to Airflow.
            self._cancels.save_end_of_wait(run_id, result)

    def cancel_cleared_run(self, run_id: str) -> None:
        """Cancel the run from before a clear, if its trigger never ran and could not cancel it."""
        if not self.can_cancel_earlier_run:
            log.info("Run %r of an earlier attempt may still be running: this task cancels no runs.", run_id)
            return
        try:
            if run_outcome(self.hook.get_run(run_id)).ended:
                return
        except MosaicError as error:
            log.info("Run %r of an earlier attempt could not be read. %s", run_id, error)
        log.warning("%s", self._cancels.cancel(run_id).text)

    def cancel_changed_run(self, run_id: str, *, started_at: float, is_resume: bool = False) -> None:
        """
        Cancel the run of an earlier attempt with other arguments, unless it has ended.

        :param started_at: When the run was started or resumed, in seconds since the epoch.
        :param is_resume: Whether the task resumes runs, and does not start them.
        :raises MosaicAmbiguousOutcomeError: The run may keep running. Another run would be paid besides it.
        """
        if not self._may_run(run_id, started_at=started_at):
            return
        why = self._cancels.why_not(run_id)
        if not self._options.wait_for_completion:
            why = f"Run {run_id!r} keeps running because wait_for_completion=False."
        may_end_later = self.is_stopped()
        if not why:
            result = self._cancels.cancel(run_id)
            # The read was of this run only.
            self._was_pending = False
            log.warning("%s", result.text)
            if result.is_accepted:
                # If no other run is started after all, a retry with the old arguments resumes this one.
                self.permission.grant(run_id)
            if result.is_accepted or result.error is None:
                return
            why = result.text
            # In an outage, or a moment after an earlier cancel, the next attempt may find that the run has ended.
            may_end_later |= result.error.transient or isinstance(result.error, MosaicConflictError)
        count(OUTCOMES_AMBIGUOUS)
        verb, did = ("resume", "resumed") if is_resume else ("start", "started")
        raise MosaicAmbiguousOutcomeError(
            f"An earlier attempt {did} run {run_id!r} with other arguments. {why}",
            means=f"It may cost credits, so this attempt {verb}s no second run.",
            to_do=(
                f"To {verb} another run, cancel run {run_id!r} in the editor, and clear this task.",
                "Use templates that are the same in each attempt, such as {{ ts }} or {{ logical_date }}.",
            ),
            candidates=[run_id],
            transient=may_end_later,
        )

    def replaced_effect(self, run: str, verb: str) -> str:
        """Return what a retry does with the run of an earlier attempt with other arguments: see ``Consequences``."""
        can_cancel = self.can_cancel_earlier_run
        effect = f"cancels {run} and {verb} another one" if can_cancel else f"fails unless {run} has ended"
        return f"{effect}, because the arguments changed"

    def _may_run(self, run_id: str, *, started_at: float) -> bool:
        """Return whether the run of an earlier attempt may still be running."""
        try:
            run = read_started(self.hook, get_run(run_id), name=f"Run {run_id!r}", started_at=started_at)
        except MosaicNotFoundError:
            log.warning("Run %r of an earlier attempt does not exist any more.", run_id)
            return False
        except MosaicError as error:
            log.info("Run %r of an earlier attempt could not be read. %s", run_id, error)
            return True
        outcome = run_outcome(run)
        # If the response to a cancel is lost, this read counts as a poll does.
        self._was_pending = outcome.known and not outcome.ended
        return not outcome.ended

    def _timeout_error(self, item_id: str, *, is_final: bool) -> Exception:
        if self._cancels.is_killed:
            return self._cancels.killed_error(item_id)
        return super()._timeout_error(item_id, is_final=is_final)

    def _give_up(self, item_id: str) -> str:
        # The run costs credits, and nothing waits for it any more.
        return self._cancels.cancel_at_timeout(item_id).text

    # Waiting

    def _follow(self, item_id: str) -> None:
        super()._follow(item_id)
        self.run_to_cancel = item_id

    def _read_call(self, item_id: str) -> Call[Run]:
        return get_run(item_id)

    def _poll_state(self, item_id: str, **options: Any) -> PollState[Run]:
        return run_poll_state(item_id, **options)

    def _trigger(self, item_id: str, **options: Any) -> MosaicRunTrigger:
        return MosaicRunTrigger(run_id=item_id, cancel_on_kill=self._options.cancel_on_kill, **options)

    def is_stopped(self) -> bool:
        """Return whether the wait must end because the task was killed."""
        return self._was_killed

    def _count_end(self, item: Run) -> None:
        count(RUNS_ENDED, item.status)
        if item.started_at is not None:
            # Mosaic reports no end. The clocks may differ by seconds.
            now = datetime.now(timezone.utc)
            record_duration(RUNS_DURATION, max(timedelta(0), now - item.started_at))

    def report_lineage(self, *, agent_id: str | None = None, output_ids: Iterable[str] = ()) -> None:
        """Report the agent, the inputs and the outputs of the run, as far as they are known."""
        report_lineage(
            self.hook,
            inputs=chain(mosaic_uris(self.hook, "agents", [agent_id]), self._inputs()),
            outputs=mosaic_uris(self.hook, "outputs", output_ids),
        )

    def finish(self, item: Run) -> str:
        """Push the status and outputs. Return the id of a run that succeeded, else raise or skip."""
        context, run = self._context, with_outputs(self.hook, item)
        push_end(context, run)
        self.report_lineage(agent_id=run.agent_id, output_ids=run.output_ids)
        if run.status == RunStatus.CANCELLED and self._cancels.is_killed:
            raise self._cancels.killed_error(run.run_id)
        self.fail_if_cancelled_elsewhere(run)
        raise_unless_successful(context, self.hook, run, on_partial=self._options.on_partial, advice=self._advise(run))
        add_to_outlet_events(
            context,
            run_id=run.run_id,
            agent_id=run.agent_id,
            status=run.status,
            output_ids=run.output_ids,
            output_count=len(run.outputs),
        )
        return run.run_id


def push_run(context: Mapping[str, Any], hook: MosaicHook, run_id: str, agent_id: str | None) -> None:
    """Push the id and the link of a run, before the wait: they matter most if the task fails."""
    add_to_outlet_events(context, run_id=run_id, agent_id=agent_id)
    push_xcom(context, RUN_ID_KEY, run_id, name=f"run {run_id!r}")
    push_run_links(context, hook, run_id, agent_id)
