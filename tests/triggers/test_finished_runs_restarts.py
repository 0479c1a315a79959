"""MosaicRunFinishedTrigger over restarts: with a state store, no end is lost and none is reported twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, run_bounded

from airflow_provider_mosaic.api.run_completions import RunCompletionTracker
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import run_watcher

from .watch import OTHER_AGENT, AssetStore, SeveralAssets, Watching, ended

pytestmark = pytest.mark.usefixtures("quick_handover")


def test_a_restart_reports_what_has_ended_and_nothing_twice(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()
    first, second = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def scenario() -> list[list[dict[str, Any]]]:
        async with Watching(store) as watching:
            await watching.complete_poll(held)
            held.finish_run(first)
            await watching.until(lambda: first in str(json.loads(next(iter(store.texts.values())))["reported"]))
        held.finish_run(second, "cancelled")
        held.finish_run(hook.run_agent(AGENT), "failed")
        async with Watching(store) as restarted:
            await restarted.until(lambda: len(restarted.runs) >= 2)
            await restarted.complete_poll(held)
        return [watching.runs, restarted.runs]

    before, after = run_bounded(scenario())
    assert before == [ended(first)]
    third = held.runs()[-1]["run_id"]
    assert sorted(after, key=lambda event: event["status"]) == [ended(second, "cancelled"), ended(third, "failed")]


def test_an_event_is_saved_as_reported_only_after_airflow_had_time_to_store_it(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watcher, "_HANDOVER", 3600)
    store = AssetStore()
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[list[dict[str, Any]]]:
        async with Watching(store) as watching:
            await watching.until(lambda: store.sets)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
        # The triggerer died before that: the event comes twice rather than never.
        async with Watching(store) as restarted:
            await restarted.until(lambda: restarted.runs)
        return [watching.runs, restarted.runs]

    assert run_bounded(scenario()) == [[ended(run_id)], [ended(run_id)]]


def test_without_a_store_a_restart_is_a_first_poll(held: Emulator, hook: MosaicHook) -> None:
    first, second = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def scenario() -> list[list[dict[str, Any]]]:
        async with Watching() as watching:
            await watching.complete_poll(held)
        held.finish_run(first)
        async with Watching() as restarted:
            await restarted.complete_poll(held)
            held.finish_run(second)
            await restarted.until(lambda: restarted.runs)
            await restarted.complete_poll(held)
        return [watching.runs, restarted.runs]

    assert run_bounded(scenario()) == [[], [ended(second)]]


def test_a_store_that_is_not_available_yet_is_retried(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(store) as watching:
            await watching.until(lambda: store.sets)
        held.finish_run(run_id)
        store.broken_gets, store.broken_sets = 2, 2
        async with Watching(store) as restarted:
            await restarted.until(lambda: restarted.runs)
            await restarted.until(lambda: store.broken_sets == 0 and run_id in str(store.texts))
            await restarted.complete_poll(held)
            return restarted.runs

    assert run_bounded(scenario()) == [ended(run_id)]


def test_a_watch_of_several_assets_works_without_a_store(held: Emulator, hook: MosaicHook) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(SeveralAssets()) as watching:
            await watching.complete_poll(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]


def test_an_unchanged_state_is_rarely_saved(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def scenario() -> None:
        async with Watching(store) as watching:
            for _ in range(3):
                await watching.complete_poll(held)

    run_bounded(scenario())
    assert store.sets == 1


def test_runs_are_compared_outside_the_event_loop(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_loop: dict[str, bool] = {}

    def record(name: str) -> None:
        original = getattr(RunCompletionTracker, name)

        def recorded(self: RunCompletionTracker, *args: Any, **options: Any) -> Any:
            on_loop[name] = asyncio._get_running_loop() is not None
            return original(self, *args, **options)

        monkeypatch.setattr(RunCompletionTracker, name, recorded)

    methods = ("_restore", "add_listing", "finish_poll", "as_json")
    for name in methods:
        record(name)
    store = AssetStore()

    async def scenario() -> None:
        for _ in range(2):
            async with Watching(store) as watching:
                await watching.complete_poll(held)

    run_bounded(scenario())
    assert on_loop == dict.fromkeys(methods, False)


def test_watches_of_other_statuses_or_agents_have_separate_states(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def scenario() -> None:
        for options in ({}, {"status": "failed"}, {"agent_id": OTHER_AGENT}, {"poll_interval": 0.06}):
            async with Watching(store, **options) as watching:
                await watching.complete_poll(held)

    run_bounded(scenario())
    # Another poll_interval is the same watch.
    assert len(store.texts) == 3
