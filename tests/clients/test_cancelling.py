"""A cancelled call ends, also if its response arrives at the same moment."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.clients.async_client import AsyncClient


class ImmediateTransport(httpx.AsyncBaseTransport):
    """Respond a few turns of the event loop later."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return httpx.Response(200, json={"organization_id": "o", "organization_name": "Films"})


@pytest.mark.parametrize("turns", range(12))
def test_cancellation_is_never_lost(turns: int) -> None:
    async def cancel_after_turns() -> str:
        client = AsyncClient(Access(api_key="mk_test", base_url="http://127.0.0.1:9"))
        await client.aclose()
        client._transport = ImmediateTransport()  # type: ignore[assignment]
        call = asyncio.ensure_future(client.send(whoami()))
        for _ in range(turns):
            await asyncio.sleep(0)
        if call.done():
            return "answered before"
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            return "cancelled"
        return "continued"

    assert asyncio.run(cancel_after_turns()) in ("cancelled", "answered before")
