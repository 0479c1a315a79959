"""A sensor on a worker warns once of an undocumented status that lasts for an hour."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from tasks.fixtures import Clock
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.sensors import MosaicRunSensor
from airflow_provider_mosaic.sensors import base as waiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    monkeypatch.setitem(PollState.__init__.__kwdefaults__, "now", clock.time)
    monkeypatch.setitem(PollState.__init__.__kwdefaults__, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherMosaic]:
    with serving(OtherMosaic()) as other:
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        other.add("r", status="archiving")
        yield other


def sensor(**options: Any) -> MosaicRunSensor:
    return MosaicRunSensor(task_id="wait", run_id="r", deferrable=False, poll_interval=60, **options)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("airflow_provider_mosaic")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def test_poking_sensor_warns_once(other: OtherMosaic, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    task = sensor()
    for _ in range(5):
        assert task.poke({}) is None  # type: ignore[typeddict-item]
        clock.sleep(1500)
    (warning,) = warnings(caplog)
    assert "'archiving'" in warning


def test_rescheduled_sensor_warns_once(other: OtherMosaic, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    first = datetime.fromtimestamp(clock.time(), timezone.utc)
    ti = SimpleNamespace(get_first_reschedule_date=lambda context: first)
    context: Any = {"ti": ti, "task_reschedule_count": 3}
    for _ in range(130):
        assert sensor(mode="reschedule").poke(context) is None
        clock.sleep(60)
    assert len(warnings(caplog)) in (1, 2)
