"""Connections that a server closes without saying so, and those of a client that is not closed."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.clients.sync_client import SyncClient

from .servers import Listener, Reply, Seen, answer, read_request
from .transports import Transport, access_to, paid_call


class ClosingServer(Listener):
    """Sends one response on each connection, and closes it when the next request comes."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.seen: list[Seen] = []
        self.lost: list[Seen] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        if request := read_request(connection):
            self.seen.append(request)
            self._reply(connection)
        if late := read_request(connection):
            self.lost.append(late)


@pytest.mark.parametrize("times", [1, 3])
def test_request_with_effects_is_sent_on_a_new_connection(transport: Transport, times: int) -> None:
    calls: list[Any] = [whoami(), *[paid_call()] * times]
    # The response fits both endpoints.
    with ClosingServer(answer(200, {"run_id": "run-1"})) as server:
        results = transport.send(access_to(server.url), *calls)
    assert results[1:] == ["run-1"] * times
    assert [seen.method for seen in server.seen] == ["GET", *["POST"] * times]
    assert server.lost == []


class EndedConnections(Listener):
    """Answers every request, and tells when a client has closed its connection."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        while read_request(connection):
            answer(200, {"id": "user-1"})(connection)
        self.closed.set()


def test_client_that_is_not_closed_closes_its_connections() -> None:
    """With urllib3 before version 2 they stayed open until the garbage collector found them."""
    with EndedConnections() as server:
        SyncClient(access_to(server.url)).send(whoami())
        assert server.closed.wait(10)
