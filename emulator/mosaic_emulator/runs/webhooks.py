"""Delivery of webhooks to ``callback_url``."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import anyio
import httpx

from mosaic_emulator.core.counters import Counters
from mosaic_emulator.core.urls import is_loopback
from mosaic_emulator.settings import Settings

MAX_RESPONSE: Final = 64 << 10


class WebhookSender:
    """Delivers events, with the losses, copies and delays of the settings."""

    def __init__(self, *, settings: Settings, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._random = random.Random(settings.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def send(self, url: str, event: dict[str, Any]) -> None:
        """Deliver an event in the background."""
        if self._settings.fetch_hosts != "any" and not is_loopback(url):
            return
        if self._random.random() < self._settings.webhook_loss:
            return
        for _ in range(self._settings.webhook_copies):
            task = asyncio.create_task(self._deliver(url, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, url: str, event: dict[str, Any]) -> None:
        settings = self._settings
        if settings.webhook_delay:
            await asyncio.sleep(settings.webhook_delay)
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False)
        headers = {"User-Agent": "mosaic-emulator"}
        if settings.webhook_secret is not None:
            headers["X-Mosaic-Signature"] = settings.webhook_secret
        for repeat in range(settings.webhook_retries + 1):
            if repeat:
                await asyncio.sleep(settings.webhook_backoff * 2 ** (repeat - 1))
            self._counters.add("webhooks_sent")
            try:
                with anyio.fail_after(settings.webhook_timeout):
                    if await self._is_accepted(url, event, headers):
                        return
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
                # Counted as failed, like any other response than 2xx.
                pass
            self._counters.add("webhooks_failed")

    async def _is_accepted(self, url: str, event: dict[str, Any], headers: dict[str, str]) -> bool:
        assert self._client is not None  # noqa: S101 - made before the first delivery
        async with self._client.stream("POST", url, json=event, headers=headers, timeout=None) as response:
            size = 0
            async for block in response.aiter_raw():
                size += len(block)
                if size > MAX_RESPONSE:
                    # Not needed. A body that is read to its end keeps the connection open for the next event.
                    break
            return response.is_success

    def reset(self) -> None:
        """Cancel all deliveries."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._random.seed(self._settings.seed)

    async def close(self) -> None:
        """Cancel all deliveries and close the connections."""
        self.reset()
        if self._client is not None:
            await self._client.aclose()
