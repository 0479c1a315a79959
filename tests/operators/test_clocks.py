"""Workers whose clock is far ahead of Mosaic's. A lost start is still found, because each response has a date."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import Clock

from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator

AGENT = "a0000000-0000-4000-8000-000000000004"


class Mosaic:
    """Loses the response to each start. All its times are behind by the same time."""

    def __init__(self, behind: timedelta) -> None:
        self._behind = behind
        #: How far the clock of the current worker alone is ahead.
        self.ahead = timedelta()
        self.runs: list[tuple[datetime, str]] = []
        self.starts = 0
        #: Called before each list of runs.
        self.on_list: Callable[[], None] = lambda: None

    @property
    def now(self) -> datetime:
        return datetime.now(timezone.utc) - self._behind

    def start(self, *, age: timedelta = timedelta()) -> None:
        self.runs.insert(0, (self.now - age, f"run-{len(self.runs)}"))

    def respond(self, method: str, path: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
        if method == "POST":
            self.starts += 1
            self.start()
            return None
        if path.endswith("/runs"):
            self.on_list()
            since = datetime.fromisoformat(query["from"][0].replace("Z", "+00:00"))
            rows = [(at.isoformat(), run_id) for at, run_id in self.runs if at >= since]
            return {"runs": [{"run_id": id, "status": "running", "started_at": at} for at, id in rows]}
        if path == "/social/posts":
            return {"posts": [{"post_id": id, "created_at": at.isoformat()} for at, id in self.runs]}
        if path.startswith("/social/post/"):
            return {"status": "posted"}
        return {"agent_id": AGENT, "status": "completed", "outputs": [{"id": "o", "video_url": "https://cdn.test/o"}]}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Callable[[Mosaic], None]]:
    servers: list[ThreadingHTTPServer] = []

    def serve(mosaic: Mosaic) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                url = urlsplit(self.path)
                body = mosaic.respond(self.command, url.path, parse_qs(url.query))
                if body is not None:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET

            def date_time_string(self, timestamp: float | None = None) -> str:
                return format_datetime(mosaic.now - mosaic.ahead, usegmt=True)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        connection = {"conn_type": "mosaic", "host": f"http://127.0.0.1:{server.server_port}", "password": "mk_x"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


BEHIND = [timedelta(minutes=minutes) for minutes in (-60, 0, 60, 24 * 60)]


def runner(store: StateStore) -> TaskRunner:
    return TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="edit", agent_id=AGENT, video_ids=["v"], deferrable=False), store=store
    )


def poster(store: StateStore) -> TaskRunner:
    return TaskRunner(
        lambda: MosaicSocialPostOperator(task_id="post", text="Hello", platforms=["x"], deferrable=False), store=store
    )


@pytest.mark.parametrize("behind", BEHIND, ids=str)
@pytest.mark.parametrize("existing", [0, 3])
def test_lost_start_is_found(serve: Callable[[Mosaic], None], behind: timedelta, existing: int) -> None:
    mosaic = Mosaic(behind)
    serve(mosaic)
    for _ in range(existing):
        mosaic.start(age=timedelta(minutes=3))
    assert runner(StateStore()).execute() == f"run-{existing}"
    assert mosaic.starts == 1


@pytest.mark.parametrize("behind", BEHIND, ids=str)
def test_retry_finds_a_lost_start(
    serve: Callable[[Mosaic], None], behind: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic = Mosaic(behind)
    serve(mosaic)
    mosaic.start(age=timedelta(minutes=3))
    task = runner(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.start()
    assert task.execute() == "run-1"
    assert mosaic.starts == 0


@pytest.mark.parametrize("behind", BEHIND, ids=str)
def test_retry_finds_a_lost_post(serve: Callable[[Mosaic], None], behind: timedelta) -> None:
    mosaic = Mosaic(behind)
    serve(mosaic)
    task = poster(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.start()
    assert task.execute() == "run-0"
    assert mosaic.starts == 0


@pytest.mark.parametrize("make", [runner, poster])
def test_retry_on_another_machine_finds_what_a_worker_with_a_fast_clock_started(
    serve: Callable[[Mosaic], None], clock: Clock, make: Callable[[StateStore], TaskRunner]
) -> None:
    mosaic = Mosaic(timedelta())
    serve(mosaic)
    mosaic.start(age=timedelta(minutes=3))
    mosaic.ahead = timedelta(hours=1)
    clock.step(3600)
    task = make(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.ahead = timedelta()
    clock.step(-3600)
    mosaic.start()
    assert task.execute() == "run-1"
    assert mosaic.starts == 0


def test_retry_on_a_machine_with_a_fast_clock_adopts_no_run_from_before_the_request(
    serve: Callable[[Mosaic], None], clock: Clock
) -> None:
    mosaic = Mosaic(timedelta())
    serve(mosaic)
    mosaic.start(age=timedelta(minutes=30))
    task = runner(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.ahead = timedelta(minutes=40)
    clock.step(2400)
    # The first attempt died before it sent anything.
    assert task.execute() == "run-1"
    assert mosaic.starts == 1


def test_search_of_a_worker_with_a_fast_clock_reads_no_older_runs_than_before_the_request(
    serve: Callable[[Mosaic], None], clock: Clock
) -> None:
    mosaic = Mosaic(timedelta())
    serve(mosaic)
    # The list before the request starts six minutes ago: the lead is not known yet.
    mosaic.ahead = timedelta(minutes=4)
    clock.step(240)
    mosaic.start(age=timedelta(minutes=8))
    assert runner(StateStore()).execute() == "run-1"
    assert mosaic.starts == 1


def test_lost_start_is_found_although_the_clock_was_set_back_before_the_first_response(
    serve: Callable[[Mosaic], None], clock: Clock
) -> None:
    mosaic = Mosaic(timedelta())
    serve(mosaic)
    clock.step(3600)

    def set_back() -> None:
        mosaic.on_list = lambda: None
        clock.step(-3600)

    mosaic.on_list = set_back
    assert runner(StateStore()).execute() == "run-0"
    assert mosaic.starts == 1
