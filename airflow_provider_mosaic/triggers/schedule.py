"""When each wait is due, with one timer for all waits."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from airflow_provider_mosaic.triggers.polled_waits import Wait

#: Stale entries that are allowed beside those of few waits.
_MAX_STALE_ENTRIES = 20
_Entry = tuple[float, int, Wait[Any]]


class Schedule:
    """
    Keep when each wait is due (:attr:`Wait.due`), and call back when the first one is.

    The heap may hold several entries for a wait. An entry is stale once its wait has another time, is polled or done.

    :param on_due: Called on the event loop, in a context that belongs to no task instance.
    """

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._heap: list[_Entry] = []
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._compacted_size = 0
        #: Earliest time of the next call back, by the loop's clock.
        self.not_before = 0.0

    def add(self, wait: Wait[Any], due: float) -> None:
        """Set when a wait is due. This replaces its former time."""
        wait.due = due
        if due == float("inf"):
            return
        heapq.heappush(self._heap, (due, next(self._number), wait))
        if len(self._heap) > 2 * self._compacted_size + _MAX_STALE_ENTRIES:
            self._compact()
        if self._heap and self._heap[0][2] is wait:
            self.set_timer()

    def pop_due(self, now: float) -> list[Wait[Any]]:
        """Return the waits that are due, and remove them from the schedule."""
        due: list[Wait[Any]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if _is_current(entry):
                entry[2].due = float("inf")
                due.append(entry[2])
        return due

    def set_timer(self) -> None:
        """Set the timer for the first wait. Call this after each call back."""
        while self._heap and not _is_current(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            return
        when = max(self._heap[0][0], self.not_before)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._on_timer, context=contextvars.Context())

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        self._on_due()

    def _compact(self) -> None:
        """Remove stale entries: each wait that is polled early leaves one."""
        self._heap = list({entry[2]: entry for entry in self._heap if _is_current(entry)}.values())
        heapq.heapify(self._heap)
        self._compacted_size = len(self._heap)


def _is_current(entry: _Entry) -> bool:
    due, _, wait = entry
    return due == wait.due and wait.is_idle
