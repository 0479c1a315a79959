"""Log lines about the progress of a transfer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_mosaic.api.redaction import label

_UNITS = ("B", "KB", "MB", "GB", "TB")


def size_words(size: float) -> str:
    """Return a number of bytes in units of 1,024, as in Mosaic's documentation: its 5 GB are 5,368,709,120 bytes."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 9.95 else f"{size:.1f} {_UNITS[unit]}"


def exact_time_words(seconds: float) -> str:
    """Return a duration that is exact enough to match the rate beside it."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if 90 <= whole < 600 else time_words(seconds)


def time_words(seconds: float) -> str:
    """Return an estimated duration."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """
    The state of a transfer. Its text is a log line.

    :param name: What is transferred.
    :param done: Bytes transferred.
    :param total: Bytes in all; None if unknown.
    :param rate: Bytes a second since the last line; of the whole transfer once it is finished.
    :param seconds: Seconds since the start.
    :param finished: Whether the transfer is complete.
    """

    name: str
    done: int
    total: int | None
    rate: float
    seconds: float
    finished: bool = False

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate; None if unknown."""
        return None if self.total is None or self.rate <= 0 else (self.total - self.done) / self.rate

    def __str__(self) -> str:
        name = label(self.name)
        if self.finished:
            return f"{name}: {size_words(self.done)} in {exact_time_words(self.seconds)}, {size_words(self.rate)}/s"
        if not self.total:
            return f"{name}: {size_words(self.done)}, {size_words(self.rate)}/s"
        done, total = size_words(self.done), size_words(self.total)
        if done.split()[1] == total.split()[1]:
            done = done.split()[0]
        left = "" if self.left is None else f", about {time_words(self.left)} left"
        return f"{name}: {done} of {total} ({self.done * 100 // self.total} %), {size_words(self.rate)}/s{left}"


class ProgressReporter:
    """
    Reports a transfer at most every ten seconds, at most every tenth of it, and once at its end.

    :param name: What is transferred.
    :param total: Bytes in all; None if unknown. Then the intervals grow.
    :param on_progress: Called with each report.
    :param now: A monotonic clock.
    :param interval: The least seconds between two reports.
    :param share: The least part of the total between two reports.
    """

    def __init__(
        self,
        *,
        name: str,
        total: int | None,
        on_progress: Callable[[Progress], None] | None,
        now: Callable[[], float] = time.monotonic,
        interval: float = 10.0,
        share: float = 0.1,
    ) -> None:
        self._name = name
        self._on_progress = on_progress
        self._now = now
        self._interval = interval
        self._share = share
        self.total = total
        self._started = self._last_time = now()
        self._last_done = 0

    def update(self, done: int) -> None:
        """
        Report the progress if a report is due.

        :param done: Bytes transferred; fewer than before if the transfer was restarted.
        """
        if self._on_progress is None:
            return
        self._last_done = min(self._last_done, done)
        now = self._now()
        elapsed, transferred = now - self._last_time, done - self._last_done
        if elapsed < self._interval or not transferred:
            return
        if self.total is None:
            self._interval *= 2
        elif transferred < self._share * self.total or done >= self.total:
            return
        self._last_time, self._last_done = now, done
        self._report(done, transferred / elapsed, now)

    def finish(self, done: int) -> None:
        """
        Report the end of the transfer.

        :param done: Bytes in all.
        """
        # Avoids a division by zero on a coarse clock.
        now = max(self._now(), self._started + 1e-3)
        self._report(done, done / (now - self._started), now, finished=True)

    def _report(self, done: int, rate: float, now: float, *, finished: bool = False) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    name=self._name,
                    done=done,
                    total=self.total,
                    rate=rate,
                    seconds=now - self._started,
                    finished=finished,
                )
            )
