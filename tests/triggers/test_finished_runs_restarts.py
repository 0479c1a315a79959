"""What a watch for runs that end knows outlives it, where Airflow keeps it: no end is lost, and none told twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, run_bounded

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import run_watcher as module

from .watch import OTHER_AGENT, AssetStore, SeveralAssets, Watching, ended

pytestmark = pytest.mark.usefixtures("quick_handover")


def test_a_restart_tells_what_ended_meanwhile_and_nothing_twice(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()
    first, second = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def course() -> list[list[dict[str, Any]]]:
        async with Watching(store) as watching:
            await watching.a_whole_look(held)
            held.finish_run(first)
            await watching.until(lambda: first in str(json.loads(next(iter(store.texts.values())))["told"]))
        held.finish_run(second, "cancelled")
        held.finish_run(hook.run_agent(AGENT), "failed")
        async with Watching(store) as restarted:
            await restarted.until(lambda: len(restarted.runs) >= 2)
            await restarted.a_whole_look(held)
        return [watching.runs, restarted.runs]

    before, after = run_bounded(course())
    assert before == [ended(first)]
    third = held.runs()[-1]["run_id"]
    assert sorted(after, key=lambda event: event["status"]) == [ended(second, "cancelled"), ended(third, "failed")]


def test_an_event_is_noted_as_told_only_when_airflow_had_time_to_write_it_down(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HANDOVER", 3600)
    store = AssetStore()
    run_id = hook.run_agent(AGENT)

    async def course() -> list[list[dict[str, Any]]]:
        async with Watching(store) as watching:
            await watching.until(lambda: store.sets)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
        # It died before: rather twice than never.
        async with Watching(store) as restarted:
            await restarted.until(lambda: restarted.runs)
        return [watching.runs, restarted.runs]

    assert run_bounded(course()) == [[ended(run_id)], [ended(run_id)]]


def test_without_a_store_a_restart_begins_from_now(held: Emulator, hook: MosaicHook) -> None:
    first, second = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def course() -> list[list[dict[str, Any]]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
        held.finish_run(first)
        async with Watching() as restarted:
            await restarted.a_whole_look(held)
            held.finish_run(second)
            await restarted.until(lambda: restarted.runs)
            await restarted.a_whole_look(held)
        return [watching.runs, restarted.runs]

    assert run_bounded(course()) == [[], [ended(second)]]


def test_an_airflow_that_can_not_say_yet_where_the_watch_stopped_is_waited_for(
    held: Emulator, hook: MosaicHook
) -> None:
    store = AssetStore()
    run_id = hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching(store) as watching:
            await watching.until(lambda: store.sets)
        held.finish_run(run_id)
        store.broken_gets, store.broken_sets = 2, 2
        async with Watching(store) as restarted:
            await restarted.until(lambda: restarted.runs)
            await restarted.until(lambda: store.broken_sets == 0 and run_id in str(store.texts))
            await restarted.a_whole_look(held)
            return restarted.runs

    assert run_bounded(course()) == [ended(run_id)]


def test_a_watch_of_several_assets_goes_on_without_a_store(held: Emulator, hook: MosaicHook) -> None:
    run_id = hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching(SeveralAssets()) as watching:
            await watching.a_whole_look(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
            return watching.runs

    assert run_bounded(course()) == [ended(run_id)]


def test_quiet_looks_bother_airflow_seldom(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def course() -> None:
        async with Watching(store) as watching:
            for _ in range(3):
                await watching.a_whole_look(held)

    run_bounded(course())
    assert store.sets == 1


def test_another_status_or_agent_keeps_apart_what_it_knows(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def course() -> None:
        for options in ({}, {"status": "failed"}, {"agent_id": OTHER_AGENT}, {"poll_interval": 0.06}):
            async with Watching(store, **options) as watching:
                await watching.a_whole_look(held)

    run_bounded(course())
    # A new pause is the same watch.
    assert len(store.texts) == 3
