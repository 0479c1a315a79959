"""The poller: its slots, its timer, the lookup of its connection, and how it closes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients.authorities import Authority
from clients.servers import HostileServer, answer
from tasks.fixtures import run_bounded, until

from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import poller, shared_client, shared_pollers
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller

from .any_run_server import AnyRuns, Response, Runs, start_post_wait, start_waits
from .waits import cancel_all, start_wait


def run_wait(run_id: str) -> BatchedRunWait:
    return BatchedRunWait(run_id, run_poll_state(run_id, poll_interval=30.0, deadline=None, log=str))


# Slots


def test_waits_that_are_always_due_leave_slots_to_others(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_MAX_POLLS", 1)

    def slow(item_id: str) -> Response:
        if item_id == "r1":
            return 200, {}, {"run_id": item_id, "status": "completed"}
        time.sleep(0.02)
        return 200, {}, {"post_id": item_id, "status": "scheduled"}

    server.run = slow

    async def scenario() -> str:
        waits = [start_post_wait(f"p{number}") for number in range(20)]
        await asyncio.to_thread(until, lambda: len(server.requests) >= 20)
        run = start_wait("r1")
        try:
            return str((await asyncio.wait_for(asyncio.shield(run), 60)).payload["status"])
        finally:
            await cancel_all([*waits, run])

    assert run_bounded(scenario()) == "completed"


def test_a_slot_that_is_free_again_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_MAX_POLLS", 1)
    monkeypatch.setattr(poller, "_SLOW", 3600.0)
    monkeypatch.setattr(poller, "_SPREAD_PER_WAIT", 0.0)

    async def scenario() -> None:
        shared, waits = Poller(AnyRuns("completed")), [run_wait(f"r{number}") for number in range(3)]  # type: ignore[arg-type]
        for wait in waits:
            shared.add(wait)
        await asyncio.gather(*(wait.event for wait in waits))
        await shared.aclose()

    run_bounded(scenario(), 30)


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


def test_a_bad_certificate_of_a_moment_ends_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trusted, other = tmp_path / "trusted", tmp_path / "other"
    for folder in (trusted, other):
        folder.mkdir()
    authority = Authority(trusted)
    authority.server_context("127.0.0.1")
    certificate = Authority(other).server_context("127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    # More than one after the other may fail before due polls fail without being sent.
    count = 2 * poller._MAX_CONSECUTIVE_FAILURES

    async def scenario(url: str) -> set[str]:
        connection = {"conn_type": "mosaic", "host": url, "password": "mk_here"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        waits = [start_wait("r1") for _ in range(count)]
        await asyncio.to_thread(
            until, lambda: caplog.text.count("Run 'r1' could not be read.") >= count or waits[0].done()
        )
        # New connections present the other certificate.
        certificate.load_cert_chain(trusted / "127.0.0.1.pem")
        return {str((await wait).payload["outcome"]) for wait in waits}

    with (
        caplog.at_level("INFO"),
        HostileServer(answer(200, {"run_id": "r1", "status": "completed"}), tls=certificate) as server,
    ):
        assert run_bounded(scenario(server.url.replace("http:", "https:")), 60) == {"ended"}
    assert "certificate" in caplog.text


# Closing


def test_a_wait_that_is_cancelled_twice_still_closes_the_client(server: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    real, closed, may_close = shared_client.SharedClient.aclose, [], asyncio.Event()

    async def slow(self: shared_client.SharedClient) -> None:
        await may_close.wait()
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
        may_close.set()
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
        waits = [run_wait("late"), run_wait("soon")]
        now = asyncio.get_running_loop().time()
        poller._timer.not_before = now + 0.2
        for wait, due in zip(waits, (60.0, 0.01), strict=True):
            poller.add(wait)
            poller._set_due(wait, now + due)
        assert (await waits[1].event)["id"] == "soon"
        assert not waits[0].is_done
        assert wakes[0] >= now + 0.15
        assert len(wakes) == 1
        await poller.aclose()

    run_bounded(scenario())


def test_an_unexpected_exception_of_the_timer_ends_all_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Poller) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(Poller, "_poll_due", broken)

    async def scenario() -> None:
        shared, wait = Poller(AnyRuns("completed")), run_wait("r1")  # type: ignore[arg-type]
        shared.add(wait)
        with pytest.raises(KeyError):
            await wait.event
        await shared.aclose()

    run_bounded(scenario(), 30)


# Event loops


def test_waits_end_on_the_loop_of_uvloop(server: Runs) -> None:
    uvloop = pytest.importorskip("uvloop", reason="comes with uvicorn[standard], which this Airflow does not bring")
    server.run = lambda run_id: (200, {}, {"run_id": run_id, "status": "completed"})

    async def scenario() -> set[str]:
        waits = start_waits(3)
        # A wait that is due at once, when the loop has timers without a time.
        return {str((await asyncio.wait_for(wait, 60)).payload["status"]) for wait in waits}

    assert uvloop.run(scenario()) == {"completed"}
