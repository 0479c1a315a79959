"""The ends and the deadlines of the run sensor; see test_all_sensors.py for the others."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from clients.servers import HostileServer, Reply, answer
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fakes import Deferred, TaskRunner
from tasks.fixtures import AGENT, Clock, InBackground, effects, sent, until

from airflow_provider_mosaic.api.errors import MosaicRunFailedError
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
@pytest.mark.parametrize(("soft", "expected"), [(False, AirflowFailException), (True, AirflowSkipException)])
@pytest.mark.parametrize("when", ["at the first poll", "later"])
def test_failed_run_fails_or_skips_the_sensor(
    mosaic: Emulator, run_id: str, deferrable: bool, soft: bool, expected: type[Exception], when: str
) -> None:
    def finish() -> None:
        if when == "later":
            until(lambda: sent(mosaic, "GET " + GET_RUN) >= 1)
        mosaic.finish_run(run_id, "failed", message="The node broke")

    task = sensor(run_id, deferrable=deferrable, soft_fail=soft)
    if when == "at the first poll":
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


def test_killed_trigger_of_the_sensor_cancels_nothing(mosaic: Emulator, run_id: str) -> None:
    deferred = sensor(run_id, deferrable=True).execute()
    assert deferred.trigger_kwargs["cancel_on_kill"] is False
    asyncio.run(deferred.trigger().on_kill())
    sensor(run_id)._new().on_kill()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("airflow", ["3.1", "newer"])
def test_second_deferral_does_not_extend_the_deadline(mosaic: Emulator, run_id: str, airflow: str) -> None:
    task = sensor(run_id, deferrable=True, timeout=1000, execution_timeout=timedelta(seconds=2000))
    first = task.execute()
    task.start_date -= timedelta(seconds=900)
    try_started_at = task.start_date.timestamp()
    deferred = replace(first, kwargs={**first.kwargs, "try_started_at": try_started_at})
    if airflow == "3.1":
        # Airflow 3.1 reports the time of the resume as the start of the attempt.
        task.start_date += timedelta(seconds=900)
    again = task.resume(deferred, {"outcome": "ended", "id": run_id, "status": "failed"})
    assert 40 <= again.timeout.total_seconds() <= 100
    assert again.trigger_kwargs["deadline"] == try_started_at + 2000
    assert again.kwargs["try_started_at"] == try_started_at
    late = replace(again, kwargs={**again.kwargs, "try_started_at": try_started_at - 900})
    assert task.resume(late, None).timeout == timedelta(0)


def test_deferral_of_an_earlier_version_continues(mosaic: Emulator, run_id: str) -> None:
    task = sensor(run_id, deferrable=True)
    deferred = replace(task.execute(), kwargs={"run_id": run_id})
    assert isinstance(task.resume(deferred, None), Deferred)


@WAITS
def test_run_that_is_not_found_for_a_moment_is_waited_for(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=3)
    assert returned(sensor(run_id, deferrable=deferrable).run_to_end()) == run_id


def test_poking_sensor_tolerates_a_later_not_found_for_a_minute(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    # More than the 15 seconds of a first read.
    mosaic.inject("not_found", method="GET", path=GET_RUN, skip=1, times=6)

    def end_it() -> None:
        until(lambda: mosaic.counts().faults_used)
        mosaic.finish_run(run_id)

    with InBackground(end_it):
        assert returned(sensor(run_id, deferrable=False).run_to_end()) == run_id
    assert mosaic.counts().faults_used == {"not_found": 6}


OUTPUTS = [{"id": name, "video_url": f"https://cdn.example.org/{name}.mp4"} for name in ("first", "second")]


def end(outputs: list[dict[str, Any]]) -> Reply:
    return answer(200, {"run_id": "run-1", "status": "completed", "outputs": outputs})


def sensor_at(server: HostileServer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> TaskRunner:
    connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_test"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    return sensor("run-1", **{"deferrable": False, **options})


def test_output_that_comes_after_the_end_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(end(OUTPUTS[:1]), end(OUTPUTS)) as server:
        task = sensor_at(server, monkeypatch)
        task.run_to_end()
    assert task.xcom("output_ids") == ["first", "second"]


@pytest.mark.parametrize("early", [[], [{"id": "first"}]], ids=["no output", "output without its file"])
@pytest.mark.parametrize("error", [answer(429, Retry_After="30"), answer(502)], ids=["rate limit", "outage"])
def test_output_that_comes_after_errors_is_taken(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Reply, early: list[dict[str, Any]]
) -> None:
    with HostileServer(end(early), *[error] * 4, end(OUTPUTS)) as server:
        task = sensor_at(server, monkeypatch)
        task.run_to_end()
    assert task.xcom("output_ids") == ["first", "second"]


def test_error_after_complete_outputs_is_not_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(end(OUTPUTS), answer(429, Retry_After="30")) as server:
        task = sensor_at(server, monkeypatch)
        task.run_to_end()
    assert task.xcom("output_ids") == ["first", "second"]
    assert clock.elapsed < 15


def test_outputs_in_another_order_are_the_same_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(end(OUTPUTS), end(OUTPUTS[::-1])) as server:
        sensor_at(server, monkeypatch).run_to_end()
    assert server.count == 2


def test_late_output_without_an_id_is_taken(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    nameless = [{"video_url": f"https://cdn.example.org/{number}.mp4"} for number in range(3)]
    script = [end(nameless[:count]) for count in (1, 2, 3)]
    with HostileServer(*script) as server, caplog.at_level(logging.INFO):
        sensor_at(server, monkeypatch).run_to_end()
    assert "completed with 3 output(s)" in caplog.text


@WAITS
@pytest.mark.parametrize("on_partial", ["fail", "warn", "skip"])
@pytest.mark.parametrize("stale", ["running", "failed"])
def test_end_that_was_read_stays_read(
    mosaic: Emulator, run_id: str, deferrable: bool, on_partial: str, stale: str
) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, skip=1, times=1, status=stale)
    task = sensor(run_id, deferrable=deferrable, on_partial=on_partial)
    assert returned(task.run_to_end()) == run_id
    assert task.xcom("status") == "completed"
    assert task.xcom("output_ids") == mosaic.runs()[0]["output_ids"]
    assert mosaic.counts().faults_used == {"unknown_status": 1}


@WAITS
@pytest.mark.parametrize(
    "error",
    [
        {"status": "error", "statusCode": 503, "message": "Service Unavailable"},
        {"status": "error", "message": "upstream connect error"},
    ],
)
def test_error_of_a_gateway_is_not_the_end_of_the_run(
    monkeypatch: pytest.MonkeyPatch, deferrable: bool, error: dict[str, Any]
) -> None:
    running, completed = (answer(200, {"run_id": "run-1", "status": status}) for status in ("running", "completed"))
    with HostileServer(running, answer(200, error), answer(200, error), completed) as server:
        assert returned(sensor_at(server, monkeypatch, deferrable=deferrable).run_to_end()) == "run-1"


@pytest.mark.parametrize("status", [402, 409])
def test_a_refusal_that_lasts_fails_the_sensor(clock: Clock, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    refusal = answer(status, {"detail": "not like this"})
    with (
        HostileServer(answer(200, {"status": "running"}), refusal) as server,
        pytest.raises(AirflowFailException, match="not like this"),
    ):
        sensor_at(server, monkeypatch, timeout=20).run_to_end()
