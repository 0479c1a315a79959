"""What the pages have read from Mosaic, kept for all viewers."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from airflow_provider_mosaic.api.errors import MosaicError

T = TypeVar("T")

#: Readings that are kept, and the sum of their weights: a run with thousands of outputs weighs more.
_MOST_KEPT = 1_000
_MOST_WEIGHT = 50_000


@dataclass(frozen=True, kw_only=True)
class Reading(Generic[T]):
    """
    What Mosaic responded last.

    :param value: The response; None if there was none.
    :param read_at: When it was read.
    :param seconds: How long it took.
    :param error: Why there is no newer response; None if the value is fresh.
    :param pause: Seconds without requests because of the error.
    """

    value: T | None = None
    read_at: datetime | None = None
    seconds: float = 0.0
    error: MosaicError | None = None
    pause: float = 0.0


#: The connection, and what distinguishes the request.
Key = tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """A response that is kept. ``at`` is monotonic."""

    reading: Reading[Any]
    at: float
    weight: int

    def is_usable(self, max_age: float) -> bool:
        """Return whether no request is needed. An error is used until its pause ends."""
        return time.monotonic() - self.at <= (self.reading.pause if self.reading.error else max_age)


class ReadingCache:
    """The newest responses, limited by number and weight. Those that were used longest ago are dropped."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> _Kept | None:
        """Return a response; None if there is none."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, reading: Reading[Any], weight: int) -> None:
        """Keep a response."""
        self._drop(key)
        self._kept[key] = _Kept(reading, time.monotonic(), weight)
        self.weight += weight
        while len(self) > 1 and (len(self) > _MOST_KEPT or self.weight > _MOST_WEIGHT):
            self._drop(next(iter(self._kept)))

    def forget(self, conn_id: str) -> None:
        """Drop the responses of a connection."""
        for key in [key for key in self._kept if key[0] == conn_id]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._kept:
            self.weight -= self._kept.pop(key).weight
