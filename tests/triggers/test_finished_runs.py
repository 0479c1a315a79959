"""The watch for runs that end, on a real event loop against the local Mosaic: each end gives one event."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tasks.fixtures import AGENT, effects, run_bounded, sent

from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import session

from .watch import GET_RUN, LIST, OTHER_AGENT, Watching, ended

pytestmark = pytest.mark.usefixtures("quick_handover")


def test_each_run_of_the_agent_that_ends_gives_one_event(held: Emulator, hook: MosaicHook) -> None:
    before = hook.run_agent(AGENT)
    held.finish_run(before)
    going = hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            held.finish_run(going, "failed")
            held.finish_run(hook.run_agent(AGENT), "partial_complete")
            held.finish_run(hook.run_agent(OTHER_AGENT, video_urls=["https://cdn.example.org/a.mp4"]))
            await watching.until(lambda: len(watching.events) >= 2)
            await watching.a_whole_look(held)
            return watching.events

    events = run_bounded(course())
    newest = held.runs()[-2]["run_id"]
    assert sorted(events, key=lambda event: event["status"]) == [
        ended(going, "failed"),
        ended(newest, "partial_complete"),
    ]


def test_a_quiet_look_is_two_requests_and_an_end_is_one_more(held: Emulator, hook: MosaicHook) -> None:
    run_id = hook.run_agent(AGENT)

    async def course() -> None:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            assert sent(held, "GET " + GET_RUN) == 0
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            await watching.a_whole_look(held)

    run_bounded(course())
    assert sent(held, "GET " + GET_RUN) == 1
    assert effects(held) == {"runs_started": 1}
    reads = [request["query"] for request in held.requests() if request["template"] == LIST]
    assert {("status=running" in query, "from=" in query) for query in reads} == {(True, False), (False, True)}


def test_pages_are_walked_to_the_end(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.5) as watching:
            await watching.a_whole_look(held)
            for _ in range(101):
                held.finish_run(await asyncio.to_thread(hook.run_agent, AGENT))
            await watching.until(lambda: len(watching.events) >= 101)
            return watching.events

    events = run_bounded(course())
    assert sorted(event["run_id"] for event in events) == sorted(run["run_id"] for run in held.runs())


def test_a_list_that_lags_loses_and_doubles_nothing(held: Emulator, hook: MosaicHook) -> None:
    held.configure(list_lag=0.3)

    async def course() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.events)
            await watching.a_whole_look(held)
            return watching.events

    assert run_bounded(course()) == [ended(held.runs()[0]["run_id"])]


def test_only_wanted_ends_are_told(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> list[dict[str, Any]]:
        async with Watching(status=["completed"]) as watching:
            await watching.a_whole_look(held)
            held.finish_run(hook.run_agent(AGENT), "failed")
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.events)
            await watching.a_whole_look(held)
            return watching.events

    assert [event["status"] for event in run_bounded(course())] == ["completed"]


# Faults on the way

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 500}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("html", {}),
    ("truncated_json", {}),
    ("unauthorized", {}),
    ("forbidden", {}),
    ("not_found", {}),
]


@pytest.mark.parametrize(("fault", "options"), FAULTS, ids=lambda value: str(value))
@pytest.mark.parametrize("path", [LIST, GET_RUN])
def test_a_watch_outlives_every_fault_and_loses_nothing(
    held: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any], path: str
) -> None:
    run_id = hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.a_whole_look(held)
            held.inject(fault, method="GET", path=path, times=2, **options)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            await watching.a_whole_look(held)
            return watching.events

    assert run_bounded(course()) == [ended(run_id)]
    assert held.counts().faults_used == {fault: 2}


def test_a_run_that_was_deleted_holds_up_no_other(held: Emulator, hook: MosaicHook) -> None:
    deleted, other = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            held.forget_run(deleted)
            held.finish_run(other)
            await watching.until(lambda: watching.events)
            await watching.until(lambda: sent(held, "GET " + GET_RUN) >= 4)
            await watching.a_whole_look(held)
            return watching.events

    assert run_bounded(course()) == [ended(other)]
    # The one was read once; that the other is gone was believed at the third look.
    assert sent(held, "GET " + GET_RUN) == 4


def test_a_key_that_is_mended_is_taken_up_by_itself(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "_DOUBT", 0.5)
    hook.access  # noqa: B018 - the hook has looked its connection up before it goes bad
    good = held.airflow_connection()
    run_id = hook.run_agent(AGENT)
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(json.loads(good) | {"password": "mk_old"}))

    async def course() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.until(lambda: sent(held, "GET " + LIST) >= 2)
            monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
            await watching.until(lambda: 200 in statuses())
            await watching.a_whole_look(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            return watching.events

    def statuses() -> list[int]:
        return [request["status"] for request in held.requests() if request["template"] == LIST]

    assert run_bounded(course()) == [ended(run_id)]
    # One line for the refusals, however many there were.
    assert [record.levelname for record in caplog.records if "can't be watched" in record.message] == ["ERROR"]
    assert statuses().count(401) > 2
