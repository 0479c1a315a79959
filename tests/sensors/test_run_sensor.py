"""The sensor polls on a worker or in the triggerer, and never starts or cancels anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralTimeout,
)
from tasks.fakes import Deferred, TaskRunner
from tasks.fixtures import AGENT, InBackground, effects, sent, until

from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicNotFoundError,
    MosaicRunFailedError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.sensors import MosaicRunSensor

GET_RUN = "/agent_run/{run_id}"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True)
    return hook.run_agent(AGENT)


def sensor(run_id: str, **options: Any) -> TaskRunner:
    arguments = {"task_id": "wait", "run_id": run_id, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicRunSensor(**arguments))


def returned(value: Any) -> Any:
    """Unwrap the return value of a poking sensor, as Airflow does."""
    return getattr(value, "xcom_value", value)


@WAITS
def test_sensor_returns_the_run_id_at_the_end(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    def finish() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 2 or deferrable)
        mosaic.finish_run(run_id)

    with InBackground(finish):
        assert returned(sensor(run_id, deferrable=deferrable).run_to_end()) == run_id
    assert effects(mosaic) == {"runs_started": 1}


@WAITS
def test_ended_run_needs_one_poll(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    mosaic.finish_run(run_id)
    assert returned(sensor(run_id, deferrable=deferrable).execute()) == run_id
    assert sent(mosaic, "GET " + GET_RUN) == 1


@WAITS
@pytest.mark.parametrize(("soft", "expected"), [(False, AirflowFailException), (True, AirflowSkipException)])
@pytest.mark.parametrize("when", ["at the first look", "later"])
def test_failed_run_fails_or_skips_the_sensor(
    mosaic: Emulator, run_id: str, deferrable: bool, soft: bool, expected: type[Exception], when: str
) -> None:
    def finish() -> None:
        if when == "later":
            until(lambda: sent(mosaic, "GET " + GET_RUN) >= 1)
        mosaic.finish_run(run_id, "failed", message="The node broke")

    task = sensor(run_id, deferrable=deferrable, soft_fail=soft)
    if when == "at the first look":
        finish()
    with InBackground(finish if when == "later" else lambda: None), pytest.raises(expected) as failure:
        task.run_to_end()
    chain: BaseException | None = failure.value
    while chain is not None and not isinstance(chain, MosaicRunFailedError):
        chain = chain.__cause__ or chain.__context__
    assert chain is not None
    assert "The node broke" in str(chain)
    assert effects(mosaic) == {"runs_started": 1}


@WAITS
def test_partial_run_skips_the_sensor(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    mosaic.finish_run(run_id, "partial_complete")
    with pytest.raises(AirflowSkipException, match="ended partly"):
        sensor(run_id, deferrable=deferrable, on_partial="skip").run_to_end()


def test_poking_sensor_fails_at_its_timeout_and_keeps_the_run(mosaic: Emulator, run_id: str) -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(run_id, timeout=0.2).execute()
    assert effects(mosaic) == {"runs_started": 1}


def test_deferred_sensor_fails_at_its_timeout_and_keeps_the_run(mosaic: Emulator, run_id: str) -> None:
    task = sensor(run_id, deferrable=True, timeout=77)
    deferred = task.execute()
    assert deferred.timeout.total_seconds() == pytest.approx(77, abs=5)
    with pytest.raises((AirflowSensorTimeout, TaskDeferralTimeout)):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1}


@WAITS
def test_timeout_skips_a_soft_failing_sensor(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    task = sensor(run_id, deferrable=deferrable, timeout=0.2, soft_fail=True)
    if deferrable:
        task.execute()
    with pytest.raises(AirflowSkipException):
        task.on_timeout() if deferrable else task.execute()


def test_execution_timeout_while_deferred(mosaic: Emulator, run_id: str) -> None:
    with pytest.raises(MosaicTimeoutError):
        sensor(run_id, deferrable=True, execution_timeout=timedelta(seconds=0.2)).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_killed_trigger_of_the_sensor_cancels_nothing(mosaic: Emulator, run_id: str) -> None:
    deferred = sensor(run_id, deferrable=True).execute()
    assert deferred.trigger_kwargs["cancel_on_kill"] is False
    asyncio.run(deferred.trigger().on_kill())
    sensor(run_id)._new().on_kill()
    assert effects(mosaic) == {"runs_started": 1}


def test_sensor_defers_again_before_the_end(mosaic: Emulator, run_id: str) -> None:
    task = sensor(run_id, deferrable=True)
    deferred = task.execute()
    again = task.resume(deferred, {"outcome": "ended", "id": run_id, "status": "failed"})
    assert isinstance(again, Deferred)
    assert again.kwargs == deferred.kwargs
    assert again.kwargs["run_id"] == run_id
    mosaic.finish_run(run_id)
    assert task.resume(again, again.wait()) == run_id


@pytest.mark.parametrize("airflow", ["3.1", "newer"])
def test_second_deferral_does_not_extend_the_deadline(mosaic: Emulator, run_id: str, airflow: str) -> None:
    task = sensor(run_id, deferrable=True, timeout=1000, execution_timeout=timedelta(seconds=2000))
    first = task.execute()
    task.start_date -= timedelta(seconds=900)
    started_at = task.start_date.timestamp()
    deferred = replace(first, kwargs={**first.kwargs, "started_at": started_at})
    if airflow == "3.1":
        # Airflow 3.1 reports the time of the resume as the start of the attempt.
        task.start_date += timedelta(seconds=900)
    again = task.resume(deferred, {"outcome": "ended", "id": run_id, "status": "failed"})
    assert again.timeout.total_seconds() == pytest.approx(100, abs=5)
    assert again.trigger_kwargs["deadline"] == pytest.approx(started_at + 2000)
    assert again.kwargs["started_at"] == started_at
    late = replace(again, kwargs={**again.kwargs, "started_at": started_at - 900})
    assert task.resume(late, None).timeout == timedelta(0)


def test_deferred_sensor_keeps_its_run_though_the_template_changed(mosaic: Emulator, run_id: str) -> None:
    given = [run_id]
    task = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=given[-1], deferrable=True, poll_interval=0.05))
    deferred = task.execute()
    given.append("another")
    mosaic.finish_run(run_id)
    assert task.resume(deferred, deferred.wait()) == run_id


def test_deferral_of_an_earlier_version_continues(mosaic: Emulator, run_id: str) -> None:
    task = sensor(run_id, deferrable=True)
    deferred = replace(task.execute(), kwargs={"run_id": run_id})
    assert isinstance(task.resume(deferred, None), Deferred)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("server_error", {"status": 502}),
        ("reset", {}),
        ("rate_limit", {"retry_after": 0}),
        ("html", {}),
        ("truncated_json", {}),
    ],
)
def test_transient_errors_are_tolerated(
    mosaic: Emulator, run_id: str, clock: Any, fault: str, options: dict[str, Any], deferrable: bool
) -> None:
    mosaic.finish_run(run_id)
    # More than the client retries in one poll.
    mosaic.inject(fault, method="GET", path=GET_RUN, times=7, **options)
    assert returned(sensor(run_id, deferrable=deferrable).run_to_end()) == run_id


@WAITS
def test_missing_run_fails_after_the_grace_period(mosaic: Emulator, deferrable: bool) -> None:
    with pytest.raises(AirflowFailException, match=r"MosaicNotFoundError: .*'no-such-run'") as failure:
        sensor("no-such-run", deferrable=deferrable).execute()
    assert type(failure.value.error) is MosaicNotFoundError
    assert sent(mosaic, "GET " + GET_RUN) == 5


@WAITS
def test_run_that_is_not_found_for_a_moment_is_waited_for(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=3)
    assert returned(sensor(run_id, deferrable=deferrable).run_to_end()) == run_id


@WAITS
def test_wrong_key_fails_without_retries(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    mosaic.inject("unauthorized", method="GET", path=GET_RUN, times=None)
    with pytest.raises(AirflowFailException) as failure:
        sensor(run_id, deferrable=deferrable).execute()
    assert type(failure.value.error) is MosaicAuthenticationError


def test_reschedule_mode_frees_the_worker(mosaic: Emulator, run_id: str) -> None:
    with pytest.raises(AirflowRescheduleException):
        sensor(run_id, mode="reschedule", poll_interval=30).execute()
    assert effects(mosaic) == {"runs_started": 1}
