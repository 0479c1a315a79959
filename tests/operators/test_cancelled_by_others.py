"""A run that is cancelled outside Airflow stays cancelled: no retry resumes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import TaskDeferralTimeout
from tasks.fakes import Deferred, Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, Clock, InBackground, effects, sent, started, until
from tasks.kills import killed_once, received
from tasks.task_runs import fail_first_attempt, fails_with, run_operator, run_task

from airflow_provider_mosaic.api.errors import MosaicRunCancelledError, MosaicRunFailedError, MosaicTimeoutError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicResumeRunOperator

GET_RUN = "GET /agent_run/{run_id}"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
ONE_CANCELLED = {"runs_started": 1, "runs_cancelled": 1}
GONE_ON_WITH = {**ONE_CANCELLED, "runs_resumed": 1}


def resuming(run_id: str, store: StateStore | None = None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "resume", "run_id": run_id, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicResumeRunOperator(**arguments), store=store)


class ExecutionTimeout(BaseException):
    """Airflow raises this in a task after its execution_timeout."""


# Cancelled outside Airflow


@pytest.mark.parametrize("store", [StateStore, lambda: None], ids=["store", "no store"])
@pytest.mark.parametrize("on_retry", ["resume", "new", "fail"])
@WAITS
def test_cancel_while_the_task_waits_fails_it_at_once(
    mosaic: Emulator, hook: MosaicHook, store: Callable[[], Any], on_retry: str, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(store(), deferrable=deferrable, on_retry=on_retry)
    with InBackground(lambda: until(lambda: sent(mosaic, GET_RUN)) and hook.cancel_run(started(mosaic))):
        message = fails_with(task.run_to_end, MosaicRunCancelledError)
    assert "No cancel by this task is known" in message
    assert f'mosaic_adopt.dag.run\' to {{"manual__2026-01-01": "{started(mosaic)}"}}' in message
    assert task.xcom("status") == "cancelled"
    assert effects(mosaic) == ONE_CANCELLED


@pytest.mark.parametrize("on_retry", ["resume", "new", "fail"])
def test_run_cancelled_between_two_attempts_stays_cancelled(mosaic: Emulator, on_retry: str) -> None:
    task = run_task(StateStore(), on_retry=on_retry)
    run_id = fail_first_attempt(mosaic, task, "cancelled")
    message = fails_with(task.execute, MosaicRunCancelledError)
    assert run_id in message
    assert "No cancel by this task is known" in message
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    ("store", "durable"),
    [(StateStore, True), (StateStore, False), (lambda: None, True)],
    ids=["durable", "not durable", "no store"],
)
@WAITS
def test_named_run_is_resumed_though_it_was_cancelled(
    mosaic: Emulator,
    clock: Clock,
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    store: Callable[[], Any],
    durable: bool,
    deferrable: bool,
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(store(), durable=durable, deferrable=deferrable)
    with InBackground(lambda: until(lambda: sent(mosaic, GET_RUN)) and hook.cancel_run(started(mosaic))):
        fails_with(task.run_to_end, MosaicRunCancelledError)
    run_id = started(mosaic)
    mosaic.configure(hold_runs=False)
    monkeypatch.setattr("airflow.sdk.Variable.get", lambda key, default=None: f'{{"manual__2026-01-01": "{run_id}"}}')
    task.clear()
    assert task.run_to_end() == run_id
    assert effects(mosaic) == GONE_ON_WITH


def test_second_cancel_outside_airflow_is_not_taken_for_the_tasks_own(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(MosaicTimeoutError):
        task.execute()
    task.make = run_operator()

    def cancel() -> None:
        until(lambda: mosaic.counts().runs_resumed)
        # The read after the resume still shows the running run.
        seen = sent(mosaic, GET_RUN)
        until(lambda: sent(mosaic, GET_RUN) > seen + 1)
        hook.cancel_run(started(mosaic))

    with InBackground(cancel):
        fails_with(task.execute, MosaicRunCancelledError)
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 1}


# Cancelled by the task itself


def test_run_cancelled_by_a_kill_is_resumed_by_the_retry(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore())
    # In the main thread, like Airflow: in another thread both would cancel at the same moment.
    with (
        killed_once(received(mosaic, "GET", "/agent_run/{run_id}"), task),
        pytest.raises(MosaicRunCancelledError, match="killed"),
    ):
        task.execute()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == GONE_ON_WITH


def test_kill_is_noticed_within_a_second(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), poll_interval=3600)

    def kill() -> None:
        until(lambda: clock.pauses)
        task.operator.on_kill()

    with InBackground(kill), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert max(clock.pauses) <= 1.0


@pytest.mark.parametrize("lost", [0, 1], ids=["with a response", "without"])
def test_run_cancelled_by_execution_timeout_is_resumed_by_the_retry(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    mosaic.configure(hold_runs=True)
    if lost:
        mosaic.inject("response_lost", method="POST", path="/agent_run/{run_id}/cancel")
    task = run_task(StateStore())
    sleep = clock.sleep

    def over(seconds: float) -> None:
        raise ExecutionTimeout

    monkeypatch.setattr(clock, "sleep", over)
    with pytest.raises(ExecutionTimeout):
        task.execute()
    # Airflow does this after the task's code has returned.
    task.operator.on_kill()
    assert effects(mosaic) == ONE_CANCELLED
    monkeypatch.setattr(clock, "sleep", sleep)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == GONE_ON_WITH


def test_run_cancelled_at_the_trigger_timeout_is_resumed_by_the_retry(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == GONE_ON_WITH


@pytest.mark.parametrize("ahead", [0.0, 150.0], ids=["same clock", "the retry's clock is ahead"])
def test_own_cancel_that_shows_late_is_still_its_own(mosaic: Emulator, clock: Clock, ahead: float) -> None:
    mosaic.configure(hold_runs=True, cancel_lag=600)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(MosaicTimeoutError):
        task.execute()
    task = run_task(task.store, dag_run=task.dag_run)
    task.try_number = 1
    clock.step(ahead)
    mosaic.configure(clock_skew=-ahead)
    reads = sent(mosaic, GET_RUN)
    shown_late = InBackground(
        # The retry reads the run once before it waits.
        lambda: until(lambda: sent(mosaic, GET_RUN) > reads + 1) and mosaic.finish_run(started(mosaic), "cancelled")
    )
    with shown_late, pytest.raises(MosaicRunCancelledError):
        task.execute()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == GONE_ON_WITH


@pytest.mark.parametrize("operator", ["MosaicRunAgentOperator", "MosaicResumeRunOperator"])
@WAITS
def test_permission_ends_if_a_user_resumes_the_run_before_the_retry(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, operator: str, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    is_start, store = operator == "MosaicRunAgentOperator", StateStore()
    task = run_task(store) if is_start else resuming(hook.run_agent(AGENT), store)
    with (
        killed_once(received(mosaic, "GET", "/agent_run/{run_id}"), task),
        pytest.raises(MosaicRunCancelledError, match="killed"),
    ):
        task.execute()
    run_id = started(mosaic)
    hook.resume_run(run_id)
    clock.sleep(300)
    task.make = (run_task(deferrable=deferrable) if is_start else resuming(run_id, deferrable=deferrable)).make
    seen = sent(mosaic, GET_RUN)

    def cancel() -> None:
        # The first read is before the wait.
        until(lambda: sent(mosaic, GET_RUN) > seen + 1)
        hook.cancel_run(run_id)

    with InBackground(cancel):
        fails_with(task.run_to_end, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 1}


def test_cancel_that_cannot_be_recorded_needs_manual_review(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    task = run_task(store, execution_timeout=timedelta(seconds=0.3))
    store.after_set = lambda value: setattr(store, "broken_sets", 9 if "id" in value else 0)
    with pytest.raises(MosaicTimeoutError):
        task.execute()
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == ONE_CANCELLED


def test_without_durable_no_cancel_is_recorded(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    with pytest.raises(MosaicTimeoutError):
        run_task(store, execution_timeout=timedelta(seconds=0.3), durable=False).execute()
    assert effects(mosaic) == ONE_CANCELLED
    assert store.history == []


# MosaicResumeRunOperator


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    hook.cancel_run(run_id)
    return run_id


@pytest.mark.parametrize("store", [StateStore, lambda: None], ids=["store", "no store"])
@WAITS
def test_resumed_run_that_is_cancelled_stays_cancelled(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, run_id: str, store: Callable[[], Any], deferrable: bool
) -> None:
    task = resuming(run_id, store(), deferrable=deferrable)

    def cancel() -> None:
        until(lambda: mosaic.counts().runs_resumed)
        seen = sent(mosaic, GET_RUN)
        until(lambda: sent(mosaic, GET_RUN) > seen + 1)
        hook.cancel_run(run_id)

    with InBackground(cancel):
        message = fails_with(task.run_to_end, MosaicRunCancelledError)
    assert "once more: only what is missing is done again." in message
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 1}


def test_resumed_run_that_is_cancelled_between_two_attempts_stays_cancelled(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, run_id: str
) -> None:
    task = resuming(run_id, StateStore(), deferrable=True)
    assert isinstance(task.execute(), Deferred)
    hook.cancel_run(run_id)
    fails_with(task.execute, MosaicRunCancelledError)
    task.clear()
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 2}


def test_retry_resumes_the_run_if_the_first_attempt_did_not(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    store = StateStore().killing_at("id")
    task = resuming(run_id, store, deferrable=True)
    with pytest.raises(Killed):
        task.execute()
    assert effects(mosaic) == ONE_CANCELLED
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == GONE_ON_WITH


def test_run_cancelled_by_its_own_timeout_is_resumed_by_the_retry(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    task = resuming(run_id, StateStore(), execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(MosaicTimeoutError):
        task.execute()
    mosaic.configure(hold_runs=False)
    task.make = resuming(run_id).make
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 2}


def test_failed_run_is_resumed_by_the_retry(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore(), deferrable=True)
    mosaic.configure(hold_runs=True)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic), "failed")
    with pytest.raises(MosaicRunFailedError):
        task.resume(deferred, deferred.wait())
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_trigger_cancel_for_a_cleared_task_is_not_undone(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute()
    asyncio.run(old.trigger().on_kill())
    task.clear()
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}
