"""Every exit cancels what it should and nothing else: clocks, kills, and triggers that were given up."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, TaskDeferralTimeout
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import AGENT, START, Clock, Meanwhile, effects, sent, started, until

from airflow_provider_mosaic.api.errors import MosaicRunCancelledError, MosaicTimeoutError
from airflow_provider_mosaic.operators import MosaicRunAgentOperator

CANCEL = "/agent_run/{run_id}/cancel"
WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


def life(store: StateStore | None = None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=store or StateStore())


@contextmanager
def killed_after(seconds: float, task: TaskRunner) -> Iterator[None]:
    """A signal in the middle of it, whose handler is Airflow's: ``on_kill``, and then the code goes on."""
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, lambda *_: task.operator.on_kill())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Clocks


@WAYS
def test_when_the_time_is_over_the_run_is_cancelled_and_no_retry_is_burned(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = life(timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(AirflowFailException, match=r"MosaicTimeoutError: .*timeout=0:00:00.300000.*cancelled") as over:
        task.run_to_end()
    assert type(over.value.error) is MosaicTimeoutError
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    assert mosaic.runs()[0]["status"] == "cancelled"


@WAYS
def test_execution_timeout_cancels_the_run_too_and_a_retry_may_go_on(
    mosaic: Emulator, clock: Clock, deferrable: bool
) -> None:
    mosaic.configure(hold_runs=True)
    task = life(execution_timeout=timedelta(seconds=0.3), deferrable=deferrable)
    with pytest.raises(MosaicTimeoutError, match=r"execution_timeout=0:00:00.300000.*cancelled"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_execution_timeout_counts_from_the_start_of_the_try_also_while_the_task_is_deferred(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True)
    deferred = task.execute()
    assert deferred.trigger_kwargs["deadline"] == pytest.approx(task.start_date.timestamp() + 100)
    task.start_date -= timedelta(seconds=150)
    with pytest.raises(MosaicTimeoutError, match="execution_timeout"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_deferring_again_prolongs_no_clock_whenever_airflow_says_that_the_try_began(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(execution_timeout=timedelta(seconds=100), timeout=timedelta(seconds=200), deferrable=True)
    deferred = task.execute()
    # Airflow 3.1 says of a try that goes on that it begins now.
    task.start_date += timedelta(seconds=60)
    again = task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "failed"})
    assert isinstance(again, Deferred)
    assert again.kwargs == deferred.kwargs
    assert again.trigger_kwargs["deadline"] == deferred.trigger_kwargs["deadline"]


def test_a_deferral_of_an_earlier_version_goes_on(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
    deferred = task.execute()
    old = replace(deferred, kwargs={name: deferred.kwargs[name] for name in ("run_id", "deadline")})
    assert isinstance(task.resume(old, None), Deferred)


def test_a_triggerer_whose_clock_is_a_little_ahead_is_believed(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(timeout=30, deferrable=True)
    deferred = task.execute()
    with pytest.raises(AirflowFailException, match="timeout=0:00:30"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["run_id"]})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@WAYS
@pytest.mark.parametrize("clock_name", ["timeout", "execution_timeout"])
def test_told_so_a_clock_that_ran_out_lets_the_run_go_on(mosaic: Emulator, deferrable: bool, clock_name: str) -> None:
    mosaic.configure(hold_runs=True)
    task = life(cancel_on_kill=False, deferrable=deferrable, **{clock_name: timedelta(seconds=0.2)})
    with pytest.raises((AirflowFailException, MosaicTimeoutError), match="because cancel_on_kill=False"):
        task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_a_run_that_ended_in_the_last_moment_is_taken(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)}) == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("status", [200, 400, 409])
def test_whatever_a_cancel_of_an_ended_run_answers_it_is_no_failure(mosaic: Emulator, status: int) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    task = life(timeout=60, deferrable=True)
    deferred = task.execute()
    mosaic.inject("hang", method="POST", path=CANCEL, when="before", seconds=0.5)

    def end_it() -> None:
        until(lambda: sent(mosaic, "POST " + CANCEL))
        mosaic.finish_run(started(mosaic))

    with Meanwhile(end_it), pytest.raises(AirflowFailException) as failure:
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})
    assert "may keep running" not in str(failure.value)


def test_a_cancel_that_cannot_be_done_is_said(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("server_error", method="POST", path=CANCEL, times=None)
    task = life(timeout=0.1)
    with pytest.raises(
        AirflowFailException, match="could not be cancelled and may keep running: cancel it in the editor"
    ):
        task.execute()


# Kills on a worker


def test_a_kill_while_the_task_waits_cancels_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(poll_interval=0.1)
    with killed_after(0.3, task), pytest.raises(MosaicRunCancelledError):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    assert sent(mosaic, "POST " + CANCEL) == 1


def test_a_kill_while_the_start_is_under_way_cancels_the_run_as_soon_as_its_id_is_known(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=START, seconds=0.4)
    task = life()
    with killed_after(0.2, task), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("moment", ["starting", "waiting"])
def test_told_so_a_kill_lets_the_run_go_on(mosaic: Emulator, moment: str) -> None:
    mosaic.configure(hold_runs=True)
    if moment == "starting":
        mosaic.inject("hang", method="POST", path=START, seconds=0.4)
    task = life(cancel_on_kill=False, poll_interval=0.1)
    with killed_after(0.2, task), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.alone
def test_a_kill_cancels_within_seconds_also_when_the_server_hangs(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=CANCEL)
    task = life(poll_interval=0.1, timeout=8)
    began = time.monotonic()
    with killed_after(0.2, task), pytest.raises((MosaicRunCancelledError, AirflowFailException)):
        task.execute()
    # Airflow kills the process five seconds after the signal: a second request would never be sent.
    assert time.monotonic() - began < 5


def test_a_kill_of_a_task_that_has_begun_nothing_does_nothing(mosaic: Emulator) -> None:
    MosaicRunAgentOperator(task_id="run", agent_id=AGENT).on_kill()
    assert mosaic.requests() == []


def test_a_kill_after_a_deferral_reaches_the_run_of_the_slice(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
    deferred = task.execute()
    mosaic.inject("hang", method="GET", path="/agent_run/{run_id}", seconds=0.4)
    with killed_after(0.2, task), pytest.raises((MosaicRunCancelledError, AirflowFailException)):
        task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "completed"})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


# The trigger


@pytest.fixture
def deferred(mosaic: Emulator) -> Deferred:
    mosaic.configure(hold_runs=True)
    deferred = life(deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    return deferred


def test_a_deferred_task_that_is_killed_has_its_run_cancelled_by_its_trigger(
    mosaic: Emulator, deferred: Deferred
) -> None:
    asyncio.run(deferred.trigger().on_kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_told_so_the_trigger_cancels_nothing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    asyncio.run(life(deferrable=True, cancel_on_kill=False).execute().trigger().on_kill())
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + CANCEL) == 0


@pytest.mark.parametrize("prepare", ["ended", "broken", "forbidden", "no connection"])
def test_a_triggers_kill_that_cannot_cancel_raises_nothing(
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


def test_when_airflow_gives_up_on_the_trigger_the_run_is_cancelled_before_the_task_fails(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_told_so_a_trigger_that_is_given_up_lets_the_run_go_on(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True, cancel_on_kill=False)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1}


def test_another_failure_of_the_trigger_cancels_nothing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
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


def test_a_trigger_that_gave_up_for_faults_leaves_the_run_alone_and_the_retry_takes_it_up(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
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


def test_a_trigger_that_met_a_bad_key_burns_no_retries(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
    deferred = task.execute()
    event = {
        "outcome": "error", "id": started(mosaic), "error": "MosaicAuthenticationError", "message": "401",
        "transient": False,
    }  # fmt: skip
    with pytest.raises(AirflowFailException, match="MosaicAuthenticationError"):
        task.resume(deferred, event)
    assert effects(mosaic) == {"runs_started": 1}


def test_an_error_event_of_a_class_that_there_is_not_is_read_all_the_same(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(deferrable=True)
    deferred = task.execute()
    for named in ("NoSuchError", "Sequence", "MosaicRunFailedError"):
        event = {"outcome": "error", "id": started(mosaic), "error": named, "message": "no luck", "transient": True}
        with pytest.raises(Exception, match="no luck"):
            task.resume(deferred, event)
