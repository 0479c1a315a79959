"""
One HTTP client for all waits of a connection.

The client follows the connection. Airflow's connection is looked up when the first request is sent, once a minute while
the client is used, when a wait is added, and when Mosaic rejects the key. Only the first request and rejected ones wait
for a lookup. A changed key, address or CA bundle replaces the client; requests that still run on the old client finish
first. A failed lookup ends no wait: the old client serves until Mosaic rejects its key.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.async_client import AsyncClient
from airflow_provider_mosaic.clients.environment import ssl_context

T = TypeVar("T")

#: Seconds until a connection is looked up again.
FRESH = 60.0
#: The same when a wait is added: its task may have used a connection that was changed a moment ago.
FRESH_FOR_NEW = 10.0
#: Least seconds between two lookups because of a rejected request.
_RECHECK_AFTER_REJECTION = 5.0
_MAX_LOOKUP_SECONDS = 60.0


@dataclass(eq=False)
class _ClientLease:
    """A client, and how many requests use it."""

    client: AsyncClient
    users: int = 0
    retired: bool = False


class SharedClient:
    """Send calls with the current address and key of a connection."""

    def __init__(self, look_up: Callable[[], Awaitable[Access]]) -> None:
        self._look_up = look_up
        self._lease: _ClientLease | None = None
        self._lookup: asyncio.Task[None] | None = None
        self._looked_up_at = float("-inf")
        #: A lookup from before this time is repeated before the next request.
        self._outdated_before = float("-inf")

    def request_refresh(self) -> None:
        """Look up the connection before the next request, unless that was done some seconds ago."""
        self._outdated_before = time.monotonic() - FRESH_FOR_NEW

    async def send(self, call: Call[T]) -> T:
        """Send a call. Send it again if Mosaic rejects it and the connection has changed."""
        lease = await self._fresh_lease()
        sent_at = time.monotonic()
        try:
            return await self._send_with(lease, call)
        except (MosaicAuthenticationError, MosaicPermissionError, MosaicNotFoundError):
            if not await self._has_changed(lease, sent_at):
                raise
        assert self._lease is not None  # noqa: S101 - it has just changed
        return await self._send_with(self._lease, call)

    async def open(self) -> None:
        """Look up the connection, if that was never done."""
        await self._fresh_lease()

    async def aclose(self) -> None:
        """Close the client. No request may be running."""
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.wait([self._lookup])
        if self._lease is not None:
            await self._lease.client.aclose()
            self._lease = None

    async def _send_with(self, lease: _ClientLease, call: Call[T]) -> T:
        lease.users += 1
        try:
            return await lease.client.send(call, retries=ONCE)
        finally:
            lease.users -= 1
            if lease.retired and not lease.users:
                await lease.client.aclose()

    async def _fresh_lease(self) -> _ClientLease:
        """Return the client. Look up the connection if that is due."""
        if self._lease is None:
            await self._ensure_looked_up()
        elif self._lookup is None and self._looked_up_at < max(time.monotonic() - FRESH, self._outdated_before):
            self._start_lookup()
        assert self._lease is not None  # noqa: S101 - a lookup sets it or raises
        return self._lease

    async def _has_changed(self, lease: _ClientLease, sent_at: float) -> bool:
        """Return whether the connection differs from the one that a request was sent with."""
        if self._lease is lease and (self._lookup or self._looked_up_at + _RECHECK_AFTER_REJECTION < sent_at):
            try:
                await self._ensure_looked_up()
            except MosaicError:
                return False
        return self._lease is not None and self._lease is not lease

    async def _ensure_looked_up(self) -> None:
        """Look up the connection, or wait for the lookup that runs already."""
        await asyncio.shield(self._lookup or self._start_lookup())

    def _start_lookup(self) -> asyncio.Task[None]:
        # An empty context: the lookup belongs to no task instance.
        self._lookup = contextvars.Context().run(asyncio.ensure_future, self._look_up_connection())
        self._lookup.add_done_callback(self._on_lookup_done)
        return self._lookup

    def _on_lookup_done(self, lookup: asyncio.Task[None]) -> None:
        self._lookup = None
        # A failed lookup counts too: otherwise each request would repeat it.
        self._looked_up_at = time.monotonic()
        if not lookup.cancelled():
            # The requests that waited for it may be cancelled. asyncio warns about exceptions that are never read.
            lookup.exception()

    async def _look_up_connection(self) -> None:
        """Look up the connection, and replace the client if it has changed."""
        try:
            # Not asyncio.wait_for: see the asynchronous client.
            with anyio.fail_after(_MAX_LOOKUP_SECONDS):
                access = await self._look_up()
        except TimeoutError:
            raise MosaicTransportError(
                "Airflow did not return the connection in time. Nothing was sent.", effect_unknown=False
            ) from None
        old = self._lease
        if old is not None and old.client.access == access and old.client.ssl_context is ssl_context():
            return
        self._lease = _ClientLease(AsyncClient(access))
        if old is not None:
            old.retired = True
            if not old.users:
                await old.client.aclose()
