from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import Connection
from clients.servers import HostileServer, silence

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.account import Whoami
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.connection_form import EXTRA_FIELDS, connection_type_info
from airflow_provider_mosaic.hooks.connection import access_of, lookup_error
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

KEY = "mk_live_hush"
VARIABLE = "AIRFLOW_CONN_MOSAIC_DEFAULT"


class Server:
    """A server with one answer, which remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.command, self.path, dict(self.headers)))
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    thread = threading.Thread(target=serving.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield serving
    serving.http.shutdown()
    thread.join()
    serving.http.server_close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def as_json(**facts: Any) -> str:
    if isinstance(facts.get("extra"), dict):
        facts["extra"] = json.dumps(facts["extra"])
    return json.dumps({"conn_type": "mosaic", **facts})


def access_from(connection: str, monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setenv(VARIABLE, connection)
    access = MosaicHook().access

    async def awaited() -> Access:
        client = await MosaicHook().open_async_client()
        await client.aclose()
        return client.access

    assert asyncio.run(awaited()) == access
    return access


def complaint_about(connection: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """What both ways to a client say about a connection."""
    if connection is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, connection)
    with pytest.raises(MosaicValidationError) as caught:
        MosaicHook().client  # noqa: B018 - it is made when it is asked for
    with pytest.raises(MosaicValidationError) as awaited:
        asyncio.run(MosaicHook().open_async_client())
    assert str(awaited.value).partition("(")[0] == str(caught.value).partition("(")[0]
    for error in (caught.value, awaited.value):
        assert "hush" not in "".join(traceback.format_exception(error))
    return str(caught.value)


URI_KEY = f"mosaic://:{KEY}@"


@pytest.mark.parametrize(
    ("connection", "facts"),
    [
        (as_json(password=KEY), {}),
        (as_json(password=KEY, host=""), {}),
        (as_json(password=KEY, host=None, extra=None), {}),
        (as_json(password=KEY, host="http://127.0.0.1:8080"), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="http://127.0.0.1:8080/"), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="http://127.0.0.1", port=8080), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="http://127.0.0.1:8080", port=8080), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="127.0.0.1", port=8080, schema="http"), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="api.mosaic.so", schema="https"), {}),
        # The port that the Test button of Airflow 3.3.2 needs, wherever the connection leads.
        (as_json(password=KEY, port=443), {}),
        (as_json(password=KEY, host="https://api.mosaic.so", port=443), {}),
        (as_json(password=KEY, host="api.mosaic.so", schema="https", port=443), {}),
        (as_json(password=KEY, host="http://127.0.0.1:8080", port=443), {"base_url": "http://127.0.0.1:8080"}),
        (as_json(password=KEY, host="http://127.0.0.1", port=80), {"base_url": "http://127.0.0.1"}),
        (as_json(password=KEY, host="https://127.0.0.1", port=80), {"base_url": "https://127.0.0.1:80"}),
        (f"{URI_KEY}:443", {}),
        (f"{URI_KEY}{quote('https://api.mosaic.so', safe='')}:443", {}),
        (as_json(password=KEY, host="http://[::1]", port=8080), {"base_url": "http://[::1]:8080"}),
        (as_json(password=KEY, extra={"workspace_id": "w", "timeout": 5}), {"workspace_id": "w", "timeout": 5.0}),
        (as_json(password=KEY, extra={"workspace_id": " w ", "timeout": "7.5"}), {"workspace_id": "w", "timeout": 7.5}),
        (as_json(password=KEY, extra={"workspace_id": "", "timeout": None, "webhook_secret": "whsk_hush"}), {}),
        (as_json(password=KEY, extra={"workspace_id": None, "timeout": "", "allow_http": ""}), {}),
        (as_json(password=KEY, conn_type=None), {}),
        (as_json(password=KEY, conn_type=""), {}),
        (json.dumps({"password": KEY}), {}),
        (f"//:{KEY}@", {}),
        (
            as_json(password=KEY, host="http://mosaic.test", extra={"allow_http": True}),
            {"base_url": "http://mosaic.test", "allow_http": True},
        ),
        (
            f"{URI_KEY}mosaic.test/http?allow_http=True",
            {"base_url": "http://mosaic.test", "allow_http": True},
        ),
        (as_json(password=KEY, extra={"allow_http": False}), {}),
        (as_json(password=KEY, extra={"allow_http": "false"}), {}),
        (URI_KEY, {}),
        (f"{URI_KEY}127.0.0.1:8080/http", {"base_url": "http://127.0.0.1:8080"}),
        (f"{URI_KEY}api.mosaic.so/https", {}),
        (f"{URI_KEY}{quote('http://127.0.0.1:8080', safe='')}", {"base_url": "http://127.0.0.1:8080"}),
        (f"{URI_KEY}{quote('http://127.0.0.1', safe='')}:8080", {"base_url": "http://127.0.0.1:8080"}),
        (f"mosaic://http://:{KEY}@127.0.0.1:8080", {"base_url": "http://127.0.0.1:8080"}),
        (f"{URI_KEY}/?workspace_id=w&timeout=5", {"workspace_id": "w", "timeout": 5.0}),
        (f"{URI_KEY}/?allow_private_storage=true", {"allow_private_storage": True}),
        (as_json(password=KEY, extra={"allow_private_storage": False}), {"allow_private_storage": False}),
    ],
)
def test_a_connection_is_an_address_and_a_key(
    connection: str, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert access_from(connection, monkeypatch) == Access(api_key=KEY, **facts)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (as_json(), "no API key"),
        (as_json(password=""), "no API key"),
        (as_json(password="  "), "no API key"),
        (as_json(password="mk_hush hush"), "invalid characters"),
        ("mosaic://", "no API key"),
        ("nonsense", "no API key"),
        (
            as_json(password=KEY, host="api.mosaic.so"),
            "host='api.mosaic.so': it has no scheme: write https://api.mosaic.so",
        ),
        (f"{URI_KEY}api.mosaic.so", "it has no scheme: write https://api.mosaic.so"),
        (as_json(password=KEY, host="127.0.0.1", port=8765), "it has no scheme: write http://127.0.0.1:8765."),
        (as_json(password=KEY, host="127.0.0.1:8765"), "it has no scheme: write http://127.0.0.1:8765."),
        (as_json(password=KEY, host="localhost", port=8765), "it has no scheme: write http://localhost:8765."),
        (as_json(password=KEY, host="localhost"), "it has no scheme: write http://localhost."),
        (as_json(password=KEY, host="[::1]", port=8765), "it has no scheme: write http://[::1]:8765."),
        (as_json(password=KEY, host="::1", port=8765), "it has no scheme: write http://[::1]:8765."),
        (as_json(password=KEY, host="mosaic.test", port=8765), "it has no scheme: write https://mosaic.test:8765."),
        (as_json(password=KEY, host="mosaic.test:8765", port=443), "it has no scheme: write https://mosaic.test:8765."),
        (f"{URI_KEY}127.0.0.1:8765", "it has no scheme: write http://127.0.0.1:8765."),
        (as_json(password=KEY, host="//127.0.0.1", port=8765), "it has no scheme: write http://127.0.0.1:8765."),
        (as_json(password=KEY, host="https://api.mosaic.so/v1"), "it has a path; write https://api.mosaic.so only"),
        (as_json(password=KEY, host="https://someone:hush@api.mosaic.so"), "user or password"),
        (as_json(password=KEY, host="someone:hush@api.mosaic.so"), "user or password"),
        (as_json(password=KEY, host=KEY), "it has no scheme"),
        (as_json(password=KEY, extra={"timeout": "soon"}), "timeout='soon': it must be a number of seconds"),
        (as_json(password=KEY, extra={"timeout": [5]}), "timeout=[5]: it must be a number of seconds"),
        (as_json(password=KEY, extra={"timeout": True}), "timeout=True: it must be a number of seconds"),
        (as_json(password=KEY, extra={"timeout": 0}), "timeout=0"),
        (as_json(password=KEY, extra={"allow_private_storage": "perhaps"}), "allow_private_storage='perhaps'"),
        (as_json(password=KEY, extra={"timeout": "nan"}), "timeout=nan"),
        (as_json(password=KEY, extra={"timeout": "inf"}), "timeout=inf"),
        (as_json(password=KEY, extra={"workspace_id": "a b"}), "workspace_id='a b'"),
        (as_json(password=KEY, extra={"workspace_id": "ü"}), "workspace_id='ü': a workspace id has only ASCII"),
        (as_json(password=KEY, extra={"timeout": 10**400}), "it must be a number of seconds"),
        (as_json(password=KEY, extra={"allow_http": "maybe"}), "allow_http='maybe': it must be true or false"),
        (as_json(password=KEY, extra={"allow_http": 1}), "allow_http=1: it must be true or false"),
        (as_json(password=KEY, host="http://mosaic.test"), "the API key travels unencrypted"),
        (as_json(password=KEY, host="mosaic.test", schema="http", extra={"allow_http": "no"}), "allow_http='no'"),
        (as_json(password=KEY, host="http://["), "it is not an address"),
        (as_json(password=KEY, host="https://evil.com\\.api.mosaic.so"), "it is not an address"),
        (as_json(password=KEY, host="https://mosaic.test", port=65536), "it is not an address"),
        (as_json(password=KEY, conn_type="slack"), "conn_type='slack': it must be 'mosaic'"),
        (as_json(password=KEY, conn_type="Mosaic"), "conn_type='Mosaic': it must be 'mosaic'"),
        (f"http://:{KEY}@api.mosaic.so", "conn_type='http': it must be 'mosaic'"),
        (f"generic://:{KEY}@", "conn_type='generic': it must be 'mosaic'"),
    ],
)
def test_what_is_wrong_in_a_connection_is_named(connection: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = complaint_about(connection, monkeypatch)
    assert complaint.startswith("Connection 'mosaic_default': ")
    assert words in complaint


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"host": 5}, "host=5: it must be the API's address as text"),
        ({"password": 5}, "no API key"),
        ({"extra": {"timeout": 5}}, "its extra is not a JSON object"),
        ({"extra": '{"a": ' * 100_000}, "its extra is not a JSON object"),
        ({"conn_type": ["mosaic"]}, "conn_type="),
    ],
)
def test_a_connection_that_no_form_makes_is_an_error_of_ours(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(MosaicValidationError) as caught:
        access_of(Connection(**{"conn_id": "odd", "conn_type": "mosaic", "password": KEY, **facts}))
    assert str(caught.value).startswith("Connection 'odd': ")
    assert words in str(caught.value)


@pytest.mark.parametrize("conn_type", ["mosaic", "", None])
def test_a_connection_of_no_type_is_taken_for_mosaics(conn_type: str | None) -> None:
    assert access_of(Connection(conn_id="c", conn_type=conn_type, password=KEY)) == Access(api_key=KEY)


def test_the_password_of_another_service_is_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(conn_type="slack", password="xoxb-hush", host=server.url))
    with pytest.raises(MosaicValidationError, match=r"conn_type='slack'.*password of another service is not sent"):
        MosaicHook().whoami()
    assert MosaicHook().test_connection()[0] is False
    assert server.asked == []


@pytest.mark.parametrize("extra", ["not json hush", "[]", "5", '"text"', '{"timeout": 5'])
def test_an_extra_that_is_no_json_object_is_named(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow itself may refuse it when it reads the variable, or keep it as it is.
    complaint = complaint_about(json.dumps({"conn_type": "mosaic", "password": KEY, "extra": extra}), monkeypatch)
    assert "mosaic_default" in complaint


@pytest.mark.parametrize(
    "connection",
    [
        '{"conn_type": "mosaic", "password": "mk_live_hush"',
        "mosaic://host:mk_live_hush/",
        "mosaic://:mk_live_hush@[::1",
    ],
)
def test_a_variable_that_cannot_be_read_is_told_from_one_that_is_not_there(
    connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{VARIABLE} is set, but holds neither JSON nor a URI" in complaint_about(connection, monkeypatch)
    assert f"or set {VARIABLE}." in complaint_about(None, monkeypatch)


def test_a_plain_process_says_that_the_database_was_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = complaint_about(None, monkeypatch)
    assert "Airflow did not search its database" in complaint
    assert "Run `airflow connections test mosaic_default`" in complaint


@pytest.mark.parametrize("process", ["task", "server"])
def test_a_process_that_searches_the_database_says_where_to_make_a_connection(
    process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    if process == "task":
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    else:
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    said = str(lookup_error("mosaic_default", ValueError("it isn't defined")))
    assert "make one of type 'mosaic' under Admin > Connections" in said
    assert "database" not in said


@pytest.mark.parametrize(
    ("fault", "kind", "transient"),
    [
        (ValueError(f"not a port: {KEY}"), MosaicValidationError, False),
        (RuntimeError(f"the vault is away, token Bearer {KEY}"), MosaicTransportError, True),
    ],
)
def test_a_lookup_that_fails_shows_no_secret(
    fault: Exception, kind: type[MosaicError], transient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(hook: MosaicHook, conn_id: str) -> None:
        raise fault

    monkeypatch.setattr(MosaicHook, "get_connection", fail)
    with pytest.raises(kind, match=r"^mosaic_conn_id='mosaic_default'.*\*\*\*") as caught:
        MosaicHook().access  # noqa: B018 - it is looked up when it is asked for
    assert (caught.value.transient, caught.value.effect_unknown) == (transient, False)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("conn_id", ["", "None", "{{ conn }}", None, 5])
def test_a_connection_id_that_can_be_none_is_refused(conn_id: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^mosaic_conn_id="):
        MosaicHook(conn_id).access  # noqa: B018 - it is looked up when it is asked for


def test_nothing_is_looked_up_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    hook = MosaicHook()
    hook.close()
    monkeypatch.setenv(VARIABLE, as_json(password=KEY))
    assert hook.access.api_key == KEY


def test_calls_go_where_the_connection_says_and_over_one_client(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url, extra={"workspace_id": "w"}))
    hook = MosaicHook()
    try:
        assert isinstance(hook.whoami(), Whoami)
        assert hook.client is hook.get_conn() is hook.client
    finally:
        hook.close()
    [(method, path, headers)] = server.asked
    assert (method, path) == ("GET", "/whoami")
    assert (headers["Authorization"], headers["X-Workspace-Id"]) == (f"Bearer {KEY}", "w")


def test_a_hook_that_was_closed_can_be_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    hook = MosaicHook()
    for _ in range(2):
        hook.whoami()
        hook.close()
    assert len(server.asked) == 2


def test_lists_page_by_themselves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    server.body = json.dumps({"runs": [{"run_id": "a", "status": "running"}], "next_cursor": "again"}).encode()
    hook = MosaicHook()
    try:
        assert [run.run_id for run in hook.list_runs("agent", status="running")] == ["a"]
    finally:
        hook.close()
    assert [path for _, path, _ in server.asked] == [
        "/agent/agent/runs?limit=100&status=running",
        "/agent/agent/runs?limit=100&status=running&cursor=again",
    ]


def test_an_error_comes_as_what_it_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    server.status, server.body = 401, json.dumps({"detail": f"{KEY} is unknown"}).encode()
    hook = MosaicHook()
    with pytest.raises(MosaicAuthenticationError) as caught:
        hook.get_run("r")
    hook.close()
    assert "hush" not in str(caught.value)


# Test connection

ORGANIZATION = {
    "organization_id": "o",
    "organization_name": "Northwind Films",
    "organization_slug": "n",
    "scopes": None,
}
USER = {"user_id": "u", "email": "someone@example.org", "is_admin": True, "api_key_id": "k"}


@pytest.mark.parametrize(
    ("status", "body", "good", "words"),
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
def test_testing_a_connection_says_whose_key_it_is_or_what_is_wrong(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, good: bool, words: str
) -> None:
    server.status = status
    server.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    found, message = MosaicHook().test_connection()
    assert (found, words in message) == (good, True), message
    assert "hush" not in message
    if good:
        assert message.startswith(f"Connected to {server.url} as ")


def test_testing_a_connection_asks_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status, server.body = 503, b"{}"
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    good, message = MosaicHook().test_connection()
    assert (good, "503" in message, len(server.asked)) == (False, True, 1)


def test_testing_a_connection_to_a_host_that_says_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.hooks.mosaic._LONGEST_TEST", 0.3)
    with HostileServer(silence) as host:
        monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=host.url))
        good, message = MosaicHook().test_connection()
        assert (good, "no response came in time" in message, host.count) == (False, True, 1)


def test_a_renewed_hook_has_the_key_that_the_connection_has_now(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    hook = MosaicHook()
    try:
        before = hook.client
        hook.renew()
        assert hook.client is before
        monkeypatch.setenv(VARIABLE, as_json(password="mk_another", host=server.url))
        hook.renew()
        assert hook.access.api_key == hook.client.access.api_key == "mk_another"
        monkeypatch.delenv(VARIABLE)
        hook.renew()
        assert hook.access.api_key == "mk_another"
    finally:
        hook.close()


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
def test_testing_a_connection_never_raises(connection: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, connection)
    good, message = MosaicHook().test_connection()
    assert (good, isinstance(message, str), "hush" in message) == (False, True, False), message


def test_testing_a_server_that_refuses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.api.retries.RetryPolicy.pause", lambda *_: 0.0)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=f"http://127.0.0.1:{port}"))
    good, message = MosaicHook().test_connection()
    assert not good
    assert "the server could not be reached (ConnectionRefusedError" in message


# The form


class Field:
    """Stands in for a field of wtforms, which not every Airflow brings."""

    def __init__(self, label: str, validators: list[object], description: str) -> None:
        self.label, self.description = label, description


def test_both_forms_have_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        kind: type(kind, (Field,), {}) for kind in ("StringField", "IntegerField", "PasswordField", "BooleanField")
    }
    monkeypatch.setitem(sys.modules, "wtforms", SimpleNamespace(**kinds))
    monkeypatch.setitem(sys.modules, "wtforms.validators", SimpleNamespace(Optional=object))
    widgets = MosaicHook.get_connection_form_widgets()
    newer = connection_type_info()
    assert {name: (w.label, w.description) for name, w in widgets.items()} == {
        name: (field["label"], field["description"]) for name, field in newer["conn-fields"].items()
    }
    assert {name: type(widget).__name__ for name, widget in widgets.items()} == {
        "workspace_id": "StringField",
        "webhook_secret": "PasswordField",
        "timeout": "IntegerField",
        "allow_http": "BooleanField",
        "allow_private_storage": "BooleanField",
    }
    behaviour = {name.replace("_", "-"): value for name, value in MosaicHook.get_ui_field_behaviour().items()}
    assert behaviour == newer["ui-field-behaviour"]


def test_every_field_of_the_form_is_one_that_the_hook_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"allow_http": True, "allow_private_storage": True}
    extra = {"workspace_id": "w", "timeout": 5, "webhook_secret": "whsk_hush", **flags}
    assert set(extra) == {field.name for field in EXTRA_FIELDS}
    access = access_from(as_json(password=KEY, extra=extra), monkeypatch)
    assert (access.workspace_id, access.timeout) == ("w", 5.0)
    assert (access.allow_http, access.allow_private_storage) == (True, True)


def test_every_error_of_a_hook_is_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host="http://127.0.0.1:1"))
    hook = MosaicHook()
    with pytest.raises(MosaicError):
        hook.start_upload("film")
    hook.close()
