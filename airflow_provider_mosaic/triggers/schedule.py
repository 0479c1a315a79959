"""The agenda: which wait is due when, with one timer for all of them."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from airflow_provider_mosaic.triggers.polled_waits import Wait

#: How many entries that no longer hold may lie beside those that do, for a few waits.
_MOST_STALE_ENTRIES = 20
_Entry = tuple[float, int, Wait[Any]]


class Schedule:
    """
    Keeps when each wait is due (:attr:`Wait.due`), and wakes its holder when the first one is.

    An entry holds until its wait is given another time, is over or is being looked at.

    :param wake: Called at the time, on the event loop, in a context that belongs to no task instance.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._heap: list[_Entry] = []
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._tidied = 0
        #: Nobody is woken before, by the loop's clock.
        self.not_before = 0.0

    def add(self, wait: Wait[Any], due: float) -> None:
        """
        Note when a wait is due; the last time that was noted holds.

        :param wait: The wait.
        :param due: By the loop's clock; infinite for never.
        """
        wait.due = due
        if due == float("inf"):
            return
        heapq.heappush(self._heap, (due, next(self._number), wait))
        if len(self._heap) > 2 * self._tidied + _MOST_STALE_ENTRIES:
            self._compact()
        if self._heap and self._heap[0][2] is wait:
            self.set_timer()

    def pop_due(self, now: float) -> list[Wait[Any]]:
        """
        Those that are due; they are due no more.

        :param now: By the loop's clock.
        """
        due: list[Wait[Any]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if _is_current(entry):
                entry[2].due = float("inf")
                due.append(entry[2])
        return due

    def set_timer(self) -> None:
        """Be woken for the first one; to be called after each time that one was woken."""
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
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()

    def _compact(self) -> None:
        """Let go of entries that no longer hold: whoever is looked at early leaves one behind each time."""
        self._heap = list({entry[2]: entry for entry in self._heap if _is_current(entry)}.values())
        heapq.heapify(self._heap)
        self._tidied = len(self._heap)


def _is_current(entry: _Entry) -> bool:
    due, _, wait = entry
    return due == wait.due and not wait.is_done and not wait.looking
