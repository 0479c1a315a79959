"""
Read Mosaic for many viewers.

Viewers of one item share its requests, and a response is used for some seconds. Each connection has one HTTP client and
a few requests at the same time. After a 429 or an error, no request is sent for a while, and viewers get what was read
last. All of this is per process: several API servers read independently.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar, cast

import anyio

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicConnectionError,
    MosaicError,
    MosaicRateLimitError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown
from airflow_provider_mosaic.api.responses import count_values
from airflow_provider_mosaic.hooks.server_hook import ServerHook
from airflow_provider_mosaic.triggers.shared_client import SharedClient

T = TypeVar("T")

#: Seconds to wait for a response, and before that for other requests of the connection. Then viewers get an error.
READ_TIMEOUT = 10.0
#: Seconds of an action: Mosaic may take longer to cancel or resume than to read.
ACTION_TIMEOUT = 45.0
#: Requests at the same time with one connection.
_MAX_REQUESTS = 6
#: Lookups of connections at the same time.
_LOOKUP_THREADS = 4
#: Seconds without requests after the first error in a row, and after many.
_FIRST_PAUSE = 5.0
_MAX_PAUSE = 120.0

#: Responses that are kept, and the sum of their weights, which are about the kilobytes that they take.
_MAX_KEPT = 1_000
_MAX_WEIGHT = 100_000
#: What a value of JSON takes once it is validated, beside its text.
_BYTES_PER_VALUE = 500


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
        while len(self) > 1 and (len(self) > _MAX_KEPT or self.weight > _MAX_WEIGHT):
            self._drop(next(iter(self._kept)))

    def forget(self, conn_id: str) -> None:
        """Drop the responses of a connection."""
        for key in [key for key in self._kept if key[0] == conn_id]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._kept:
            self.weight -= self._kept.pop(key).weight


class _Connection:
    """The requests with one Airflow connection."""

    def __init__(self, conn_id: str, threads: Executor) -> None:
        self._conn_id = conn_id
        self._threads = threads
        self._lookup: asyncio.Future[Access] | None = None
        self.client = SharedClient(self._look_up)
        self.slots = asyncio.Semaphore(_MAX_REQUESTS)
        self.access: Access | None = None
        self._last_error: MosaicError | None = None
        self._paused_until = 0.0
        self._errors = 0

    async def _look_up(self) -> Access:
        """Look up the connection, or wait for the lookup that runs already."""
        if self._lookup is None:
            # On a thread: in the API server, Airflow's asynchronous lookup blocks the event loop.
            look_up = functools.partial(getattr, ServerHook(self._conn_id), "access")
            self._lookup = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
            self._lookup.add_done_callback(self._on_lookup_done)
        return await asyncio.shield(self._lookup)

    def _on_lookup_done(self, lookup: asyncio.Future[Access]) -> None:
        self._lookup = None
        # asyncio warns about exceptions that are never read: all viewers may have left.
        if not lookup.cancelled() and lookup.exception() is None:
            self.access = lookup.result()

    async def current_access(self) -> Access:
        """Return the address and key of the connection, looked up at most a minute ago if requests are sent."""
        return self.access or await self._look_up()

    def pause(self) -> tuple[MosaicError, float] | None:
        """Return why and for how many seconds no request is sent; None if requests are sent."""
        seconds = self._paused_until - time.monotonic()
        return (self._last_error, seconds) if self._last_error is not None and seconds > 0 else None

    def record_success(self) -> None:
        """Record that Mosaic responded. A pause continues: the request was sent before it."""
        if self.pause() is None:
            self._errors = 0

    def record_error(self, error: MosaicError) -> float:
        """Start a pause, because Mosaic did not respond or requested one. Return its seconds."""
        self._errors += 1
        grown = min(_MAX_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._errors - 1, 10))
        requested = bounded_cooldown(error.retry_after) if error.retry_after is not None else 0.0
        now = time.monotonic()
        self._last_error = error
        self._paused_until = max(self._paused_until, now + max(grown, requested))
        return self._paused_until - now


class MosaicReads:
    """
    Send the requests of all pages.

    Read :meth:`read` first. A request passes through ``_fetch``, which waits for its turn, and ``_send``.
    """

    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}
        self._cache = ReadingCache()
        self._running: dict[Key, asyncio.Task[Reading[Any]]] = {}
        # Threads of their own: lookups that hang must not block Airflow's endpoints.
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, "mosaic_lookup")

    async def aclose(self) -> None:
        """Close the HTTP clients. Airflow does not tell a plugin that the API server stops."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for connection in self._connections.values():
            await connection.client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def access(self, conn_id: str) -> Access:
        """
        Return the address of a connection.

        :raises MosaicError: Airflow has no such connection, or it is wrong.
        """
        connection = self._connection(conn_id)
        try:
            with _deadline(READ_TIMEOUT, "Airflow did not return the connection in time."):
                return await connection.current_access()
        except MosaicConnectionError:
            self._drop_missing(conn_id, connection)
            raise

    async def read(
        self,
        conn_id: str,
        call: Call[T],
        *,
        max_age: float,
        variant: str = "",
    ) -> Reading[T]:
        """
        Return what Mosaic responds, or responded at most ``max_age`` seconds ago.

        An error is part of the result, beside the last response.

        :param call: A request without effects.
        :param variant: What else distinguishes the response.
        """
        key = (conn_id, call.method, call.target, repr(call.body), variant)
        kept = self._cache.get(key)
        if kept is not None and kept.is_usable(max_age):
            return cast("Reading[T]", kept.reading)
        connection = self._connection(conn_id)
        if pause := connection.pause():
            return self._stale(key, *pause)
        task = self._running.get(key)
        if task is None:
            # An empty context: the request belongs to no single viewer.
            task = contextvars.Context().run(asyncio.ensure_future, self._fetch(key, connection, call))
            self._running[key] = task
            task.add_done_callback(lambda done: self._on_done(key, done))
        return cast("Reading[T]", await asyncio.shield(task))

    async def send_once(self, conn_id: str, call: Call[T]) -> T:
        """
        Send a request of an action, once: also in a pause, and not shared.

        :raises MosaicError: It failed. If it is unknown whether it had an effect, the error says so.
        """
        connection = self._connection(conn_id)
        try:
            with _deadline(ACTION_TIMEOUT, "Mosaic did not respond in time."):
                return await connection.client.send(call)
        except MosaicError as error:
            if isinstance(error, MosaicConnectionError):
                self._drop_missing(conn_id, connection)
            raise call.final_error(error) from None

    def forget(self, conn_id: str) -> None:
        """Read everything of a connection again: an action has changed it."""
        self._cache.forget(conn_id)
        # What is being read now may be older than the action.
        for key in [key for key in self._running if key[0] == conn_id]:
            del self._running[key]

    async def _fetch(self, key: Key, connection: _Connection, call: Call[T]) -> Reading[T]:
        """Wait for a free slot of the connection, and send a request."""
        try:
            with _deadline(READ_TIMEOUT, "Other requests to Mosaic with this connection take too long."):
                await connection.slots.acquire()
        except MosaicTransportError as error:
            # Nothing was sent, so this is no reason for a pause of the connection.
            return self._stale(key, error, _FIRST_PAUSE)
        try:
            if pause := connection.pause():
                # Another request failed while this one waited for its slot.
                return self._stale(key, *pause)
            return await self._send(key, connection, call)
        finally:
            connection.slots.release()

    async def _send(self, key: Key, connection: _Connection, call: Call[T]) -> Reading[T]:
        """Send a request and keep its response. An error pauses the connection, or is kept for this item alone."""
        started, weight = time.monotonic(), 1

        def decode(content: bytes) -> Any:
            nonlocal weight
            weight = 1 + (len(content) + _BYTES_PER_VALUE * count_values(content)) // 1024
            return call.decode(content)

        try:
            with _deadline(READ_TIMEOUT, f"Mosaic did not respond within {READ_TIMEOUT:g} seconds."):
                value = await connection.client.send(replace(call, decode=decode))
        except MosaicError as error:
            if _concerns_connection(error):
                return self._stale(key, error, connection.record_error(error))
            if isinstance(error, MosaicConnectionError):
                self._drop_missing(key[0], connection)
            return self._keep_error(key, error)
        connection.record_success()
        fresh = Reading(value=value, read_at=datetime.now(timezone.utc), seconds=time.monotonic() - started)
        self._keep(key, fresh, weight)
        return fresh

    def _stale(self, key: Key, error: MosaicError, pause: float) -> Reading[Any]:
        """Return what was read last, with the reason why there is nothing newer."""
        kept = self._cache.get(key)
        return replace(kept.reading if kept else Reading[Any](), error=error, pause=pause)

    def _keep_error(self, key: Key, error: MosaicError) -> Reading[Any]:
        """Keep the error of one item, for twice as long as the one before."""
        kept = self._cache.get(key)
        pause = min(_MAX_PAUSE, max(_FIRST_PAUSE, 2 * kept.reading.pause)) if kept else _FIRST_PAUSE
        reading = self._stale(key, error, pause)
        self._keep(key, reading, kept.weight if kept else 1)
        return reading

    def _drop_missing(self, conn_id: str, connection: _Connection) -> None:
        """Forget a connection that does not exist: a user who may write XComs could name many."""
        if connection.access is None:
            self._connections.pop(conn_id, None)

    def _on_done(self, key: Key, task: asyncio.Task[Any]) -> None:
        if self._running.get(key) is task:
            del self._running[key]

    def _keep(self, key: Key, reading: Reading[Any], weight: int) -> None:
        # After an action, a response to an older request is dropped.
        if self._running.get(key) is asyncio.current_task():
            self._cache.put(key, reading, weight)

    def _connection(self, conn_id: str) -> _Connection:
        if conn_id not in self._connections:
            self._connections[conn_id] = _Connection(conn_id, self._threads)
        return self._connections[conn_id]


def _concerns_connection(error: MosaicError) -> bool:
    """Return whether other requests would fail too: Mosaic does not respond, or asks for a pause."""
    return isinstance(error, (MosaicRateLimitError, MosaicTransportError)) or error.retry_after is not None


@contextmanager
def _deadline(seconds: float, message: str) -> Iterator[None]:
    """Raise MosaicTransportError if the block takes longer."""
    try:
        # Not asyncio.wait_for: see the asynchronous client.
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise MosaicTransportError(message) from None
