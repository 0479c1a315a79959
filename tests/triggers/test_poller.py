"""The poller with rate limits, unusual lists and a hanging server; and how it closes."""

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

from airflow_provider_mosaic.api import poll_state
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicSocialPostTrigger, poller, shared_client, shared_pollers
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller

from .waits import cancel_all, start_wait

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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    server = Runs()
    connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_here"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    yield server
    server.close()


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


# Rate limits


def test_nothing_is_sent_during_a_cooldown(server: Runs) -> None:
    server.run, limited_at = limited_once(3, server.run)

    async def scenario() -> list[Any]:
        waits = start_waits(100, deadline=time.time() + 1.5)
        return [event.payload for event in await asyncio.gather(*waits)]

    events = run_bounded(scenario())
    # Up to 32 requests were running already, and arrive at about the same time.
    late = [when - limited_at[0] for when in server.times("/") if when > limited_at[0] + 1.5]
    assert min(late) >= 3.0
    # The deadline was during the cooldown: each run is read once after it.
    assert {event["outcome"] for event in events} == {"timeout"}
    assert len(late) == 100


def test_a_rate_limit_of_the_list_applies_to_all_requests(server: Runs) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing, limited_at = limited_once(2, lambda: (200, {}, listed))

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 3)
        await cancel_all(waits)

    run_bounded(scenario())
    assert min(when - limited_at[0] for when in server.times("/") if when > limited_at[0] + 0.5) >= 2.0


def test_after_a_cooldown_the_list_is_scanned_again(server: Runs) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing = lambda: (200, {}, listed)
    server.run, limited_at = limited_once(1, server.run)

    async def scenario() -> None:
        # The list does not show half of the runs, so they are polled one by one until the 429.
        waits = start_waits(80, poll_interval=30)
        await asyncio.to_thread(until, lambda: limited_at and max(server.times("/")) > limited_at[0] + 0.9)
        await cancel_all(waits)

    run_bounded(scenario())
    assert next(path for when, path in server.requests if when > limited_at[0] + 0.9) == LIST


def test_a_page_waits_for_a_cooldown_that_starts_during_another_one(server: Runs) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    running = threading.Event()
    limited_at: list[float] = []

    def limited_list() -> Response:
        if limited_at:
            return 200, {}, listed
        running.wait(20)
        limited_at.append(time.time())
        return 429, {"Retry-After": "1"}, {}

    def limited_run(run_id: str) -> Response:
        # The first wait is polled by itself. Its 429 arrives during the cooldown of the list, and extends it.
        running.set()
        until(lambda: limited_at)
        time.sleep(0.3)
        return 429, {"Retry-After": "4"}, {}

    server.listing, server.run = limited_list, limited_run

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 2)
        await cancel_all(waits)

    run_bounded(scenario())
    assert server.times(LIST)[1] - limited_at[0] >= 4.0


# Each second permits one request.
def test_runs_end_although_the_server_permits_only_a_scan_between_two_cooldowns(server: Runs) -> None:
    last: list[float] = []
    lock = threading.Lock()

    def limited(body: Any) -> Response:
        with lock:
            now = time.monotonic()
            if last and now < last[0] + 1.0:
                return 429, {"Retry-After": f"{last[0] + 1.0 - now:.3f}"}, {}
            last[:] = [now]
            return 200, {}, body

    server.listing = lambda: limited({"runs": [], "next_cursor": None})
    server.run = lambda run_id: limited({"run_id": run_id, "status": "completed"})

    async def scenario() -> None:
        waits = start_waits(12, poll_interval=0.2)
        # The first wait is polled by itself, before the first scan.
        await asyncio.to_thread(until, lambda: sum(wait.done() for wait in waits) >= 3, 40)
        await cancel_all(waits)

    run_bounded(scenario())


def test_a_long_cooldown_is_logged_once_and_holds_no_slot(server: Runs, caplog: pytest.LogCaptureFixture) -> None:
    server.listing, limited_at = limited_once(60, lambda: (200, {}, {}))

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: limited_at)
        await asyncio.sleep(1.5)
        (shared,) = shared_pollers._pollers[asyncio.get_running_loop()].values()
        assert not shared._polls
        await cancel_all(waits)

    run_bounded(scenario())
    # Some requests were running already.
    assert max(server.times("/")) < limited_at[0] + 0.5
    assert len([line for line in caplog.messages if "pause until" in line]) == 1


# Slots


def test_waits_that_are_always_due_leave_slots_to_others(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_MAX_POLLS", 1)

    def slow(subject_id: str) -> Response:
        if subject_id == "r1":
            return 200, {}, {"run_id": subject_id, "status": "completed"}
        time.sleep(0.02)
        return 200, {}, {"post_id": subject_id, "status": "scheduled"}

    server.run = slow

    async def scenario() -> str:
        waits = [start_post_wait(f"p{number}") for number in range(20)]
        await asyncio.to_thread(until, lambda: len(server.requests) >= 20)
        run = start_wait("r1")
        try:
            return str((await asyncio.wait_for(asyncio.shield(run), 10)).payload["status"])
        finally:
            await cancel_all([*waits, run])

    assert run_bounded(scenario()) == "completed"


# Outages


class AnyRuns:
    """A client to which every run exists, with one status."""

    def __init__(self, status: str) -> None:
        self._status = status

    async def send(self, call: Call[Run]) -> Run:
        return Run(run_id=call.ids["run_id"], status=self._status)

    def request_refresh(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("limited", [True, False])
def test_the_list_is_not_audited_during_a_cooldown(limited: bool) -> None:
    async def scenario() -> int:
        poller = Poller(AnyRuns("completed"))  # type: ignore[arg-type]
        wait = BatchedRunWait("r1", run_poll_state("r1", poll_interval=30.0, deadline=None, log=str))
        poller.add(wait)
        now = asyncio.get_running_loop().time()
        if limited:
            poller._rate_limit.cooldown_until = now + 0.1
        poller._start_audit(now)
        assert (await wait.event)["status"] == "completed"
        await poller.aclose()
        return poller._strategy._failed_audits

    assert run_bounded(scenario()) == (0 if limited else 1)


def test_an_audit_at_a_deadline_says_nothing_about_the_list() -> None:
    async def scenario() -> int:
        poller = Poller(AnyRuns("running"))  # type: ignore[arg-type]
        wait = BatchedRunWait("r1", run_poll_state("r1", poll_interval=30.0, deadline=time.time(), log=str))
        poller.add(wait)
        poller._start_audit(asyncio.get_running_loop().time())
        assert (await wait.event)["outcome"] == "timeout"
        await poller.aclose()
        return poller._strategy._failed_audits

    assert run_bounded(scenario()) == 0


def test_due_polls_fail_unsent_after_many_failures_in_a_row(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    server.run = lambda run_id: (500, {}, {})

    async def scenario() -> list[Any]:
        return [event.payload for event in await asyncio.gather(*start_waits(200, deadline=time.time()))]

    events = run_bounded(scenario())
    assert {event["outcome"] for event in events} == {"timeout"}
    # 20 failures, and the requests that were running then.
    assert len(server.times("/agent_run/")) <= 20 + poller._MAX_POLLS


# Unusual lists


UNUSUAL_LISTS: list[Any] = [
    [],
    "runs",
    None,
    {"runs": {"r0": RUNNING}},
    {"runs": [None, 5, "r1", {"run_id": {"id": 1}}, {"run_id": ["r2"], "status": ["running"]}]},
    {"runs": [RUNNING | {"run_id": "r0"}], "next_cursor": "\ud800"},
    {"runs": [RUNNING | {"run_id": "r\ud800"}], "next_cursor": {"page": 2}},
    {"runs": [{"run_id": "r0", "status": "running", "node_status_counts": [1], "started_at": 10**400}]},
]


@pytest.mark.parametrize("listed", UNUSUAL_LISTS, ids=range(len(UNUSUAL_LISTS)))
def test_an_unusual_list_ends_no_wait(server: Runs, listed: Any) -> None:
    server.listing = lambda: (200, {}, listed)

    async def scenario() -> list[Any]:
        waits = start_waits(12)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 1)
        await asyncio.sleep(0.5)
        assert not any(wait.done() for wait in waits)
        server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]

    events = run_bounded(scenario())
    assert [event["status"] for event in events] == ["completed"] * 12


def test_an_unexpected_exception_of_a_scan_ends_no_wait_and_is_logged(
    server: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed = {"runs": [RUNNING | {"run_id": "r0"}], "next_cursor": None}
    server.listing = lambda: (200, {}, listed)

    def broken(*_: object) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(Poller, "_on_listed", broken)

    async def scenario() -> list[Any]:
        waits = start_waits(12)
        await asyncio.to_thread(until, lambda: len(server.times("/agent_run/")) >= 24)
        server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]

    with caplog.at_level(logging.INFO):
        events = run_bounded(scenario())
    assert [event["status"] for event in events] == ["completed"] * 12
    (line,) = [record for record in caplog.records if "polled one by one" in record.message]
    assert line.exc_info


def test_failed_requests_count_as_time_of_a_scan(
    server: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poller, "_MAX_SCAN_SECONDS", 0.8)
    page = itertools.count()

    def every_second_one_fails() -> Response:
        number = next(page)
        if number % 2 == 0:
            time.sleep(0.5)
            return 504, {}, {}
        return 200, {}, {"runs": [RUNNING | {"run_id": f"r{number}"}], "next_cursor": f"{number}"}

    server.listing = every_second_one_fails

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: any("took too long" in line for line in caplog.messages))
        await cancel_all(waits)

    with caplog.at_level(logging.INFO):
        run_bounded(scenario())
    assert len(server.times(LIST)) == 4


# Three scans, two seconds between them.
def test_log_lines_of_a_scan_are_paced(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_SECONDS_PER_LOG_LINE", 0.05)

    def listed() -> Response:
        done = len(server.times(LIST))
        rows = [RUNNING | {"run_id": f"r{number}", "node_status_counts": {"completed": done}} for number in range(40)]
        return 200, {}, {"runs": rows, "next_cursor": None}

    server.listing = listed

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 4)
        await cancel_all(waits)

    run_bounded(scenario())
    # The first scan skips runs that are polled by themselves.
    scans = server.times(LIST)[1:]
    assert min(later - earlier for earlier, later in itertools.pairwise(scans)) > 0.9 * 40 * 0.05


def test_many_runs_that_are_due_during_a_scan_are_polled_after_it(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    ended_at: list[float] = []
    release = threading.Event()

    def hang() -> Response:
        release.wait(20)
        ended_at.append(time.time())
        return 200, {}, {"runs": [], "next_cursor": None}

    server.listing = hang
    server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})

    async def scenario() -> list[Any]:
        waits = start_waits(8)
        await asyncio.to_thread(until, lambda: server.times(LIST))
        waits += [start_wait(f"late{number}") for number in range(8)]
        await asyncio.sleep(0.3)
        release.set()
        return [event.payload["status"] for event in await asyncio.gather(*waits)]

    assert run_bounded(scenario()) == ["completed"] * 16
    assert min(server.times("/agent_run/late")) >= ended_at[0]


def test_new_waits_join_the_next_scan_unless_that_is_too_late(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_SCAN_INTERVAL_PER_PAGE", 4.0)
    # The first waits are due at once, and then long after the next scan.
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    monkeypatch.setattr(poll_state, "_FIRST_PAUSE", 30.0)
    rows = [RUNNING | {"run_id": f"{kind}{number}"} for kind in "rn" for number in range(40)]
    server.listing = lambda: (200, {}, {"runs": rows, "next_cursor": None})

    def single_polls(kind: str) -> list[str]:
        return [path for _, path in list(server.requests) if path.startswith(f"/agent_run/{kind}")]

    async def scenario() -> None:
        waits = start_waits(40, poll_interval=30)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) == 1)
        (shared,) = shared_pollers._pollers[asyncio.get_running_loop()].values()
        while shared._scan is not None or not all(wait.last_pause for wait in shared._waits):
            await asyncio.sleep(0.01)
        for number in range(20):
            # Too few at once for a scan of their own.
            waits.append(start_wait(f"n{number}", poll_interval=30))
            await asyncio.sleep(0.03)
        waits.append(start_wait("soon", poll_interval=0.2))
        await asyncio.to_thread(until, lambda: single_polls("soon"))
        assert len(server.times(LIST)) == 1
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) == 2)
        assert single_polls("n") == []
        await cancel_all(waits)

    run_bounded(scenario())


# The connection


def test_a_lookup_of_the_connection_that_hangs_stops_no_polls(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client, "FRESH", 0.3)
    real, lookups = MosaicHook.look_up_access, []

    async def hanging(hook: MosaicHook) -> Any:
        lookups.append(hook)
        if len(lookups) > 1:
            await asyncio.Event().wait()
        return await real(hook)

    monkeypatch.setattr(MosaicHook, "look_up_access", hanging)

    async def scenario() -> None:
        waits = start_waits(3)
        await asyncio.to_thread(until, lambda: len(lookups) > 1)
        before = len(server.requests)
        await asyncio.to_thread(until, lambda: len(server.requests) > before + 20)
        assert not any(wait.done() for wait in waits)
        await cancel_all(waits)

    run_bounded(scenario())
    assert len(lookups) == 2


# Closing


def test_a_wait_that_is_cancelled_twice_still_closes_the_client(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    real, closed = shared_client.SharedClient.aclose, []

    async def slow(self: shared_client.SharedClient) -> None:
        await asyncio.sleep(0.2)
        await real(self)
        closed.append(self)

    monkeypatch.setattr(shared_client.SharedClient, "aclose", slow)

    async def scenario() -> None:
        (wait,) = start_waits(1)
        await asyncio.to_thread(until, lambda: server.requests)
        wait.cancel()
        await asyncio.sleep(0.05)
        assert not wait.done()
        wait.cancel()
        await asyncio.wait([wait])
        assert wait.cancelled()
        assert closed == []
        await asyncio.wait(shared_pollers._closing)
        assert len(closed) == 1

    run_bounded(scenario())


def test_a_deferral_lasts_longer_than_a_heartbeat(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_pollers, "shortest_deferral", lambda: 0.6)
    server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})

    async def scenario() -> tuple[float, int]:
        started_at = time.monotonic()
        (wait,) = start_waits(1)
        await asyncio.wait([wait])
        return time.monotonic() - started_at, len(shared_pollers._pollers[asyncio.get_running_loop()])

    waited, pollers = run_bounded(scenario())
    assert waited >= 0.6
    assert pollers == 0


def test_the_heartbeat_interval_has_a_default(real_shortest_deferral: Callable[[], float]) -> None:
    assert real_shortest_deferral() == 6.0


def test_the_heartbeat_interval_is_read_from_the_configuration(
    real_shortest_deferral: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "20")
    assert real_shortest_deferral() == 21.0


@pytest.fixture
def real_shortest_deferral() -> Callable[[], float]:
    return SHORTEST_DEFERRAL


#: The real function: an autouse fixture replaces it in the module.
SHORTEST_DEFERRAL = shared_pollers.shortest_deferral


# The timer


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times at which the pollers' timers called back."""
    wakes: list[float] = []
    real = Poller._poll_due

    def recording(self: Poller) -> None:
        wakes.append(time.monotonic())
        real(self)

    monkeypatch.setattr(Poller, "_poll_due", recording)
    return wakes


def test_the_timer_is_idle_while_due_waits_cannot_be_polled(
    server: Runs, wakes: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    hanging = threading.Event()

    def hang(*_: str) -> Response:
        hanging.wait(20)
        return 403, {}, {}

    async def scenario() -> list[int]:
        counts = []
        # In turn: a scan that hangs, single polls that hang in all slots, and a cooldown.
        for listing, run in ((hang, server.run), (server.listing, hang), limited):
            server.listing, server.run = listing, run
            wakes.clear()
            waits = start_waits(50, poll_interval=30)
            before = len(server.requests)
            await asyncio.to_thread(until, lambda before=before: len(server.requests) > before)
            waits += start_waits(5, poll_interval=30)
            await asyncio.sleep(1.0)
            counts.append(len(wakes))
            await cancel_all(waits)
        hanging.set()
        return counts

    limited = (lambda: (429, {"Retry-After": "60"}, {}), lambda run_id: (429, {"Retry-After": "60"}, {}))
    assert max(run_bounded(scenario())) < 50


def test_the_timer_calls_back_for_the_first_wait_and_not_too_often(wakes: list[float]) -> None:
    async def scenario() -> None:
        poller = Poller(AnyRuns("completed"))  # type: ignore[arg-type]
        waits = [
            BatchedRunWait(name, run_poll_state(name, poll_interval=30.0, deadline=None, log=str))
            for name in ("late", "soon")
        ]
        now = asyncio.get_running_loop().time()
        poller._timer_not_before = now + 0.2
        for wait, due in zip(waits, (60.0, 0.01), strict=True):
            poller.add(wait)
            poller._set_due(wait, now + due)
        started_at = time.monotonic()
        assert (await waits[1].event)["id"] == "soon"
        assert not waits[0].is_done
        assert wakes[0] - started_at >= 0.15
        assert len(wakes) == 1
        await poller.aclose()

    run_bounded(scenario())
