"""One session with Mosaic for all waits of a connection; it follows the connection when a person changes it."""

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

T = TypeVar("T")

#: Seconds for which a connection that was looked up is taken to be as it was.
FRESH = 60.0
#: The same for those who begin to wait: what they wait for may have been started with a connection just changed.
FRESH_FOR_NEW = 10.0
#: Seconds between two looks at a connection that are due to a refusal or to "no such run".
_RECHECK_AFTER_REJECTION = 5.0
_LONGEST_LOOKUP = 60.0
#: For so many seconds a look at the connection is waited for; one that takes longer goes on beside the requests.
_CONNECT_GRACE = 3.0


@dataclass(eq=False)
class _ClientLease:
    """A client, and how many requests are under way on it."""

    client: AsyncClient
    users: int = 0
    retired: bool = False


class SharedClient:
    """
    Sends calls with the address and the key that the connection has now.

    The connection is looked up when the session begins, once a minute while it is used, and when the key is not
    accepted: if it is another one then, the call is sent again with that.

    :param look_up: Looks the connection up.
    """

    def __init__(self, look_up: Callable[[], Awaitable[Access]]) -> None:
        self._look_up = look_up
        self._line: _ClientLease | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._look_began = float("-inf")
        self._wanted_since = float("-inf")

    def request_refresh(self) -> None:
        """Somebody new waits: a connection that was looked up a while ago is looked up again."""
        self._wanted_since = time.monotonic() - FRESH_FOR_NEW

    async def send(self, call: Call[T]) -> T:
        """
        Send a call once, or twice when the connection has been changed under it.

        :param call: A call that may be repeated.
        :raises MosaicError: The kind that says what to do about it.
        """
        line = await self._fresh_lease()
        asked_at = time.monotonic()
        try:
            return await self._send_with(line, call)
        except (MosaicAuthenticationError, MosaicPermissionError, MosaicNotFoundError):
            if not await self._changed(line, asked_at):
                raise
        assert self._line is not None  # noqa: S101 - it has just been changed
        return await self._send_with(self._line, call)

    async def aclose(self) -> None:
        """Close the connections; nothing may be under way any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        line, self._line = self._line, None
        if line is not None:
            await line.client.aclose()

    async def _send_with(self, line: _ClientLease, call: Call[T]) -> T:
        line.users += 1
        try:
            return await line.client.send(call, retries=ONCE)
        finally:
            line.users -= 1
            if line.retired and not line.users:
                await line.client.aclose()

    async def _fresh_lease(self) -> _ClientLease:
        old = time.monotonic() - FRESH > self._looked_at or self._wanted_since > self._looked_at
        if self._line is None:
            await self._ensure_looked_up()
        elif old:
            # Should it fail or take long, what there is serves until it is refused.
            looking = self._looking or self._start_lookup()
            await asyncio.wait([looking], timeout=max(0.0, self._look_began + _CONNECT_GRACE - time.monotonic()))
        assert self._line is not None  # noqa: S101 - a look that succeeds leaves one
        return self._line

    async def _changed(self, line: _ClientLease, asked_at: float) -> bool:
        """Whether the connection is another one than the call was sent with."""
        if self._line is line and self._looked_at + _RECHECK_AFTER_REJECTION < asked_at:
            try:
                await self._ensure_looked_up()
            except MosaicError:
                return False
        return self._line is not None and self._line is not line

    async def _ensure_looked_up(self) -> None:
        """Look the connection up; those who want it at the same time share the look."""
        await asyncio.shield(self._looking or self._start_lookup())

    def _start_lookup(self) -> asyncio.Task[None]:
        self._look_began = time.monotonic()
        # A context of its own: it belongs to no task instance.
        self._looking = contextvars.Context().run(asyncio.ensure_future, self._look_up_connection())
        self._looking.add_done_callback(self._on_lookup_done)
        return self._looking

    def _on_lookup_done(self, looking: asyncio.Task[None]) -> None:
        self._looking = None
        # Also one that failed: it is not tried again with each request.
        self._looked_at = time.monotonic()
        if not looking.cancelled():
            # Those who waited for it may be gone; asyncio would say that nobody took it in.
            looking.exception()

    async def _look_up_connection(self) -> None:
        try:
            # Not asyncio.wait_for: see the asynchronous client.
            with anyio.fail_after(_LONGEST_LOOKUP):
                access = await self._look_up()
        except TimeoutError:
            raise MosaicTransportError("The connection could not be looked up in time.", effect_unknown=False) from None
        if self._line is not None and self._line.client.access == access:
            return
        line, self._line = self._line, _ClientLease(AsyncClient(access))
        if line is not None:
            line.retired = True
            if not line.users:
                await line.client.aclose()
