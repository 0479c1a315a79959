"""The poller during rate limits and outages."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api import poll_strategy
from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError
from airflow_provider_mosaic.api.poll_state import PollState, run_poll_state
from airflow_provider_mosaic.triggers import poller, shared_pollers
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller

from .any_run_server import LIST, RUNNING, AnyRuns, Response, Runs, limited_once, start_waits
from .waits import cancel_all


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """
    Return the kind of each request that was started after the last 429, and the seconds that a cooldown still lasted.

    By the poller: a request arrives later at the server.
    """
    sends: list[tuple[str, float]] = []
    start_poll, send, on_error = Poller._start_poll, Poller._send, Poller._on_error

    def record(shared: Poller, kind: str) -> None:
        sends.append((kind, shared._rate_limit.cooldown_until - shared._loop.time()))

    def recording_poll(self: Poller, wait: Any, **options: Any) -> None:
        record(self, "single")
        start_poll(self, wait, **options)

    async def recording_page(self: Poller, call: Any, kind: str) -> Any:
        if kind == "list":
            record(self, kind)
        return await send(self, call, kind)

    def forgetting(self: Poller, error: MosaicError) -> None:
        on_error(self, error)
        if isinstance(error, MosaicRateLimitError):
            sends.clear()

    monkeypatch.setattr(Poller, "_start_poll", recording_poll)
    monkeypatch.setattr(Poller, "_send", recording_page)
    monkeypatch.setattr(Poller, "_on_error", forgetting)
    return sends


async def cooldown_started() -> Poller:
    """Return the poller in a cooldown, once no request is running any more."""
    (shared,) = shared_pollers._pollers[asyncio.get_running_loop()].values()
    while shared._polls or not shared._rate_limit.cooldown_until:
        await asyncio.sleep(0.01)
    return shared


def test_nothing_is_sent_during_a_cooldown(
    server: Runs, sends: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run, limited_at = limited_once(3, server.run)

    async def scenario() -> list[Any]:
        waits = start_waits(100, poll_interval=30)
        await asyncio.to_thread(until, lambda: limited_at)
        shared = await cooldown_started()
        # The deadlines are during the cooldown.
        monkeypatch.setattr(PollState, "expired", True)
        sends.clear()
        for wait in shared._waits:
            shared._set_due(wait, asyncio.get_running_loop().time())
        return [event.payload for event in await asyncio.gather(*waits)]

    events = run_bounded(scenario())
    assert {event["outcome"] for event in events} == {"timeout"}
    # Each run is read once after the cooldown.
    assert [kind for kind, _ in sends].count("single") == 100
    assert max(left for _, left in sends) <= 0


def test_a_rate_limit_of_the_list_applies_to_all_requests(server: Runs, sends: list[tuple[str, float]]) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing, _ = limited_once(2, lambda: (200, {}, listed))

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 3)
        await cancel_all(waits)

    run_bounded(scenario())
    assert max(left for _, left in sends) <= 0


def test_after_a_cooldown_the_list_is_scanned_again(
    server: Runs, sends: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_MAX_POLLS", 8)
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing = lambda: (200, {}, listed)
    unlimited = server.run
    limited, limited_at = limited_once(3, unlimited)
    server.run = lambda run_id: (limited if server.times(LIST) else unlimited)(run_id)

    async def scenario() -> None:
        # The list does not show half of the runs, so they are polled one by one until the 429.
        waits = start_waits(80, poll_interval=30)
        await asyncio.to_thread(until, lambda: limited_at)
        await cooldown_started()
        await asyncio.to_thread(until, lambda: len(sends) >= 2)
        await cancel_all(waits)

    run_bounded(scenario())
    # Only the poll that was rate limited does not wait for the scan.
    assert "list" in [kind for kind, _ in sends[:2]]


def test_after_a_scan_that_was_rate_limited_the_list_is_scanned_again(
    server: Runs, sends: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_MAX_PAGE_RATE_LIMITS", 1)
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)
    monkeypatch.setattr(poll_strategy, "_FIRST_REST", 0.1)
    server.listing, limited_at = limited_once(1, server.listing)

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: limited_at)
        await cooldown_started()
        await asyncio.to_thread(until, lambda: sends)
        await cancel_all(waits)

    run_bounded(scenario())
    assert sends[0][0] == "list"


def test_a_page_waits_for_a_cooldown_that_starts_during_another_one(
    server: Runs, sends: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"runs": [RUNNING | {"run_id": f"r{number}"} for number in range(40)], "next_cursor": None}
    server.listing, _ = limited_once(2, lambda: (200, {}, listed))
    on_error = Poller._on_error

    def twice(self: Poller, error: MosaicError) -> None:
        on_error(self, error)
        # As a 429 to a request that was running already, it extends the cooldown.
        self._loop.call_later(0.5, on_error, self, error)

    monkeypatch.setattr(Poller, "_on_error", twice)

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: len(server.times(LIST)) >= 2)
        await cancel_all(waits)

    run_bounded(scenario())
    assert max(left for kind, left in sends if kind == "list") <= 0


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


def test_a_long_cooldown_is_logged_once_and_holds_no_slot(
    server: Runs, sends: list[tuple[str, float]], caplog: pytest.LogCaptureFixture
) -> None:
    server.listing, limited_at = limited_once(60, lambda: (200, {}, {}))

    async def scenario() -> None:
        waits = start_waits(40)
        await asyncio.to_thread(until, lambda: limited_at)
        shared = await cooldown_started()
        await asyncio.sleep(0.5)
        assert not shared._polls
        await cancel_all(waits)

    run_bounded(scenario())
    assert sends == []
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
    monkeypatch.setattr(poller, "_SLOW", 3600.0)
    server.run = lambda run_id: (500, {}, {})

    async def scenario() -> list[Any]:
        return [event.payload for event in await asyncio.gather(*start_waits(200, deadline=time.time()))]

    events = run_bounded(scenario())
    assert {event["outcome"] for event in events} == {"timeout"}
    # 20 failures, and the requests that were running then.
    assert len(server.times("/agent_run/")) <= 20 + poller._MAX_POLLS
