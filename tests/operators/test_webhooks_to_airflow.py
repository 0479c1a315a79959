"""``callback_url="airflow"``: the address is made when the run is started, and is no part of the request's identity."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from clients.echoes import EchoingServer, http
from clients.servers import Seen
from mosaic_emulator import Emulator
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import AGENT, effects, sent, until
from tasks.task_runs import fail_first_attempt, fails_with, run_task

from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicYouTubeTriggerOperator
from airflow_provider_mosaic.webhook_address import path_token

SECRET = "whsk_emulator"
PATH = f"/mosaic/webhooks/mosaic_default/{path_token(SECRET, 'mosaic_default')}"


@pytest.fixture
def received(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the paths of the requests to a fake API server."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", "True")
        connect(monkeypatch, mosaic, SECRET)
        yield paths
        server.shutdown()


def connect(monkeypatch: pytest.MonkeyPatch, mosaic: Emulator, secret: str | None) -> None:
    connection = json.loads(mosaic.airflow_connection()) | {"extra": {"webhook_secret": secret}}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))


@pytest.mark.usefixtures("mosaic")
def test_webhooks_of_the_run_come_to_airflow(received: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    task = run_task(callback_url="airflow")
    task.execute()
    until(lambda: len(received) == 6)
    assert set(received) == {PATH}
    # Neither the rendered argument nor a log line shows the token.
    assert PATH.rpartition("/")[2] not in caplog.text
    assert SECRET not in caplog.text


def test_refusal_that_repeats_the_address_shows_no_token(received: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seen: Seen) -> bytes:
        found = {"runs": []} if seen.method == "GET" else {"detail": [{"msg": f"not a URL: {seen.body.decode()}"}]}
        return http("200 OK" if seen.method == "GET" else "422 No", json.dumps(found).encode())

    with EchoingServer(refuse) as server:
        connection = {
            "conn_type": "mosaic",
            "host": server.url,
            "password": "mk_x",
            "extra": {"webhook_secret": SECRET},
        }
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        text = fails_with(run_task(callback_url="airflow").execute, MosaicValidationError)
        assert PATH.encode() in server.seen[-1].body
    assert "not a URL" in text
    assert PATH.rpartition("/")[2] not in text


def test_new_secret_is_the_same_request(mosaic: Emulator, received: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore()
    task = run_task(store, callback_url="airflow")
    run_id = fail_first_attempt(mosaic, task, "completed")
    connect(monkeypatch, mosaic, "rotated")
    assert task.execute() == run_id
    assert effects(mosaic)["runs_started"] == 1
    assert not any(PATH.rpartition("/")[2] in json.dumps(value) for _, value in store.history)


def test_retry_continues_although_webhooks_were_switched_off(
    mosaic: Emulator, received: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = run_task(StateStore(), callback_url="airflow")
    run_id = fail_first_attempt(mosaic, task, "completed")
    monkeypatch.delenv("AIRFLOW__MOSAIC__WEBHOOKS")
    assert task.execute() == run_id


def test_other_receiver_is_another_request(mosaic: Emulator, received: list[str]) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    first = run_task(store, callback_url="airflow", wait_for_completion=False).execute()
    assert run_task(store, callback_url="airflow", wait_for_completion=False).execute() == first
    mosaic.finish_run(str(first), "completed")
    assert run_task(store, wait_for_completion=False).execute() != first


@pytest.mark.parametrize("value", ["", "http://airflow.example.org", "airflow.example.org"])
def test_nothing_is_sent_if_mosaic_cannot_reach_airflow(
    mosaic: Emulator, received: list[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", value)
    text = fails_with(run_task(callback_url="airflow").execute, MosaicValidationError)
    assert "[api] base_url" in text
    assert "This attempt started no run and paid nothing." in text
    assert mosaic.counts().requests == {}


def test_nothing_is_sent_while_webhooks_are_off(
    mosaic: Emulator, received: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__MOSAIC__WEBHOOKS")
    assert "[mosaic] webhooks" in fails_with(run_task(callback_url="airflow").execute, MosaicValidationError)
    assert mosaic.counts().requests == {}


def test_nothing_is_sent_without_a_secret(
    mosaic: Emulator, received: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, mosaic, None)
    text = fails_with(run_task(callback_url="airflow").execute, MosaicConnectionError)
    assert "webhook_secret" in text
    assert mosaic.counts().requests == {}


def test_webhooks_of_a_channel_come_to_airflow(mosaic: Emulator, received: list[str], hook: MosaicHook) -> None:
    arguments: dict[str, Any] = {"task_id": "channels", "agent_id": AGENT, "youtube_channels": ["UC" + "a" * 22]}
    task = TaskRunner(lambda: MosaicYouTubeTriggerOperator(callback_url="airflow", **arguments))
    task.execute()
    [trigger] = hook.list_triggers(AGENT)
    assert (trigger.callback_url or "").endswith(PATH)
    added = "POST /agent/{agent_id}/triggers/add_youtube_channels"
    assert sent(mosaic, added) == 1
    task.execute()
    assert sent(mosaic, added) == 1
