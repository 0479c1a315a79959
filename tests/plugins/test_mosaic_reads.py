"""Requests that many viewers share: one for all, pauses after errors, bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import pytest
from anyio.to_thread import current_default_thread_limiter
from clients.servers import HostileServer, answer
from mosaic_emulator import Emulator
from mosaic_emulator.dag_testing import own_database

from airflow_provider_mosaic.api.endpoints.runs import Run, cancel_run, get_run, resume_run
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConnectionError,
    MosaicNotFoundError,
    MosaicRateLimitError,
    MosaicServerError,
    MosaicTransportError,
)
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.hooks.server_hook import ServerHook
from airflow_provider_mosaic.plugins import mosaic_reads, webhooks
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads, Reading
from plugins.runs import held, start

T = TypeVar("T")

CONN = "mosaic_default"
READ = "GET /agent_run/{run_id}"
PATH = "/agent_run/{run_id}"


@pytest.fixture(autouse=True)
def connection(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the connection to the emulator."""
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", mosaic.airflow_connection())


def run(steps: Callable[[MosaicReads], Coroutine[Any, Any, T]]) -> T:
    """Run steps on an event loop of their own."""

    async def with_reads() -> T:
        reads = MosaicReads()
        try:
            return await steps(reads)
        finally:
            await reads.aclose()

    return asyncio.run(with_reads())


def test_viewers_share_a_request(mosaic: Emulator, client: SyncClient) -> None:
    run_id = start(client)
    mosaic.inject("slow_body", path=PATH, seconds=0.3)

    async def steps(reads: MosaicReads) -> list[Reading[Run]]:
        together = await asyncio.gather(*(reads.read(CONN, get_run(run_id), max_age=60) for _ in range(100)))
        # And those who come a little later.
        return [*together, await reads.read(CONN, get_run(run_id), max_age=60)]

    readings = run(steps)
    assert {reading.value.run_id for reading in readings if reading.value} == {run_id}
    assert mosaic.counts().requests[READ] == 1


def test_an_old_response_is_read_again(mosaic: Emulator, client: SyncClient) -> None:
    run_id = start(client)

    async def steps(reads: MosaicReads) -> None:
        for _ in range(3):
            await reads.read(CONN, get_run(run_id), max_age=0)

    run(steps)
    assert mosaic.counts().requests[READ] == 3


def test_a_viewer_who_leaves_does_not_end_the_request_of_others(mosaic: Emulator, client: SyncClient) -> None:
    run_id = start(client)
    mosaic.inject("slow_body", path=PATH, seconds=0.5)

    async def steps(reads: MosaicReads) -> Reading[Run]:
        first = asyncio.ensure_future(reads.read(CONN, get_run(run_id), max_age=3))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(reads.read(CONN, get_run(run_id), max_age=3))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert run(steps).value is not None
    assert mosaic.counts().requests[READ] == 1


def test_a_rate_limit_pauses_the_whole_connection(mosaic: Emulator, client: SyncClient) -> None:
    first, second = start(client), start(client)

    async def steps(reads: MosaicReads) -> tuple[Reading[Run], Reading[Run]]:
        await reads.read(CONN, get_run(first), max_age=0)
        mosaic.inject("rate_limit", path=PATH, retry_after=30)
        limited = await reads.read(CONN, get_run(first), max_age=0)
        return limited, await reads.read(CONN, get_run(second), max_age=0)

    limited, other = run(steps)
    # What was read last stays visible.
    assert limited.value is not None
    assert isinstance(limited.error, MosaicRateLimitError)
    assert 29 < limited.pause <= 30
    assert other.value is None
    assert isinstance(other.error, MosaicRateLimitError)
    assert mosaic.counts().requests[READ] == 2


def test_a_response_to_an_older_request_does_not_end_a_pause(mosaic: Emulator, client: SyncClient) -> None:
    slow, limited, other = start(client), start(client), start(client)

    async def steps(reads: MosaicReads) -> tuple[Reading[Run], Reading[Run]]:
        mosaic.inject("slow_body", path=PATH, seconds=1)
        before = asyncio.ensure_future(reads.read(CONN, get_run(slow), max_age=0))
        while READ not in mosaic.counts().requests:
            await asyncio.sleep(0.05)
        mosaic.inject("rate_limit", path=PATH, retry_after=30)
        await reads.read(CONN, get_run(limited), max_age=0)
        return await before, await reads.read(CONN, get_run(other), max_age=0)

    finished, paused = run(steps)
    assert finished.error is None
    assert isinstance(paused.error, MosaicRateLimitError)
    assert mosaic.counts().requests[READ] == 2


def test_requests_that_wait_for_others_are_not_sent_in_a_pause(
    mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_reads, "_MAX_REQUESTS", 1)
    run_ids = [start(client) for _ in range(5)]
    mosaic.inject("rate_limit", path=PATH, retry_after=30)

    async def steps(reads: MosaicReads) -> list[Reading[Run]]:
        return await asyncio.gather(*(reads.read(CONN, get_run(run_id), max_age=0) for run_id in run_ids))

    assert all(isinstance(reading.error, MosaicRateLimitError) for reading in run(steps))
    assert mosaic.counts().requests[READ] == 1


def test_many_viewers_of_a_slow_mosaic_cause_no_pause(
    mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic_reads, "_MAX_REQUESTS", 1)
    monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 60.0)
    slow, other = start(client), start(client)

    async def steps(reads: MosaicReads) -> None:
        await reads.read(CONN, get_run(slow), max_age=0)
        connection = reads._connections[CONN]
        await connection.slots.acquire()
        monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 0.1)
        waited = await reads.read(CONN, get_run(other), max_age=0)
        assert isinstance(waited.error, MosaicTransportError)
        connection.slots.release()
        monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 60.0)
        assert (await reads.read(CONN, get_run(other), max_age=0)).error is None

    run(steps)


def test_an_item_that_always_fails_does_not_disturb_others(mosaic: Emulator, client: SyncClient) -> None:
    broken, fine = start(client), start(client)

    async def steps(reads: MosaicReads) -> tuple[list[Reading[Run]], Reading[Run]]:
        mosaic.inject("server_error", path=PATH)
        readings = [await reads.read(CONN, get_run(broken), max_age=0) for _ in range(5)]
        return readings, await reads.read(CONN, get_run(fine), max_age=0)

    readings, other = run(steps)
    assert all(isinstance(reading.error, MosaicServerError) for reading in readings)
    assert other.error is None
    assert mosaic.counts().requests[READ] == 2


def test_pauses_grow_and_end(mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_reads, "_FIRST_PAUSE", 0.05)
    run_id = start(client)
    mosaic.inject("server_error", path=PATH, times=3)

    async def steps(reads: MosaicReads) -> list[float]:
        pauses = []
        for _ in range(4):
            reading = await reads.read(CONN, get_run(run_id), max_age=0)
            pauses.append(reading.pause)
            await asyncio.sleep(reading.pause + 0.05)
        return pauses

    assert run(steps) == [0.05, 0.1, 0.2, 0.0]


def test_mosaic_that_hangs_is_given_up(mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 0.3)
    run_id = start(client)
    mosaic.inject("hang", path=PATH, times=None)

    async def steps(reads: MosaicReads) -> Reading[Run]:
        return await reads.read(CONN, get_run(run_id), max_age=0)

    reading = run(steps)
    assert isinstance(reading.error, MosaicTransportError)
    assert reading.pause > 0


def test_a_missing_run_and_a_missing_connection() -> None:
    async def steps(reads: MosaicReads) -> None:
        missing = await reads.read(CONN, get_run("missing"), max_age=0)
        assert isinstance(missing.error, MosaicNotFoundError)
        unconnected = await reads.read("no_such_connection", get_run("x"), max_age=0)
        assert isinstance(unconnected.error, MosaicConnectionError)
        # A user who may write XComs could name connections that do not exist.
        assert list(reads._connections) == [CONN]
        with pytest.raises(MosaicConnectionError):
            await reads.access("no_such_connection")
        assert list(reads._connections) == [CONN]

    run(steps)


def test_viewers_share_a_lookup_and_do_not_wait_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 0.1)
    look_up, starts, ends, lookups = ServerHook.get_connection, Event(), Event(), []

    def hang(conn_id: str) -> Any:
        lookups.append(conn_id)
        starts.set()
        ends.wait(60)
        return look_up(conn_id)

    monkeypatch.setattr(ServerHook, "get_connection", staticmethod(hang))

    async def steps(reads: MosaicReads) -> None:
        try:
            viewers = [reads.access(CONN) for _ in range(20)]
            results = await asyncio.gather(*viewers, return_exceptions=True)
            await asyncio.to_thread(starts.wait, 30)
            assert {type(result) for result in results} == {MosaicTransportError}
            assert lookups == [CONN]
            # The threads of Airflow's own endpoints are free.
            assert current_default_thread_limiter().borrowed_tokens == 0
        finally:
            ends.set()
        monkeypatch.setattr(mosaic_reads, "READ_TIMEOUT", 30.0)
        await reads.access(CONN)
        assert lookups == [CONN]

    run(steps)


def test_memory_is_bounded(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_reads, "_MAX_KEPT", 10)
    monkeypatch.setattr(mosaic_reads, "_MAX_WEIGHT", 50)

    async def steps(reads: MosaicReads) -> None:
        for number in range(30):
            await reads.read(CONN, get_run(f"missing-{number}"), max_age=0)
        assert len(reads._cache) == 10
        run_id = start(client)
        monkeypatch.setattr(mosaic_reads, "count_values", lambda content: 45)
        monkeypatch.setattr(mosaic_reads, "_BYTES_PER_VALUE", 1_000)
        await reads.read(CONN, get_run(run_id), max_age=0)
        assert len(reads._cache) <= 6
        assert reads._cache.weight == sum(kept.weight for kept in reads._cache._kept.values()) <= 50
        reads.forget(CONN)
        assert (len(reads._cache), reads._cache.weight) == (0, 0)

    run(steps)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "long",
    [{"status_message": "x" * 1_000_000}, {"inputs": [{}] * 4_000}, {"odd": {"x": [0] * 4_000}}],
    ids=["text", "models", "values"],
)
def test_memory_is_bounded_by_the_size_of_responses(long: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_reads, "_MAX_WEIGHT", 5_000)

    async def steps(reads: MosaicReads) -> None:
        for number in range(20):
            reading = await reads.read(CONN, get_run(f"run-{number}"), max_age=60)
            assert reading.value is not None
        assert len(reads._cache) <= 5

    with HostileServer(answer(200, {"status": "running", **long})) as server:
        connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_hostile"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        run(steps)


def test_what_was_read_before_an_action_is_not_used_after_it(mosaic: Emulator, client: SyncClient) -> None:
    run_id = held(mosaic, client)
    mosaic.inject("slow_body", path=PATH, seconds=0.5)

    async def steps(reads: MosaicReads) -> Reading[Run]:
        before = asyncio.ensure_future(reads.read(CONN, get_run(run_id), max_age=60))
        await asyncio.sleep(0.1)
        await reads.send_once(CONN, cancel_run(run_id))
        reads.forget(CONN)
        after = await reads.read(CONN, get_run(run_id), max_age=60)
        await before
        assert (await reads.read(CONN, get_run(run_id), max_age=60)) is after
        return after

    found = run(steps).value
    assert found is not None
    assert found.status == "cancelled"


def test_an_action_is_sent_once(mosaic: Emulator, client: SyncClient) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    mosaic.inject("response_lost", method="POST", path="/agent_run/{run_id}/resume")

    async def steps(reads: MosaicReads) -> None:
        await reads.send_once(CONN, resume_run(run_id))

    with pytest.raises(MosaicAmbiguousOutcomeError, match="unknown"):
        run(steps)
    assert mosaic.counts().runs_resumed == 1
    assert mosaic.counts().requests["POST /agent_run/{run_id}/resume"] == 1


def test_a_connection_that_was_saved_in_the_ui_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_connection(conn_id: str) -> None:
        """Search as the SDK of Airflow 3.1.0 does in the API server."""
        raise ImportError("SUPERVISOR_COMMS")

    monkeypatch.setattr("airflow.sdk.BaseHook.get_connection", get_connection)
    with own_database(tmp_path):
        from airflow.models import Connection
        from airflow.utils.session import create_session

        extra = json.dumps({"webhook_secret": "whsk_of_the_ui"})
        with create_session() as session:
            session.add(Connection(conn_id="from_the_ui", conn_type="mosaic", password="mk_of_the_ui", extra=extra))
        assert run(lambda reads: reads.access("from_the_ui")).api_key == "mk_of_the_ui"
        assert webhooks._read_secret("from_the_ui") == "whsk_of_the_ui"
