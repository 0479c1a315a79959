"""How far a transfer is, in words that a person reads, and when it is worth a line in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_mosaic.api.redaction import label

_UNITS = ("B", "KB", "MB", "GB", "TB")


def size_words(size: float) -> str:
    """
    A size as Mosaic's documentation counts it: its 5 GB are 5,368,709,120 bytes.

    :param size: Bytes.
    """
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 9.95 else f"{size:.1f} {_UNITS[unit]}"


def exact_time_words(seconds: float) -> str:
    """A span of time that is over, so exact that it agrees with the speed beside it."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if 90 <= whole < 600 else time_words(seconds)


def time_words(seconds: float) -> str:
    """A span of time, as exact as a person wants it."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """
    One look at a transfer.

    :param name: What is transferred, as a person calls it.
    :param done: Bytes that are through.
    :param total: Bytes in all; None when nobody said.
    :param rate: Bytes a second lately; over the whole transfer once it is finished.
    :param seconds: Seconds since the transfer began.
    :param finished: Whether it is through.
    """

    name: str
    done: int
    total: int | None
    rate: float
    seconds: float
    finished: bool = False

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at this rate; None when that can't be said."""
        return None if self.total is None or self.rate <= 0 else (self.total - self.done) / self.rate

    def __str__(self) -> str:
        name = label(self.name)
        if self.finished:
            return f"{name}: {size_words(self.done)} in {exact_time_words(self.seconds)}, {size_words(self.rate)}/s"
        if not self.total:
            return f"{name}: {size_words(self.done)}, {size_words(self.rate)}/s"
        through, whole = size_words(self.done), size_words(self.total)
        if through.split()[1] == whole.split()[1]:
            through = through.split()[0]
        left = "" if self.left is None else f", about {time_words(self.left)} left"
        return f"{name}: {through} of {whole} ({self.done * 100 // self.total} %), {size_words(self.rate)}/s{left}"


class ProgressLines:
    """
    Says when a transfer is worth a line: at most every ten seconds, at most every tenth of it, and once at its end.

    :param name: What is transferred.
    :param total: Bytes in all; None when nobody said: then the pauses grow, so that the lines stay few.
    :param told: Gets each look that is due.
    :param now: A clock that only goes forward.
    :param seconds: The shortest time between two lines.
    :param share: The smallest part of the whole between two lines.
    """

    def __init__(
        self,
        *,
        name: str,
        total: int | None,
        told: Callable[[Progress], None] | None,
        now: Callable[[], float] = time.monotonic,
        seconds: float = 10.0,
        share: float = 0.1,
    ) -> None:
        self._name = name
        self._told = told
        self._now = now
        self._pause = seconds
        self._share = share
        self.total = total
        self._began = self._last_time = now()
        self._last_done = 0

    def at(self, done: int) -> None:
        """
        Tell of ``done`` bytes if a line is due.

        :param done: Bytes that are through; fewer than before when the transfer began anew.
        """
        if self._told is None:
            return
        if done < self._last_done:
            self._last_done = done
        moment = self._now()
        spent, moved = moment - self._last_time, done - self._last_done
        if spent < self._pause or moved <= 0:
            return
        if self.total is None:
            self._pause *= 2
        elif moved < self._share * self.total or done >= self.total:
            return
        self._last_time, self._last_done = moment, done
        self._tell(done, moved / spent, moment)

    def finish(self, done: int) -> None:
        """
        Tell that the transfer is through.

        :param done: Bytes in all.
        """
        # A clock that stands still would give no speed.
        moment = max(self._now(), self._began + 1e-3)
        self._tell(done, done / (moment - self._began), moment, finished=True)

    def _tell(self, done: int, rate: float, moment: float, *, finished: bool = False) -> None:
        if self._told is not None:
            self._told(
                Progress(
                    name=self._name,
                    done=done,
                    total=self.total,
                    rate=rate,
                    seconds=moment - self._began,
                    finished=finished,
                )
            )
