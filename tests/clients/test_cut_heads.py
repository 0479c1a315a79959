"""Connections that end within the head of a response. http.client reports no error for them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicTransportError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.destinations import local_destination

from .on_loopback import fetch, read_file_info, url_source
from .servers import HostileServer, Reply
from .transports import Transport, access_to, paid_call

pytestmark = pytest.mark.usefixtures("plain_environment")

CONTENT = b"\x00\x01video" * 100
STATUS = b"HTTP/1.1 200 OK\r\n"
HEAD = STATUS + b"Content-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
PROBE = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/%d\r\n\r\n\x00" % len(CONTENT)


def sends(data: bytes, *, keep: int | None = None) -> Reply:
    """Send raw bytes, and end the connection after the first ``keep``."""

    def reply(connection: socket.socket) -> bool:
        connection.sendall(data[:keep])
        return keep is None

    return reply


def within_head(data: bytes, *, after: int) -> range:
    """Return the lengths that cut a response within its head, behind its first bytes."""
    return range(after, data.index(b"\r\n\r\n") + 4)


@pytest.mark.parametrize("keep", within_head(HEAD, after=len(STATUS)))
def test_download_is_retried_after_a_cut_head(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.mp4"
    with HostileServer(sends(HEAD, keep=keep), sends(HEAD + CONTENT)) as host:
        fetch(lambda: f"{host.url}/cut.mp4", local_destination(path), sleep=lambda seconds: None)
    assert path.read_bytes() == CONTENT
    assert host.count == 2


def test_cut_redirect_is_retried(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    with HostileServer(sends(b"HTTP/1.1 302 Found\r\nServer: x\r\nLoca", keep=35), sends(HEAD + CONTENT)) as host:
        fetch(lambda: f"{host.url}/cut.mp4", local_destination(path), sleep=lambda seconds: None)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("keep", within_head(PROBE, after=len(STATUS) + 12))
def test_size_is_not_read_from_a_cut_head(keep: int) -> None:
    with HostileServer(sends(PROBE, keep=keep), sends(PROBE)) as host:
        info = read_file_info(lambda: f"{host.url}/cut.mp4", sleep=lambda seconds: None)
    assert info.size == len(CONTENT)


@pytest.mark.parametrize("status", [200, 404, 429])
def test_api_response_with_a_cut_head_is_a_connection_error(transport: Transport, status: int) -> None:
    head = f"HTTP/1.1 {status} OK\r\nContent-Ty".encode()
    with HostileServer(sends(head, keep=len(head))) as server, pytest.raises(MosaicTransportError) as caught:
        transport.send(access_to(server.url), whoami(), retries=ONCE)
    assert caught.value.transient
    with HostileServer(sends(head, keep=len(head))) as server, pytest.raises(MosaicAmbiguousOutcomeError):
        transport.send(access_to(server.url), paid_call())


def test_source_with_a_cut_head_can_be_retried() -> None:
    with HostileServer(sends(STATUS + b"Content-Ty", keep=27)) as host, pytest.raises(MosaicTransportError) as caught:
        url_source(f"{host.url}/cut.mp4")
    assert caught.value.transient
    assert "within the head" in str(caught.value)
