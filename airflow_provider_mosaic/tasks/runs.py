"""The life of a task that runs an agent: start once, or go on with what an earlier try began, then wait for its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.candidates import SKEW, run_candidates, runs_before
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus, get_run, list_runs, start_run
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.options import RUN_AGENT
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.completion_waiter import Deferral, WaitOptions, read_started
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import NON_RETRYABLE_ERRORS, Consequences
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import (
    ExistingItems,
    StartRecord,
    TaskState,
    has_start_record,
    publishing_not_started,
)
from airflow_provider_mosaic.hooks.endpoint_methods import with_node_ids
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.credits import require_credits
from airflow_provider_mosaic.tasks.existing_runs import resume, resume_after_late_kill
from airflow_provider_mosaic.tasks.run_waits import RUN_ID_KEY, RunWait, push_run

log = logging.getLogger(__name__)

#: Runs that are read before a start at most; where there are more, those that were there before can't be kept.
_MOST_PRESENT = 1000
#: Pages that a search for a lost start reads at most.
_MOST_PAGES = 100


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """
    What an operator was asked for, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.
    """

    agent_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    waiting: WaitOptions
    durable: bool
    on_retry: str
    on_ambiguous: str
    min_credits: float | None
    on_short_of_credits: str

    @classmethod
    def validated(
        cls,
        *,
        agent_id: Any,
        inputs: Mapping[str, Any],
        durable: Any,
        on_retry: Any,
        on_ambiguous: Any,
        min_credits: Any,
        on_short_of_credits: Any,
        **waiting: Any,
    ) -> RunOptions:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        return cls(
            agent_id=agent_id,
            inputs=inputs,
            waiting=WaitOptions.validated(**waiting),
            durable=RUN_AGENT["durable"]("durable", durable),
            on_retry=RUN_AGENT["on_retry"]("on_retry", on_retry),
            on_ambiguous=RUN_AGENT["on_ambiguous"]("on_ambiguous", on_ambiguous),
            min_credits=RUN_AGENT["min_credits"]("min_credits", min_credits),
            on_short_of_credits=RUN_AGENT["on_short_of_credits"]("on_short_of_credits", on_short_of_credits),
        )


class RunTask:
    """
    One slice of the task on a worker.

    :param order: What is asked for.
    :param hook: The connection.
    :param operator_class: The class of tasks that start runs.
    """

    def __init__(self, order: RunOptions, hook: MosaicHook, *, operator_class: type[Any]) -> None:
        self._order = order
        self._hook = hook
        self._operator_class = operator_class
        self.wait = RunWait(
            order.waiting,
            hook,
            cure=self._retry_advice,
            durable=order.durable,
        )
        self._known: str | None = None

    def stakes(self, context: Mapping[str, Any], error: MosaicError) -> Consequences:
        """
        Return what a failure of the task means.

        :param context: The task's context.
        :param error: What happened.
        """
        run_id = self._known
        if run_id is None:
            return Consequences(
                means="No run was started, and nothing was paid.",
                retry="starts a run, unless it finds one that an earlier try has started",
                choices=() if isinstance(error, MosaicAmbiguousOutcomeError) else ("Clear this task to start a run.",),
            )
        return Consequences(
            means=f"Run {run_id!r} may keep running, and cost credits.",
            retry=self._retry(context, run_id, error),
            choices=self._choices(context, run_id, error),
            # More credits must come from a user.
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
        )

    def _retry(self, context: Mapping[str, Any], run_id: str, error: MosaicError) -> str:
        if not has_start_record(context, durable=self._order.durable):
            return "looks for what this try has started, and fails if there is anything"
        if not isinstance(error, MosaicRunFailedError):
            return f"continues with run {run_id!r}: nothing is paid twice"
        if self._order.on_retry == "new":
            return "starts a new run, which is paid from the beginning"
        return f"resumes run {run_id!r}: only what is missing is paid"

    def _choices(self, context: Mapping[str, Any], run_id: str, error: MosaicError) -> tuple[str, ...]:
        if isinstance(error, MosaicRunPartialError):
            return (
                "To take the outputs that are there, mark this task as success and clear the tasks after it.",
                "To start a new run, which is paid from the beginning, clear this task.",
            )
        return ManualAdoption(context).continue_hint(run_id)

    def _started(self, context: Mapping[str, Any], run_id: str) -> None:
        self._known = run_id
        push_run(context, self._hook, run_id, self._order.agent_id)

    def waits_for(self, run_id: str) -> None:
        """
        After a deferral: this is the run.

        :param run_id: The run.
        """
        self._known = run_id

    def non_retryable(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """
        Bad ends of a run that a retry would only meet again.

        :param context: The task's context.
        """
        remembered = has_start_record(context, durable=self._order.durable)
        # Without a memory a retry does not go on with the run.
        blind = () if remembered else NON_RETRYABLE_ERRORS
        if self._order.on_retry == "fail":
            return (MosaicRunFailedError, *blind)
        if self._order.on_retry == "new":
            return (MosaicNeedsCreditsError, *blind)
        # Nor could it resume anything.
        short = () if remembered else (MosaicNeedsCreditsError,)
        return (MosaicRunPartialError, *short, *blind)

    def _retry_advice(self, context: Mapping[str, Any], run: Run) -> str:
        if not run.needs_credits or self._order.on_retry != "resume":
            return ""
        if run_outcome(run).outcome is Outcome.PARTIAL or has_start_record(context, durable=self._order.durable):
            return ""
        return (
            "No retry resumes it, since nothing is kept for the next try, on this Airflow or with durable=False. Buy "
            "credits, then resume it with a MosaicResumeRunOperator: only what is missing is done again."
        )

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Start a run or go on with an earlier try's, then wait for it.

        :param context: The task's context.
        :returns: The run id, or how to wait for it in the triggerer.
        """
        order = self._order
        with publishing_not_started(context, "run"):
            call = start_run(order.agent_id, **order.inputs)
        memory = TaskState(context, kind="run", request=[order.agent_id, call.body], durable=order.durable)
        record = self._create_once(context, memory, call).ensure()
        run_id = str(record.id)
        if memory.cleared_id == run_id:
            resume_after_late_kill(self._hook, run_id, self.wait, context, deadline=record.deadline)
        return self.wait.wait(context, run_id, deadline=record.deadline, begun=record.started_at)

    def _create_once(self, context: Mapping[str, Any], memory: TaskState, call: Call[str]) -> CreateOnce:
        order = self._order

        def begin() -> str:
            run_id = self._hook.send(with_node_ids(self._hook, call))
            self.wait.set_active(run_id)
            log.info("Started run %r of agent %r.", run_id, order.agent_id)
            return run_id

        def allow() -> None:
            if order.min_credits is not None:
                require_credits(self._hook, order.min_credits, on_short=order.on_short_of_credits)

        def since(moment: float) -> Iterator[Run]:
            runs = list_runs(order.agent_id, created_from=datetime.fromtimestamp(moment, timezone.utc))
            # A run that the list does not show is taken as not started, and is started again: read all, or fail.
            return self._hook.iterate(runs.all_or_error(most_pages=_MOST_PAGES))

        def present(began: float) -> ExistingItems | None:
            try:
                found = runs_before(since(began - SKEW.total_seconds()), most=_MOST_PRESENT)
            except MosaicError as error:
                # Only a lost answer would need them; without them, none that is found is taken.
                log.info("The runs that are there before the start are not known: %s", error)
                return None
            return None if found is None else ExistingItems(ids=found[0], until=found[1])

        def candidates(record: StartRecord) -> list[Candidate]:
            until = record.existing_until
            runs = since(record.started_at - SKEW.total_seconds() if until is None else until)
            return run_candidates(runs, before=record.existing_ids or (), before_until=until)

        return CreateOnce(
            description=f"a run of agent {order.agent_id!r}",
            memory=memory,
            send=begin,
            snapshot_existing=present,
            find_candidates=candidates,
            siblings=SiblingTasks(
                context, key=RUN_ID_KEY, operator_class=self._operator_class, alike=("agent_id", order.agent_id)
            ).read,
            adopt=order.on_ambiguous == "adopt",
            timeout=order.waiting.timeout,
            advice="Look at the agent's runs in the editor.",
            check_before_start=allow,
            can_continue=lambda record: self._can_continue(context, record),
            on_cleared=self.wait.cancel_cleared_run,
            on_started=lambda run_id: self._started(context, run_id),
            validate_adopted=lambda run_id: self._validate_adopted(context, run_id),
        )

    def _validate_adopted(self, context: Mapping[str, Any], run_id: str) -> None:
        run = self._hook.get_run(run_id)
        agent_id = run.agent_id
        if agent_id is not None and agent_id != self._order.agent_id:
            raise_invalid("run_id", run_id, f"it is a run of agent {agent_id!r}, not of {self._order.agent_id!r}.")
        if run.status == RunStatus.CANCELLED:
            # Whoever has named it wants it to go on.
            self.wait.permission(context).grant(run_id)

    def _can_continue(self, context: Mapping[str, Any], record: StartRecord) -> bool:
        """Whether the task goes on with an earlier try's run; a new one is started otherwise."""
        stands = self._continues(context, record)
        if not stands:
            self._known = None
        return stands

    def _continues(self, context: Mapping[str, Any], record: StartRecord) -> bool:
        run_id = str(record.id)
        try:
            run = read_started(self._hook, get_run(run_id), begun=record.started_at)
        except MosaicNotFoundError:
            log.warning("Run %r of an earlier try is not there any more: starting a new one.", run_id)
            return False
        verdict = run_outcome(run)
        missed = verdict.outcome is Outcome.FAILED or (
            verdict.outcome is Outcome.PARTIAL and self._order.waiting.on_partial == "fail"
        )
        if not missed:
            log.info("Going on with run %r of an earlier try, which is %s.", run_id, verdict.status)
            return True
        self.wait.fail_if_cancelled_elsewhere(context, run)
        if self._order.on_retry == "new":
            log.info("Run %r of an earlier try is %s: starting a new one.", run_id, verdict.status)
            return False
        if self._order.on_retry == "fail":
            raise self.wait.failure(context, run, "It is left as it is, since on_retry='fail'.")
        resume(self._hook, run, self.wait, context, deadline=record.deadline)
        return True
