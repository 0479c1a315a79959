"""The loop of a wait on the event loop: look, take in, sleep. It only reads."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.waiting import Watch
from airflow_provider_mosaic.clients.aio import AsyncClient
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

S = TypeVar("S")

#: How a wait can end, as the events say it.
ENDED, TIMEOUT, ERROR = "ended", "timeout", "error"


async def wait_for_end(hook: MosaicHook, call: Call[S], watch: Watch[S], *, subject_id: str) -> dict[str, Any]:
    """
    Wait for the end of something and say how the wait ended, as the payload of a trigger's event.

    The event is kept in Airflow's database until the task goes on: it holds ids and words, and the task that goes on
    reads the rest anew.

    :param hook: The connection.
    :param call: Reads what is waited for.
    :param watch: The course of the wait.
    :param subject_id: The id of what is waited for.
    """
    client: AsyncClient | None = None
    try:
        while True:
            try:
                client = client or await hook.open_async_client()
                subject = await client.send(call, retries=ONCE)
            except MosaicError as error:
                try:
                    watch.failed(error)
                except MosaicError:
                    return {
                        "outcome": ERROR,
                        "id": subject_id,
                        "error": type(error).__name__,
                        "message": str(error),
                        "transient": error.transient,
                    }
            else:
                verdict = watch.saw(subject)
                if verdict.ended:
                    return {"outcome": ENDED, "id": subject_id, "status": verdict.status}
            if watch.expired:
                return {"outcome": TIMEOUT, "id": subject_id}
            await asyncio.sleep(watch.pause())
    finally:
        if client is not None:
            await client.aclose()
