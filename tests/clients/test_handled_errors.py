"""Requests that are made while another error is handled: Python makes that error the context of all of theirs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
import pytest
import requests

from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicTransportError
from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.download import read_file_info

from .servers import HostileServer, Reply, reset, silence
from .transports import SHORT, Transport, access_to, paid_call

T = TypeVar("T")

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("plain_environment")]


@contextlib.contextmanager
def unused_url() -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def while_handling_a_refused_connection(act: Callable[[], T]) -> T:
    with unused_url() as url:
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError as error:
            try:
                raise httpx.ConnectError("refused") from error
            except httpx.ConnectError:
                return act()
    raise AssertionError("the connection was not refused")


@pytest.mark.parametrize("reply", [reset, silence])
def test_a_lost_response_is_no_refused_connection(transport: Transport, reply: Reply) -> None:
    with HostileServer(*[reply] * 6) as server:
        access = access_to(server.url, timeout=SHORT)
        with pytest.raises(MosaicAmbiguousOutcomeError) as caught:
            while_handling_a_refused_connection(lambda: transport.send(access, paid_call()))
        assert caught.value.effect_unknown
        # Not sent again: the server may have started a run.
        assert len(server.seen) == 1


def test_a_lost_download_is_no_refused_connection() -> None:
    policy = LinkPolicy(loopback=True)
    with HostileServer(reset) as server, pytest.raises(MosaicTransportError, match="failed before the response"):
        while_handling_a_refused_connection(lambda: read_file_info(lambda: server.url, policy=policy, retries=ONCE))
