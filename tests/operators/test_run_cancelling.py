"""Timeouts, kills and trigger failures cancel the run where they should, and nowhere else."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, TaskDeferralTimeout
from tasks.fakes import Deferred, Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, START, Clock, InBackground, effects, sent, started, until
from tasks.task_runs import fail_first_attempt, post_task, rendered, run_operator, run_task

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRunCancelledError, MosaicTimeoutError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicRunAgentOperator
from airflow_provider_mosaic.tasks import runs

CANCEL = "/agent_run/{run_id}/cancel"
RESUME = "/agent_run/{run_id}/resume"
GET_RUN = "/agent_run/{run_id}"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


class TimedOut(BaseException):
    """As Airflow raises it at the end of execution_timeout. Then it calls on_kill."""


def time_out_at(function: str, task: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an attempt whose execution_timeout ends in a function of :mod:`~airflow_provider_mosaic.tasks.runs`."""

    def time_out(*args: Any, **kwargs: Any) -> None:
        raise TimedOut

    with monkeypatch.context() as patch:
        patch.setattr(runs, function, time_out)
        with pytest.raises(TimedOut):
            task.execute()
    task.operator.on_kill()


def task_runner(store: StateStore | None = None, **options: Any) -> TaskRunner:
    return run_task(store or StateStore(), **options)


@contextmanager
def killed_once(is_time: Callable[[], object], task: TaskRunner) -> Iterator[None]:
    """
    Send a signal during the block, once something holds.

    The handler calls ``on_kill`` like Airflow's, in the main thread, and the code continues.
    """
    main = threading.main_thread()
    assert threading.current_thread() is main
    before = signal.signal(signal.SIGALRM, lambda *_: task.operator.on_kill())

    def kill() -> None:
        until(is_time)
        signal.pthread_kill(main.ident or 0, signal.SIGALRM)

    try:
        with InBackground(kill):
            yield
    finally:
        signal.signal(signal.SIGALRM, before)


def received(mosaic: Emulator, method: str, template: str) -> Callable[[], bool]:
    """Return what tells whether the server has received a request since now, also one that it has not answered."""

    def count() -> int:
        return sum((each["method"], each["template"]) == (method, template) for each in mosaic.requests())

    before = count()
    return lambda: count() > before


# Timeouts


@WAITS
def test_timeout_cancels_the_run_and_fails_without_retries(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(timeout=timedelta(seconds=0.3), deferrable=deferrable)
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
    task = task_runner(deferrable=deferrable, **{limit: timedelta(seconds=0.3)})
    with pytest.raises((AirflowFailException, MosaicTimeoutError), match="The last poll failed: Could not read run"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@WAITS
def test_execution_timeout_cancels_the_run_and_allows_a_retry(mosaic: Emulator, clock: Clock, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(execution_timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(MosaicTimeoutError, match=r"execution_timeout=0:00:00.300000.*cancelled"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    mosaic.configure(hold_runs=False)
    task.make = run_operator(deferrable=deferrable)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_execution_timeout_counts_while_the_task_is_deferred(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True)
    deferred = task.execute()
    assert deferred.trigger_kwargs["deadline"] == pytest.approx(task.start_date.timestamp() + 100)
    task.start_date -= timedelta(seconds=150)
    with pytest.raises(MosaicTimeoutError, match="execution_timeout"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_second_deferral_does_not_extend_the_deadline(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True)
    deferred = task.execute()
    # Airflow 3.1 reports the time of the resume as the start of the attempt.
    task.start_date += timedelta(seconds=60)
    again = task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "failed"})
    assert isinstance(again, Deferred)
    assert again.kwargs == deferred.kwargs
    assert again.trigger_kwargs["deadline"] == deferred.trigger_kwargs["deadline"]


def test_deferral_of_an_earlier_version_continues(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    old = replace(deferred, kwargs={name: deferred.kwargs[name] for name in ("run_id", "deadline")})
    assert isinstance(task.resume(old, None), Deferred)


def test_triggerer_clock_that_is_a_little_ahead(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(timeout=30, deferrable=True)
    deferred = task.execute()
    with pytest.raises(AirflowFailException, match="timeout=0:00:30"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@WAITS
@pytest.mark.parametrize("clock_name", ["timeout", "execution_timeout"])
def test_timeout_without_cancel_on_kill_keeps_the_run(mosaic: Emulator, deferrable: bool, clock_name: str) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(cancel_on_kill=False, deferrable=deferrable, **{clock_name: timedelta(seconds=0.2)})
    with pytest.raises((AirflowFailException, MosaicTimeoutError), match="because cancel_on_kill=False"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_run_that_ends_at_the_last_moment_is_taken(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)}) == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


FAILED_POLLS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 502}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("unauthorized", {}),
]


@pytest.mark.parametrize(("fault", "options"), FAILED_POLLS, ids=lambda value: str(value))
def test_failed_request_at_the_timeout_cancels_no_ended_run(
    mosaic: Emulator, fault: str, options: dict[str, Any]
) -> None:
    mosaic.configure(hold_runs=True)
    # The first poll finds the run running. The second one is at the timeout.
    mosaic.inject(fault, method="GET", path=GET_RUN, skip=1, **options)
    task = task_runner(timeout=1, poll_interval=60)

    def end_it() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN))
        mosaic.finish_run(started(mosaic))

    with InBackground(end_it):
        assert task.execute() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}
    assert mosaic.counts().faults_used == {fault: 1}


@WAITS
def test_poll_that_was_sent_before_the_timeout_cancels_no_run(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    # The response is older than the end of the run, and arrives after the timeout.
    mosaic.inject("hang", method="GET", path=GET_RUN, when="after", seconds=1.2)
    task = task_runner(timeout=1, poll_interval=60, deferrable=deferrable)

    def end_it() -> None:
        until(lambda: mosaic.counts().faults_used)
        mosaic.finish_run(started(mosaic))

    with InBackground(end_it):
        assert task.execute() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_timeout_takes_one_read(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(timeout=1.5, poll_interval=60, cancel_on_kill=False)
    with pytest.raises(AirflowFailException):
        task.execute()
    # The first poll, the one at the timeout, and the one for the XComs.
    assert sent(mosaic, "GET " + GET_RUN) == 3


@pytest.mark.parametrize("status", [200, 400, 409])
def test_any_response_to_the_cancel_of_an_ended_run_is_no_failure(mosaic: Emulator, status: int) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = task_runner(timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.inject("hang", method="POST", path=CANCEL, when="before", seconds=0.5)

    def end_it() -> None:
        until(lambda: sent(mosaic, "POST " + CANCEL))
        mosaic.finish_run(started(mosaic))

    with InBackground(end_it), pytest.raises(AirflowFailException) as failure:
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    assert "may keep running" not in str(failure.value)


def test_failed_cancel_is_reported(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("server_error", method="POST", path=CANCEL, times=None)
    task = task_runner(timeout=0.1)
    with pytest.raises(
        AirflowFailException, match="could not be cancelled and may keep running: cancel it in the editor"
    ):
        task.execute()


# Kills on a worker


def test_kill_during_the_wait_cancels_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(poll_interval=0.1)
    with killed_once(received(mosaic, "GET", GET_RUN), task), pytest.raises(MosaicRunCancelledError):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    assert sent(mosaic, "POST " + CANCEL) == 1


@pytest.mark.parametrize("wait_for_completion", [True, False])
def test_kill_during_the_start_cancels_the_run_once_its_id_is_known(
    mosaic: Emulator, wait_for_completion: bool
) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=START, seconds=0.4)
    task = task_runner(wait_for_completion=wait_for_completion)
    with killed_once(received(mosaic, "POST", START), task), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_kill_while_a_retry_resumes_the_run_cancels_what_was_resumed(mosaic: Emulator) -> None:
    task = task_runner()
    fail_first_attempt(mosaic, task, "failed")
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=RESUME, seconds=0.6)
    with killed_once(received(mosaic, "POST", RESUME), task), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic)["runs_resumed"] == 1
    assert mosaic.runs()[0]["status"] == "cancelled"


@pytest.mark.parametrize("moment", ["starting", "waiting"])
def test_kill_without_cancel_on_kill_keeps_the_run(mosaic: Emulator, moment: str) -> None:
    mosaic.configure(hold_runs=True)
    if moment == "starting":
        mosaic.inject("hang", method="POST", path=START, seconds=0.4)
    task = task_runner(cancel_on_kill=False, poll_interval=0.1)
    is_time = received(mosaic, "POST", START) if moment == "starting" else received(mosaic, "GET", GET_RUN)
    with killed_once(is_time, task), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.alone
def test_kill_cancels_within_seconds_when_the_server_hangs(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=CANCEL)
    task = task_runner(poll_interval=0.1, timeout=8)
    started_at = time.monotonic()
    is_time = received(mosaic, "GET", GET_RUN)
    with killed_once(is_time, task), pytest.raises((MosaicRunCancelledError, AirflowFailException)):
        task.execute()
    # Airflow kills the process five seconds after the signal: there is no time for a second request.
    assert time.monotonic() - started_at < 5


def test_kill_during_the_start_cancels_by_one_short_request(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=START, seconds=0.6)
    mosaic.inject("hang", method="POST", path=CANCEL, times=2)
    task = task_runner()
    is_time = received(mosaic, "POST", START)
    with killed_once(is_time, task), pytest.raises(MosaicRunCancelledError, match="could not be cancelled"):
        task.execute()
    assert sent(mosaic, f"POST {CANCEL}") == 1


def test_execution_timeout_between_the_start_and_the_wait_lets_a_retry_resume(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner()
    time_out_at("push_run", task, monkeypatch)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@pytest.mark.parametrize(("make", "path"), [(run_task, "/agent/{agent_id}/runs"), (post_task, "/social/posts")])
def test_kill_before_the_request_sends_nothing(mosaic: Emulator, make: Callable[..., TaskRunner], path: str) -> None:
    mosaic.inject("hang", method="GET", path=path, seconds=0.6)
    task = make(StateStore())
    with killed_once(received(mosaic, "GET", path), task), pytest.raises(MosaicError, match="The task was killed"):
        task.execute()
    assert effects(mosaic) == {}


def test_kill_while_the_media_are_read_posts_nothing(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, _ = rendered(mosaic, hook)
    mosaic.inject("hang", method="GET", path="/agent_run/{run_id}", seconds=0.6)
    task = post_task(StateStore(), run_id=run_id)
    with (
        killed_once(received(mosaic, "GET", "/agent_run/{run_id}"), task),
        pytest.raises(MosaicError, match="The task was killed"),
    ):
        task.execute()
    assert "posts_made" not in effects(mosaic)


def test_execution_timeout_while_a_retry_reads_the_run_cancels_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    time_out_at("read_started", task, monkeypatch)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_kill_before_the_start_does_nothing(mosaic: Emulator) -> None:
    MosaicRunAgentOperator(task_id="run", agent_id=AGENT).on_kill()
    assert mosaic.requests() == []


def test_kill_after_a_deferral_cancels_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    mosaic.inject("hang", method="GET", path="/agent_run/{run_id}", seconds=0.4)
    is_time = received(mosaic, "GET", "/agent_run/{run_id}")
    with killed_once(is_time, task), pytest.raises((MosaicRunCancelledError, AirflowFailException)):
        task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "completed"})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


# Triggers


@pytest.fixture
def deferred(mosaic: Emulator) -> Deferred:
    mosaic.configure(hold_runs=True)
    deferred = task_runner(deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    return deferred


def test_killed_trigger_cancels_the_run(mosaic: Emulator, deferred: Deferred) -> None:
    asyncio.run(deferred.trigger().on_kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_killed_trigger_without_cancel_on_kill_keeps_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    asyncio.run(task_runner(deferrable=True, cancel_on_kill=False).execute().trigger().on_kill())
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + CANCEL) == 0


@pytest.mark.parametrize("prepare", ["ended", "broken", "forbidden", "no connection"])
def test_killed_trigger_that_cannot_cancel_raises_nothing(
    mosaic: Emulator, deferred: Deferred, prepare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if prepare == "ended":
        mosaic.finish_run(started(mosaic))
    elif prepare == "broken":
        mosaic.inject("server_error", method="POST", path=CANCEL, status=502)
    elif prepare == "forbidden":
        mosaic.inject("forbidden", method="POST", path=CANCEL)
    else:
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
        monkeypatch.setattr("airflow_provider_mosaic.triggers.runs._LOOKUP_PAUSES", (0.1,))
    asyncio.run(deferred.trigger().on_kill())
    assert mosaic.counts().runs_cancelled == (1 if prepare == "broken" else 0)


def test_trigger_timeout_cancels_the_run_before_the_task_fails(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_trigger_timeout_without_cancel_on_kill_keeps_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True, cancel_on_kill=False)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1}


def test_other_trigger_failure_cancels_nothing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    broken = Deferred(
        classpath="", trigger_kwargs={}, method="__fail__", kwargs={"error": "Trigger failure"}, timeout=None
    )
    with pytest.raises(Exception, match="Trigger failure"):
        task.resume(broken, None)
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.finish_run(deferred.kwargs["run_id"])
    assert task.run_to_end() == deferred.kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_trigger_that_failed_after_errors_keeps_the_run_for_the_retry(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    run_id = deferred.kwargs["run_id"]
    event = {
        "outcome": "error", "id": run_id, "error": "MosaicServerError", "message": "It answered 502.",
        "transient": True,
    }  # fmt: skip
    with pytest.raises(Exception, match=r"could not be read by its trigger. It answered 502") as failure:
        task.resume(deferred, event)
    assert type(failure.value).__name__ == "MosaicServerError"
    mosaic.finish_run(run_id)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_trigger_with_a_wrong_key_fails_without_retries(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    event = {
        "outcome": "error", "id": started(mosaic), "error": "MosaicAuthenticationError", "message": "401",
        "transient": False,
    }  # fmt: skip
    with pytest.raises(AirflowFailException, match="MosaicAuthenticationError"):
        task.resume(deferred, event)
    assert effects(mosaic) == {"runs_started": 1}


def test_event_with_an_unknown_error_class_is_read(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    for named in ("NoSuchError", "Sequence", "MosaicRunFailedError"):
        event = {"outcome": "error", "id": started(mosaic), "error": named, "message": "no luck", "transient": True}
        with pytest.raises(Exception, match="no luck"):
            task.resume(deferred, event)
