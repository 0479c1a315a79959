"""Servers that close a connection after each response without saying so."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.account import whoami

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
