"""Read the Airflow connection: valid ones, and errors that name the field and show no secret."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import Connection

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.errors import (
    MosaicConnectionError,
    MosaicError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.hooks.connection import lookup_error, read_access
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.server_hook import ServerHook

from .connections import KEY, URI_KEY, VARIABLE, as_json, look_up_access


def connection_error(connection: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the error that a hook and its asynchronous client raise for a connection."""
    if connection is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, connection)
    with pytest.raises(MosaicValidationError) as sync_error:
        MosaicHook().client  # noqa: B018 - looks the connection up
    with pytest.raises(MosaicValidationError) as async_error:
        asyncio.run(MosaicHook().open_async_client())
    assert str(async_error.value).partition("(")[0] == str(sync_error.value).partition("(")[0]
    for error in (sync_error.value, async_error.value):
        assert "hush" not in "".join(traceback.format_exception(error))
    return str(sync_error.value)


@pytest.mark.parametrize(
    ("connection", "fields"),
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
        # The Test button of Airflow 3.3.2 needs a port.
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
def test_read_access(connection: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_up_access(connection, monkeypatch) == Access(api_key=KEY, **fields)


@pytest.mark.parametrize(
    ("connection", "message"),
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
def test_an_error_names_the_field(connection: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = connection_error(connection, monkeypatch)
    assert error.startswith("Connection 'mosaic_default': ")
    assert message in error


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": 5}, "host=5: it must be the API's address as text"),
        ({"password": 5}, "no API key"),
        ({"extra": {"timeout": 5}}, "its extra is not a JSON object"),
        ({"extra": '{"a": ' * 100_000}, "its extra is not a JSON object"),
        ({"conn_type": ["mosaic"]}, "conn_type="),
    ],
)
def test_fields_of_a_wrong_type(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MosaicValidationError) as error:
        read_access(Connection(**{"conn_id": "odd", "conn_type": "mosaic", "password": KEY, **fields}))
    assert str(error.value).startswith("Connection 'odd': ")
    assert message in str(error.value)


@pytest.mark.parametrize("conn_type", ["mosaic", "", None])
def test_the_type_may_be_missing(conn_type: str | None) -> None:
    assert read_access(Connection(conn_id="c", conn_type=conn_type, password=KEY)) == Access(api_key=KEY)


@pytest.mark.parametrize("extra", ["not json hush", "[]", "5", '"text"', '{"timeout": 5'])
def test_an_invalid_extra_is_an_error(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some Airflow versions reject it when they parse the variable.
    error = connection_error(json.dumps({"conn_type": "mosaic", "password": KEY, "extra": extra}), monkeypatch)
    assert "mosaic_default" in error


@pytest.mark.parametrize(
    "connection",
    [
        '{"conn_type": "mosaic", "password": "mk_live_hush"',
        "mosaic://host:mk_live_hush/",
        "mosaic://:mk_live_hush@[::1",
    ],
)
def test_an_invalid_environment_variable_is_an_error(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{VARIABLE} is set, but contains neither valid JSON nor a valid URI" in connection_error(
        connection, monkeypatch
    )
    assert f"or set {VARIABLE}." in connection_error(None, monkeypatch)


def test_a_page_of_the_api_server_does_not_blame_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(ServerHook, "get_connection", staticmethod(not_found))
    with pytest.raises(MosaicConnectionError, match="add one of type 'mosaic' under Admin > Connections"):
        _ = ServerHook().access


def test_a_process_without_a_task_does_not_search_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    error = connection_error(None, monkeypatch)
    assert "Airflow did not search its database" in error
    assert "Run `airflow connections test mosaic_default`" in error


@pytest.mark.parametrize("process", ["task", "server"])
def test_a_missing_connection_is_an_error(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time import task_runner

    if process == "task":
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    else:
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    error = str(lookup_error("mosaic_default", ValueError("it isn't defined")))
    assert "add one of type 'mosaic' under Admin > Connections" in error
    assert "database" not in error


@pytest.mark.parametrize(
    ("failure", "kind", "transient"),
    [
        (ValueError(f"not a port: {KEY}"), MosaicValidationError, False),
        (RuntimeError(f"the vault is unavailable, token Bearer {KEY}"), MosaicTransportError, True),
    ],
)
def test_a_failed_lookup_shows_no_secret(
    failure: Exception, kind: type[MosaicError], transient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(hook: MosaicHook, conn_id: str) -> None:
        raise failure

    monkeypatch.setattr(MosaicHook, "get_connection", fail)
    with pytest.raises(kind, match=r"^mosaic_conn_id='mosaic_default'.*\*\*\*") as error:
        MosaicHook().access  # noqa: B018 - looks the connection up
    assert (error.value.transient, error.value.effect_unknown) == (transient, False)
    assert "hush" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("conn_id", ["", "None", "{{ conn }}", None, 5])
def test_an_invalid_connection_id_is_rejected(conn_id: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^mosaic_conn_id="):
        MosaicHook(conn_id).access  # noqa: B018 - looks the connection up
