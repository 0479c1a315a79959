"""The watch for runs that end, on a real event loop against the local Mosaic: each end gives one event."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, effects, run_bounded, sent

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import run_watcher as module
from airflow_provider_mosaic.triggers import shared_client as session

from .watch import GET_RUN, LIST, OTHER_AGENT, AssetStore, Watching, ended

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
            await watching.until(lambda: len(watching.runs) >= 2)
            await watching.a_whole_look(held)
            return watching.runs

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
            await watching.until(lambda: watching.runs)
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
            await watching.until(lambda: len(watching.runs) >= 101)
            return watching.runs

    events = run_bounded(course())
    assert sorted(event["run_id"] for event in events) == sorted(run["run_id"] for run in held.runs())


def test_a_list_that_lags_loses_and_doubles_nothing(held: Emulator, hook: MosaicHook) -> None:
    held.configure(list_lag=0.3)

    async def course() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.runs)
            await watching.a_whole_look(held)
            return watching.runs

    assert run_bounded(course()) == [ended(held.runs()[0]["run_id"])]


def test_only_wanted_ends_are_told(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> list[dict[str, Any]]:
        async with Watching(status=["completed"]) as watching:
            await watching.a_whole_look(held)
            held.finish_run(hook.run_agent(AGENT), "failed")
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.runs)
            await watching.a_whole_look(held)
            return watching.runs

    assert [event["status"] for event in run_bounded(course())] == ["completed"]


# Runs that end together


def burst(held: Emulator, hook: MosaicHook, count: int) -> list[dict[str, Any]]:
    """Start runs, and end all of them; return what is to be told of them, sorted."""
    started = [hook.run_agent(AGENT) for _ in range(count)]
    for run_id in started:
        held.finish_run(run_id)
    return sorted((ended(run_id) for run_id in started), key=str)


def test_runs_that_end_together_come_in_one_event(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with Watching(poll_interval=0.5) as watching:
            await watching.a_whole_look(held)
            # Within the pause between two polls: the next one finds all of them.
            expected = await asyncio.to_thread(burst, held, hook, 20)
            await watching.until(lambda: len(watching.runs) >= 20)
            await watching.a_whole_look(held)
            return watching.events, expected

    events, expected = run_bounded(course())
    assert sorted((run for event in events for run in event["runs"]), key=str) == expected
    # Twenty ends took a moment: a poll may have fallen into it.
    assert len(events) <= 2


def test_an_event_holds_a_bounded_number_of_runs_and_the_others_follow_soon(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_RUNS", 4)
    monkeypatch.setattr(module, "_EVENT_INTERVAL", 0.3)
    store = AssetStore()

    async def course() -> tuple[Watching, list[dict[str, Any]]]:
        async with Watching(store) as before:
            await before.until(lambda: store.sets)
        expected = await asyncio.to_thread(burst, held, hook, 10)
        # The rest does not wait for the next poll.
        async with Watching(store, poll_interval=3600) as watching:
            await watching.until(lambda: len(watching.runs) >= 10)
        return watching, expected

    watching, expected = run_bounded(course())
    assert [len(event["runs"]) for event in watching.events] == [4, 4, 2]
    assert sorted(watching.runs, key=str) == expected
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(watching.times))


def test_events_keep_a_distance_that_lets_airflow_create_the_dag_run_of_each(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVENT_INTERVAL", 0.6)

    async def course() -> Watching:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            for count in range(1, 4):
                held.finish_run(await asyncio.to_thread(hook.run_agent, AGENT))
                await watching.until(lambda count=count: len(watching.runs) >= count)
            return watching

    watching = run_bounded(course())
    assert len(watching.events) == 3
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(watching.times))


def test_a_poll_that_breaks_off_gives_one_event_of_what_it_had_read(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> Watching:
        async with Watching(poll_interval=0.5) as watching:
            await watching.a_whole_look(held)
            held.inject("forbidden", method="GET", path=GET_RUN, skip=2)
            await asyncio.to_thread(burst, held, hook, 5)
            await watching.until(lambda: len(watching.runs) >= 5)
            await watching.a_whole_look(held)
            return watching

    watching = run_bounded(course())
    assert sorted(run["run_id"] for run in watching.runs) == sorted(run["run_id"] for run in held.runs())
    assert 2 <= len(watching.events) <= 3


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
            await watching.until(lambda: watching.runs)
            await watching.a_whole_look(held)
            return watching.runs

    assert run_bounded(course()) == [ended(run_id)]
    assert held.counts().faults_used == {fault: 2}


def test_a_run_that_was_deleted_holds_up_no_other(held: Emulator, hook: MosaicHook) -> None:
    deleted, other = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
            held.forget_run(deleted)
            held.finish_run(other)
            await watching.until(lambda: watching.runs)
            await watching.until(lambda: sent(held, "GET " + GET_RUN) >= 4)
            await watching.a_whole_look(held)
            return watching.runs

    assert run_bounded(course()) == [ended(other)]
    # The one was read once; that the other is gone was believed at the third look.
    assert sent(held, "GET " + GET_RUN) == 4


def test_a_key_that_is_mended_is_taken_up_by_itself(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "_RECHECK_AFTER_REJECTION", 0.5)
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
            await watching.until(lambda: watching.runs)
            return watching.runs

    def statuses() -> list[int]:
        return [request["status"] for request in held.requests() if request["template"] == LIST]

    assert run_bounded(course()) == [ended(run_id)]
    # One line for the refusals, however many there were.
    assert [record.levelname for record in caplog.records if "can't be watched" in record.message] == ["ERROR"]
    assert statuses().count(401) > 2
