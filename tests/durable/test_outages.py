"""Whether Airflow's API server is away, asked of a real socket; and what Airflow's own client makes of a failure."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, ErrorResponse, GetVariable, VariableResult

from airflow_provider_mosaic.airflow_compat import read_variable
from airflow_provider_mosaic.durable.outages import api_server_is_unreachable

HEALTHY = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}


class Health(BaseHTTPRequestHandler):
    """The health page of an API server."""

    answer: tuple[int, bytes] = (200, b"")
    paths: list[str] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[CommsDecoder[Any, Any]]:
    """A task of a supervisor's."""
    here, there = socket.socketpair()
    comms: CommsDecoder[Any, Any] = CommsDecoder(socket=here)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    yield comms
    here.close()
    there.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, supervisor: CommsDecoder[Any, Any]) -> Iterator[type[Health]]:
    """An API server under a path."""
    httpd = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=lambda: httpd.serve_forever(0.02), daemon=True)
    thread.start()
    Health.paths = []
    url = f"http://127.0.0.1:{httpd.server_port}/airflow/execution/"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)
    monkeypatch.setenv("no_proxy", "*")
    yield Health
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(
    ("status", "body", "away"),
    [
        (200, HEALTHY, False),
        (200, {"metadatabase": {"status": "unhealthy"}}, True),
        (200, "what is this", False),
        (200, [], False),
        (401, {}, False),
        # A server for the execution API alone.
        (404, {}, False),
        (500, {}, True),
        (503, {}, True),
    ],
)
def test_what_the_health_page_says(server: type[Health], status: int, body: Any, away: bool) -> None:
    server.answer = (status, json.dumps(body).encode())
    assert api_server_is_unreachable(5.0) is away
    assert server.paths == ["/airflow/api/v2/monitor/health"]


def test_a_server_that_does_not_answer_is_away_within_the_time(
    supervisor: CommsDecoder[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/execution/"
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)
        began = time.monotonic()
        assert api_server_is_unreachable(0.3)
        assert time.monotonic() - began < 2
    assert api_server_is_unreachable(5.0), "nobody listens there any more"


def test_without_a_supervisor_there_is_no_server_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:9/execution/")
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    assert not api_server_is_unreachable(5.0)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    assert not api_server_is_unreachable(5.0)


def test_a_variable_that_is_not_there_is_told_from_one_that_cannot_be_read(
    supervisor: CommsDecoder[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    asked: list[str] = []

    def send(comms: Any, msg: Any) -> Any:
        if not isinstance(msg, GetVariable):
            return None
        asked.append(msg.key)
        answer = answers.pop(0) if answers else ErrorResponse(error=ErrorType.API_SERVER_ERROR)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(CommsDecoder, "send", send)
    missing = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
    answers[:] = [missing, missing]
    assert read_variable("a") is None
    away = ErrorResponse(error=ErrorType.API_SERVER_ERROR)
    for failure in (away, AirflowRuntimeError(away)):
        answers[:] = [failure, failure]
        with pytest.raises(AirflowRuntimeError):
            read_variable("a")
    # It is back a moment later.
    answers[:] = [away, VariableResult(key="a", value="text")]
    assert read_variable("a") == "text"
