"""
Metrics of what the provider does.

Names have no tags: plain StatsD, Airflow's default, drops tags. The hook connects them with Airflow's own metrics
(:func:`report_to`). Without that, or if Airflow has metrics switched off, nothing is sent. A metric never raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Metrics(Protocol):
    """The part of Airflow's ``Stats`` that is used here."""

    def incr(self, stat: str, count: int = 1) -> Any:
        """Increment a counter."""

    def timing(self, stat: str, dt: timedelta) -> Any:
        """Record a duration."""


@dataclass(frozen=True)
class Metric:
    """
    A metric.

    :param name: In Airflow's metrics, after Airflow's prefix.
    :param values: Last parts of the name, if there are several: one counter for each.
    :param unit: What is counted or measured.
    """

    name: str
    unit: str
    values: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All full names."""
        return tuple(f"{self.name}.{value}" for value in self.values) or (self.name,)


RUNS_STARTED = Metric("mosaic.runs.started", "runs")
RUNS_RESUMED = Metric("mosaic.runs.resumed", "runs")
RUNS_ENDED = Metric("mosaic.runs.ended", "runs", ("completed", "partial_complete", "failed", "cancelled"))
RUNS_DURATION = Metric("mosaic.runs.duration", "time")
POSTS_CREATED = Metric("mosaic.posts.created", "posts")
POSTS_ENDED = Metric("mosaic.posts.ended", "posts", ("posted", "partial_failure", "failed"))
RESPONSES_LOST = Metric("mosaic.responses.lost", "requests")
OUTCOMES_AMBIGUOUS = Metric("mosaic.outcomes.ambiguous", "task failures")
REQUESTS_RETRIED = Metric("mosaic.requests.retried", "requests")
POLLS = Metric("mosaic.polls", "requests", ("single", "list"))
WAITS = Metric("mosaic.waits", "waits", ("ended", "timeout", "error"))
BYTES_UPLOADED = Metric("mosaic.bytes.uploaded", "bytes")
BYTES_DOWNLOADED = Metric("mosaic.bytes.downloaded", "bytes")

#: All metrics, in the order of the documentation.
ALL = (
    RUNS_STARTED,
    RUNS_RESUMED,
    RUNS_ENDED,
    RUNS_DURATION,
    POSTS_CREATED,
    POSTS_ENDED,
    RESPONSES_LOST,
    OUTCOMES_AMBIGUOUS,
    REQUESTS_RETRIED,
    POLLS,
    WAITS,
    BYTES_UPLOADED,
    BYTES_DOWNLOADED,
)

_find_metrics: Callable[[], Metrics] | None = None


def report_to(find_metrics: Callable[[], Metrics]) -> None:
    """
    Report the metrics of this process.

    :param find_metrics: Returns Airflow's metrics. Called with each metric, so that nothing is imported before.
    """
    global _find_metrics
    _find_metrics = find_metrics


def count(metric: Metric, value: str = "", *, by: int = 1) -> None:
    """
    Increment a counter.

    :param value: The last part of the name, for a metric with several. An undocumented value is not counted.
    """
    if value not in (metric.values or ("",)):
        return
    name = f"{metric.name}.{value}" if value else metric.name
    _report(lambda metrics: metrics.incr(name, by))


def record_duration(metric: Metric, duration: timedelta) -> None:
    """Record a duration."""
    _report(lambda metrics: metrics.timing(metric.name, duration))


def connect() -> None:
    """Do what the first metric of a process does, such as looking up a host. An event loop would wait for it."""
    count(POLLS, "single", by=0)


def _report(send: Callable[[Metrics], Any]) -> None:
    if _find_metrics is None:
        return
    try:
        send(_find_metrics())
    except Exception as error:
        # Airflow itself tolerates only some errors of a metrics host.
        log.debug("A metric could not be reported: %s", error)
