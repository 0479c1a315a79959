"""Servers and clients that know every run, for tests of the poller; and waits for their runs and posts."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.triggers import MosaicSocialPostTrigger

from .waits import start_wait

LIST = "/agent_runs"
RUNNING = {"status": "running"}
#: A status, headers, a body.
Response = tuple[int, dict[str, str], Any]


class Runs:
    """A server that knows every run. The test sets its responses."""

    def __init__(self) -> None:
        #: The time and path of each request, by the wall clock.
        self.requests: list[tuple[float, str]] = []
        self.listing: Callable[[], Response] = lambda: (403, {}, {})
        self.run: Callable[[str], Response] = lambda run_id: (200, {}, RUNNING | {"run_id": run_id})
        runs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                runs.requests.append((time.time(), path))
                status, headers, body = runs.listing() if path == LIST else runs.run(path.rpartition("/")[2])
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def times(self, path: str) -> list[float]:
        return [when for when, requested in list(self.requests) if requested.startswith(path)]


def start_waits(count: int, **options: Any) -> list[asyncio.Task[Any]]:
    return [start_wait(f"r{number}", **options) for number in range(count)]


def start_post_wait(post_id: str) -> asyncio.Task[Any]:
    trigger = MosaicSocialPostTrigger(post_id=post_id, poll_interval=0.05)
    return asyncio.create_task(anext(trigger.run()))  # type: ignore[arg-type]


def limited_once(cooldown: float, then: Callable[..., Response]) -> tuple[Callable[..., Response], list[float]]:
    """Return a handler whose first response is a 429, and the list with the time of it."""
    limited_at: list[float] = []
    lock = threading.Lock()

    def respond(*request: str) -> Response:
        with lock:
            if not limited_at:
                limited_at.append(time.time())
                return 429, {"Retry-After": f"{cooldown:g}"}, {}
        return then(*request)

    return respond, limited_at


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    server = Runs()
    connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_here"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    yield server
    server.close()


class AnyRuns:
    """A client to which every run exists, with one status."""

    def __init__(self, status: str) -> None:
        self._status = status

    async def send(self, call: Call[Run]) -> Run:
        return Run(run_id=call.ids["run_id"], status=self._status)

    async def open(self) -> None: ...

    def request_refresh(self) -> None: ...

    async def aclose(self) -> None: ...
