"""The timeouts of a task, of an attempt and of a trigger cancel the run, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, TaskDeferralTimeout
from tasks.fakes import Deferred, Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, START, Clock, effects, in_pause, sent, started
from tasks.task_runs import fails_with, run_operator, run_task

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import MosaicRunCancelledError, MosaicTimeoutError
from airflow_provider_mosaic.api.outcomes import StatusOutcome
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicResumeRunOperator
from airflow_provider_mosaic.tasks import runs
from airflow_provider_mosaic.tasks.run_waits import RunWait

CANCEL = "/agent_run/{run_id}/cancel"
RESUME = "/agent_run/{run_id}/resume"
GET_RUN = "/agent_run/{run_id}"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


class TimedOut(BaseException):
    """As Airflow raises it at the end of execution_timeout. Then it calls on_kill."""


def time_out_at(function: str, task: TaskRunner, monkeypatch: pytest.MonkeyPatch, *, owner: Any = runs) -> None:
    """
    Run an attempt whose execution_timeout ends in a function.

    :param owner: The module or class of the function.
    """

    def time_out(*args: Any, **kwargs: Any) -> None:
        raise TimedOut

    with monkeypatch.context() as patch:
        patch.setattr(owner, function, time_out)
        with pytest.raises(TimedOut):
            task.execute()
    task.operator.on_kill()


@WAITS
def test_timeout_cancels_the_run_and_fails_without_retries(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(AirflowFailException, match=r"MosaicTimeoutError: .*timeout=0:00:00.300000.*cancelled") as over:
        task.run_to_end()
    assert type(over.value.error) is MosaicTimeoutError
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    assert mosaic.runs()[0]["status"] == "cancelled"


@WAITS
@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
def test_timeout_reports_that_the_run_could_not_be_read(
    mosaic: Emulator, clock: Clock, deferrable: bool, limit: str
) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("truncated_json", method="GET", path="/agent_run/{run_id}", times=10_000)
    task = run_task(StateStore(), deferrable=deferrable, **{limit: timedelta(seconds=0.3)})
    with pytest.raises((AirflowFailException, MosaicTimeoutError), match="The last poll failed: Could not read run"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@WAITS
def test_execution_timeout_cancels_the_run_and_allows_a_retry(mosaic: Emulator, clock: Clock, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(MosaicTimeoutError, match=r"execution_timeout=0:00:00.300000.*cancelled"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    mosaic.configure(hold_runs=False)
    task.make = run_operator(deferrable=deferrable)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_execution_timeout_counts_while_the_task_is_deferred(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(
        StateStore(), execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True
    )
    deferred = task.execute()
    assert deferred.trigger_kwargs["deadline"] == task.start_date.timestamp() + 100
    task.start_date -= timedelta(seconds=150)
    with pytest.raises(MosaicTimeoutError, match="execution_timeout"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_second_deferral_does_not_extend_the_deadline(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(
        StateStore(), execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True
    )
    deferred = task.execute()
    # Airflow 3.1 reports the time of the resume as the start of the attempt.
    task.start_date += timedelta(seconds=60)
    again = task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "failed"})
    assert isinstance(again, Deferred)
    assert again.kwargs == deferred.kwargs
    assert again.trigger_kwargs["deadline"] == deferred.trigger_kwargs["deadline"]


def test_deferral_of_an_earlier_version_continues(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    old = replace(deferred, kwargs={name: deferred.kwargs[name] for name in ("run_id", "deadline")})
    assert isinstance(task.resume(old, None), Deferred)


def test_triggerer_clock_that_is_a_little_ahead(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=30, deferrable=True)
    deferred = task.execute()
    with pytest.raises(AirflowFailException, match="timeout=0:00:30"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@WAITS
@pytest.mark.parametrize("clock_name", ["timeout", "execution_timeout"])
def test_timeout_without_cancel_on_kill_keeps_the_run(mosaic: Emulator, deferrable: bool, clock_name: str) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), cancel_on_kill=False, deferrable=deferrable, **{clock_name: timedelta(seconds=0.2)})
    with pytest.raises((AirflowFailException, MosaicTimeoutError), match="because cancel_on_kill=False"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_run_that_ends_at_the_last_moment_is_taken(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)}) == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


FAILED_POLLS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 502}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("unauthorized", {}),
    ("not_found", {}),
]


@pytest.mark.parametrize(("fault", "options"), FAILED_POLLS, ids=lambda value: str(value))
def test_failed_request_at_the_timeout_cancels_no_ended_run(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: str, options: dict[str, Any]
) -> None:
    mosaic.configure(hold_runs=True)
    # The first poll finds the run running. The second one is at the timeout.
    mosaic.inject(fault, method="GET", path=GET_RUN, skip=1, **options)
    task = run_task(StateStore(), timeout=60, poll_interval=600)

    def end_run_at_the_timeout() -> None:
        mosaic.finish_run(started(mosaic))
        monkeypatch.setattr(PollState, "expired", True)

    in_pause(clock, monkeypatch, end_run_at_the_timeout)
    assert task.execute() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}
    assert mosaic.counts().faults_used == {fault: 1}


@WAITS
def test_poll_that_was_sent_before_the_timeout_cancels_no_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=60, deferrable=deferrable)
    record_success = PollState.record_success

    def end_run_and_record(state: PollState[Run], run: Run) -> StatusOutcome:
        # The response is older than the end of the run, and arrives after the timeout.
        if run.status == "running":
            mosaic.finish_run(run.run_id)
            monkeypatch.setattr(PollState, "expired", True)
        return record_success(state, run)

    monkeypatch.setattr(PollState, "record_success", end_run_and_record)
    assert task.execute() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_timeout_takes_one_read(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    mosaic.configure(hold_runs=True)
    monkeypatch.setattr(RunWait, "sleep", lambda *_: monkeypatch.setattr(PollState, "expired", True))
    task = run_task(StateStore(), timeout=60, cancel_on_kill=False)
    with pytest.raises(AirflowFailException):
        task.execute()
    # The first poll, the one at the timeout, and the one for the XComs.
    assert sent(mosaic, "GET " + GET_RUN) == 3


def end_before_the_cancel(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, status: str = "completed") -> None:
    """Let the run end after the last poll and before the task cancels it."""
    send = SyncClient.send

    def end_and_send(client: SyncClient, call: Any, **options: Any) -> Any:
        if call.path == CANCEL:
            mosaic.finish_run(started(mosaic), status)
        return send(client, call, **options)

    monkeypatch.setattr(SyncClient, "send", end_and_send)


@pytest.mark.parametrize("status", [200, 400, 409])
def test_any_response_to_the_cancel_of_an_ended_run_is_no_failure(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = run_task(StateStore(), timeout=60, deferrable=True)
    deferred = task.execute()
    end_before_the_cancel(mosaic, monkeypatch)
    with pytest.raises(AirflowFailException) as failure:
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    assert sent(mosaic, "POST " + CANCEL) == 1
    assert "may keep running" not in str(failure.value)


@pytest.mark.parametrize("status", [200, 400, 409])
@pytest.mark.parametrize("is_limited", [False, True], ids=["one request", "after a 429"])
def test_run_that_a_user_cancels_just_before_the_timeout_is_not_resumed(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, is_limited: bool, status: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=60), deferrable=True)
    deferred = task.execute()
    task.start_date -= timedelta(seconds=90)
    if is_limited:
        # It had no effect for certain.
        mosaic.inject("rate_limit", method="POST", path=CANCEL)
    end_before_the_cancel(mosaic, monkeypatch, "cancelled")
    with pytest.raises(MosaicTimeoutError, match="had ended already, as cancelled"):
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1}


def test_cancel_that_stops_nothing_lets_no_retry_resume_the_run(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=200)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=60), deferrable=True)
    deferred = task.execute()
    task.start_date -= timedelta(seconds=90)
    # The emulator finds nothing to cancel in a run that has ended. Its reads show the run as running.
    mosaic.finish_run(started(mosaic), "cancelled")
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="running", times=None)
    with pytest.raises(MosaicTimeoutError, match="found nothing to cancel"):
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    mosaic.clear_faults()
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1}


def assert_resumed(mosaic: Emulator, task: TaskRunner) -> None:
    """Retry a task that cancelled its run: it resumes the run."""
    mosaic.clear_faults()
    mosaic.configure(hold_runs=False)
    task.make = run_operator()
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@WAITS
@pytest.mark.parametrize("status", [200, 400, 409])
@pytest.mark.parametrize("lost", [1, None], ids=["the first response", "all responses"])
def test_own_cancel_whose_response_was_lost_lets_a_retry_resume_the_run(
    mosaic: Emulator, clock: Clock, lost: int | None, status: int, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    mosaic.inject("server_error", method="POST", path=CANCEL, status=502, effect=True, times=lost)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(MosaicTimeoutError, match="is cancelled"):
        task.run_to_end()
    assert_resumed(mosaic, task)


@pytest.mark.parametrize("status", [200, 409])
def test_lost_cancel_of_a_run_that_the_last_poll_did_not_show_lets_no_retry_resume_it(
    mosaic: Emulator, clock: Clock, status: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=60), deferrable=True)
    deferred = task.execute()
    task.start_date -= timedelta(seconds=90)
    # The last poll and its retries fail.
    mosaic.inject("server_error", method="GET", path=GET_RUN, status=502, times=6)
    mosaic.inject("server_error", method="POST", path=CANCEL, status=502, effect=True)
    with pytest.raises(MosaicTimeoutError, match="had ended already, as cancelled"):
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize("path", [CANCEL, GET_RUN], ids=["the cancel", "the read after it"])
def test_execution_timeout_during_the_cancel_at_the_timeout_lets_a_retry_resume_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    send, interruptions = SyncClient.send, [TimedOut()]

    def send_and_time_out(client: SyncClient, call: Any, **options: Any) -> Any:
        result = send(client, call, **options)
        if call.path == path and mosaic.counts().runs_cancelled and interruptions:
            raise interruptions.pop()
        return result

    monkeypatch.setattr(SyncClient, "send", send_and_time_out)
    task = run_task(StateStore(), execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(TimedOut):
        task.execute()
    task.operator.on_kill()
    assert_resumed(mosaic, task)


@pytest.mark.parametrize("reads", [0, 1], ids=["by the cancel", "by the read too"])
def test_cancel_at_the_timeout_that_gets_a_404_is_sent_again(mosaic: Emulator, clock: Clock, reads: int) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.inject("not_found", method="POST", path=CANCEL)
    if reads:
        # After the last poll.
        mosaic.inject("not_found", method="GET", path=GET_RUN, skip=1)
    with pytest.raises(AirflowFailException, match="is cancelled"):
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_failed_cancel_is_reported(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("server_error", method="POST", path=CANCEL, times=None)
    task = run_task(StateStore(), timeout=0.1)
    with pytest.raises(
        AirflowFailException, match="could not be cancelled and may keep running: cancel it in the editor"
    ):
        task.execute()


@pytest.mark.parametrize(
    ("function", "owner"), [("save_best_effort", TaskState), ("push_run", runs)], ids=["id not saved", "id saved"]
)
def test_execution_timeout_between_the_start_and_the_wait_lets_a_retry_resume(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, function: str, owner: Any
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore())
    time_out_at(function, task, monkeypatch, owner=owner)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_execution_timeout_while_the_owner_of_a_found_run_is_read_cancels_nothing(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another DAG run may have adopted the run at the same moment."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore())
    mosaic.inject("response_lost", method="POST", path=START)
    time_out_at("other_dag_run_with", task, monkeypatch, owner=SiblingTasks)
    # Other tasks know already that it is this task's.
    assert task.xcom("mosaic_run_id") == started(mosaic)
    mosaic.finish_run(started(mosaic))
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_execution_timeout_while_a_retry_reads_the_run_cancels_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    time_out_at("read_started", task, monkeypatch)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@pytest.mark.parametrize("status", [200, 409])
def test_execution_timeout_while_a_retry_reads_a_run_that_a_user_cancelled_lets_no_retry_resume_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = run_task(StateStore().killing_at("id"), deferrable=True)
    with pytest.raises(Killed):
        task.execute()
    mosaic.finish_run(started(mosaic), "cancelled")
    time_out_at("read_started", task, monkeypatch)
    fails_with(task.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1}


@pytest.fixture
def resuming(mosaic: Emulator, hook: MosaicHook) -> TaskRunner:
    """Return a task that resumes a failed run."""
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    return TaskRunner(
        lambda: MosaicResumeRunOperator(task_id="resume", run_id=run_id, deferrable=True, poll_interval=0.05),
        store=StateStore(),
    )


def test_execution_timeout_during_the_resume_cancels_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, resuming: TaskRunner
) -> None:
    resume_run = MosaicHook.resume_run

    def resume_and_time_out(hook: MosaicHook, run_id: str) -> None:
        resume_run(hook, run_id)
        raise TimedOut

    with monkeypatch.context() as patch:
        patch.setattr(MosaicHook, "resume_run", resume_and_time_out)
        with pytest.raises(TimedOut):
            resuming.execute()
    resuming.operator.on_kill()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1, "runs_cancelled": 1}
    mosaic.configure(hold_runs=False)
    assert resuming.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2, "runs_cancelled": 1}


def test_execution_timeout_while_a_retry_reads_the_resumed_run_cancels_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, resuming: TaskRunner
) -> None:
    resuming.execute()
    time_out_at("read_known", resuming, monkeypatch)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1, "runs_cancelled": 1}
    mosaic.configure(hold_runs=False)
    assert resuming.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2, "runs_cancelled": 1}


@pytest.mark.parametrize("status", [200, 409])
def test_execution_timeout_while_a_retry_reads_a_resumed_run_that_a_user_cancelled_lets_no_retry_resume_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, resuming: TaskRunner, status: int
) -> None:
    mosaic.configure(cancel_terminal_status=status)
    resuming.execute()
    mosaic.finish_run(started(mosaic), "cancelled")
    time_out_at("read_known", resuming, monkeypatch)
    fails_with(resuming.execute, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("stored", [None, {"path": "s3://xcoms/1"}, b"an id"], ids=["id", "object", "bytes"])
def test_trigger_timeout_cancels_the_run_before_the_task_fails(mosaic: Emulator, stored: Any) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    if stored is not None:
        # A custom XCom backend returns another type.
        task.dag_run.xcoms["run", -1, "mosaic_run_id"] = stored
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_trigger_timeout_without_cancel_on_kill_keeps_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True, cancel_on_kill=False)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1}
