"""MosaicRunFinishedTrigger on a real event loop with the emulator: each end is reported once."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, effects, run_bounded, sent
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api import run_completions
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import run_watcher, shared_client

from .watch import GET_RUN, LIST, OTHER_AGENT, AssetStore, Watching, ended

pytestmark = pytest.mark.usefixtures("quick_handover")


def test_each_run_of_the_agent_is_reported_once(held: Emulator, hook: MosaicHook) -> None:
    before = hook.run_agent(AGENT)
    held.finish_run(before)
    running = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.complete_poll(held)
            held.finish_run(running, "failed")
            held.finish_run(hook.run_agent(AGENT), "partial_complete")
            held.finish_run(hook.run_agent(OTHER_AGENT, video_urls=["https://cdn.example.org/a.mp4"]))
            await watching.until(lambda: len(watching.runs) >= 2)
            await watching.complete_poll(held)
            return watching.runs

    events = run_bounded(scenario())
    newest = held.runs()[-2]["run_id"]
    assert sorted(events, key=lambda event: event["status"]) == [
        ended(running, "failed"),
        ended(newest, "partial_complete"),
    ]


def test_a_poll_takes_two_requests_and_one_for_each_end(held: Emulator, hook: MosaicHook) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> None:
        async with Watching() as watching:
            await watching.complete_poll(held)
            assert sent(held, "GET " + GET_RUN) == 0
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
            await watching.complete_poll(held)

    run_bounded(scenario())
    assert sent(held, "GET " + GET_RUN) == 1
    assert effects(held) == {"runs_started": 1}
    reads = [request["query"] for request in held.requests() if request["template"] == LIST]
    assert {("status=running" in query, "from=" in query) for query in reads} == {(True, False), (False, True)}


def test_all_pages_are_read(held: Emulator, hook: MosaicHook) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.5) as watching:
            await watching.complete_poll(held)
            for _ in range(101):
                held.finish_run(await asyncio.to_thread(hook.run_agent, AGENT))
            await watching.until(lambda: len(watching.runs) >= 101)
            return watching.runs

    events = run_bounded(scenario())
    assert sorted(event["run_id"] for event in events) == sorted(run["run_id"] for run in held.runs())


def test_a_list_that_lags_loses_and_repeats_nothing(held: Emulator, hook: MosaicHook) -> None:
    held.configure(list_lag=0.3)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.complete_poll(held)
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.runs)
            await watching.complete_poll(held)
            return watching.runs

    assert run_bounded(scenario()) == [ended(held.runs()[0]["run_id"])]


def test_only_requested_statuses_are_reported(held: Emulator, hook: MosaicHook) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with Watching(status=["completed"]) as watching:
            await watching.complete_poll(held)
            held.finish_run(hook.run_agent(AGENT), "failed")
            held.finish_run(hook.run_agent(AGENT))
            await watching.until(lambda: watching.runs)
            await watching.complete_poll(held)
            return watching.runs

    assert [event["status"] for event in run_bounded(scenario())] == ["completed"]


# Runs that end together


def burst(held: Emulator, hook: MosaicHook, count: int) -> list[dict[str, Any]]:
    """Start runs and end them. Return what must be reported, sorted."""
    started = [hook.run_agent(AGENT) for _ in range(count)]
    for run_id in started:
        held.finish_run(run_id)
    return sorted((ended(run_id) for run_id in started), key=str)


def test_runs_that_end_together_are_in_one_event(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def scenario() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with Watching(store) as before:
            await before.until(lambda: store.sets)
        expected = await asyncio.to_thread(burst, held, hook, 20)
        async with Watching(store, poll_interval=3600) as watching:
            await watching.until(lambda: len(watching.runs) >= 20)
        return watching.events, expected

    events, expected = run_bounded(scenario())
    assert [sorted(event["runs"], key=str) for event in events] == [expected]


def test_a_full_event_is_followed_by_the_rest_at_once(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watcher, "_MAX_RUNS_PER_EVENT", 4)
    monkeypatch.setattr(run_watcher, "_EVENT_INTERVAL", 0.3)
    store = AssetStore()

    async def scenario() -> tuple[Watching, list[dict[str, Any]]]:
        async with Watching(store) as before:
            await before.until(lambda: store.sets)
        expected = await asyncio.to_thread(burst, held, hook, 10)
        # The rest does not wait for the next poll.
        async with Watching(store, poll_interval=3600) as watching:
            await watching.until(lambda: len(watching.runs) >= 10)
        return watching, expected

    watching, expected = run_bounded(scenario())
    assert [len(event["runs"]) for event in watching.events] == [4, 4, 2]
    assert sorted(watching.runs, key=str) == expected
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(watching.times))


def test_events_are_30_seconds_apart(held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_watcher, "_EVENT_INTERVAL", 0.6)

    async def scenario() -> Watching:
        async with Watching() as watching:
            await watching.complete_poll(held)
            for count in range(1, 4):
                held.finish_run(await asyncio.to_thread(hook.run_agent, AGENT))
                await watching.until(lambda count=count: len(watching.runs) >= count)
            return watching

    watching = run_bounded(scenario())
    assert len(watching.events) == 3
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(watching.times))


def test_a_poll_that_fails_reports_what_it_had_read(held: Emulator, hook: MosaicHook) -> None:
    store = AssetStore()

    async def scenario() -> Watching:
        async with Watching(store) as before:
            await before.until(lambda: store.sets)
        await asyncio.to_thread(burst, held, hook, 5)
        held.inject("forbidden", method="GET", path=GET_RUN, skip=2)
        async with Watching(store) as watching:
            await watching.until(lambda: len(watching.runs) >= 5)
            await watching.complete_poll(held)
            return watching

    watching = run_bounded(scenario())
    assert sorted(run["run_id"] for run in watching.runs) == sorted(run["run_id"] for run in held.runs())
    assert len(watching.events) == 2


# Errors

ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 500}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("html", {}),
    ("truncated_json", {}),
    ("unauthorized", {}),
    ("forbidden", {}),
    ("not_found", {}),
]


@pytest.mark.parametrize(("fault", "options"), ERRORS, ids=lambda value: str(value))
@pytest.mark.parametrize("path", [LIST, GET_RUN])
def test_no_error_ends_the_watch_or_loses_a_run(
    held: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any], path: str
) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.complete_poll(held)
            held.inject(fault, method="GET", path=path, times=2, **options)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
            await watching.complete_poll(held)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]
    assert held.counts().faults_used == {fault: 2}


@pytest.mark.parametrize("reads", ["lists", "runs"])
def test_an_unexpected_error_ends_no_watch_and_has_a_traceback(
    held: Emulator,
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reads: str,
) -> None:
    broken, other = hook.run_agent(AGENT), hook.run_agent(AGENT)
    failures: list[Exception] = []
    send = shared_client.SharedClient.send

    async def fail_twice(self: shared_client.SharedClient, call: Call[Any]) -> Any:
        if len(failures) < 2 and call.ids.get("run_id") == (None if reads == "lists" else broken):
            failures.append(RuntimeError("not an error of Mosaic"))
            raise failures[-1]
        return await send(self, call)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.complete_poll(held)
            monkeypatch.setattr(shared_client.SharedClient, "send", fail_twice)
            held.finish_run(broken)
            held.finish_run(other)
            await watching.until(lambda: len(watching.runs) >= 2)
            await watching.complete_poll(held)
            return watching.runs

    assert sorted(run_bounded(scenario()), key=str) == sorted([ended(broken), ended(other)], key=str)
    [record] = [record for record in caplog.records if "could not be read" in record.message]
    assert (record.exc_info or (None, None))[1] is failures[0]


def test_a_deleted_run_delays_no_other(held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch) -> None:
    # Count the 404s without waiting for two minutes.
    monkeypatch.setattr(run_completions, "NOT_FOUND_GRACE", 0.0)
    deleted, other = hook.run_agent(AGENT), hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching() as watching:
            await watching.complete_poll(held)
            held.forget_run(deleted)
            held.finish_run(other)
            await watching.until(lambda: watching.runs)
            await watching.until(lambda: sent(held, "GET " + GET_RUN) >= 4)
            await watching.complete_poll(held)
            return watching.runs

    assert run_bounded(scenario()) == [ended(other)]
    # The other run was read once, the deleted one three times.
    assert sent(held, "GET " + GET_RUN) == 4


UNREADABLE: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 500}),
    ("forbidden", {}),
    ("html", {}),
    ("reset", {}),
]


@pytest.mark.parametrize(("fault", "options"), UNREADABLE, ids=lambda value: str(value))
def test_a_run_that_cannot_be_read_delays_no_other(
    held: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, fault: str, options: dict[str, Any]
) -> None:
    others = [hook.run_agent(AGENT) for _ in range(2)]
    # The newest run is listed first.
    unreadable = hook.run_agent(AGENT)
    held.inject(fault, method="GET", path=f"/agent_run/{unreadable}", times=None, **options)
    store = AssetStore()

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(store) as watching:
            await watching.complete_poll(held)
            held.finish_run(unreadable)
            await watching.until(lambda: "could not be read" in caplog.text)
            for count, run_id in enumerate(others, start=1):
                held.finish_run(run_id)
                await watching.until(lambda count=count: len(watching.runs) == count)
            await watching.complete_poll(held)
            [text] = store.texts.values()
            assert unreadable in json.loads(text)["running"]
            held.clear_faults()
            await watching.until(lambda: len(watching.runs) == 3)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id) for run_id in (*others, unreadable)]
    errors = [record.message for record in caplog.records if "could not be read" in record.message]
    assert len(errors) == 1
    assert unreadable in errors[0]


def test_many_runs_that_cannot_be_read_delay_no_other(held: Emulator, hook: MosaicHook) -> None:
    others = [hook.run_agent(AGENT) for _ in range(2)]
    unreadable = [hook.run_agent(AGENT) for _ in range(5)]
    for run_id in unreadable:
        held.inject("forbidden", method="GET", path=f"/agent_run/{run_id}", times=None)
    store = AssetStore()

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(store, poll_interval=0.1) as watching:
            await watching.complete_poll(held)
            await asyncio.to_thread(lambda: [held.finish_run(run_id) for run_id in unreadable])
            for count, run_id in enumerate(others, start=1):
                held.finish_run(run_id)
                await watching.until(lambda count=count: len(watching.runs) == count)
            # Every poll completes, and has at most three reads that fail.
            before = held.counts().requests
            await watching.until(lambda: sent(held, "GET " + LIST) >= before["GET " + LIST] + 8)
            counts = held.counts().requests
            polls = (counts["GET " + LIST] - before["GET " + LIST]) / 2 + 1
            assert counts["GET " + GET_RUN] - before["GET " + GET_RUN] <= 3 * polls
            held.clear_faults()
            await watching.until(lambda: len(watching.runs) == 7)
            await watching.complete_poll(held)
            return watching.runs

    assert sorted(run_bounded(scenario()), key=str) == sorted((ended(run["run_id"]) for run in held.runs()), key=str)


def test_an_outage_costs_three_reads_in_each_poll(held: Emulator, hook: MosaicHook) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.1) as watching:
            await watching.complete_poll(held)
            held.inject("server_error", method="GET", path=GET_RUN, status=502, times=None)
            await asyncio.to_thread(burst, held, hook, 10)
            lists = sent(held, "GET " + LIST)
            await watching.until(lambda: sent(held, "GET " + LIST) >= lists + 6)
            counts = held.counts().requests
            assert counts["GET " + GET_RUN] <= 3 * counts["GET " + LIST] / 2
            held.clear_faults()
            await watching.until(lambda: len(watching.runs) == 10)
            return watching.runs

    assert sorted(run_bounded(scenario()), key=str) == sorted((ended(run["run_id"]) for run in held.runs()), key=str)


def test_a_fixed_key_is_used_without_a_restart(
    held: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_client, "_RECHECK_AFTER_REJECTION", 0.5)
    hook.access  # noqa: B018 - looks up the connection while it is valid
    good = held.airflow_connection()
    run_id = hook.run_agent(AGENT)
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(json.loads(good) | {"password": "mk_old"}))

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(poll_interval=0.02) as watching:
            await watching.until(lambda: sent(held, "GET " + LIST) >= 2)
            monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
            await watching.until(lambda: 200 in statuses())
            await watching.complete_poll(held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.runs)
            return watching.runs

    def statuses() -> list[int]:
        return [request["status"] for request in held.requests() if request["template"] == LIST]

    assert run_bounded(scenario()) == [ended(run_id)]
    # One line for all refusals.
    assert [record.levelname for record in caplog.records if "could not be read" in record.message] == ["ERROR"]
    assert statuses().count(401) > 2


# Rows that can't be read


class OddRows(OtherMosaic):
    """An API server whose lists have odd rows, and which refuses some reads of single runs with 429."""

    def __init__(self, odd: dict[str, Any], rate_limited: int = 0) -> None:
        super().__init__()
        self.odd, self.rate_limited = odd, rate_limited

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        status, body = super().answer(method, target)
        if "/runs" in target:
            body["runs"] = [row | self.odd if row["run_id"].startswith("odd") else row for row in body["runs"]]
        elif self.rate_limited:
            self.rate_limited -= 1
            return 429, {"error": "too many requests"}
        return status, body


@pytest.mark.parametrize("odd", [{"status": None}, {"outputs": ["https://cdn.example.org/a.mp4"]}], ids=str)
def test_odd_row_is_read_by_itself_and_delays_no_run(monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with Watching(agent_id="an-agent") as watching:
            await watching.until(lambda: len(other.requests) >= 6)
            other.add("odd-1", status="completed")
            other.add("good", status="completed")
            await watching.until(lambda: len(watching.runs) >= 2)
            return watching.runs

    with serving(OddRows(odd)) as other:
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        other.add("odd-0", status="completed")
        found = run_bounded(scenario())
    assert sorted(run["run_id"] for run in found) == ["good", "odd-1"]


def test_run_that_ends_after_a_first_poll_that_failed_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with Watching(agent_id="an-agent") as watching:
            await watching.until(lambda: "could not be read" in caplog.text)
            running["status"] = "completed"
            other.rate_limited = 0
            other.add("later", status="completed")
            await watching.until(lambda: len(watching.runs) >= 2)
            return watching.runs

    with serving(OddRows({"status": None}, rate_limited=1000)) as other:
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        other.add("odd", status="completed")
        running = other.add("running", status="running")
        found = run_bounded(scenario())
    assert sorted(run["run_id"] for run in found) == ["later", "running"]
