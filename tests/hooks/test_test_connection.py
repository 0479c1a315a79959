"""``MosaicHook.test_connection``, which the Test button of the UI calls."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from clients.servers import HostileServer, silence

from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .connections import KEY, VARIABLE, as_json
from .servers import Server

ORGANIZATION = {
    "organization_id": "o",
    "organization_name": "Northwind Films",
    "organization_slug": "n",
    "scopes": None,
}
USER = {"user_id": "u", "email": "someone@example.org", "is_admin": True, "api_key_id": "k"}


@pytest.mark.parametrize(
    ("status", "body", "success", "text"),
    [
        (200, ORGANIZATION, True, "as Northwind Films, with all scopes."),
        (
            200,
            {**ORGANIZATION, "scopes": ["agents:read", "agent_runs:read"]},
            True,
            "with scopes agents:read, agent_runs:read.",
        ),
        (200, {**ORGANIZATION, "scopes": []}, True, "with scopes (none)."),
        (200, USER, True, "as someone@example.org, with all scopes."),
        (200, {}, True, "as an unnamed organization"),
        (401, {"detail": f"Bearer {KEY} is revoked", "error": "invalid_api_key"}, False, "Set a valid API key"),
        (403, {"detail": "plan"}, False, "MosaicPermissionError"),
        (404, b"<html>nginx</html>", False, "an HTML page"),
        (200, b"<!DOCTYPE html><title>Login</title>", False, "an HTML page titled 'Login'"),
        (200, b"", False, "its body is empty"),
        (200, [], False, "MosaicResponseError"),
    ],
)
def test_the_message_names_the_owner_or_the_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, success: bool, text: str
) -> None:
    server.status = status
    server.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    result, message = MosaicHook().test_connection()
    assert (result, text in message) == (success, True), message
    assert "hush" not in message
    if success:
        assert message.startswith(f"Connected to {server.url} as ")


def test_one_request_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status, server.body = 503, b"{}"
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    success, message = MosaicHook().test_connection()
    assert (success, "503" in message, len(server.requests)) == (False, True, 1)


def test_a_host_that_does_not_respond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.hooks.mosaic._TEST_TIMEOUT", 0.3)
    with HostileServer(silence) as host:
        monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=host.url))
        success, message = MosaicHook().test_connection()
        assert (success, "no response came in time" in message, host.count) == (False, True, 1)


@pytest.mark.parametrize(
    "connection",
    [
        None,
        as_json(),
        as_json(password=KEY, host="api.mosaic.so"),
        as_json(password=KEY, host="http://127.0.0.1:1"),
        "nonsense",
        "mosaic://host:mk_live_hush/",
    ],
)
def test_it_never_raises(connection: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, connection)
    success, message = MosaicHook().test_connection()
    assert (success, isinstance(message, str), "hush" in message) == (False, True, False), message


def test_a_server_that_refuses_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.api.retries.RetryPolicy.pause", lambda *_: 0.0)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=f"http://127.0.0.1:{port}"))
    success, message = MosaicHook().test_connection()
    assert not success
    assert "the server could not be reached (ConnectionRefusedError" in message
