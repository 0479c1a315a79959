"""The poller beside a server that wants quiet, lists oddly or hangs; and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api import poll_state as waiting
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, pages, poller
from airflow_provider_mosaic.triggers import shared_client as session
from airflow_provider_mosaic.triggers import shared_pollers as polling
from airflow_provider_mosaic.triggers.polled_waits import Wait
from airflow_provider_mosaic.triggers.poller import Poller
from airflow_provider_mosaic.triggers.schedule import Schedule

LIST = "/agent_runs"
RUNNING = {"status": "running"}
#: What a server answers: a status, headers, a body.
Answer = tuple[int, dict[str, str], Any]


class Runs:
    """A server with as many runs as it is asked for; the test says how it answers."""

    def __init__(self) -> None:
        #: When which path was asked for, by the wall clock.
        self.asked: list[tuple[float, str]] = []
        self.listing: Callable[[], Answer] = lambda: (403, {}, {})
        self.run: Callable[[str], Answer] = lambda run_id: (200, {}, RUNNING | {"run_id": run_id})
        runs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                runs.asked.append((time.time(), path))
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
        return [when for when, asked in list(self.asked) if asked.startswith(path)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    server = Runs()
    connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_here"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    yield server
    server.close()


def waits_for(count: int, **options: Any) -> list[asyncio.Task[Any]]:
    triggers = [
        MosaicRunTrigger(**{"run_id": f"r{number}", "poll_interval": 0.05, **options}) for number in range(count)
    ]
    return [asyncio.create_task(anext(trigger.run())) for trigger in triggers]  # type: ignore[arg-type]


async def given_up(waits: list[asyncio.Task[Any]]) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)


def limited_once(quiet: float, then: Callable[..., Answer]) -> tuple[Callable[..., Answer], list[float]]:
    """An answer that asks for quiet, and then another one; and when the quiet began."""
    began: list[float] = []
    lock = threading.Lock()

    def answered(*asked: str) -> Answer:
        with lock:
            if not began:
                began.append(time.time())
                return 429, {"Retry-After": f"{quiet:g}"}, {}
        return then(*asked)

    return answered, began


# Quiet


def test_nothing_is_sent_while_the_server_wants_quiet(server: Runs) -> None:
    server.run, began = limited_once(3, server.run)

    async def course() -> list[Any]:
        waits = waits_for(100, deadline=time.time() + 1.5)
        return [event.payload for event in await asyncio.gather(*waits)]

    events = run_bounded(course())
    # Up to 32 were under way already; theirs came at the same time.
    late = [when - began[0] for when in server.times("/") if when > began[0] + 0.5]
    assert min(late) >= 3.0
    # The deadline fell into the quiet: each run was asked for once after it.
    assert {event["outcome"] for event in events} == {"timeout"}
    assert len(late) == 100


def test_a_list_that_wants_quiet_gets_it_from_all(server: Runs) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing, began = limited_once(2, lambda: (200, {}, listed))

    async def course() -> None:
        waits = waits_for(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 3)
        await given_up(waits)

    run_bounded(course())
    assert min(when - began[0] for when in server.times("/") if when > began[0] + 0.5) >= 2.0


def test_a_long_quiet_is_told_once_and_takes_no_place_from_anyone(
    server: Runs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_LONGEST_QUIET", 0.5)
    server.listing, began = limited_once(60, lambda: (200, {}, {}))

    async def course() -> None:
        waits = waits_for(40)
        await asyncio.to_thread(until, lambda: began)
        await asyncio.sleep(1.5)
        (shared,) = polling._pollers[asyncio.get_running_loop()].values()
        assert not shared._queue
        assert not shared._looks
        await given_up(waits)

    run_bounded(course())
    # A few first looks were under way already.
    assert max(server.times("/")) < began[0] + 0.5
    told = [line for line in caplog.messages if "are quiet until" in line]
    assert len(told) == 1


# Odd lists


ODD_LISTS: list[Any] = [
    [],
    "runs",
    None,
    {"runs": {"r0": RUNNING}},
    {"runs": [None, 5, "r1", {"run_id": {"id": 1}}, {"run_id": ["r2"], "status": ["running"]}]},
    {"runs": [RUNNING | {"run_id": "r0"}], "next_cursor": "\ud800"},
    {"runs": [RUNNING | {"run_id": "r\ud800"}], "next_cursor": {"page": 2}},
    {"runs": [{"run_id": "r0", "status": "running", "node_status_counts": [1], "started_at": 10**400}]},
]


@pytest.mark.parametrize("listed", ODD_LISTS, ids=range(len(ODD_LISTS)))
def test_an_odd_list_ends_no_wait(server: Runs, listed: Any) -> None:
    server.listing = lambda: (200, {}, listed)

    async def course() -> list[Any]:
        waits = waits_for(12)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 1)
        await asyncio.sleep(0.5)
        assert not any(wait.done() for wait in waits)
        server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]

    events = run_bounded(course())
    assert [event["status"] for event in events] == ["completed"] * 12


def test_a_fault_of_ours_in_reading_the_list_ends_no_wait_and_is_logged(
    server: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed = {"runs": [RUNNING | {"run_id": "r0"}], "next_cursor": None}
    server.listing = lambda: (200, {}, listed)

    def broken(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(Poller, "_was_listed", broken)

    async def course() -> list[Any]:
        waits = waits_for(12)
        await asyncio.to_thread(until, lambda: len(server.times("/agent_run/")) >= 24)
        server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]

    with caplog.at_level(logging.INFO):
        events = run_bounded(course())
    assert [event["status"] for event in events] == ["completed"] * 12
    (told,) = [record for record in caplog.records if "asked for one by one" in record.message]
    assert told.exc_info


def test_a_sweep_full_of_news_leaves_the_supervisor_time_for_the_lines(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_EACH_LINE", 0.05)

    def listed() -> Answer:
        done = len(server.times(LIST))
        rows = [RUNNING | {"run_id": f"r{number}", "node_status_counts": {"completed": done}} for number in range(40)]
        return 200, {}, {"runs": rows, "next_cursor": None}

    server.listing = listed

    async def course() -> None:
        waits = waits_for(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 4)
        await given_up(waits)

    run_bounded(course())
    # The first one passes over those that are being looked at by themselves.
    sweeps = server.times(LIST)[1:]
    # In batches of twenty lines; nothing is waited for after the last one.
    assert min(later - earlier for earlier, later in itertools.pairwise(sweeps)) > 0.9 * 20 * 0.05


def test_whoever_joins_a_fleet_is_looked_at_with_it_unless_that_is_too_late(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_GAP_A_PAGE", 4.0)
    # Those that are there first are due at once, and then long after the next sweep: only the gap says when that is.
    monkeypatch.setattr(poller, "_SPREAD_EACH", 0.0)
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 30.0)
    rows = [RUNNING | {"run_id": f"{kind}{number}"} for kind in "rn" for number in range(40)]
    server.listing = lambda: (200, {}, {"runs": rows, "next_cursor": None})

    def asked_by_itself(kind: str) -> list[str]:
        return [path for _, path in list(server.asked) if path.startswith(f"/agent_run/{kind}")]

    async def course() -> None:
        waits = waits_for(40, poll_interval=30)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) == 1)
        (fleet,) = polling._pollers[asyncio.get_running_loop()].values()
        while fleet._sweep is not None or not all(wait.last_pause for wait in fleet._waits):
            await asyncio.sleep(0.01)
        for number in range(20):
            # Never so many at once that the list would be taken for them alone.
            waits += waits_for(1, run_id=f"n{number}", poll_interval=30)
            await asyncio.sleep(0.03)
        waits += waits_for(1, run_id="hasty", poll_interval=0.2)
        await asyncio.to_thread(until, lambda: asked_by_itself("hasty"))
        assert len(server.times(LIST)) == 1
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) == 2)
        assert asked_by_itself("n") == []
        await given_up(waits)

    run_bounded(course())


# The connection


def test_a_look_at_the_connection_that_hangs_stops_nobody_who_has_one(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FRESH", 0.3)
    monkeypatch.setattr(session, "_CONNECT_GRACE", 0.1)
    real, looks = MosaicHook.look_up_access, []

    async def hung(hook: MosaicHook) -> Any:
        looks.append(hook)
        if len(looks) > 1:
            await asyncio.Event().wait()
        return await real(hook)

    monkeypatch.setattr(MosaicHook, "look_up_access", hung)

    async def course() -> None:
        waits = waits_for(3)
        await asyncio.to_thread(until, lambda: len(looks) > 1)
        before = len(server.asked)
        await asyncio.to_thread(until, lambda: len(server.asked) > before + 20)
        assert not any(wait.done() for wait in waits)
        await given_up(waits)

    run_bounded(course())
    assert len(looks) == 2


# The end


def test_a_wait_that_is_cancelled_twice_still_closes_the_session(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    real, closed = session.SharedClient.aclose, []

    async def slow(self: session.SharedClient) -> None:
        await asyncio.sleep(0.2)
        await real(self)
        closed.append(self)

    monkeypatch.setattr(session.SharedClient, "aclose", slow)

    async def course() -> None:
        (wait,) = waits_for(1)
        await asyncio.to_thread(until, lambda: server.asked)
        wait.cancel()
        await asyncio.sleep(0.05)
        assert not wait.done()
        wait.cancel()
        await asyncio.wait([wait])
        assert wait.cancelled()
        assert closed == []
        await asyncio.wait(polling._closing)
        assert len(closed) == 1

    run_bounded(course())


def test_a_task_is_deferred_for_longer_than_a_heartbeat_of_its_supervisor(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "shortest_deferral", lambda: 0.6)
    server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})

    async def course() -> tuple[float, int]:
        began = time.monotonic()
        (wait,) = waits_for(1)
        await asyncio.wait([wait])
        return time.monotonic() - began, len(polling._pollers[asyncio.get_running_loop()])

    waited, pollers = run_bounded(course())
    assert waited >= 0.6
    assert pollers == 0


def test_the_heartbeat_is_read_from_the_configuration(real_shortest_deferral: Callable[[], float]) -> None:
    assert real_shortest_deferral() == 6.0


def test_a_longer_heartbeat_makes_deferrals_longer(
    real_shortest_deferral: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "20")
    assert real_shortest_deferral() == 21.0


@pytest.fixture
def real_shortest_deferral() -> Callable[[], float]:
    return SHORTEST_DEFERRAL


#: As it is, and not as the tests of waits have it.
SHORTEST_DEFERRAL = polling.shortest_deferral


# The agenda


class Due(Wait[None]):
    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(None, None, name)  # type: ignore[arg-type]


def test_the_agenda_keeps_the_last_time_of_each_wait_however_often_it_changes() -> None:
    async def course() -> None:
        agenda = Schedule(lambda: None)
        waits = [Due(f"r{number}") for number in range(50)]
        for due in range(1000):
            for number, wait in enumerate(waits):
                agenda.add(wait, 1e9 - due + number)
        assert len(agenda._heap) <= 2 * len(waits) + 20
        waits[0].looking = True
        waits[1].outcome.cancel()
        assert agenda.pop_due(1e9 - 999 + 25) == waits[2:26]
        assert agenda.pop_due(2e9) == waits[26:]
        agenda.close()

    run_bounded(course())


def test_the_agenda_wakes_for_the_first_one_and_not_before_it_may() -> None:
    async def course() -> None:
        loop = asyncio.get_running_loop()
        woken: list[float] = []
        agenda = Schedule(lambda: woken.append(loop.time()))
        began = loop.time()
        late, soon = Due("late"), Due("soon")
        agenda.add(late, began + 60.0)
        agenda.not_before = began + 0.2
        agenda.add(soon, began + 0.01)
        await asyncio.sleep(0.5)
        assert len(woken) == 1
        assert woken[0] - began >= 0.2
        assert agenda.pop_due(loop.time()) == [soon]
        agenda.add(late, float("inf"))
        agenda.set_timer()
        agenda.close()

    run_bounded(course())
