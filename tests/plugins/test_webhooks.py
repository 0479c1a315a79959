"""The webhook receiver of the plugin, served by uvicorn: who may write a hint, how often, and what it costs."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from mosaic_emulator import Emulator

uvicorn = pytest.importorskip("uvicorn")

from airflow_provider_mosaic.plugins import webhooks  # noqa: E402
from airflow_provider_mosaic.plugins.app import create_app  # noqa: E402
from airflow_provider_mosaic.webhook_address import path_token, webhook_url  # noqa: E402

pytestmark = pytest.mark.hostile

SECRET = "whsk_emulator"
CONN_ID = "mosaic_default"
AGENT = "a0000000-0000-4000-8000-000000000004"
FINISHED = {"flag": "RUN_FINISHED", "agent_id": AGENT, "run_id": "r1", "status": "completed"}


@dataclass
class Receiver:
    """A running API server with the plugin's app, and what it did."""

    url: str = ""
    hints: list[str] = field(default_factory=list)
    lookups: Counter[str] = field(default_factory=Counter)
    broken: bool = False
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=60))

    def write_hint(self, conn_id: str, now: datetime) -> None:
        if self.broken:
            raise RuntimeError("the database is locked\nforged")
        self.hints.append(conn_id)

    def address(self, conn_id: str = CONN_ID, token: str | None = None) -> str:
        return f"{self.url}/mosaic/webhooks/{conn_id}/{token or path_token(SECRET, conn_id)}"

    def deliver(self, event: Any = FINISHED, signature: str | None = SECRET, **address: Any) -> httpx.Response:
        headers = {} if signature is None else {"X-Mosaic-Signature": signature}
        content = event if isinstance(event, bytes) else json.dumps(event).encode()
        for _ in range(10):
            try:
                return self.client.post(self.address(**address), content=content, headers=headers)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                # The receiver rejects a request and closes the connection before the body has arrived. The operating
                # system can then discard the response.
                continue
        raise AssertionError("no request got a response")


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, conn_type: str = "mosaic", **extra: Any) -> None:
    connection = {"conn_type": conn_type, "password": "mk_x", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", "True")
    connect(monkeypatch, CONN_ID, webhook_secret=SECRET)
    connect(monkeypatch, "without_secret")
    connect(monkeypatch, "of_another_type", "http", webhook_secret=SECRET)
    receiver = Receiver()
    read_secret = webhooks._read_secret

    def counted(conn_id: str) -> str:
        receiver.lookups[conn_id] += 1
        return read_secret(conn_id)

    monkeypatch.setattr(webhooks, "_read_secret", counted)
    monkeypatch.setattr(webhooks, "write_hint", receiver.write_hint)
    server_app = FastAPI()
    server_app.mount("/mosaic", create_app())
    server = uvicorn.Server(uvicorn.Config(server_app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", receiver.url)
    with receiver.client:
        yield receiver
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


def until(read: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.01)
    return value


def start(mosaic: Emulator, callback_url: str) -> str:
    response = httpx.post(
        f"{mosaic.url}/agent/{AGENT}/run",
        json={"callback_url": callback_url},
        headers={"Authorization": f"Bearer {mosaic.api_key}"},
        trust_env=False,
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return str(response.json()["run_id"])


def test_end_of_a_run_is_a_hint(receiver: Receiver, mosaic_emulator: Emulator) -> None:
    mosaic_emulator.configure(webhook_secret=SECRET)
    start(mosaic_emulator, webhook_url(CONN_ID))
    until(lambda: receiver.hints)
    # The start and the end of the run and of its two nodes.
    until(lambda: mosaic_emulator.counts().webhooks_sent == 6)
    assert mosaic_emulator.counts().webhooks_failed == 0
    assert receiver.hints == [CONN_ID]


@pytest.mark.parametrize(
    "event",
    [
        {"flag": "TEST", "run_id": "test", "timestamp": "2026-07-01T10:00:00Z", "message": "Hello", "test_data": {}},
        {"flag": "OUTPUTS_FINISHED", "run_id": "x", "outputs": {}},
        {"flag": "RUN_PROGRESS", "run_id": "x", "updated_nodes": []},
        {"flag": "RUN_STARTED", "run_id": "x", "status": "running", "triggered_by": {"type": "schedule"}},
    ],
    ids=lambda event: event["flag"],
)
def test_other_events_are_ignored(receiver: Receiver, event: dict[str, Any]) -> None:
    response = receiver.deliver(event)
    assert (response.status_code, response.json()) == (200, "ignored")
    assert receiver.hints == []


FORGED: dict[str, dict[str, Any]] = {
    "wrong signature": {"signature": "whsk_other"},
    "no signature": {"signature": None},
    "empty signature": {"signature": ""},
    "wrong token": {"token": "0" * 64},
    "token of another connection": {"token": path_token(SECRET, "another")},
    "connection without a secret": {"conn_id": "without_secret"},
    "connection of another type": {"conn_id": "of_another_type"},
    "unknown connection": {"conn_id": "unknown"},
    "no connection id": {"conn_id": "a%20b"},
    "a long connection id": {"conn_id": "x" * 1000},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_stranger_gets_the_same_response_for_everything(receiver: Receiver, forged: dict[str, Any]) -> None:
    response = receiver.deliver(**forged)
    assert (response.status_code, response.json()) == (401, {"detail": "Unauthorized"})
    assert receiver.hints == []
    # Only ids that can be those of connections are looked up.
    assert set(receiver.lookups) <= {CONN_ID, "without_secret", "of_another_type", "unknown"}


@pytest.mark.parametrize("switch", ["False", None])
def test_nothing_is_served_while_switched_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, switch: str | None
) -> None:
    if switch is None:
        monkeypatch.delenv("AIRFLOW__MOSAIC__WEBHOOKS")
    else:
        monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", switch)
    assert receiver.deliver().status_code == 404
    assert (receiver.hints, receiver.lookups) == ([], Counter())


@pytest.mark.parametrize("forged", [{"signature": "whsk_other"}, {"conn_id": "unknown"}, {"token": "0"}], ids=str)
def test_stranger_is_rejected_before_the_body_is_read(receiver: Receiver, forged: dict[str, Any]) -> None:
    with head_sent(receiver, **forged) as connection:
        # No byte of the body is sent. The response comes nevertheless, and the connection ends.
        response = b"".join(iter(lambda: connection.recv(4096), b""))
    assert response.startswith(b"HTTP/1.1 401 ")


@contextmanager
def head_sent(receiver: Receiver, *, signature: str = SECRET, **address: Any) -> Iterator[socket.socket]:
    """Connect to the receiver, and send the header of a webhook with a body of 1,000 bytes."""
    host, port = receiver.url.removeprefix("http://").split(":")
    path = receiver.address(**address).removeprefix(receiver.url)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = [
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            f"X-Mosaic-Signature: {signature}",
            "Content-Length: 1000",
            "",
            "",
        ]
        connection.sendall("\r\n".join(head).encode())
        yield connection


def test_slow_body_is_rejected(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_BODY_TIMEOUT", 0.5, raising=False)
    with head_sent(receiver) as connection:
        connection.settimeout(30)
        connection.sendall(b"[" * 5)
        response = b"".join(iter(lambda: connection.recv(4096), b""))
    assert response.startswith(b"HTTP/1.1 408 ")
    assert receiver.hints == []


def test_body_that_ends_early_makes_no_error(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    server_log = logging.getLogger("uvicorn.error")
    server_log.addHandler(caplog.handler)
    try:
        with head_sent(receiver) as connection:
            connection.sendall(b"{")
            time.sleep(0.2)
        assert receiver.deliver().status_code == 200
        time.sleep(0.2)
    finally:
        server_log.removeHandler(caplog.handler)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(receiver.hints) == 1


BODIES = {
    "empty": b"",
    "no JSON": b"not json",
    "a list": b"[]",
    "no flag": b'{"run_id": "x"}',
    "no UTF-8": b"\xff\xfe",
    "nested too deeply": b"[" * 100_000,
    "a number of 5,000 digits": b'{"flag": "RUN_FINISHED", "x": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_invalid_event_is_a_bad_request(receiver: Receiver, body: bytes) -> None:
    assert receiver.deliver(body).status_code == 400
    assert receiver.hints == []


def test_long_body_is_rejected(receiver: Receiver) -> None:
    fits = json.dumps({**FINISHED, "x": ""}).encode()
    padding = b"x" * ((1 << 20) - len(fits))
    longest = fits.replace(b'"x": ""', b'"x": "' + padding + b'"')
    assert len(longest) == 1 << 20
    assert receiver.deliver(longest).status_code == 200
    assert receiver.deliver(longest + b" ").status_code == 413
    assert len(receiver.hints) == 1


def test_endless_body_without_a_length_is_rejected(receiver: Receiver) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 20
            yield b"[" * (1 << 20)

    # The connection is closed while the client sends; the response may be lost with it.
    with suppress(httpx.TransportError):
        headers = {"X-Mosaic-Signature": SECRET}
        response = receiver.client.post(receiver.address(), content=chunks(), headers=headers)
        assert response.status_code == 413
    # The receiver reads 1 MiB. Sockets buffer some more.
    assert sent < 128 << 20
    assert receiver.hints == []


# A thousand webhooks in ten seconds.
def test_flood_of_signed_webhooks_writes_once_a_second(receiver: Receiver, evidence: Counter[str]) -> None:
    """A thousand webhooks in about ten seconds. It takes as long as that."""
    started = time.monotonic()

    def flood(sender: int) -> list[int]:
        statuses = []
        for number in range(40):
            # One end to ten events without effect, as while many runs are active.
            event = FINISHED if number % 10 == 0 else {"flag": "RUN_PROGRESS", "run_id": f"r{sender}"}
            statuses.append(receiver.deliver(event).status_code)
            time.sleep(max(0.0, started + number / 4 - time.monotonic()))
        return statuses

    with ThreadPoolExecutor(25) as senders:
        statuses = Counter(chain.from_iterable(senders.map(flood, range(25))))
    seconds = time.monotonic() - started
    assert set(statuses) <= {200, 429}
    assert sum(statuses.values()) == 1000
    assert 0 < len(receiver.hints) <= seconds + 1
    assert receiver.lookups[CONN_ID] <= 1 + seconds // 30
    evidence[f"webhooks of a flood of 1,000 were accepted, with {len(receiver.hints)} writes"] += statuses[200]


def test_too_many_webhooks_at_once_are_told_to_wait(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_WEBHOOKS", (3, 0.0))
    responses = [receiver.deliver({"flag": "TEST"}) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert responses[-1].headers["Retry-After"] == "5"
    # A stranger has used nothing of the limit of a connection.
    connect(monkeypatch, "second", webhook_secret=SECRET)
    assert [receiver.deliver(signature="x", conn_id="second").status_code for _ in range(5)] == [401] * 5
    assert receiver.deliver(conn_id="second").status_code == 200


def test_every_end_is_followed_by_a_write(receiver: Receiver) -> None:
    """The responses to ends that arrive together come after a write that started after they arrived."""
    for _ in range(3):
        before = len(receiver.hints)
        assert receiver.deliver().json() == "accepted"
        assert len(receiver.hints) > before


def test_webhook_is_sent_again_if_the_hint_cannot_be_written(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.broken = True
    assert receiver.deliver().status_code == 503
    assert "the database is locked forged" in caplog.text
    receiver.broken = False
    assert receiver.deliver().status_code == 200
    assert receiver.hints == [CONN_ID]


def test_invented_connections_are_looked_up_rarely(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_SECRET_LIFETIME", 0.0)
    assert receiver.deliver().status_code == 200
    started = time.monotonic()
    statuses = {receiver.deliver(conn_id=f"invented_{number}").status_code for number in range(300)}
    assert statuses == {401, 503}
    burst, rate = webhooks._LOOKUPS
    invented = sum(count for conn_id, count in receiver.lookups.items() if conn_id != CONN_ID)
    assert invented <= burst + rate * (time.monotonic() - started) + 1
    # The known connection is looked up again nevertheless.
    assert receiver.deliver().status_code == 200
    assert receiver.lookups[CONN_ID] == 2


def test_stranger_gets_the_same_response_for_everything_while_lookups_are_limited(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "second", webhook_secret=SECRET)
    assert receiver.deliver().status_code == 200
    assert receiver.deliver(conn_id="unknown").status_code == 401
    with pytest.MonkeyPatch.context() as patch:
        is_empty = property(lambda bucket: bucket._burst == webhooks._LOOKUPS[0])
        patch.setattr(webhooks._TokenBucket, "is_empty", is_empty)
        # Otherwise a flood would tell which connections are known.
        assert [receiver.deliver(**forged).status_code for forged in FORGED.values()] == [503] * len(FORGED)
        # Nor is this connection looked up. Mosaic may send the webhook again.
        assert receiver.deliver(conn_id="second").status_code == 503
        assert receiver.deliver().status_code == 200
    assert receiver.lookups == {CONN_ID: 1, "unknown": 1}
    assert receiver.deliver(conn_id="second").status_code == 200


def test_secret_is_kept_for_a_short_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        assert receiver.deliver({"flag": "TEST"}).status_code == 200
        assert receiver.deliver({"flag": "TEST"}, conn_id="unknown").status_code == 401
    assert receiver.lookups == {CONN_ID: 1, "unknown": 1}


class DatabaseError(Exception):
    """What Airflow raises if it cannot read a connection."""


@contextmanager
def outage(how: str) -> Iterator[None]:
    """Let the lookups of connections fail: with an error, or like a connection that does not exist."""
    with pytest.MonkeyPatch.context() as patch:
        if how == "error":

            def get_connection(conn_id: str) -> None:
                raise DatabaseError(SECRET)

            patch.setattr("airflow.models.Connection.get_connection_from_secrets", get_connection)
        else:
            # Airflow logs the error of a secrets backend or its database, and raises AirflowNotFoundException.
            patch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")
        yield


@pytest.mark.parametrize("how", ["error", "not found"])
def test_secret_is_kept_over_an_outage(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setattr(webhooks, "_SECRET_LIFETIME", 0.0)
    monkeypatch.setattr(webhooks, "_LOOKUP_PAUSE", 0.0)
    assert receiver.deliver().status_code == 200
    with outage(how):
        assert [receiver.deliver({"flag": "TEST"}).status_code for _ in range(3)] == [200] * 3
        assert receiver.deliver(signature="whsk_other").status_code == 401
    assert receiver.lookups[CONN_ID] == 5
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "The lookup of connection 'mosaic_default' failed" in warnings[0]
    assert "Its last webhook secret is used." in warnings[0]
    assert SECRET not in warnings[0]


def test_webhook_is_sent_again_if_the_connection_cannot_be_read(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhooks, "_LOOKUP_PAUSE", 0.0)
    with outage("error"):
        assert receiver.deliver().status_code == 503
    assert "Its webhooks get status 503." in caplog.text
    assert receiver.deliver().status_code == 200


def test_connection_that_cannot_be_read_is_not_looked_up_with_each_webhook(receiver: Receiver) -> None:
    with outage("error"):
        assert [receiver.deliver().status_code for _ in range(3)] == [503] * 3
    assert receiver.lookups[CONN_ID] == 1


def test_deleted_connection_is_unknown_after_a_while(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_SECRET_LIFETIME", 0.0)
    monkeypatch.setattr(webhooks, "_LOOKUP_PAUSE", 0.0)
    assert receiver.deliver().status_code == 200
    monkeypatch.setattr(webhooks, "_OUTAGE", 0.0)
    # Invented ids use up the lookups of unknown connections.
    monkeypatch.setattr(webhooks._TokenBucket, "take", lambda bucket: bucket._burst != webhooks._LOOKUPS[0])
    with outage("not found"):
        assert receiver.deliver().status_code == 401
    # After a long outage, the connection is still known.
    assert receiver.deliver().status_code == 200


def test_connection_without_a_secret_receives_no_webhooks_at_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_SECRET_LIFETIME", 0.0)
    assert receiver.deliver().status_code == 200
    connect(monkeypatch, CONN_ID)
    assert receiver.deliver().status_code == 401
    monkeypatch.setattr(webhooks, "_LOOKUP_PAUSE", 0.0)
    for how, status in (("not found", 401), ("error", 503)):
        with outage(how):
            assert receiver.deliver().status_code == status


def test_rotated_secret_replaces_the_address(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_SECRET_LIFETIME", 0.0)
    connect(monkeypatch, CONN_ID, webhook_secret="rotated")
    assert receiver.deliver().status_code == 401
    assert receiver.deliver(signature="rotated").status_code == 401
    assert receiver.deliver(signature="rotated", token=path_token("rotated", CONN_ID)).status_code == 200


def test_logs_contain_no_secrets(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # uvicorn's loggers do not pass their lines on.
    access = logging.getLogger("uvicorn.access")
    access.addHandler(caplog.handler)
    try:
        receiver.deliver()
        receiver.deliver(signature="whsk_guessed")
        receiver.deliver(token="0123456789abcdef")
        assert receiver.deliver(token=f"{path_token(SECRET, CONN_ID)}/").status_code == 401
        assert receiver.client.get(receiver.address()).status_code == 405
        until(lambda: "405" in caplog.text)
    finally:
        access.removeHandler(caplog.handler)
    lines = [
        record.getMessage() for record in caplog.records if record.name.partition(".")[0] not in ("httpx", "httpcore")
    ]
    text = "\n".join(lines)
    assert "/mosaic/webhooks/mosaic_default/token " in text
    assert "A webhook for connection 'mosaic_default' was rejected: its signature is wrong." in text
    for secret in (SECRET, path_token(SECRET, CONN_ID), "whsk_guessed", "0123456789abcdef"):
        assert secret not in text
