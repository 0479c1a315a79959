"""The poller with unusual, slow and changing lists of running runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from typing import Any

import pytest
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api import poll_state
from airflow_provider_mosaic.triggers import poller, shared_pollers
from airflow_provider_mosaic.triggers.poller import Poller

from .any_run_server import LIST, RUNNING, Response, Runs, start_waits
from .waits import cancel_all, start_wait

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
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 60)]

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
        return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 60)]

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

    def took_too_long() -> bool:
        return any("took too long" in line for line in caplog.messages)

    # The scan ends first, then the runs.
    server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed" if took_too_long() else "running"})

    async def scenario() -> None:
        await asyncio.gather(*start_waits(40))

    with caplog.at_level(logging.INFO):
        run_bounded(scenario())
    # Two pages, or one on a busy machine.
    assert len(server.times(LIST)) <= 4


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


def test_runs_that_are_due_during_a_scan_do_not_wait_for_the_next_poll_of_its_runs(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    monkeypatch.setattr(poll_state, "_FIRST_PAUSE", 3600.0)
    release = threading.Event()
    rows = [RUNNING | {"run_id": f"r{number}"} for number in range(8)]

    def hang() -> Response:
        release.wait(20)
        return 200, {}, {"runs": rows, "next_cursor": None}

    def late_ones_have_ended(run_id: str) -> Response:
        return 200, {}, {"run_id": run_id, "status": "completed" if run_id.startswith("late") else "running"}

    server.listing, server.run = hang, late_ones_have_ended

    async def scenario() -> None:
        waits = start_waits(8, poll_interval=3600)
        await asyncio.to_thread(until, lambda: server.times(LIST))
        late = [start_wait(f"late{number}", poll_interval=3600) for number in range(8)]
        await asyncio.sleep(0.1)
        release.set()
        await asyncio.gather(*late)
        await cancel_all(waits)

    run_bounded(scenario(), 30)


def test_a_scan_ends_with_the_page_that_shows_its_last_due_run(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    monkeypatch.setattr(poller, "_SCAN_INTERVAL_PER_PAGE", 0.0)
    monkeypatch.setattr(poll_state, "_FIRST_PAUSE", 3600.0)
    first, second = ([RUNNING | {"run_id": f"{kind}{number}"} for number in range(8)] for kind in ("new", "r"))
    pages = itertools.cycle([{"runs": first, "next_cursor": "second"}, {"runs": second, "next_cursor": None}])
    server.listing = lambda: (200, {}, next(pages))

    async def scan_ended(pages: int) -> None:
        (shared,) = shared_pollers._pollers[asyncio.get_running_loop()].values()
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= pages)
        while shared._scan is not None:
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        waits = start_waits(8, poll_interval=3600)
        await asyncio.sleep(0)
        await scan_ended(2)
        waits += [start_wait(f"new{number}", poll_interval=3600) for number in range(8)]
        await scan_ended(3)
        await cancel_all(waits)

    run_bounded(scenario())
    assert len(server.times(LIST)) == 3


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
        now = asyncio.get_running_loop().time
        # Long after the polls below.
        shared._next_scan = now() + 20
        for number in range(20):
            # Too few at once for a scan of their own.
            waits.append(start_wait(f"n{number}", poll_interval=30))
            await asyncio.sleep(0.03)
        waits.append(start_wait("soon", poll_interval=0.2))
        await asyncio.to_thread(until, lambda: single_polls("soon"))
        assert len(server.times(LIST)) == 1
        new = [wait for wait in shared._waits if wait.item_id.startswith("n")]
        assert [wait.due for wait in new] == [shared._next_scan] * 20
        shared._next_scan = now()
        for wait in new:
            shared._set_due(wait, shared._next_scan)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) == 2)
        assert single_polls("n") == []
        await cancel_all(waits)

    run_bounded(scenario())
