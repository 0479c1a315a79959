"""Metrics reach what Airflow provides, and never raise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_mosaic.api import metrics


class Recorder:
    """Records metrics as Airflow's ``Stats`` gets them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def incr(self, stat: str, count: int = 1) -> None:
        self.sent.append((stat, count))

    def timing(self, stat: str, dt: timedelta) -> None:
        self.sent.append((stat, dt))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(metrics, "_find_metrics", None)
    recorder = Recorder()
    metrics.report_to(lambda: recorder)
    return recorder


def test_counters_and_durations_are_reported(recorder: Recorder) -> None:
    metrics.count(metrics.RUNS_STARTED)
    metrics.count(metrics.RUNS_ENDED, "failed")
    metrics.count(metrics.BYTES_UPLOADED, by=5)
    metrics.record_duration(metrics.RUNS_DURATION, timedelta(seconds=2))
    assert recorder.sent == [
        ("mosaic.runs.started", 1),
        ("mosaic.runs.ended.failed", 1),
        ("mosaic.bytes.uploaded", 5),
        ("mosaic.runs.duration", timedelta(seconds=2)),
    ]


def test_a_value_of_a_server_makes_no_new_metric(recorder: Recorder) -> None:
    metrics.count(metrics.RUNS_ENDED, "status/of the server")
    metrics.count(metrics.RUNS_STARTED, "failed")
    metrics.count(metrics.RUNS_ENDED)
    assert recorder.sent == []


def test_metrics_that_cannot_be_sent_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> metrics.Metrics:
        raise OSError("no route to host")

    monkeypatch.setattr(metrics, "_find_metrics", broken)
    metrics.count(metrics.RUNS_STARTED)
    metrics.record_duration(metrics.RUNS_DURATION, timedelta(seconds=2))
    metrics.connect()


def test_without_airflow_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_find_metrics", None)
    metrics.count(metrics.RUNS_STARTED)


def test_names_are_valid_for_statsd_and_prometheus() -> None:
    names = [name for metric in metrics.ALL for name in metric.names]
    assert len(names) == len(set(names))
    for name in names:
        assert name.startswith("mosaic.")
        assert name.replace(".", "").replace("_", "").isalpha()
    # A name that is also the beginning of another one is a file and a folder at once in Graphite.
    assert not [name for name in names for other in names if other.startswith(f"{name}.")]


def test_every_metric_is_listed() -> None:
    assert {value for value in vars(metrics).values() if isinstance(value, metrics.Metric)} == set(metrics.ALL)
