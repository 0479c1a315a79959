"""The watch for runs that end, on a real event loop against the local Mosaic, over faults and restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger
from tasks.fixtures import AGENT, effects, sent
from tasks.standins import through_airflow

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.run_ends import ENDS
from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger
from airflow_provider_mosaic.triggers import watching as module
from airflow_provider_mosaic.triggers.finished_runs import STATUSES

LIST = "/agent/{agent_id}/runs"
GET_RUN = "/agent_run/{run_id}"
#: The emulator's agent with two branches; it takes an input.
OTHER_AGENT = "a0000000-0000-4000-8000-000000000002"


class AssetStore:
    """An asset's state store, as a trigger of Airflow 3.3 has it; it survives the trigger."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.broken_gets = self.broken_sets = 0
        self.sets = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.broken_gets:
            self.broken_gets -= 1
            raise RuntimeError("the API server is away")
        return json.loads(self.texts[key]) if key in self.texts else default

    async def aset(self, key: str, value: Any) -> None:
        if self.broken_sets:
            self.broken_sets -= 1
            raise RuntimeError("the API server is away")
        self.sets += 1
        self.texts[key] = json.dumps(value, allow_nan=False)


class SeveralAssets:
    """The store of a trigger that several assets share: which one is meant is not known."""

    async def aget(self, key: str, default: Any = None) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")

    async def aset(self, key: str, value: Any) -> None:
        raise AssertionError("nothing can be kept")


class Watching:
    """A trigger that runs in the background, as in a triggerer; leaving kills it where it stands."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.trigger = MosaicRunFinishedTrigger(**{"agent_id": AGENT, "poll_interval": 0.05, **options})
        self.trigger.asset_state_store = store
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._collect())
        return self

    async def _collect(self) -> None:
        async for event in self.trigger.run():
            self.events.append(through_airflow(event.payload))

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task

    async def until(self, seen: Callable[[], Any]) -> Any:
        async def look() -> Any:
            while not (found := await asyncio.to_thread(seen)):
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)
            return found

        return await asyncio.wait_for(look(), 15)

    async def a_whole_look(self, mosaic: Emulator) -> None:
        """Wait until a look has begun and ended after now."""
        before = sent(mosaic, "GET " + LIST)
        await self.until(lambda: sent(mosaic, "GET " + LIST) >= before + 4)


@pytest.fixture(autouse=True)
def _quick_handover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HANDOVER", 0.05)


@pytest.fixture
def held(mosaic: Emulator) -> Emulator:
    mosaic.configure(hold_runs=True)
    return mosaic


def ended(run_id: str, status: str = "completed") -> dict[str, str]:
    return {"run_id": run_id, "agent_id": AGENT, "status": status}


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

    events = asyncio.run(course())
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

    asyncio.run(course())
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

    events = asyncio.run(course())
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

    assert asyncio.run(course()) == [ended(held.runs()[0]["run_id"])]


def test_only_wanted_ends_are_told(held: Emulator, hook: MosaicHook) -> None:
    async def course() -> list[dict[str, Any]]:
        async with Watching(status=["completed"]) as watching:
            await watching.a_whole_look(held)
            held.finish_run(hook.run_agent(AGENT), "failed")
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.events)
            await watching.a_whole_look(held)
            return watching.events

    assert [event["status"] for event in asyncio.run(course())] == ["completed"]


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
            await restarted.until(lambda: len(restarted.events) >= 2)
            await restarted.a_whole_look(held)
        return [watching.events, restarted.events]

    before, after = asyncio.run(course())
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
            await watching.until(lambda: watching.events)
        # It died before: rather twice than never.
        async with Watching(store) as restarted:
            await restarted.until(lambda: restarted.events)
        return [watching.events, restarted.events]

    assert asyncio.run(course()) == [[ended(run_id)], [ended(run_id)]]


def test_without_a_store_a_restart_begins_from_now(held: Emulator, hook: MosaicHook) -> None:
    first, second = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def course() -> list[list[dict[str, Any]]]:
        async with Watching() as watching:
            await watching.a_whole_look(held)
        held.finish_run(first)
        async with Watching() as restarted:
            await restarted.a_whole_look(held)
            held.finish_run(second)
            await restarted.until(lambda: restarted.events)
            await restarted.a_whole_look(held)
        return [watching.events, restarted.events]

    assert asyncio.run(course()) == [[], [ended(second)]]


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
            await restarted.until(lambda: restarted.events)
            await restarted.until(lambda: store.broken_sets == 0 and run_id in str(store.texts))
            await restarted.a_whole_look(held)
            return restarted.events

    assert asyncio.run(course()) == [ended(run_id)]


def test_a_watch_of_several_assets_goes_on_without_a_store(held: Emulator, hook: MosaicHook) -> None:
    run_id = hook.run_agent(AGENT)

    async def course() -> list[dict[str, Any]]:
        async with Watching(SeveralAssets()) as watching:
            await watching.a_whole_look(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            return watching.events

    assert asyncio.run(course()) == [ended(run_id)]


def test_quiet_looks_bother_airflow_seldom(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def course() -> None:
        async with Watching(store) as watching:
            for _ in range(3):
                await watching.a_whole_look(held)

    asyncio.run(course())
    assert store.sets == 1


def test_another_status_or_agent_keeps_apart_what_it_knows(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def course() -> None:
        for options in ({}, {"status": "failed"}, {"agent_id": OTHER_AGENT}, {"poll_interval": 0.06}):
            async with Watching(store, **options) as watching:
                await watching.a_whole_look(held)

    asyncio.run(course())
    # A new pause is the same watch.
    assert len(store.texts) == 3


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

    assert asyncio.run(course()) == [ended(run_id)]
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

    assert asyncio.run(course()) == [ended(other)]
    # The one was read once; that the other is gone was believed at the third look.
    assert sent(held, "GET " + GET_RUN) == 4


def test_a_key_that_is_mended_is_taken_up_by_itself(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.access  # noqa: B018 - the hook has looked its connection up before it goes bad
    good = held.airflow_connection()
    run_id = hook.run_agent(AGENT)
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(json.loads(good) | {"password": "mk_old"}))

    async def course() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.until(lambda: sent(held, "GET " + LIST) >= 2)
            monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
            await watching.a_whole_look(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            return watching.events

    assert asyncio.run(course()) == [ended(run_id)]


# What Airflow keeps of it


ARGUMENTS: list[dict[str, Any]] = [
    {"agent_id": "a"},
    {"agent_id": "a", "status": ["completed", "failed"], "mosaic_conn_id": "other", "poll_interval": 5.5},
]


@pytest.mark.parametrize("given", ARGUMENTS)
def test_arguments_come_back_as_they_were(given: dict[str, Any]) -> None:
    path, arguments = MosaicRunFinishedTrigger(**given).serialize()
    assert path == f"{MosaicRunFinishedTrigger.__module__}.{MosaicRunFinishedTrigger.__name__}"
    assert arguments | given == arguments
    assert MosaicRunFinishedTrigger(**through_airflow(arguments)).serialize() == (path, arguments)


@pytest.mark.parametrize("given", ARGUMENTS)
def test_airflow_takes_what_it_keeps_for_what_the_dag_file_says(given: dict[str, Any]) -> None:
    """Otherwise it would put a new trigger in the place of the old one each time it reads the file."""
    from airflow.models.trigger import Trigger

    path, arguments = MosaicRunFinishedTrigger(**given).serialize()
    row = Trigger(classpath=path, kwargs=arguments)
    assert BaseEventTrigger.hash(path, row.kwargs) == BaseEventTrigger.hash(path, arguments)


def test_arguments_of_0_1_0_still_make_a_watch() -> None:
    kept = {"agent_id": "a", "status": ["failed"], "mosaic_conn_id": "mosaic_default", "poll_interval": 60.0}
    assert MosaicRunFinishedTrigger(**kept).serialize()[1] == kept


def test_the_order_of_statuses_makes_no_other_watch() -> None:
    one, other = (
        MosaicRunFinishedTrigger(agent_id="a", status=status)
        for status in (["failed", "completed"], ("completed", "failed", "failed"))
    )
    assert one.serialize() == other.serialize()


def test_the_statuses_that_can_be_asked_for_are_the_ends_of_runs() -> None:
    assert STATUSES == ENDS


BAD: list[tuple[str, Any]] = [
    *(("agent_id", value) for value in (None, 5, "", "None", "{{ var.value.agent }}", "two words")),
    *(("status", value) for value in ([], "running", "done", ["completed", "queued"], [None], 5)),
    *(("mosaic_conn_id", value) for value in (None, 5, "")),
    *(("poll_interval", value) for value in (0, -1, "60", None, True, float("nan"))),
]


@pytest.mark.parametrize(("name", "value"), BAD)
@pytest.mark.parametrize("kind", [MosaicRunFinishedTrigger, finished_runs])
def test_a_wrong_argument_is_refused_where_the_dag_file_is_read(
    kind: Callable[..., Any], name: str, value: Any
) -> None:
    with pytest.raises(MosaicValidationError, match=name):
        kind(**{"agent_id": "a", name: value})


def test_the_same_arguments_give_the_same_asset_and_others_another() -> None:
    asset = finished_runs("a", status=["failed", "completed"])
    (watcher,) = asset.watchers
    trigger = watcher.trigger
    assert isinstance(trigger, MosaicRunFinishedTrigger)
    assert (trigger.agent_id, trigger.status) == ("a", ["completed", "failed"])
    assert finished_runs("a", status=("completed", "failed")) == asset
    names = {
        finished_runs("a").name,
        finished_runs("b").name,
        finished_runs("a", status="failed").name,
        finished_runs("a", mosaic_conn_id="other").name,
        asset.name,
    }
    assert len(names) == 5
