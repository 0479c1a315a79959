"""Webhooks to a run's ``callback_url``."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import anyio
import httpx

from airflow_provider_mosaic.emulator.counts import Tally
from airflow_provider_mosaic.emulator.inputs import is_loopback
from airflow_provider_mosaic.emulator.settings import Settings


class WebhookSender:
    """Delivers events, with the losses, doubles and delays that the settings ask for."""

    def __init__(self, *, settings: Settings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._random = random.Random(settings.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def send(self, url: str, event: dict[str, Any]) -> None:
        """Deliver an event in the background; the event is written before this returns."""
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
            self._tally.add("webhooks_sent")
            try:
                # Only the status counts: a body may be without end, or a bomb when it is decompressed.
                sending = self._client.stream(
                    "POST", url, json=event, headers=headers, timeout=settings.webhook_timeout
                )
                with anyio.fail_after(settings.webhook_timeout):
                    async with sending as answer:
                        delivered = answer.is_success
            except (httpx.HTTPError, TimeoutError):
                self._tally.add("webhooks_failed")
                continue
            if delivered:
                return
            self._tally.add("webhooks_failed")

    def reset(self) -> None:
        """Forget what is under way."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._random.seed(self._settings.seed)

    async def close(self) -> None:
        """Let go of the connections."""
        self.reset()
        if self._client is not None:
            await self._client.aclose()
