"""Start triggers as a triggerer does, and cancel them."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_mosaic.triggers import MosaicRunTrigger


def start_wait(run_id: str, *, poll_interval: float = 0.05, **options: Any) -> asyncio.Task[Any]:
    """Start a run trigger. The task returns its event."""
    trigger = MosaicRunTrigger(run_id=run_id, poll_interval=poll_interval, **options)
    return asyncio.create_task(anext(trigger.run()))  # type: ignore[arg-type]


async def cancel_all(waits: list[asyncio.Task[Any]]) -> None:
    """Cancel the waits, and wait until they have ended."""
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
