"""The receiver in docs/webhooks.md: receives webhooks of the emulator and calls a fake Airflow API."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

uvicorn = pytest.importorskip("uvicorn")

from mosaic_emulator import Emulator  # noqa: E402

PAGE = Path(__file__).parent.parent / "docs" / "webhooks.md"
AGENT = "a0000000-0000-4000-8000-000000000004"
SECRET = "whsk_emulator"


def snippet() -> str:
    """Return the code block of receiver.py."""
    (code,) = re.findall(r"^```python\n(# receiver\.py\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


@dataclass
class Airflow:
    """A fake Airflow API that accepts each DAG run id once."""

    url: str = ""
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def respond(self, path: str, token: str | None, body: dict[str, Any]) -> int:
        self.tokens.add(token)
        assert path == "/api/v2/dags/after_mosaic/dagRuns"
        assert body["logical_date"] is None
        if body["dag_run_id"] in self.started:
            self.refused.append(body["dag_run_id"])
            return 409
        self.started[body["dag_run_id"]] = body["conf"]
        return 200


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    airflow = Airflow()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(airflow.respond(self.path, self.headers["Authorization"], body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        airflow.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield airflow
        server.shutdown()


@pytest.fixture
def receiver(mosaic_emulator: Emulator, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the receiver and yield its URL."""
    for name, value in {
        "MOSAIC_WEBHOOK_SECRET": SECRET,
        "MOSAIC_API_KEY": mosaic_emulator.api_key,
        "MOSAIC_URL": mosaic_emulator.url,
        "AIRFLOW_URL": airflow.url,
        "AIRFLOW_TOKEN": "a-token",
    }.items():
        monkeypatch.setenv(name, value)
    # In a registered module, so that annotations can be resolved.
    module = ModuleType("receiver")
    monkeypatch.setitem(sys.modules, "receiver", module)
    exec(compile(snippet(), str(PAGE), "exec"), module.__dict__)
    server = uvicorn.Server(uvicorn.Config(module.app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/mosaic"
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()
    module.mosaic.close()


def until(read: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := read()):
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.005)
    return value


def start(mosaic: Emulator, callback_url: str | None = None) -> str:
    respond = httpx.post(
        f"{mosaic.url}/agent/{AGENT}/run",
        json={} if callback_url is None else {"callback_url": callback_url},
        headers={"Authorization": f"Bearer {mosaic.api_key}"},
        trust_env=False,
        timeout=60,
    )
    assert respond.status_code == 200, respond.text
    return str(respond.json()["run_id"])


def deliver(receiver: str, event: Any, signature: str | None = SECRET) -> httpx.Response:
    headers = {"Content-Type": "application/json"} | ({} if signature is None else {"X-Mosaic-Signature": signature})
    content = event if isinstance(event, bytes) else json.dumps(event).encode()
    return httpx.post(receiver, content=content, headers=headers, trust_env=False, timeout=60)


def finished(run_id: str) -> dict[str, Any]:
    return {"flag": "RUN_FINISHED", "agent_id": AGENT, "run_id": run_id, "status": "completed"}


def all_delivered(mosaic: Emulator, sent: int) -> bool:
    """Return whether all events of a run were delivered."""
    counts = mosaic.counts()
    return counts.webhooks_sent - counts.webhooks_failed >= sent


def test_completed_run_triggers_one_dag_run(mosaic_emulator: Emulator, airflow: Airflow, receiver: str) -> None:
    run_id = start(mosaic_emulator, receiver)
    until(lambda: airflow.started)
    # Six events: start and end of the run and of its two nodes.
    until(lambda: all_delivered(mosaic_emulator, 6))
    assert airflow.started == {f"mosaic__{run_id}__completed": {"run_id": run_id, "status": "completed"}}
    assert (airflow.refused, airflow.tokens) == ([], {"Bearer a-token"})
    assert mosaic_emulator.counts().webhooks_failed == 0


def test_repeated_events_trigger_one_dag_run(mosaic_emulator: Emulator, airflow: Airflow, receiver: str) -> None:
    mosaic_emulator.configure(webhook_copies=2)
    run_id = start(mosaic_emulator, receiver)
    until(lambda: airflow.refused)
    until(lambda: all_delivered(mosaic_emulator, 12))
    assert list(airflow.started) == airflow.refused == [f"mosaic__{run_id}__completed"]
    assert mosaic_emulator.counts().webhooks_failed == 0


def test_late_events_trigger_one_dag_run(mosaic_emulator: Emulator, airflow: Airflow, receiver: str) -> None:
    mosaic_emulator.configure(webhook_delay=0.5)
    run_id = start(mosaic_emulator, receiver)
    until(lambda: mosaic_emulator.runs()[0]["status"] == "completed")
    until(lambda: airflow.started)
    until(lambda: all_delivered(mosaic_emulator, 6))
    assert (list(airflow.started), airflow.refused) == ([f"mosaic__{run_id}__completed"], [])


@pytest.mark.parametrize("secret", ["whsk_another", "whsk_emulator2", "", None])
def test_invalid_signature_is_rejected(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str, secret: str | None
) -> None:
    mosaic_emulator.configure(webhook_secret=secret or None, webhook_retries=0)
    run_id = start(mosaic_emulator, receiver)
    until(lambda: mosaic_emulator.counts().webhooks_failed == 6)
    assert deliver(receiver, finished(run_id), secret).status_code == 401
    assert airflow.started == {}


def test_empty_secret_rejects_everything(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["receiver"], "SECRET", "")
    assert [deliver(receiver, finished("x"), each).status_code for each in ("", None, SECRET)] == [401, 401, 401]


def test_receiver_reads_the_run_instead_of_trusting_the_event(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str
) -> None:
    mosaic_emulator.configure(hold_runs=True)
    active, failed = start(mosaic_emulator), start(mosaic_emulator)
    mosaic_emulator.finish_run(failed, "failed")
    assert deliver(receiver, finished(active)).json() == "still running"
    assert deliver(receiver, finished("00000000-0000-4000-8000-00000000dead")).json() == "unknown run"
    assert airflow.started == {}
    # The event reports completed, but the run has failed.
    assert deliver(receiver, finished(failed)).json() == "accepted"
    assert airflow.started == {f"mosaic__{failed}__failed": {"run_id": failed, "status": "failed"}}


@pytest.mark.parametrize(
    "event",
    [
        {"flag": "TEST", "run_id": "test", "timestamp": "2026-07-01T10:00:00Z", "message": "Hello", "test_data": {}},
        {"flag": "OUTPUTS_FINISHED", "run_id": "x", "outputs": {}},
        {"flag": "RUN_FINISHED"},
        {"flag": "RUN_STARTED", "run_id": "x", "status": "running", "triggered_by": {"type": "schedule"}},
    ],
    ids=lambda event: event["flag"],
)
def test_other_events_are_ignored(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str, event: dict[str, Any]
) -> None:
    respond = deliver(receiver, event)
    assert (respond.status_code, respond.json()) == (200, "nothing to do")
    assert airflow.started == {}
    assert mosaic_emulator.counts().requests == {}


BODIES = {
    "empty": b"",
    "no JSON": b"not json",
    "a list": b"[]",
    "no flag": b'{"run_id": "x"}',
    "no UTF-8": b"\xff\xfe",
    "nested too deeply": b"[" * 100_000,
    "a number of 5,000 digits": b'{"flag": "RUN_FINISHED", "x": ' + b"9" * 5000 + b"}",
    "an id of half a character": rb'{"flag": "RUN_FINISHED", "run_id": "\ud800"}',
    "an id with NUL": rb'{"flag": "RUN_FINISHED", "run_id": "a\u0000"}',
    "an id with spaces": b'{"flag": "RUN_FINISHED", "run_id": "a b"}',
    "an id that is a template": b'{"flag": "RUN_FINISHED", "run_id": "{{x}}"}',
    "an id that is long": b'{"flag": "RUN_FINISHED", "run_id": "' + b"x" * 100_000 + b'"}',
    "longer than any event": b'{"flag": "RUN_FINISHED", "x": "' + b"x" * (17 << 20) + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_invalid_event_is_a_bad_request(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str, body: bytes
) -> None:
    assert deliver(receiver, body).status_code == 400
    assert airflow.started == {}


def test_endless_body_is_a_bad_request(receiver: str, airflow: Airflow) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 20
            yield b"[" * (1 << 20)

    # The connection is closed while the client sends; the response may be lost with it.
    with suppress(httpx.TransportError):
        respond = httpx.post(receiver, content=chunks(), headers={"X-Mosaic-Signature": SECRET}, trust_env=False)
        assert respond.status_code == 400
    # The receiver limits what it reads. Sockets buffer some more.
    assert sent < 128 << 20
    assert airflow.started == {}


def test_event_is_redelivered_if_the_run_cannot_be_read(
    mosaic_emulator: Emulator, airflow: Airflow, receiver: str
) -> None:
    mosaic_emulator.inject("server_error", method="GET", path="/agent_run/{run_id}", times=2)
    run_id = start(mosaic_emulator, receiver)
    until(lambda: airflow.started)
    assert list(airflow.started) == [f"mosaic__{run_id}__completed"]
    assert mosaic_emulator.counts().webhooks_failed == 2
