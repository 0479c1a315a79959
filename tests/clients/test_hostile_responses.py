"""API responses that try to hold a worker or a triggerer, or to fill its memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h11
import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.agents import get_agent, list_node_types
from airflow_provider_mosaic.api.endpoints.engagement import get_post_analytics
from airflow_provider_mosaic.api.endpoints.runs import get_run, list_runs
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.async_client import AsyncClient

from .authorities import Authority
from .hostile_endpoints import FLOODS, TRICKLES, at_most, bomb, endless
from .servers import HostileServer, Reply, answer
from .storage_endpoints import raw
from .transports import Transport, access_to, paid_call

pytestmark = pytest.mark.hostile

MIB = 1024 * 1024
OWNER = {"organization_id": "o", "organization_name": "N", "organization_slug": "n"}


def outputs(count: int) -> list[dict[str, Any]]:
    """Return outputs of a run with URLs of the usual length."""
    return [
        {
            "id": f"output-{number}",
            "video_url": f"https://storage.example.org/{number}.mp4?X-Goog-Signature={'a' * 1000}",
            "thumbnail_url": f"https://storage.example.org/{number}.jpg?X-Goog-Signature={'b' * 1000}",
            "download_url": f"https://storage.example.org/{number}.mov?X-Goog-Signature={'c' * 800}",
            "completed_at": "2026-01-01T00:00:00Z",
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("reply", TRICKLES.values(), ids=TRICKLES)
def test_slow_responses_time_out(transport: Transport, reply: Reply) -> None:
    started = time.monotonic()
    with (
        HostileServer(reply) as server,
        pytest.raises(MosaicTransportError, match=r"no response came in time|could not be reached") as caught,
    ):
        transport.send(access_to(server.url, timeout=0.1, connect_timeout=0.4), whoami(), retries=ONCE)
    assert time.monotonic() - started < 20
    assert caught.value.transient
    assert "TypeError" not in str(caught.value)


@pytest.mark.parametrize("reply", FLOODS.values(), ids=FLOODS)
def test_endless_responses_fail(transport: Transport, reply: Reply) -> None:
    started = time.monotonic()
    with HostileServer(reply) as server, at_most(40 * MIB), pytest.raises(MosaicError):
        transport.send(access_to(server.url, timeout=0.1, connect_timeout=0.4), whoami(), retries=ONCE)
    assert time.monotonic() - started < 20


_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.usefixtures("plain_environment")
def test_flood_of_interim_responses_ends_after_a_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Any] = []
    real = h11.Connection.next_event

    def next_event(connection: h11.Connection) -> Any:
        parsed.append(real(connection))
        return parsed[-1]

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    with (
        HostileServer(raw(_CONTINUE * 5000 + b"HTTP/1.1 200 OK\r\n\r\n{}")) as server,
        pytest.raises(MosaicTransportError, match="too many interim responses") as caught,
    ):
        Transport("async").send(access_to(server.url), whoami(), retries=ONCE)
    # All of them are parsed without a turn for other coroutines of the triggerer.
    assert len(parsed) < 200
    assert caught.value.transient


def test_a_few_interim_responses_are_skipped_before_each_response(transport: Transport) -> None:
    def reply(connection: Any) -> bool:
        connection.sendall(_CONTINUE * 40 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        return answer(200, OWNER)(connection)

    with HostileServer(reply) as server:
        transport.send(access_to(server.url), *[whoami()] * 5, retries=ONCE)
        assert server.count == 5


def test_redirects_share_one_time_limit(transport: Transport) -> None:
    def onward(connection: Any) -> bool:
        time.sleep(0.25)
        connection.sendall(b"HTTP/1.1 307 Onward\r\nLocation: /whoami\r\nContent-Length: 0\r\n\r\n")
        return True

    started = time.monotonic()
    with HostileServer(onward) as server, pytest.raises(MosaicTransportError, match="no response came in time"):
        transport.send(access_to(server.url, timeout=0.3, connect_timeout=0.5), whoami(), retries=ONCE)
    assert time.monotonic() - started < 20


@pytest.mark.alone
def test_each_call_has_its_own_time_limit(transport: Transport) -> None:
    def reply(connection: Any) -> bool:
        time.sleep(0.3)
        return answer(200, OWNER)(connection)

    # Each call may take 2 s. Together they take more.
    with HostileServer(reply) as server:
        transport.send(access_to(server.url, timeout=0.8, connect_timeout=0.4), *[whoami()] * 7, retries=ONCE)


@pytest.mark.alone
def test_slow_tls_handshake_behind_a_tls_proxy_times_out(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trickle_hello(connection: Any) -> bool:
        """Accept the tunnel. Then send a TLS record byte by byte."""
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(65536)
        return endless(bytes.fromhex("1603034000 02003ffc"), b"\0")(connection)

    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    # httpx 0.27 reads only this one for a proxy.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    started = time.monotonic()
    with HostileServer(trickle_hello, tls=authority.server_context("localhost")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{proxy.port}")
        access = access_to("https://mosaic.test", timeout=0.1, connect_timeout=0.4)
        with pytest.raises(MosaicTransportError) as caught:
            transport.send(access, whoami(), retries=ONCE)
    assert "certificate" not in str(caught.value)
    assert proxy.count == 1
    assert time.monotonic() - started < 20


def test_requests_ask_for_no_compression(transport: Transport) -> None:
    with HostileServer(answer(200, OWNER)) as server:
        transport.send(access_to(server.url), whoami())
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "GZIP"])
def test_compressed_responses_are_rejected(transport: Transport, encoding: str) -> None:
    with HostileServer(answer(200, bomb(MIB, layers=1), Content_Encoding=encoding)) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError, match="compressed"):
            transport.send(access_to(server.url), paid_call())
        assert server.count == 1


def test_identity_encoding_is_accepted(transport: Transport) -> None:
    with HostileServer(answer(200, OWNER, Content_Encoding="identity")) as server:
        (owner,) = transport.send(access_to(server.url), whoami())
    assert owner.name == "N"


def test_encoding_of_an_empty_body_is_ignored(transport: Transport) -> None:
    with HostileServer(answer(429, Content_Encoding="gzip", Retry_After="0"), answer(200, OWNER)) as server:
        transport.send(access_to(server.url), whoami())
        assert server.count == 2


@pytest.mark.parametrize("status", [200, 401])
def test_compression_bomb_uses_no_memory(transport: Transport, status: int) -> None:
    with (
        HostileServer(answer(status, bomb(128 * MIB), Content_Encoding="gzip, gzip")) as server,
        at_most(MIB),
        pytest.raises(MosaicAuthenticationError if status == 401 else MosaicResponseError),
    ):
        transport.send(access_to(server.url), whoami(), retries=ONCE)


def test_usual_responses_are_limited_to_one_mebibyte(transport: Transport) -> None:
    with (
        HostileServer(answer(200, {**OWNER, "more": "x" * (MIB + 1)})) as server,
        pytest.raises(MosaicResponseError, match=r"more than 1 MiB.*the connection's host") as caught,
    ):
        transport.send(access_to(server.url), whoami())
    assert not caught.value.transient


# Some MiB of JSON.
def test_run_with_5000_outputs_is_read(transport: Transport) -> None:
    body = {"status": "completed", "outputs": outputs(5000)}
    with HostileServer(answer(200, body)) as server:
        (run,) = transport.send(access_to(server.url), get_run("run-1"))
    assert len(run.outputs) == 5000


@pytest.mark.parametrize("call", [get_run("run-1"), list_runs().page(None)], ids=["run", "list"])
def test_large_responses_are_limited_to_sixteen_mebibytes(transport: Transport, call: Any) -> None:
    with (
        HostileServer(answer(200, b" " * (16 * MIB + 1))) as server,
        pytest.raises(MosaicResponseError, match="more than 16 MiB"),
    ):
        transport.send(access_to(server.url), call)


@pytest.mark.parametrize(("status", "kind"), [(401, MosaicAuthenticationError), (429, MosaicRateLimitError)])
def test_error_with_endless_body_keeps_its_status(transport: Transport, status: int, kind: type[MosaicError]) -> None:
    text = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\n\r\n" % status
    body = text + b'{"detail": "' + b"x" * (30 * MIB)
    with HostileServer(raw(body)) as server, at_most(3 * MIB), pytest.raises(kind):
        transport.send(access_to(server.url), whoami(), retries=ONCE)


def test_millions_of_values_are_rejected_before_decoding(transport: Transport) -> None:
    body = b'{"status": "running", "outputs": [' + b"[[[[[[[[]]]]]]]]," * (15 * MIB // 17) + b"0]}"
    with HostileServer(answer(200, body)) as server:
        started = time.process_time()
        with pytest.raises(MosaicResponseError, match="too many values"):
            transport.send(access_to(server.url), get_run("run-1"), retries=ONCE)
        assert time.process_time() - started < 1


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("name", ["X-H", "Set-Cookie", "Content-Encoding"])
def test_oversized_response_head_fails(transport: Transport, name: str) -> None:
    line = f"{name}: {'gzip,' * 10_000}\r\n".encode()
    with (
        HostileServer(raw(b"HTTP/1.1 200 OK\r\n" + line * 90 + b"\r\n{}")) as server,
        at_most(2 * MIB),
        pytest.raises(MosaicTransportError, match="connection failed"),
    ):
        transport.send(access_to(server.url), whoami(), retries=ONCE)


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKS = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_SPACES = b" " * 80_000


@pytest.mark.parametrize(
    "text",
    [
        _OK + b"X:" + _SPACES + b"\0\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nX:" + _SPACES + b"\0\r\n\r\n",
        _CHUNKS + b"1;" + _SPACES + b"\nx\r\n",
        _CHUNKS + b"0\r\nX:" + _SPACES + b"\0\r\n\r\n",
    ],
    ids=["header", "interim response", "chunk", "trailer"],
)
def test_invalid_lines_full_of_spaces_are_parsed_quickly(transport: Transport, text: bytes) -> None:
    started = time.process_time()
    with HostileServer(raw(text)) as server, contextlib.suppress(MosaicError):
        transport.send(access_to(server.url), whoami(), retries=ONCE)
    # The patterns of h11 need half a minute, and block all threads.
    assert time.process_time() - started < 3


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize(
    ("text", "body"),
    [
        (_OK + b"Content-Length: \t 2 \t \r\nX:\r\nY: a \t b \r\n\r\n{}", b"{}"),
        (_CHUNKS + b"1 \r\n{\r\n1;a=b \r\n}\r\n0 \t\r\nX: \t\r\n\r\n", b"{}"),
    ],
    ids=["headers", "chunks"],
)
def test_spaces_that_http_permits_are_accepted(transport: Transport, text: bytes, body: bytes) -> None:
    seen: list[bytes] = []

    def decode(content: bytes) -> Any:
        seen.append(content)
        return OWNER

    with HostileServer(raw(text)) as server:
        transport.send(access_to(server.url), replace(whoami(), decode=decode), retries=ONCE)
    assert seen == [body]


_CHUNKED_BODY = b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "encoding", "sent", "body"),
    [
        (200, b"chunked", _CHUNKED_BODY, b"{}"),
        (200, b"chunked ", _CHUNKED_BODY, b"{}"),
        (200, b"\t Chunked \t ", _CHUNKED_BODY, b"{}"),
        (200, b"\r\n chunked", _CHUNKED_BODY, b"{}"),
        (200, b"chunked \r\nContent-Length: 3", _CHUNKED_BODY, b"{}"),
        (200, b"chunked \r\nContent-Length: 0", _CHUNKED_BODY, b"{}"),
        # A 204 has no body, although it has the header.
        (204, b"chunked", b"", b""),
        (204, b"chunked ", b"", b""),
    ],
)
def test_chunked_responses_are_read_on_an_open_connection(
    transport: Transport, status: int, encoding: bytes, sent: bytes, body: bytes
) -> None:
    seen: list[Any] = []

    def reply(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 %d OK\r\nTransfer-Encoding: %s\r\n\r\n%s" % (status, encoding, sent))
        return True

    def decode(content: bytes) -> Any:
        seen.append(content)
        return OWNER

    call = replace(whoami(), decode=decode, read=lambda data: None)
    with HostileServer(reply) as server:
        transport.send(access_to(server.url, timeout=20), call, call, retries=ONCE)
        assert server.count == 2
    # Nothing is decoded without a body.
    assert seen == [body, body] if body else seen == []


def test_status_of_megabytes_uses_little_memory(transport: Transport) -> None:
    body = b'{"status": "' + b"a_" * (15 * MIB // 2) + b'"}'
    # A few copies of the text. Replacing in all of it would take hundreds of megabytes.
    with HostileServer(answer(200, body)) as server, at_most(90 * MIB):
        (run,) = transport.send(access_to(server.url), get_run("run-1"), retries=ONCE)
    assert len(run.status) == 100


def test_thousands_of_encodings_keep_the_status(transport: Transport) -> None:
    with (
        HostileServer(answer(401, b"x", Content_Encoding="gzip," * 10_000)) as server,
        at_most(3 * MIB),
        pytest.raises(MosaicAuthenticationError, match="compressed"),
    ):
        transport.send(access_to(server.url), whoami(), retries=ONCE)


@pytest.mark.parametrize(
    ("body", "beside"),
    [
        (["x" * 200 * 1024], False),
        (["x" * 300 * 1024], True),
        (["x" * 15 * MIB], True),
        ([{}] * 400, False),
        # Validating each of them takes longer than a kilobyte of text.
        ([{}] * 2000, True),
    ],
    ids=["200 KiB", "300 KiB", "15 MiB", "400 values", "2,000 values"],
)
def test_large_responses_are_decoded_off_the_event_loop(body: Any, beside: bool) -> None:
    threads: list[threading.Thread] = []

    def read(data: Any) -> None:
        threads.append(threading.current_thread())

    async def send() -> None:
        async with AsyncClient(access_to(server.url)) as client:
            await client.send(replace(get_run("run-1"), read=read))

    with HostileServer(answer(200, body)) as server:
        asyncio.run(send())
    assert [thread is not threading.main_thread() for thread in threads] == [beside]


def test_repeated_validation_errors_are_reported_once(transport: Transport) -> None:
    body = b'{"status": "completed", "outputs": [' + b"1," * 190_000 + b"{}]}"
    with (
        HostileServer(answer(200, body)) as server,
        at_most(40 * MIB),
        pytest.raises(MosaicResponseError, match=r"'outputs\.0' is wrong"),
    ):
        transport.send(access_to(server.url), get_run("run-1"), retries=ONCE)


@pytest.mark.parametrize("digits", [19, 400, 5000])
def test_content_length_of_any_size_raises_our_error(transport: Transport, digits: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * digits
    # Python rejects numbers of more than 4,300 digits. One transport ignores such a length.
    with HostileServer(raw(head + b"\r\n\r\n{}")) as server, contextlib.suppress(MosaicError):
        transport.send(access_to(server.url), whoami(), retries=ONCE)


def test_metrics_that_make_too_many_rows_are_rejected(transport: Transport) -> None:
    # 100 KB, which would make 25 million values.
    body = {"totals": {f"m{number}": 1 for number in range(5_000)}, "platforms": [{}] * 5_000}
    with (
        HostileServer(answer(200, body)) as server,
        pytest.raises(MosaicResponseError, match="more than 200,000 metrics"),
    ):
        transport.send(access_to(server.url), get_post_analytics("p"), retries=ONCE)


@pytest.mark.parametrize("name", ["agent_nodes", "connections", "node_types"])
def test_agents_with_too_many_nodes_are_rejected(transport: Transport, name: str) -> None:
    item = {"agent_node_id": "n", "source_agent_node_id": "n", "target_agent_node_id": "n", "node_type_id": "t"}
    body = {"agent": {"id": "a"}, "agent_nodes": [], "connections": [], name: [item] * 10_001}
    call: Call[Any] = list_node_types() if name == "node_types" else get_agent("a")
    with HostileServer(answer(200, body)) as server, pytest.raises(MosaicResponseError, match=r"2000|10000"):
        transport.send(access_to(server.url), call, retries=ONCE)
