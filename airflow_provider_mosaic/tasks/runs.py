"""Start a run once, or continue with the run of an earlier attempt, or resume a run; then wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow_provider_mosaic.api.arguments import id_key, raise_invalid, validate_id
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
from airflow_provider_mosaic.api.metrics import RUNS_STARTED
from airflow_provider_mosaic.api.options import AIRFLOW_CALLBACK
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import NON_RETRYABLE_ERRORS, Consequences
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.reads import read_known, read_started
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState, can_save_state
from airflow_provider_mosaic.hooks.endpoint_methods import with_node_ids
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import RUN_ID_KEY, mosaic_uris, push_xcom
from airflow_provider_mosaic.tasks.run_resumes import ensure_resumed, resume_after_late_kill
from airflow_provider_mosaic.tasks.run_waits import RunWait, push_run
from airflow_provider_mosaic.webhook_address import webhook_url

log = logging.getLogger(__name__)

#: The most runs that are read before a start. If there are more, the existing runs are unknown.
_MAX_EXISTING = 1000
#: The most pages that a search for a lost start reads.
_MAX_PAGES = 100


@dataclass(frozen=True, kw_only=True)
class RunOptions(WaitOptions):
    """
    The validated arguments of a :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.

    :param inputs: The inputs of the run, which :func:`start_run` validates.
    """

    agent_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    durable: bool
    on_retry: str
    on_ambiguous: str
    min_credits: float | None
    on_short_of_credits: str

    @property
    def webhooks_to_airflow(self) -> bool:
        """Whether the webhook receiver inside Airflow receives the events of the run."""
        return self.inputs.get("callback_url") == AIRFLOW_CALLBACK

    def call(self) -> Call[str]:
        """Return the start of the run. The address of the receiver inside Airflow is added before it is sent."""
        own = {"callback_url": None} if self.webhooks_to_airflow else {}
        return start_run(self.agent_id, **{**self.inputs, **own})


class RunTask:
    """The task of ``MosaicRunAgentOperator``, in one execution."""

    def __init__(self, options: RunOptions, hook: MosaicHook, context: Mapping[str, Any]) -> None:
        self.options = options
        self.hook = hook
        self.context = context
        self._creation: StartRun | None = None
        # Whether a retry knows the run.
        self._is_saved = can_save_state(context, durable=options.durable)
        self.wait = RunWait(
            options,
            hook,
            context,
            state=lambda: StartRun(self).state,
            advise=self._advice_without_retry,
            durable=options.durable,
            inputs=self._lineage_inputs,
        )

    def prepare(self) -> None:
        """Build the request of the start. Raise if an argument is invalid."""
        self._creation = StartRun(self)

    def start(self) -> str:
        """Start a run or continue with that of an earlier attempt, then wait for it. Return its id."""
        creation = self._creation
        assert creation is not None  # noqa: S101 - prepare() was called
        record = creation.ensure()
        run_id = str(record.id)
        if creation.state.is_cleared(run_id):
            resume_after_late_kill(run_id, self.wait, deadline=record.deadline)
        return self.wait.wait(run_id, deadline=record.deadline, started_at=record.started_at)

    def _lineage_inputs(self) -> Iterator[str]:
        """Yield the URIs of the agent, the assets and the earlier outputs that the run reads."""
        yield from mosaic_uris(self.hook, "agents", [self.options.agent_id])
        body = self.options.call().body
        for sources in (body, *body.get("video_inputs", ())):
            yield from mosaic_uris(self.hook, "assets", sources.get("video_ids", ()))
            yield from mosaic_uris(self.hook, "outputs", sources.get("node_render_ids", ()))

    def non_retryable(self) -> tuple[type[MosaicError], ...]:
        """Return the errors of a run that a retry would meet again."""
        by_retry = {
            "fail": MosaicRunFailedError,
            # A new run would need credits too, which only a user can buy.
            "new": MosaicNeedsCreditsError,
            # Mosaic does not resume a run that ended partly.
            "resume": MosaicRunPartialError,
        }
        failed = by_retry[self.options.on_retry]
        # A retry that does not know the run can neither resume it nor continue the wait for it.
        return (failed,) if self._is_saved else (failed, MosaicNeedsCreditsError, *NON_RETRYABLE_ERRORS)

    def consequences(self, error: MosaicError) -> Consequences:
        """Return what an error of the task means."""
        run_id = self.wait.item_id
        # Without a creation, the task continues after a deferral, and has a run.
        if run_id is None and self._creation is not None:
            return Consequences(
                means="This attempt started no run and paid nothing.",
                retry="starts a run" + (", unless it finds one of an earlier attempt" if self.options.durable else ""),
                choices=() if self._may_have_a_run(error) else ("Clear this task to start a run.",),
            )
        return Consequences(
            means=f"{f'Run {run_id!r}' if run_id else 'The run'} may keep running, and cost credits.",
            retry=self._retry_effect(f"run {run_id!r}" if run_id else "its run", error),
            choices=self._choices(run_id or "<its id>", error),
            # A retry does not buy credits.
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
        )

    def _may_have_a_run(self, error: MosaicError) -> bool:
        """Return whether a run may exist, although its id is unknown."""
        was_sent_before = self._creation is not None and self._creation.was_sent_before
        return was_sent_before or isinstance(error, MosaicAmbiguousOutcomeError)

    def _retry_effect(self, run: str, error: MosaicError) -> str:
        """Return what a retry does with the run, whose name is given: see :class:`Consequences`."""
        if adopts := self._adopt_effect():
            return adopts
        if not self.options.durable:
            return "starts a second run and pays for it, because durable=False"
        if not self._is_saved:
            return "searches for what this attempt started, and fails if it finds anything"
        if self._creation is not None and self._creation.is_replacing:
            return self.wait.replaced_effect(run, "starts")
        is_named = self._creation is not None and self._creation.is_named
        on_retry = "resume" if is_named else self.options.on_retry
        # A kill that leaves the run running is a transient failure.
        if self.wait.is_cancelled or (isinstance(error, MosaicRunFailedError) and not error.transient):
            return {
                "new": "starts a new run, which is paid from the beginning",
                "fail": "fails, because on_retry='fail'",
                "resume": f"resumes {run}: only what is missing is done again",
            }[on_retry]
        if on_retry == "new":
            return f"continues with {run}, or starts a new run and pays for it if that one failed"
        return f"continues with {run}: nothing is paid twice"

    def _adopt_effect(self) -> str:
        """Return that a retry adopts the run again, if nothing is saved and a user named it; otherwise nothing."""
        run_id = self.wait.item_id
        # After a kill there is no time to read the Variable.
        if self._is_saved or run_id is None or self.wait.is_stopped():
            return ""
        return ManualAdoption(self.context, kind="run", durable=self.options.durable).adopt_effect(run_id)

    def _choices(self, run_id: str, error: MosaicError) -> tuple[str, ...]:
        """Return what a user can do with the run when no retry follows."""
        if isinstance(error, MosaicRunPartialError):
            return (
                "To use the outputs that exist, mark this task as success and clear its downstream tasks.",
                "To start a new run, which is paid from the beginning, clear this task.",
            )
        return ManualAdoption(self.context, kind="run").continue_hint(run_id)

    def _advice_without_retry(self, run: Run) -> str:
        """Return the advice for a run that needs credits and that no retry can resume; empty for any other run."""
        if not run.needs_credits or self.options.on_retry != "resume":
            return ""
        if run_outcome(run).outcome is Outcome.PARTIAL or self._is_saved:
            return ""
        return (
            "No retry resumes it, because nothing is saved for the next attempt, on this Airflow or with "
            "durable=False. Buy credits, then resume it with a MosaicResumeRunOperator: only what is missing is done "
            "again."
        )


class ResumeTask:
    """The task of ``MosaicResumeRunOperator``, in one execution."""

    def __init__(self, options: WaitOptions, hook: MosaicHook, context: Mapping[str, Any], *, run_id: Any) -> None:
        self._options = options
        self._hook = hook
        self._context = context
        self._run_id = run_id
        # Whether the known run is that of an earlier attempt with another run_id, and is not cancelled yet.
        self._is_replacing = False
        self.wait = RunWait(options, hook, context, state=self._state)

    def prepare(self) -> None:
        """Raise if the run id is invalid."""
        self._run_id = validate_id("run_id", self._run_id)

    def _state(self) -> TaskState:
        # After a deferral, run_id is not validated: a template is rendered again.
        # Another spelling of the id is no other run.
        return TaskState(self._context, kind="resume", request=id_key(self.wait.item_id or self._run_id))

    def non_retryable(self) -> tuple[type[MosaicError], ...]:
        """Return the errors of a run that a retry would meet again."""
        return (MosaicRunPartialError,)

    def consequences(self, error: MosaicError) -> Consequences:
        """Return what an error of the task means."""
        run_id = self.wait.item_id or self._run_id
        to_resume = self._run_id if self._is_replacing else run_id
        return Consequences(
            means=f"Run {run_id!r} may keep running, and cost credits."
            if self.wait.item_id
            else f"Run {run_id!r} was not resumed by this attempt.",
            retry=self.wait.replaced_effect(f"run {run_id!r}", "resumes")
            if self._is_replacing
            else f"resumes run {run_id!r} again, or waits for it: only what is missing is done again",
            retry_settles=isinstance(error, MosaicRunFailedError) and not isinstance(error, MosaicNeedsCreditsError),
            # Mosaic does not resume a run that ended partly.
            choices=()
            if isinstance(error, MosaicRunPartialError)
            else (f"Clear this task to resume run {to_resume!r} once more: only what is missing is done again.",),
        )

    def start(self) -> str:
        """Resume the run if it failed or was cancelled, then wait for it. Return its id."""
        run_id, wait, state = self._run_id, self.wait, self._state()
        record = state.load()
        is_retry = record is not None and record.is_saved
        if record is not None and is_retry:
            # An earlier attempt may have resumed it. Its permission has the id in the spelling of that attempt.
            run_id = wait.item_id = record.id or run_id
        elif (changed := state.changed) is not None:
            # An error of the next read names it.
            wait.item_id, self._is_replacing = changed.id, True
        read = partial(self._hook.get_run, run_id)
        # A retry may find a run that costs credits: a single 404 of a gateway must not end the task.
        run = read_known(self._hook, read, name=f"Run {run_id!r}") if is_retry else read()
        if state.changed is not None and state.changed.id is not None:
            # Before this run is resumed, but after a read shows that it exists.
            wait.cancel_changed_run(state.changed.id, started_at=state.changed.started_at, is_resume=True)
            wait.item_id, self._is_replacing = None, False
        if record is None or not is_retry:
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
            ensure_resumed(run, wait, deadline=record.deadline)
        elif outcome is Outcome.PENDING:
            log.info("Run %r is already %s. There is nothing to resume.", run_id, run.status)
            wait.permission.revoke_if_resumed(run_id)
            if state.is_cleared(run_id):
                wait.item_id = run_id
                resume_after_late_kill(run_id, wait, deadline=record.deadline)
        else:
            log.info("Run %r is %s and can't be resumed. The task continues with it.", run_id, run.status)
        return wait.wait(run_id, deadline=record.deadline)


class StartRun(CreateOnce):
    """The start of the run."""

    metric = RUNS_STARTED
    advice = "Check the agent's runs in the editor."

    def __init__(self, task: RunTask) -> None:
        options = self._options = task.options
        self._hook = task.hook
        self._wait = task.wait
        # The address of the receiver inside Airflow changes with the webhook secret. The request is still the same.
        self._call = options.call()
        body = self._call.body | ({"callback_url": AIRFLOW_CALLBACK} if options.webhooks_to_airflow else {})
        super().__init__(
            task.context,
            kind="run",
            request=[options.agent_id, body],
            durable=options.durable,
            description=f"a run of agent {options.agent_id!r}",
            timeout=options.timeout,
            adopt=options.on_ambiguous == "adopt",
        )

    def send(self) -> str:
        """Start the run and return its id."""
        run_id = self._hook.send(with_node_ids(self._hook, self._call))
        self._wait.run_to_cancel = run_id
        log.info("Started run %r of agent %r.", run_id, self._options.agent_id)
        return run_id

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        """Add the agent's newest runs."""

        def existing_runs(since: float) -> tuple[tuple[str, ...], float | None] | None:
            return runs_before(self._runs_since(since), most=_MAX_EXISTING)

        since = self._earliest(StartRecord(started_at=time.time()))
        found = existing_runs(since)
        corrected = self._earliest(StartRecord(started_at=time.time()))
        if since > corrected + SKEW.total_seconds() / 2:
            # The first response shows that the list was read from a time in the server's future.
            since, found = corrected, existing_runs(corrected)
        if found is None:
            log.info(
                "Agent %r has more than %d recent runs. If the response is lost, the search adopts none.",
                self._options.agent_id,
                _MAX_EXISTING,
            )
            return record
        # A search with another clock, or with a lead that is known by then, must not find older runs than this list.
        return replace(record, existing_ids=found[0], existing_until=since if found[1] is None else found[1])

    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        """Return the agent's runs that did not exist before and that no trigger started."""
        until = record.existing_until
        runs = self._runs_since(self._earliest(record) if until is None else until)
        return run_candidates(runs, before=record.existing_ids or (), before_until=until)

    def clock_ahead(self) -> float:
        """Return the lead of this machine's clock by the newest response."""
        return self._hook.client.clock_ahead

    def siblings(self) -> SiblingTasks:
        """Return the tasks that start runs of the agent."""
        same = ("agent_id", self._options.agent_id)
        return SiblingTasks(self._context, kind="run", key=RUN_ID_KEY, same_argument=same)

    def check_before_start(self) -> None:
        """Add the receiver's address to the call if that is requested, and raise or skip for too few credits."""
        if self._options.webhooks_to_airflow:
            url = webhook_url(self._hook.mosaic_conn_id)
            self._call = replace(self._call, body=self._call.body | {"callback_url": url})
        if self._options.min_credits is not None:
            # Only this imports the models of the billing.
            from airflow_provider_mosaic.tasks.credits import require_credits

            # A skipped task would hide the run of an earlier attempt.
            on_short = "fail" if self.is_replacing else self._options.on_short_of_credits
            require_credits(self._hook, self._options.min_credits, on_short=on_short)

    def can_continue(self, record: StartRecord) -> bool:
        """Return whether to continue with the run of an earlier attempt, and resume it if necessary."""
        run_id = str(record.id)
        try:
            run = read_started(self._hook, get_run(run_id), name=f"Run {run_id!r}", started_at=record.started_at)
        except MosaicNotFoundError:
            log.warning("Run %r of an earlier attempt does not exist any more. Starting a new one.", run_id)
            return False
        outcome = run_outcome(run).outcome
        failed = outcome is Outcome.FAILED or (outcome is Outcome.PARTIAL and self._options.on_partial == "fail")
        if not failed:
            if outcome is Outcome.PENDING:
                self._wait.permission.revoke_if_resumed(run_id)
            log.info("Continuing with run %r of an earlier attempt, which is %s.", run_id, run.status)
            return True
        is_cancelled = run.status == RunStatus.CANCELLED
        if is_cancelled and self.is_named and self._wait.can_cancel_earlier_run and self.state.is_cleared(run_id):
            # The trigger from before the clear cancelled it since the read that validated it.
            self._wait.permission.grant(run_id)
        self._wait.fail_if_cancelled_elsewhere(run)
        # A user who names a run wants no other one.
        on_retry = "resume" if self.is_named else self._options.on_retry
        if on_retry == "new":
            log.info("Run %r of an earlier attempt is %s. Starting a new one.", run_id, run.status)
            return False
        if on_retry == "fail":
            raise self._wait.failure(run, "It is not resumed, because on_retry='fail'.")
        ensure_resumed(run, self._wait, deadline=record.deadline)
        return True

    def on_started(self, id: str) -> None:
        """Push the id and the link."""
        self._wait.item_id = id
        push_run(self._context, self._hook, id, self._options.agent_id)
        if not self._options.wait_for_completion:
            self._wait.report_lineage()

    def on_replaced(self, id: str) -> None:
        """Withdraw the id of the run that is not continued."""
        self._wait.item_id = None
        push_xcom(self._context, RUN_ID_KEY, None, name=f"run {id!r}")

    def on_cleared(self, id: str) -> None:
        """Cancel the run from before the clear."""
        self._wait.cancel_cleared_run(id)

    def on_changed(self, record: StartRecord) -> None:
        """Cancel the run of an earlier attempt with another request. Raise if it may keep running."""
        self._wait.cancel_changed_run(str(record.id), started_at=record.started_at)

    def validate_adopted(self, id: str) -> None:
        """Raise if there is no such run of the agent."""
        run = self._hook.get_run(id)
        if run.agent_id is not None and id_key(run.agent_id) != id_key(self._options.agent_id):
            raise_invalid("run_id", id, f"it is a run of agent {run.agent_id!r}, not of {self._options.agent_id!r}.")
        if run.status == RunStatus.CANCELLED:
            # The user who named it decided to resume it.
            self._wait.permission.grant(id)

    def _earliest(self, record: StartRecord) -> float:
        """Return a time of Mosaic's clock that is before the request of a record."""
        return record.started_at - max(0.0, record.clock_ahead, self.clock_ahead()) - SKEW.total_seconds()

    def _runs_since(self, moment: float) -> Iterator[Run]:
        runs = list_runs(self._options.agent_id, created_from=datetime.fromtimestamp(moment, timezone.utc))
        # A run that is missing in the list would be started again: read the whole list, or fail.
        return self._hook.iterate(runs.all_or_error(most_pages=_MAX_PAGES))
