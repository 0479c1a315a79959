"""The life of a task that runs an agent: start once, or go on with what an earlier try began, then wait for its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from airflow_provider_mosaic.api.arguments import refuse
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.lookup import SKEW, run_candidates, runs_before
from airflow_provider_mosaic.api.options import RUN_AGENT
from airflow_provider_mosaic.api.runs import Run, RunStatus, get_run, list_runs, start_run
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.api.verdicts import Standing, judge_run
from airflow_provider_mosaic.hooks.agents import with_node_ids
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.credits import require_credits
from airflow_provider_mosaic.tasks.decisions import Decisions
from airflow_provider_mosaic.tasks.existing_runs import outlast_kill, resume
from airflow_provider_mosaic.tasks.failing import HOPELESS, Stakes
from airflow_provider_mosaic.tasks.memory import Before, Record, TaskMemory, remembers, telling_if_blank
from airflow_provider_mosaic.tasks.once import Once
from airflow_provider_mosaic.tasks.run_waits import RUN_ID_KEY, RunWait, push_run
from airflow_provider_mosaic.tasks.siblings import SiblingTasks
from airflow_provider_mosaic.tasks.waiting import Deferral, WaitOrder, read_begun

log = logging.getLogger(__name__)

#: Runs that are read before a start at most; where there are more, those that were there before can't be kept.
_MOST_PRESENT = 1000
#: Pages that a search for a lost start reads at most.
_MOST_PAGES = 100


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """
    What an operator was asked for, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.
    """

    agent_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    waiting: WaitOrder
    durable: bool
    on_retry: str
    on_ambiguous: str
    min_credits: float | None
    on_short_of_credits: str

    @classmethod
    def checked(
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
    ) -> RunOrder:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        return cls(
            agent_id=agent_id,
            inputs=inputs,
            waiting=WaitOrder.checked(**waiting),
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

    def __init__(self, order: RunOrder, hook: MosaicHook, *, operator_class: type[Any]) -> None:
        self._order = order
        self._hook = hook
        self._operator_class = operator_class
        self.wait = RunWait(
            order.waiting,
            hook,
            cure=self._cure,
            durable=order.durable,
        )
        self._known: str | None = None

    def stakes(self, context: Mapping[str, Any], error: MosaicError) -> Stakes:
        """
        Return what a failure of the task means.

        :param context: The task's context.
        :param error: What happened.
        """
        run_id = self._known
        if run_id is None:
            return Stakes(
                means="No run was started, and nothing was paid.",
                retry="starts a run, unless it finds one that an earlier try has started",
                choices=() if isinstance(error, MosaicAmbiguousOutcomeError) else ("Clear this task to start a run.",),
            )
        return Stakes(
            means=f"Run {run_id!r} may keep running, and cost credits.",
            retry=self._retry(context, run_id, error),
            choices=self._choices(context, run_id, error),
            # More credits must come from a user.
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
        )

    def _retry(self, context: Mapping[str, Any], run_id: str, error: MosaicError) -> str:
        if not remembers(context, durable=self._order.durable):
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
        return Decisions(context).way_on(run_id)

    def _started(self, context: Mapping[str, Any], run_id: str) -> None:
        self._known = run_id
        push_run(context, self._hook, run_id, self._order.agent_id)

    def waits_for(self, run_id: str) -> None:
        """
        After a deferral: this is the run.

        :param run_id: The run.
        """
        self._known = run_id

    def hopeless(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """
        Bad ends of a run that a retry would only meet again.

        :param context: The task's context.
        """
        remembered = remembers(context, durable=self._order.durable)
        # Without a memory a retry does not go on with the run.
        blind = () if remembered else HOPELESS
        if self._order.on_retry == "fail":
            return (MosaicRunFailedError, *blind)
        if self._order.on_retry == "new":
            return (MosaicNeedsCreditsError, *blind)
        # Nor could it resume anything.
        short = () if remembered else (MosaicNeedsCreditsError,)
        return (MosaicRunPartialError, *short, *blind)

    def _cure(self, context: Mapping[str, Any], run: Run) -> str:
        if not run.needs_credits or self._order.on_retry != "resume":
            return ""
        if judge_run(run).standing is Standing.PARTIAL or remembers(context, durable=self._order.durable):
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
        with telling_if_blank(context, "run"):
            call = start_run(order.agent_id, **order.inputs)
        memory = TaskMemory(context, kind="run", request=[order.agent_id, call.body], durable=order.durable)
        record = self._once(context, memory, call).ensure()
        run_id = str(record.id)
        if memory.cleared_id == run_id:
            outlast_kill(self._hook, run_id, self.wait, context, deadline=record.deadline)
        return self.wait.wait(context, run_id, deadline=record.deadline, begun=record.began)

    def _once(self, context: Mapping[str, Any], memory: TaskMemory, call: Call[str]) -> Once:
        order = self._order

        def begin() -> str:
            run_id = self._hook.send(with_node_ids(self._hook, call))
            self.wait.hold(run_id)
            log.info("Started run %r of agent %r.", run_id, order.agent_id)
            return run_id

        def allow() -> None:
            if order.min_credits is not None:
                require_credits(self._hook, order.min_credits, on_short=order.on_short_of_credits)

        def since(moment: float) -> Iterator[Run]:
            runs = list_runs(order.agent_id, created_from=datetime.fromtimestamp(moment, timezone.utc))
            # A run that the list does not show is taken as not started, and is started again: read all, or fail.
            return self._hook.iterate(runs.all_or_error(most_pages=_MOST_PAGES))

        def present(began: float) -> Before | None:
            try:
                found = runs_before(since(began - SKEW.total_seconds()), most=_MOST_PRESENT)
            except MosaicError as error:
                # Only a lost answer would need them; without them, none that is found is taken.
                log.info("The runs that are there before the start are not known: %s", error)
                return None
            return None if found is None else Before(ids=found[0], until=found[1])

        def candidates(record: Record) -> list[Candidate]:
            until = record.before_until
            runs = since(record.began - SKEW.total_seconds() if until is None else until)
            return run_candidates(runs, before=record.before or (), before_until=until)

        return Once(
            what=f"a run of agent {order.agent_id!r}",
            memory=memory,
            begin=begin,
            present=present,
            candidates=candidates,
            siblings=SiblingTasks(
                context, key=RUN_ID_KEY, operator_class=self._operator_class, alike=("agent_id", order.agent_id)
            ).look,
            adopt=order.on_ambiguous == "adopt",
            timeout=order.waiting.timeout,
            advice="Look at the agent's runs in the editor.",
            allow=allow,
            stands=lambda record: self._stands(context, record),
            cleared=self.wait.end_cleared,
            tell=lambda run_id: self._started(context, run_id),
            may_be=lambda run_id: self._may_be(context, run_id),
        )

    def _may_be(self, context: Mapping[str, Any], run_id: str) -> None:
        run = self._hook.get_run(run_id)
        agent_id = run.agent_id
        if agent_id is not None and agent_id != self._order.agent_id:
            refuse("run_id", run_id, f"it is a run of agent {agent_id!r}, not of {self._order.agent_id!r}.")
        if run.status == RunStatus.CANCELLED:
            # Whoever has named it wants it to go on.
            self.wait.permit(context).give(run_id)

    def _stands(self, context: Mapping[str, Any], record: Record) -> bool:
        """Whether the task goes on with an earlier try's run; a new one is started otherwise."""
        stands = self._continues(context, record)
        if not stands:
            self._known = None
        return stands

    def _continues(self, context: Mapping[str, Any], record: Record) -> bool:
        run_id = str(record.id)
        try:
            run = read_begun(self._hook, get_run(run_id), begun=record.began)
        except MosaicNotFoundError:
            log.warning("Run %r of an earlier try is not there any more: starting a new one.", run_id)
            return False
        verdict = judge_run(run)
        missed = verdict.standing is Standing.BAD or (
            verdict.standing is Standing.PARTIAL and self._order.waiting.on_partial == "fail"
        )
        if not missed:
            log.info("Going on with run %r of an earlier try, which is %s.", run_id, verdict.status)
            return True
        self.wait.heed_cancel(context, run)
        if self._order.on_retry == "new":
            log.info("Run %r of an earlier try is %s: starting a new one.", run_id, verdict.status)
            return False
        if self._order.on_retry == "fail":
            raise self.wait.failure(context, run, "It is left as it is, since on_retry='fail'.")
        resume(self._hook, run, self.wait, context, deadline=record.deadline)
        return True
