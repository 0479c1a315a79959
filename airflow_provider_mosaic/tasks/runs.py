"""The life of a task that runs an agent: start once, or go on with what an earlier try began; wait; judge the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import checked_choice, checked_flag, checked_seconds
from airflow_provider_mosaic.api.billing import checked_credits
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConflictError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicTimeoutError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.lookup import SKEW, Candidate, run_candidates
from airflow_provider_mosaic.api.reports import failed_nodes, run_failure
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.runs import Run, RunNode, get_run, start_run
from airflow_provider_mosaic.api.verdicts import Standing, judge_run
from airflow_provider_mosaic.api.waiting import watch_run
from airflow_provider_mosaic.hooks.mosaic import MosaicHook, cancel_quickly
from airflow_provider_mosaic.links import RUN_URL_KEY, agent_url
from airflow_provider_mosaic.tasks.credits import require_credits
from airflow_provider_mosaic.tasks.failing import fail_exception
from airflow_provider_mosaic.tasks.memory import Record, TaskMemory
from airflow_provider_mosaic.tasks.once import Once
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.tasks.siblings import read_siblings
from airflow_provider_mosaic.tasks.waiting import (
    Deferral,
    backstop,
    earliest_deadline,
    read_begun,
    read_event,
    wait_on_worker,
)
from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

log = logging.getLogger(__name__)

#: XCom key under which a task pushes the id of its run, at once after the start.
RUN_ID_KEY = "mosaic_run_id"

#: Runs of one agent in the window of a lookup; where there are more, those that were there before can't be kept.
_MOST_PRESENT = 1000
#: Seconds between the looks at a run that was resumed a moment ago.
_EFFECT_PAUSES = (1.0, 2.0, 4.0, 8.0)
_AMBIGUOUS_ADVICE = (
    "Look at the agent's runs in the editor. If one of them is this task's, wait for it with a MosaicRunSensor or "
    "cancel it; then clear this task to start a new run."
)


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """
    What an operator was asked for, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.
    """

    agent_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float | None
    on_partial: str
    durable: bool
    on_retry: str
    on_ambiguous: str
    cancel_on_kill: bool
    min_credits: float | None = None
    on_short_of_credits: str = "fail"

    @classmethod
    def checked(cls, *, poll_interval: Any, timeout: Any, min_credits: Any = None, **order: Any) -> RunOrder:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        for flag in ("wait_for_completion", "deferrable", "durable", "cancel_on_kill"):
            checked_flag(flag, order[flag])
        checked_choice("on_partial", order["on_partial"], ("warn", "fail", "skip"))
        checked_choice("on_retry", order["on_retry"], ("resume", "new", "fail"))
        checked_choice("on_ambiguous", order["on_ambiguous"], ("adopt", "fail"))
        checked_choice("on_short_of_credits", order.get("on_short_of_credits", "fail"), ("fail", "skip"))
        return cls(
            poll_interval=checked_seconds("poll_interval", poll_interval),
            timeout=None if timeout is None else checked_seconds("timeout", timeout),
            min_credits=None if min_credits is None else checked_credits("min_credits", min_credits),
            **order,
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
        self._run_id: str | None = None
        self._killed = False

    @property
    def hopeless(self) -> tuple[type[MosaicError], ...]:
        """Bad ends of a run that a retry would only meet again."""
        if self._order.on_retry == "fail":
            return (MosaicRunFailedError,)
        return (MosaicNeedsCreditsError,) if self._order.on_retry == "new" else (MosaicRunPartialError,)

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Start a run or go on with an earlier try's, then wait for it.

        :param context: The task's context.
        :returns: The run id, or how to wait for it in the triggerer.
        """
        call = start_run(self._order.agent_id, **self._order.inputs)
        memory = TaskMemory(context, kind="run", request=[self._order.agent_id, call.body], durable=self._order.durable)
        record = self._run_of(memory, self._once(context, memory, call))
        run_id = self._run_id = str(record.id)
        # At once: the id and the link are needed most when the task does not come to its end.
        context["ti"].xcom_push(key=RUN_ID_KEY, value=run_id)
        context["ti"].xcom_push(key=RUN_URL_KEY, value=agent_url(self._order.agent_id))
        if self._killed:
            # The kill came while the start was under way, when there was no id to cancel.
            raise self._killed_error(run_id, self._given_up(run_id))
        if not self._order.wait_for_completion:
            return run_id
        return self._wait(context, run_id, deadline=record.deadline, begun=record.began)

    def go_on(
        self, context: Mapping[str, Any], event: Mapping[str, Any] | None, run_id: str, deadline: float | None
    ) -> str | Deferral:
        """
        Go on after the wait in the triggerer: read the run anew, and judge it or wait on.

        :param context: The task's context.
        :param event: What the trigger says.
        :param run_id: The run that was waited for.
        :param deadline: The order's own deadline, in seconds since the epoch.
        """
        self._run_id = run_id
        try:
            read_event(event, run_id, f"Run {run_id!r}")
        except MosaicTimeoutError:
            raise self._out_of_time(context, run_id, deadline)  # noqa: B904 - it has its cause, if it needs one
        return self._wait(context, run_id, deadline=deadline)

    def killed(self) -> None:
        """Cancel the run with one short request: about five seconds are left before the process is killed."""
        self._killed = True
        if self._run_id is not None and self._order.cancel_on_kill:
            self._cancel(self._run_id, in_a_hurry=True)

    def abandoned(self, context: Mapping[str, Any]) -> None:
        """
        Cancel the run of a task whose trigger Airflow gave up: it would go on, and cost, unseen.

        :param context: The task's context.
        """
        ti = context["ti"]
        run_id = ti.xcom_pull(task_ids=ti.task_id, key=RUN_ID_KEY, map_indexes=ti.map_index)
        if run_id and self._order.cancel_on_kill:
            self._cancel(run_id)

    # Which run

    def _run_of(self, memory: TaskMemory, once: Once) -> Record:
        record = memory.recall()
        if record is None:
            self._end_cleared(memory.cleared_id)
            return once.start()
        if record.id is None:
            return once.go_on(record)
        if self._reattaches(record.id, record):
            return record
        return once.start(deadline=record.deadline)

    def _once(self, context: Mapping[str, Any], memory: TaskMemory, call: Call[str]) -> Once:
        agent_id = self._order.agent_id

        def begin() -> str:
            run_id = self._run_id = self._hook.send(call)
            log.info("Started run %r of agent %r.", run_id, agent_id)
            return run_id

        def allow() -> None:
            if self._order.min_credits is not None:
                require_credits(self._hook, self._order.min_credits, on_short=self._order.on_short_of_credits)

        def window(began: float) -> Iterator[Run]:
            return self._hook.list_runs(agent_id, created_from=datetime.fromtimestamp(began, timezone.utc) - SKEW)

        def present(began: float) -> tuple[str, ...] | None:
            try:
                # The order of the list is not documented: the window is read whole, or not at all.
                ids = tuple(run.run_id for run in islice(window(began), _MOST_PRESENT + 1))
            except MosaicError as error:
                # Only a lost answer would need them; without them, none that is found is taken.
                log.info("The runs that are there before the start are not known: %s", error)
                return None
            return ids if len(ids) <= _MOST_PRESENT else None

        def candidates(record: Record) -> list[Candidate]:
            return run_candidates(window(record.began), before=record.before or ())

        return Once(
            what=f"a run of agent {agent_id!r}",
            memory=memory,
            begin=begin,
            present=present,
            candidates=candidates,
            siblings=lambda: read_siblings(
                context, key=RUN_ID_KEY, operator_class=self._operator_class, alike=("agent_id", agent_id)
            ),
            adopt=self._order.on_ambiguous == "adopt",
            timeout=self._order.timeout,
            advice=_AMBIGUOUS_ADVICE,
            allow=allow,
        )

    def _reattaches(self, run_id: str, record: Record) -> bool:
        """Whether the task goes on with an earlier try's run; a new one is started otherwise."""
        try:
            run = read_begun(self._hook, get_run(run_id), begun=record.began)
        except MosaicNotFoundError:
            log.warning("Run %r of an earlier try is not there any more: starting a new one.", run_id)
            return False
        verdict = judge_run(run)
        missed = verdict.standing is Standing.BAD or (
            verdict.standing is Standing.PARTIAL and self._order.on_partial == "fail"
        )
        if not missed:
            log.info("Going on with run %r of an earlier try, which is %s.", run_id, verdict.status)
            return True
        if self._order.on_retry == "new":
            log.info("Run %r of an earlier try is %s: starting a new one.", run_id, verdict.status)
            return False
        if self._order.on_retry == "fail":
            raise self._failure(run, "It is left as it is, since on_retry='fail'.")
        if record.deadline is not None and time.time() >= record.deadline:
            # What is resumed now would be cancelled at once, and paid.
            raise fail_exception(self._failure(run, "The time given for it is over: it is not resumed."))
        self._resume(run)
        return True

    def _resume(self, run: Run) -> None:
        try:
            resumed = self._hook.resume_run(run.run_id)
        except (MosaicConflictError, MosaicValidationError) as conflict:
            # Somebody else may have resumed it a moment ago.
            now = self._hook.get_run(run.run_id)
            if judge_run(now).ended and now.status == run.status:
                # No retry can help: the state that refuses the resume stays.
                failure = self._failure(
                    now, f"It can't be resumed: {conflict.detail or 'its state does not allow it'}."
                )
                raise fail_exception(failure) from conflict
            log.info("Run %r was resumed by someone else: going on with it.", run.run_id)
        except MosaicAmbiguousOutcomeError as lost:
            # A second resume is refused, so looking is enough: if the first took effect, the run is going on.
            # A short rest may have come to its end by now, and then shows another one than before.
            if self._hook.get_run(run.run_id).status == run.status:
                raise (lost.__cause__ or lost) from None
            log.info("Run %r is going on again, although the answer to the resume was lost.", run.run_id)
        else:
            log.info("Resumed run %r, which was %s: %d node(s) again.", run.run_id, run.status, resumed.nodes_queued)
            self._await_effect(run)

    def _await_effect(self, before: Run) -> None:
        """Wait a little until the old end of a resumed run is not shown any more: it would be taken for a new one."""
        for pause in _EFFECT_PAUSES:
            if self._hook.get_run(before.run_id).status != before.status:
                return
            time.sleep(pause)

    # Waiting and the end

    def _wait(
        self, context: Mapping[str, Any], run_id: str, *, deadline: float | None, begun: float | None = None
    ) -> str | Deferral:
        first_to_run_out = earliest_deadline(context, deadline)
        watch = watch_run(
            run_id,
            poll_interval=self._order.poll_interval,
            deadline=first_to_run_out,
            noted=log.info,
            begun=begun,
        )
        call = get_run(run_id)
        if not self._order.deferrable:
            run = wait_on_worker(self._hook, call, watch, stopped=lambda: self._killed)
            if run is None:
                if self._killed:
                    raise self._killed_error(run_id, "see above")
                raise self._out_of_time(context, run_id, deadline)
            return self._finish(context, run)
        # The first look is taken here: a run that has ended already needs no triggerer.
        try:
            run = self._hook.send(call, retries=ONCE)
        except MosaicError as error:
            watch.failed(error)
        else:
            if watch.saw(run).ended:
                return self._finish(context, run)
        if watch.expired:
            raise self._out_of_time(context, run_id, deadline)
        return Deferral(
            trigger=MosaicRunTrigger(
                run_id=run_id,
                mosaic_conn_id=self._hook.mosaic_conn_id,
                poll_interval=self._order.poll_interval,
                deadline=first_to_run_out,
                begun=begun,
                cancel_on_kill=self._order.cancel_on_kill,
            ),
            kwargs={"run_id": run_id, "deadline": deadline},
            timeout=backstop(first_to_run_out, self._order.poll_interval),
        )

    def _finish(self, context: Mapping[str, Any], run: Run) -> str:
        run = with_outputs(self._hook, run)
        context["ti"].xcom_push(key="status", value=run.status)
        context["ti"].xcom_push(key="output_ids", value=run.output_ids)
        judge_end(run, on_partial=self._order.on_partial, nodes_of=self._nodes)
        return run.run_id

    def _failure(self, run: Run, advice: str) -> MosaicRunFailedError:
        return run_failure(run, self._nodes(run), advice=advice)

    def _nodes(self, run: Run) -> tuple[RunNode, ...]:
        return nodes_of(self._hook, run)

    def _out_of_time(self, context: Mapping[str, Any], run_id: str, deadline: float | None) -> Exception:
        """The exception for a clock that ran out, after the run was cancelled."""
        what = self._given_up(run_id)
        if deadline is not None and deadline == earliest_deadline(context, deadline):
            limit = timedelta(seconds=self._order.timeout or 0)
            # This clock began with the first try: a retry would be out of time at once.
            return fail_exception(MosaicTimeoutError(f"Run {run_id!r} has not ended within timeout={limit}. {what}"))
        limit = context["ti"].task.execution_timeout
        return MosaicTimeoutError(f"Run {run_id!r} has not ended within execution_timeout={limit}. {what}")

    # Cancelling

    def _given_up(self, run_id: str) -> str:
        return self._cancel(run_id) if self._order.cancel_on_kill else "It goes on, since cancel_on_kill is off."

    def _cancel(self, run_id: str, *, in_a_hurry: bool = False) -> str:
        """Cancel the run, and say in a sentence what came of it."""
        try:
            if in_a_hurry:
                cancel_quickly(self._hook.access, run_id)
            else:
                self._hook.cancel_run(run_id)
            said = "It is cancelled."
        except MosaicError as error:
            # How a run that has ended refuses to be cancelled is not documented.
            if isinstance(error, MosaicConflictError) or (not in_a_hurry and self._has_ended(run_id)):
                said = "It had ended already."
            else:
                said = f"It could not be cancelled and may go on: cancel it in the editor. ({error})"
        log.warning("Run %r: %s", run_id, said)
        return said

    def _has_ended(self, run_id: str) -> bool:
        try:
            return judge_run(self._hook.get_run(run_id)).ended
        except MosaicError:
            return False

    def _end_cleared(self, run_id: str | None) -> None:
        """Cancel what the order before a clear waited for, if the trigger that should have done so never ran."""
        order = self._order
        if run_id is not None and order.wait_for_completion and order.cancel_on_kill and not self._has_ended(run_id):
            self._cancel(run_id)

    def _killed_error(self, run_id: str, what: str) -> MosaicRunCancelledError:
        return MosaicRunCancelledError(f"The task was killed while it waited for run {run_id!r}. {what}", run_id=run_id)


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


def judge_end(run: Run, *, on_partial: str, nodes_of: Any) -> None:
    """
    Say how a run ended, and fail or skip by it.

    :param run: A run that has ended.
    :param on_partial: What a partial end means: ``warn``, ``fail`` or ``skip``.
    :param nodes_of: Reads the nodes of the run; only asked when some failed.
    :raises MosaicRunFailedError: It ended badly.
    """
    standing = judge_run(run).standing
    if standing is Standing.GOOD:
        log.info("Run %r is completed with %d output(s).", run.run_id, len(run.outputs))
        return
    nodes = nodes_of(run)
    if standing is Standing.BAD or on_partial == "fail":
        raise run_failure(run, nodes)
    story = f"Run {run.run_id!r} ended partly: {len(run.outputs)} output(s) are there."
    log.warning("%s Failed nodes:\n%s", story, failed_nodes(run, nodes))
    if on_partial == "skip":
        raise AirflowSkipException(story)
