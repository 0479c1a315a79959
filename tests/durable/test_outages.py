"""Detect an outage of Airflow's API server on a real socket, and of its Variables."""

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
    """The health endpoint of an API server."""

    response: tuple[int, bytes] = (200, b"")
    paths: list[str] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        status, body = self.response
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[CommsDecoder[Any, Any]]:
    """Run the test as a task with a supervisor."""
    here, there = socket.socketpair()
    comms: CommsDecoder[Any, Any] = CommsDecoder(socket=here)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    yield comms
    here.close()
    there.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, supervisor: CommsDecoder[Any, Any]) -> Iterator[type[Health]]:
    """Serve an API server below a path."""
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
    ("status", "body", "unreachable"),
    [
        (200, HEALTHY, False),
        (200, {"metadatabase": {"status": "unhealthy"}}, True),
        (200, "unexpected", False),
        (200, [], False),
        (401, {}, False),
        # A server with the execution API only.
        (404, {}, False),
        (500, {}, True),
        (503, {}, True),
    ],
)
def test_the_health_endpoint_shows_an_outage(server: type[Health], status: int, body: Any, unreachable: bool) -> None:
    server.response = (status, json.dumps(body).encode())
    assert api_server_is_unreachable(5.0) is unreachable
    assert server.paths == ["/airflow/api/v2/monitor/health"]


def test_a_server_that_does_not_respond_is_unreachable_within_the_timeout(
    supervisor: CommsDecoder[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/execution/"
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)
        start = time.monotonic()
        assert api_server_is_unreachable(0.3)
        assert time.monotonic() - start < 20
    assert api_server_is_unreachable(5.0), "the port is closed"


def test_without_a_supervisor_no_server_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:9/execution/")
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    assert not api_server_is_unreachable(5.0)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    assert not api_server_is_unreachable(5.0)


def test_a_missing_variable_differs_from_an_unreadable_one(
    supervisor: CommsDecoder[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    responses: list[Any] = []

    def send(comms: Any, msg: Any) -> Any:
        if not isinstance(msg, GetVariable):
            return None
        response = responses.pop(0) if responses else ErrorResponse(error=ErrorType.API_SERVER_ERROR)
        if isinstance(response, Exception):
            raise response
        return response

    monkeypatch.setattr(CommsDecoder, "send", send)
    missing = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
    responses[:] = [missing, missing]
    assert read_variable("a") is None
    unavailable = ErrorResponse(error=ErrorType.API_SERVER_ERROR)
    for failure in (unavailable, AirflowRuntimeError(unavailable)):
        responses[:] = [failure, failure]
        with pytest.raises(AirflowRuntimeError):
            read_variable("a")
    # The server is back for the second request.
    responses[:] = [unavailable, VariableResult(key="a", value="text")]
    assert read_variable("a") == "text"
