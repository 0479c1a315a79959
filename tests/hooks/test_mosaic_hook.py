"""The hook: one client, looked up when it is needed."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from airflow_provider_mosaic.api.endpoints.account import Whoami
from airflow_provider_mosaic.api.errors import MosaicAuthenticationError, MosaicError, MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .connections import KEY, VARIABLE, as_json
from .servers import Server


def test_the_connection_is_looked_up_with_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    hook = MosaicHook()
    hook.close()
    monkeypatch.setenv(VARIABLE, as_json(password=KEY))
    assert hook.access.api_key == KEY


def test_the_password_of_another_service_is_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(conn_type="slack", password="xoxb-hush", host=server.url))
    with pytest.raises(MosaicValidationError, match=r"conn_type='slack'.*password of another service is not sent"):
        MosaicHook().whoami()
    assert MosaicHook().test_connection()[0] is False
    assert server.requests == []


def test_calls_use_one_client_with_the_fields_of_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url, extra={"workspace_id": "w"}))
    with closing(MosaicHook()) as hook:
        assert isinstance(hook.whoami(), Whoami)
        assert hook.client is hook.get_conn() is hook.client
    [(method, path, headers)] = server.requests
    assert (method, path) == ("GET", "/whoami")
    assert (headers["Authorization"], headers["X-Workspace-Id"]) == (f"Bearer {KEY}", "w")


def test_a_closed_hook_can_be_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    hook = MosaicHook()
    for _ in range(2):
        hook.whoami()
        hook.close()
    assert len(server.requests) == 2


def test_renew_looks_the_connection_up_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    with closing(MosaicHook()) as hook:
        before = hook.client
        hook.renew()
        assert hook.client is before
        monkeypatch.setenv(VARIABLE, as_json(password="mk_another", host=server.url))
        hook.renew()
        assert hook.access.api_key == hook.client.access.api_key == "mk_another"
        monkeypatch.delenv(VARIABLE)
        hook.renew()
        assert hook.access.api_key == "mk_another"


def test_lists_request_page_after_page(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    server.body = json.dumps({"runs": [{"run_id": "a", "status": "running"}], "next_cursor": "again"}).encode()
    with closing(MosaicHook()) as hook:
        assert [run.run_id for run in hook.list_runs("agent", status="running")] == ["a"]
    assert [path for _, path, _ in server.requests] == [
        "/agent/agent/runs?limit=100&status=running",
        "/agent/agent/runs?limit=100&status=running&cursor=again",
    ]


def test_an_error_response_raises_its_exception(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url))
    server.status, server.body = 401, json.dumps({"detail": f"{KEY} is unknown"}).encode()
    hook = MosaicHook()
    with pytest.raises(MosaicAuthenticationError) as error:
        hook.get_run("r")
    hook.close()
    assert "hush" not in str(error.value)


def test_every_error_is_a_mosaic_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host="http://127.0.0.1:1"))
    hook = MosaicHook()
    with pytest.raises(MosaicError):
        hook.start_upload("film")
    hook.close()


def test_asset_type_is_validated_before_the_file_is_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, as_json(password=KEY, host=server.url, extra={"allow_http": True}))
    with closing(MosaicHook()) as hook, pytest.raises(MosaicValidationError, match="asset_type='film'"):
        hook.upload_asset(f"{server.url}/a.mp4", "film")  # type: ignore[arg-type]
    assert server.requests == []
