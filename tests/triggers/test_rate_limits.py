"""The poller during rate limits and outages."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api import poll_strategy
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.triggers import poller, shared_pollers
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller

from .any_run_server import LIST, RUNNING, AnyRuns, Response, Runs, limited_once, start_waits
from .waits import cancel_all


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
    assert min(when - limited_at[0] for when in server.times("/") if when > limited_at[0] + 1.5) >= 2.0


def test_after_a_cooldown_the_list_is_scanned_again(server: Runs) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing = lambda: (200, {}, listed)
    server.run, limited_at = limited_once(3, server.run)

    async def scenario() -> None:
        # The list does not show half of the runs, so they are polled one by one until the 429.
        waits = start_waits(80, poll_interval=30)
        await asyncio.to_thread(until, lambda: limited_at and max(server.times("/")) > limited_at[0] + 2.5)
        await cancel_all(waits)

    run_bounded(scenario())
    assert next(path for when, path in server.requests if when > limited_at[0] + 2.5) == LIST


def test_after_a_scan_that_was_rate_limited_the_list_is_scanned_again(
    server: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_MAX_PAGE_RATE_LIMITS", 1)
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    monkeypatch.setattr(poll_strategy, "_FIRST_REST", 0.1)
    server.listing, limited_at = limited_once(1, server.listing)

    async def scenario() -> None:
        waits = start_waits(40)
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
        return 429, {"Retry-After": "2"}, {}

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
    assert max(server.times("/")) < limited_at[0] + 1.4
    assert len([line for line in caplog.messages if "pause until" in line]) == 1


# Outages


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
