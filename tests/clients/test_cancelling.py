"""A cancelled call ends, also if its response arrives at the same moment, and leaves no connection open."""

from __future__ import annotations

import asyncio
from contextlib import suppress

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


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
def test_a_cancelled_tls_handshake_closes_the_connection(through_proxy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def cancel_in_handshake() -> None:
        in_handshake, closed = asyncio.Event(), asyncio.Event()

        async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if through_proxy:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            # The server takes the client's first message and never answers it.
            await reader.readexactly(1)
            in_handshake.set()
            with suppress(ConnectionError):
                await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_server(on_connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}"
        if through_proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            url = "https://api.example.org"
        async with server, AsyncClient(Access(api_key="mk_test", base_url=url)) as client:
            call = asyncio.ensure_future(client.send(whoami()))
            await asyncio.wait_for(in_handshake.wait(), 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(closed.wait(), 30)

    asyncio.run(cancel_in_handshake())
