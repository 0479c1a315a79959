"""Log lines about the progress of a transfer."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_mosaic.api.redaction import label

_UNITS = ("B", "KB", "MB", "GB", "TB")
#: Seconds between two lines of a transfer, at least.
_INTERVAL = 10.0
#: The part of the total between two lines, at least.
_SHARE = 0.1


def format_size(size: float) -> str:
    """Return a number of bytes in units of 1,024, as in Mosaic's documentation: its 5 GB are 5,368,709,120 bytes."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 9.95 else f"{size:.1f} {_UNITS[unit]}"


def format_duration(seconds: float) -> str:
    """Return a duration that is exact enough to match the rate beside it."""
    whole = round(seconds)
    if whole < 90:
        return f"{seconds:.2g} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 600 else format_estimate(seconds)


def format_estimate(seconds: float) -> str:
    """Return an estimated duration."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


class TransferProgress:
    """
    Logs the progress of a transfer: at most every ten seconds, at most every tenth of it, and once at its end.

    :param total: Bytes in all; None if unknown. Then the intervals grow.
    """

    def __init__(
        self,
        name: str,
        log: Callable[[str], None],
        *,
        total: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = label(name)
        self._log = log
        self._now = now
        self._interval = _INTERVAL
        self.total = total
        self._started = self._last_time = now()
        self._last_done = 0

    def update(self, done: int) -> None:
        """
        Log a line if one is due.

        :param done: Bytes transferred; fewer than before if the transfer was restarted.
        """
        self._last_done = min(self._last_done, done)
        now = self._now()
        elapsed, transferred = now - self._last_time, done - self._last_done
        if elapsed < self._interval or not transferred:
            return
        if self.total is None:
            self._interval *= 2
        elif transferred < _SHARE * self.total or done >= self.total:
            return
        self._last_time, self._last_done = now, done
        self._log(f"{self._name}: {self._state(done, transferred / elapsed)}")

    def finish(self, done: int) -> None:
        """Log the end of the transfer."""
        # Avoids a division by zero on a coarse clock.
        seconds = max(self._now() - self._started, 1e-3)
        self._log(f"{self._name}: {format_size(done)} in {format_duration(seconds)}, {format_size(done / seconds)}/s")

    def _state(self, done: int, rate: float) -> str:
        if not self.total:
            return f"{format_size(done)}, {format_size(rate)}/s"
        shown_done, shown_total = format_size(done), format_size(self.total)
        if shown_done.split()[1] == shown_total.split()[1]:
            shown_done = shown_done.split()[0]
        left = format_estimate((self.total - done) / rate)
        percent = done * 100 // self.total
        return f"{shown_done} of {shown_total} ({percent} %), {format_size(rate)}/s, about {left} left"
