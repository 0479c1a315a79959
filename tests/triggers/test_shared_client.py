"""The client of all waits of a connection follows the connection. Loops and processes share none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat import connection as compat_connection
from clients.authorities import Authority
from clients.servers import HostileServer, answer
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, run_bounded, sent, until

from airflow_provider_mosaic.api import poll_state
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.runs import get_run
from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.hooks import mosaic as mosaic_hook
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, MosaicSocialPostTrigger, shared_client, shared_pollers

from .waits import start_wait

GET_RUN = "/agent_run/{run_id}"


@pytest.fixture
def runs(mosaic: Emulator, hook: MosaicHook) -> list[str]:
    mosaic.configure(hold_runs=True, render="tiny")
    return [hook.run_agent(AGENT) for _ in range(6)]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the connections that are looked up, in order."""
    lookups: list[str] = []
    real = MosaicHook.look_up_access

    async def recording(hook: MosaicHook) -> Any:
        lookups.append(hook.mosaic_conn_id)
        return await real(hook)

    monkeypatch.setattr(MosaicHook, "look_up_access", recording)
    return lookups


def connect(monkeypatch: pytest.MonkeyPatch, mosaic: Emulator, name: str = "MOSAIC_DEFAULT", **other: Any) -> None:
    connection = json.loads(mosaic.airflow_connection()) | other
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


def start_waits(runs: list[str], **options: Any) -> list[asyncio.Task[Any]]:
    return [start_wait(run_id, **options) for run_id in runs]


async def end_runs(mosaic: Emulator, runs: list[str], waits: list[asyncio.Task[Any]]) -> list[dict[str, Any]]:
    for run_id in runs:
        await asyncio.to_thread(mosaic.finish_run, run_id, "failed")
    return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 60)]


async def polled(mosaic: Emulator, times: int) -> None:
    before = sent(mosaic, "GET " + GET_RUN)
    await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= before + times)


def test_all_waits_of_a_connection_look_it_up_once(mosaic: Emulator, runs: list[str], lookups: list[str]) -> None:
    async def wait() -> None:
        waits = start_waits(runs)
        await end_runs(mosaic, runs, waits)

    run_bounded(wait())
    assert lookups == ["mosaic_default"]


def test_waits_for_runs_and_posts_share_the_client(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], lookups: list[str]
) -> None:
    post = hook.create_post("Hello", platforms=["youtube"])

    async def wait() -> None:
        waits = start_waits(runs[:1])
        await anext(MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.05).run())
        await end_runs(mosaic, runs[:1], waits)

    run_bounded(wait())
    assert lookups == ["mosaic_default"]


def test_a_changed_key_ends_no_wait(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_client, "_RECHECK_AFTER_REJECTION", 0.5)
    connect(monkeypatch, mosaic, password="mk_old")

    async def wait() -> list[dict[str, Any]]:
        waits = start_waits(runs)
        # No request succeeds with the old key. The first refusal finds the connection changed.
        connect(monkeypatch, mosaic)
        return await end_runs(mosaic, runs, waits)

    real = shared_client.SharedClient._look_up_connection
    count: list[int] = []

    async def old_at_first(self: shared_client.SharedClient) -> None:
        count.append(1)
        if len(count) == 1:
            connect(monkeypatch, mosaic, password="mk_old")
            await real(self)
            connect(monkeypatch, mosaic)
        else:
            await real(self)

    monkeypatch.setattr(shared_client.SharedClient, "_look_up_connection", old_at_first)
    events = run_bounded(wait())
    assert {event["outcome"] for event in events} == {"ended"}
    # One more lookup for all of them, not one each.
    assert len(lookups) == 2
    assert mosaic.api_key not in json.dumps(events)


def test_a_wrong_key_ends_all_waits_after_a_few_lookups(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_state, "REFUSALS_TIMEOUT", 0.0)
    connect(monkeypatch, mosaic, password="mk_wrong")

    async def wait() -> list[dict[str, Any]]:
        return [event.payload for event in await asyncio.gather(*start_waits(runs))]

    events = run_bounded(wait())
    # Transient: a task that has started a run is retried.
    assert {(event["error"], event["transient"]) for event in events} == {("MosaicAuthenticationError", True)}
    # The waits share the lookups.
    assert len(lookups) <= poll_state.MAX_REFUSALS


def test_a_new_wait_uses_the_changed_connection(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_client, "FRESH_FOR_NEW", 0.0)
    with Emulator(hold_runs=True) as other:

        async def wait() -> None:
            first = start_waits(runs[:1])
            await polled(mosaic, 2)
            connect(monkeypatch, other)
            elsewhere = await asyncio.to_thread(lambda: MosaicHook().run_agent(AGENT))
            second = start_waits([elsewhere])
            assert [event["id"] for event in await end_runs(other, [elsewhere], second)] == [elsewhere]
            first[0].cancel()
            await asyncio.wait(first)

        run_bounded(wait())


def test_a_deleted_connection_ends_no_wait(mosaic: Emulator, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client, "FRESH", 0.0)

    async def wait() -> list[dict[str, Any]]:
        waits = start_waits(runs[:1])
        await polled(mosaic, 1)
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
        await polled(mosaic, 2)
        return await end_runs(mosaic, runs[:1], waits)

    assert run_bounded(wait())[0]["outcome"] == "ended"


def test_the_client_follows_a_replaced_ca_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("first", "later"):
        (tmp_path / name).mkdir()
    first, later = Authority(tmp_path / "first"), Authority(tmp_path / "later")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(first.file.read_bytes())
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    tls = first.server_context("127.0.0.1")

    async def scenario(access: Access) -> None:
        async def look_up() -> Access:
            return access

        async with aclosing(shared_client.SharedClient(look_up)) as client:
            await client.send(get_run("r0"))
            old = client._lease
            await client._ensure_looked_up()
            assert client._lease is old
            later.server_context("127.0.0.1")
            tls.load_cert_chain(tmp_path / "later" / "127.0.0.1.pem")
            with pytest.raises(MosaicTransportError, match=r"(?i)certificate"):
                await client.send(get_run("r0"))
            bundle.write_bytes(first.file.read_bytes() + later.file.read_bytes())
            await client._ensure_looked_up()
            await client.send(get_run("r0"))
            bundle.unlink()
            with pytest.raises(MosaicValidationError, match="SSL_CERT_FILE"):
                await client._ensure_looked_up()
            await client.send(get_run("r0"))

    reply = answer(200, {"run_id": "r0", "status": "running"}, Connection="close")
    with HostileServer(reply, tls=tls) as server:
        run_bounded(scenario(Access(api_key="mk_test", base_url=f"https://127.0.0.1:{server.port}")))
        assert server.count == 3


def test_two_connections_have_a_client_each(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, mosaic, "OTHER")

    async def wait() -> None:
        waits = [*start_waits(runs[:3]), *start_waits(runs[3:], mosaic_conn_id="other")]
        await end_runs(mosaic, runs, waits)

    run_bounded(wait())
    assert sorted(lookups) == ["mosaic_default", "other"]


def test_the_poller_is_closed_with_its_last_wait(mosaic: Emulator, runs: list[str], lookups: list[str]) -> None:
    async def wait() -> None:
        for run_id in runs[:2]:
            await end_runs(mosaic, [run_id], start_waits([run_id]))
            assert shared_pollers._pollers[asyncio.get_running_loop()] == {}

    run_bounded(wait())
    run_bounded(wait())
    assert lookups == ["mosaic_default"] * 4


class HeldLookups:
    """Lookups of connections on the event loop that end only on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started = self.ended = self.cancelled = 0
        self.error: Exception | None = None
        self.released = asyncio.Event()
        monkeypatch.setattr(mosaic_hook, "lookups_can_be_awaited", lambda: True)
        monkeypatch.setattr(compat_connection, "get_async_connection", self._get)

    async def _get(self, conn_id: str) -> Any:
        self.started += 1
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        if self.error is not None:
            raise self.error
        return await asyncio.to_thread(MosaicHook.get_connection, conn_id)

    async def release(self) -> None:
        """Let the lookups end, and check that none was cancelled."""
        assert not self.ended
        self.released.set()
        await asyncio.to_thread(until, lambda: self.ended + self.cancelled == self.started)
        assert (self.cancelled, self.started) == (0, 1)


@pytest.mark.parametrize("error", [None, RuntimeError("the API server is away")], ids=["found", "failed"])
def test_a_wait_that_is_killed_cancels_no_lookup(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    """Airflow 3.1 mixes up responses after a cancelled request."""

    async def scenario() -> None:
        lookups = HeldLookups(monkeypatch)
        lookups.error = error
        wait = start_wait("r0")
        await asyncio.to_thread(until, lambda: lookups.started)
        wait.cancel()
        # The last wait closes the client.
        await asyncio.wait_for(asyncio.wait([wait]), 30)
        assert shared_pollers._pollers[asyncio.get_running_loop()] == {}
        await lookups.release()

    run_bounded(scenario())
    assert "never retrieved" not in caplog.text


def test_a_lookup_that_takes_too_long_is_not_cancelled(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client, "_MAX_LOOKUP_SECONDS", 0.05)

    async def scenario() -> None:
        lookups = HeldLookups(monkeypatch)
        client = shared_client.SharedClient(MosaicHook().look_up_access)
        with pytest.raises(MosaicTransportError, match="did not return the connection in time"):
            await client.send(get_run("r0"))
        await lookups.release()
        await client.aclose()

    run_bounded(scenario())


def test_cancelled_open_of_a_client_cancels_no_lookup(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        lookups = HeldLookups(monkeypatch)
        opening = asyncio.create_task(MosaicHook().open_async_client())
        await asyncio.to_thread(until, lambda: lookups.started)
        opening.cancel()
        await asyncio.wait([opening])
        await lookups.release()

    run_bounded(scenario())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_has_its_own_client(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.finish_run(runs[0], "failed")
    access = hook.access

    async def known(self: MosaicHook) -> Any:
        # Airflow's lookup uses a thread, which a forked child does not have.
        return access

    monkeypatch.setattr(MosaicHook, "look_up_access", known)

    async def wait() -> int:
        waits = start_waits(runs[1:])
        await polled(mosaic, 2)
        child = os.fork()
        if child == 0:
            status = 1
            # A lock that another thread held at the fork is never released. The alarm ends the child then.
            signal.alarm(30)
            try:
                asyncio.events._set_running_loop(None)

                async def alone() -> str:
                    event = await anext(MosaicRunTrigger(run_id=runs[0], poll_interval=0.05).run())
                    return str(event.payload["status"])

                status = 0 if asyncio.run(alone()) == "failed" else 2
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await end_runs(mosaic, runs[1:], waits)
        return os.waitstatus_to_exitcode(status)

    assert run_bounded(wait()) == 0
