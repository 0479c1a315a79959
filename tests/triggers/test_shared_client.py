"""The session of all waits of a connection follows the connection; loops and processes share none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, run_bounded, sent, until

from airflow_provider_mosaic.api import poll_state as waiting
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, MosaicSocialPostTrigger
from airflow_provider_mosaic.triggers import shared_client as session
from airflow_provider_mosaic.triggers import shared_pollers as polling

GET_RUN = "/agent_run/{run_id}"


@pytest.fixture
def runs(mosaic: Emulator, hook: MosaicHook) -> list[str]:
    mosaic.configure(hold_runs=True, render="tiny")
    return [hook.run_agent(AGENT) for _ in range(6)]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that are looked up, in order."""
    looked: list[str] = []
    real = MosaicHook.look_up_access

    async def noted(hook: MosaicHook) -> Any:
        looked.append(hook.mosaic_conn_id)
        return await real(hook)

    monkeypatch.setattr(MosaicHook, "look_up_access", noted)
    return looked


def connect(monkeypatch: pytest.MonkeyPatch, mosaic: Emulator, name: str = "MOSAIC_DEFAULT", **other: Any) -> None:
    connection = json.loads(mosaic.airflow_connection()) | other
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


def waits_for(runs: list[str], **options: Any) -> list[asyncio.Task[Any]]:
    triggers = [MosaicRunTrigger(run_id=run_id, poll_interval=0.05, **options) for run_id in runs]
    return [asyncio.create_task(anext(trigger.run())) for trigger in triggers]  # type: ignore[arg-type]


async def ended(mosaic: Emulator, runs: list[str], waits: list[asyncio.Task[Any]]) -> list[dict[str, Any]]:
    for run_id in runs:
        await asyncio.to_thread(mosaic.finish_run, run_id, "failed")
    return [event.payload for event in await asyncio.wait_for(asyncio.gather(*waits), 20)]


async def looked_at(mosaic: Emulator, times: int) -> None:
    before = sent(mosaic, "GET " + GET_RUN)
    await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= before + times)


def test_all_waits_of_a_connection_look_it_up_once(mosaic: Emulator, runs: list[str], lookups: list[str]) -> None:
    async def wait() -> None:
        waits = waits_for(runs)
        await ended(mosaic, runs, waits)

    run_bounded(wait())
    assert lookups == ["mosaic_default"]


def test_other_things_that_are_waited_for_share_the_session(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], lookups: list[str]
) -> None:
    post = hook.create_post("Hello", platforms=["youtube"])

    async def wait() -> None:
        waits = waits_for(runs[:1])
        await anext(MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.05).run())
        await ended(mosaic, runs[:1], waits)

    run_bounded(wait())
    assert lookups == ["mosaic_default"]


def test_a_key_that_is_changed_while_runs_are_waited_for_ends_no_wait(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_RECHECK_AFTER_REJECTION", 0.5)
    connect(monkeypatch, mosaic, password="mk_old")

    async def wait() -> list[dict[str, Any]]:
        waits = waits_for(runs)
        # With the old key nothing was ever answered: the first look finds the connection changed.
        connect(monkeypatch, mosaic)
        return await ended(mosaic, runs, waits)

    real = session.SharedClient._look_up_connection
    looks: list[int] = []

    async def old_at_first(self: session.SharedClient) -> None:
        looks.append(1)
        if len(looks) == 1:
            connect(monkeypatch, mosaic, password="mk_old")
            await real(self)
            connect(monkeypatch, mosaic)
        else:
            await real(self)

    monkeypatch.setattr(session.SharedClient, "_look_up_connection", old_at_first)
    events = run_bounded(wait())
    assert {event["outcome"] for event in events} == {"ended"}
    # One look for all of them, not one each.
    assert len(lookups) == 2
    assert mosaic.api_key not in json.dumps(events)


def test_a_key_that_stays_wrong_ends_all_waits_after_a_few_more_looks_at_the_connection(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REFUSALS_TIMEOUT", 0.0)
    connect(monkeypatch, mosaic, password="mk_wrong")

    async def wait() -> list[dict[str, Any]]:
        return [event.payload for event in await asyncio.gather(*waits_for(runs))]

    events = run_bounded(wait())
    # Transient: whoever holds a run loses nothing by trying again.
    assert {(event["error"], event["transient"]) for event in events} == {("MosaicAuthenticationError", True)}
    # They share them: an outage of the sign-in service is no reason to ask Airflow again and again.
    assert len(lookups) <= waiting.MAX_REFUSALS


def test_who_begins_to_wait_after_the_connection_was_changed_asks_the_new_one(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FRESH_FOR_NEW", 0.0)
    with Emulator(hold_runs=True) as other:

        async def wait() -> None:
            first = waits_for(runs[:1])
            await looked_at(mosaic, 2)
            connect(monkeypatch, other)
            elsewhere = await asyncio.to_thread(lambda: MosaicHook().run_agent(AGENT))
            second = waits_for([elsewhere])
            assert [event["id"] for event in await ended(other, [elsewhere], second)] == [elsewhere]
            first[0].cancel()
            await asyncio.wait(first)

        run_bounded(wait())


def test_a_connection_that_is_gone_meanwhile_serves_on(
    mosaic: Emulator, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FRESH", 0.0)

    async def wait() -> list[dict[str, Any]]:
        waits = waits_for(runs[:1])
        await looked_at(mosaic, 1)
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
        await looked_at(mosaic, 2)
        return await ended(mosaic, runs[:1], waits)

    assert run_bounded(wait())[0]["outcome"] == "ended"


def test_two_connections_have_a_session_each(
    mosaic: Emulator, runs: list[str], lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, mosaic, "OTHER")

    async def wait() -> None:
        waits = [*waits_for(runs[:3]), *waits_for(runs[3:], mosaic_conn_id="other")]
        await ended(mosaic, runs, waits)

    run_bounded(wait())
    assert sorted(lookups) == ["mosaic_default", "other"]


def test_nothing_is_kept_when_the_last_wait_has_ended(mosaic: Emulator, runs: list[str], lookups: list[str]) -> None:
    async def wait() -> None:
        for run_id in runs[:2]:
            await ended(mosaic, [run_id], waits_for([run_id]))
            assert polling._pollers[asyncio.get_running_loop()] == {}

    run_bounded(wait())
    run_bounded(wait())
    assert lookups == ["mosaic_default"] * 4


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_waits_by_itself(
    mosaic: Emulator, hook: MosaicHook, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.finish_run(runs[0], "failed")
    access = hook.access

    async def known(self: MosaicHook) -> Any:
        # Airflow's own lookup uses a thread that a forked child does not have.
        return access

    monkeypatch.setattr(MosaicHook, "look_up_access", known)

    async def wait() -> int:
        waits = waits_for(runs[1:])
        await looked_at(mosaic, 2)
        child = os.fork()
        if child == 0:
            status = 1
            # A lock that another thread held would never be let go here: the child ends then, and the test fails.
            signal.alarm(30)
            try:
                asyncio.events._set_running_loop(None)

                async def alone() -> str:
                    event = await anext(MosaicRunTrigger(run_id=runs[0], poll_interval=0.05).run())
                    return str(event.payload["status"])

                status = 0 if asyncio.run(alone()) == "failed" else 2
            finally:
                os._exit(status)
        _, came = await asyncio.to_thread(os.waitpid, child, 0)
        # The parent's session is as good as before.
        await ended(mosaic, runs[1:], waits)
        return os.waitstatus_to_exitcode(came)

    assert run_bounded(wait()) == 0
