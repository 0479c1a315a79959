"""Both transports behind one interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import start_run
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.async_client import AsyncClient
from airflow_provider_mosaic.clients.sync_client import SyncClient

T = TypeVar("T")

KEY = "mk_live_hush-hush"
#: A timeout for tests that wait for it.
SHORT = 0.3


def access_to(url: str, *, timeout: float = 20.0, connect_timeout: float = 5.0, allow_http: bool = False) -> Access:
    return Access(api_key=KEY, base_url=url, timeout=timeout, connect_timeout=connect_timeout, allow_http=allow_http)


def paid_call(*, patience: float | None = None) -> Call[str]:
    """Return a call with effects: it starts a run."""
    call = start_run("agent-1", video_urls=["https://cdn.example.org/a.mp4?X-Goog-Signature=hush"])
    return replace(call, min_timeout=patience or 0.0)


class Transport:
    """
    One of the two transports; it does not sleep.

    :param kind: ``sync`` or ``async``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        #: The pauses between attempts.
        self.pauses: list[float] = []
        #: Called at each pause.
        self.on_pause: Callable[[], object] = lambda: None

    def send(self, access: Access, *calls: Call[T], retries: RetryPolicy | None = None) -> list[T]:
        """Send calls with one client."""
        if self.kind == "sync":
            with SyncClient(access, retries=retries, sleep=self._pause) as client:
                return [client.send(call) for call in calls]

        async def send_all() -> list[T]:
            async with AsyncClient(access, retries=retries, sleep=self._pause_async) as client:
                return [await client.send(call) for call in calls]

        return asyncio.run(send_all())

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.on_pause()

    async def _pause_async(self, seconds: float) -> None:
        self._pause(seconds)
