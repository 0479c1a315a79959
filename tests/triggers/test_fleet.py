"""A thousand waits on one event loop: each ends with its own verdict, for a handful of requests a cycle."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import time
import warnings
from collections import Counter
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, Meanwhile, effects, run_bounded, sent, until

from airflow_provider_mosaic.api import poll_state as waiting
from airflow_provider_mosaic.api import poll_strategy as polling_plan
from airflow_provider_mosaic.api.poll_state import MAX_NOT_FOUND, run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, poller
from airflow_provider_mosaic.triggers import concurrency as slots
from airflow_provider_mosaic.triggers import shared_pollers as polling
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait

GET_RUN = "/agent_run/{run_id}"
LIST = "/agent_runs"
STATUSES = ("completed", "failed", "cancelled", "partial_complete")


def started(mosaic: Emulator, hook: MosaicHook, count: int) -> list[str]:
    mosaic.configure(hold_runs=True, render="tiny", request_log=100_000)
    return [hook.run_agent(AGENT) for _ in range(count)]


def events_of(runs: list[str], *, complaints: list[str] | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    """The events of as many triggers on one loop, begun one after the other as Airflow does it."""

    async def first(run_id: str) -> dict[str, Any]:
        events = MosaicRunTrigger(run_id=run_id, **options).run()
        try:
            payload: dict[str, Any] = (await anext(events)).payload
            return payload
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def all_of_them() -> dict[str, dict[str, Any]]:
        if complaints is not None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, said: complaints.append(said["message"]))
        waits = []
        for run_id in runs:
            waits.append(asyncio.create_task(first(run_id)))
            await asyncio.sleep(0)
        came = await asyncio.gather(*waits)
        return dict(zip(runs, came, strict=True))

    return run_bounded(all_of_them(), seconds=300)


def gets_by_run(mosaic: Emulator) -> dict[str, list[dict[str, Any]]]:
    gets: dict[str, list[dict[str, Any]]] = {}
    for request in mosaic.requests():
        if request["template"] == GET_RUN and request["method"] == "GET":
            gets.setdefault(request["path"].rpartition("/")[2], []).append(request)
    return gets


def cycles(mosaic: Emulator) -> list[Counter[str]]:
    """The requests from each first page of the list to the next."""
    found: list[Counter[str]] = []
    for request in mosaic.requests():
        if request["method"] == "GET":
            if request["template"] == LIST and "cursor" not in request["query"]:
                found.append(Counter())
            if found:
                found[-1][request["template"]] += 1
    return found


# A thousand runs are started, twenty sweeps read amid faults: some ten seconds.
def test_a_thousand_waits_end_each_with_its_verdict_whatever_the_server_does(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A list that failed is left alone for up to two minutes: here it should be read amid its faults, not after them.
    monkeypatch.setattr(polling_plan, "_FIRST_REST", 1.0)
    monkeypatch.setattr(polling_plan, "_LONGEST_REST", 4.0)
    # The last runs are not in the list yet when the waits begin.
    mosaic.configure(list_lag=2.0)
    runs = started(mosaic, hook, 1000)
    mosaic.inject("rate_limit", path=LIST, times=3, skip=5, retry_after=1)
    mosaic.inject("rate_limit", path=GET_RUN, times=10, skip=40, retry_after=1)
    for kind in ("reset", "server_error", "truncated_json", "answer_lost"):
        mosaic.inject(kind, path=LIST, times=5, probability=0.1)
        mosaic.inject(kind, path=GET_RUN, times=50, probability=0.05)
    for kind in ("repeated_cursor", "duplicate_page"):
        mosaic.inject(kind, path=LIST, times=5, probability=0.1)
    mosaic.inject("unknown_status", path=GET_RUN, times=20, probability=0.1, status="thinking")
    vanishing, ending = runs[::100], [run_id for number, run_id in enumerate(runs) if number % 100]
    expected = {run_id: STATUSES[number % len(STATUSES)] for number, run_id in enumerate(ending)}
    ended_at: dict[str, float] = {}

    def end_them() -> None:
        until(lambda: sent(mosaic, "GET " + LIST) >= 20, 120)
        for run_id in vanishing:
            mosaic.forget_run(run_id)
        for run_id, status in expected.items():
            mosaic.finish_run(run_id, status)
            ended_at[run_id] = time.time()

    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with caplog.at_level(logging.WARNING, logger="asyncio"), Meanwhile(end_them):
            events = events_of(runs, complaints=complaints, poll_interval=1.0)
        gc.collect()

    assert {run_id: events[run_id]["status"] for run_id in ending} == expected
    assert {events[run_id]["error"] for run_id in vanishing} == {"MosaicNotFoundError"}
    gets = gets_by_run(mosaic)
    for run_id in ending:
        after = [get for get in gets[run_id] if get["time"] > ended_at[run_id]]
        told = [number for number, get in enumerate(after) if get["status"] == 200 and get["fault"] is None]
        assert told in ([], [len(after) - 1]), "it was asked for after it was known to have ended"
    for run_id in vanishing:
        # In a row: a page that was read before it vanished may still show it in between, and it is counted anew.
        assert MAX_NOT_FOUND <= [get["status"] for get in gets[run_id]].count(404) < 2 * MAX_NOT_FOUND
    assert effects(mosaic) == {"runs_started": 1000}
    assert complaints == []
    unclosed = [str(warning.message) for warning in warned if issubclass(warning.category, ResourceWarning)]
    # Airflow's own databases, of tests before this one, say so on Python 3.13.
    assert [said for said in unclosed if "sqlite3.Connection" not in said] == []
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


# Eleven cycles of a second each: shorter ones would run into each other on a busy machine.
def test_a_cycle_costs_the_pages_of_the_list_and_at_most_two_requests_more(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 250)
    steady: list[Counter[str]] = []

    def look_and_end() -> None:
        # The first pauses are shorter, and in the last cycle something may still be under way.
        steady.extend(until(lambda: cycles(mosaic)[3:-1][4:] and cycles(mosaic)[3:-1], 60))
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    with Meanwhile(look_and_end):
        events = events_of(runs, poll_interval=1.0)
    assert {event["status"] for event in events.values()} == {"failed"}
    assert [cycle for cycle in steady if cycle.total() > 3 + 2] == []
    assert {cycle[LIST] for cycle in steady} == {3}


def sweeps_of_groups(mosaic: Emulator, hook: MosaicHook, *, poll_interval: float, sweeps: int) -> list[float]:
    """When the sweeps begin of 250 waits that begin in five groups, one second from first to last."""
    runs = started(mosaic, hook, 250)

    async def one_after_the_other() -> None:
        waits: list[asyncio.Task[Any]] = []
        for first in range(0, 250, 50):
            waits += [
                asyncio.create_task(anext(MosaicRunTrigger(run_id=run_id, poll_interval=poll_interval).run()))  # type: ignore[arg-type]
                for run_id in runs[first : first + 50]
            ]
            await asyncio.sleep(0.2)
        await asyncio.to_thread(until, lambda: len(cycles(mosaic)) > sweeps, 60)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)

    run_bounded(one_after_the_other())
    return [get["time"] for get in mosaic.requests() if get["template"] == LIST and "cursor" not in get["query"]]


# Eleven cycles of a second each.
def test_waits_that_begin_one_after_the_other_are_soon_seen_together(mosaic: Emulator, hook: MosaicHook) -> None:
    steady = sweeps_of_groups(mosaic, hook, poll_interval=1.0, sweeps=11)[6:]
    assert len(steady) - 1 <= (steady[-1] - steady[0]) / 1.0 + 1, "more than one sweep in a poll_interval"
    assert {cycle[LIST] for cycle in cycles(mosaic)[6:-1]} == {3}


# Five sweeps, two and a half seconds between them.
def test_those_that_have_just_begun_do_not_have_the_list_read_over_and_over(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The gap is longer than their first pauses, of a second and one and a half.
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(poller, "_GAP_A_PAGE", 2.5 / 3)
    began = sweeps_of_groups(mosaic, hook, poll_interval=60.0, sweeps=5)
    # How many pages there are is known after the first whole sweep, which is the second at the latest.
    pauses = [later - earlier for earlier, later in itertools.pairwise(began[2:])]
    assert min(pauses) > 2.2, pauses


# Seventeen cycles of half a second each.
def test_the_run_that_is_asked_for_by_itself_is_the_one_of_which_nothing_was_heard_for_longest(
    mosaic: Emulator, hook: MosaicHook
) -> None:
    runs = started(mosaic, hook, 5)

    async def some_cycles() -> None:
        waits = [
            # So long that a look is over, on a busy machine too, before its run is due with the others again.
            asyncio.create_task(anext(MosaicRunTrigger(run_id=run_id, poll_interval=0.5).run()))  # type: ignore[arg-type]
            for run_id in runs
        ]
        await asyncio.to_thread(until, lambda: len(cycles(mosaic)) >= 17, 60)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)

    run_bounded(some_cycles())
    audited = [get["path"] for get in mosaic.requests() if get["template"] == GET_RUN][-10:]
    assert sorted(audited[:5]) == sorted(audited[5:]), "none is asked for twice before all were"
    assert len(set(audited)) == 5


def with_others_running(mosaic: Emulator, hook: MosaicHook, waited: int, others: int) -> list[str]:
    mosaic.configure(list_order="oldest")
    return started(mosaic, hook, others + waited)[others:]


# A thousand runs are started in the second case.
@pytest.mark.parametrize(("waited", "others", "by_list"), [(40, 60, True), (6, 994, False)])
def test_the_cheaper_way_is_taken_when_others_have_runs_too(
    mosaic: Emulator, hook: MosaicHook, waited: int, others: int, by_list: bool
) -> None:
    runs = with_others_running(mosaic, hook, waited, others)
    before: Counter[str] = Counter()

    def look_and_end() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 250 or sent(mosaic, "GET " + LIST) >= 25, 60)
        before.update({LIST: sent(mosaic, "GET " + LIST), GET_RUN: sent(mosaic, "GET " + GET_RUN)})
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    with Meanwhile(look_and_end):
        events_of(runs, poll_interval=0.2)
    assert (before[LIST] > before[GET_RUN] / 4) == by_list, before


@pytest.mark.parametrize(
    ("fault", "options"), [("forbidden", {}), ("not_found", {}), ("server_error", {"status": 501}), ("html", {})]
)
def test_without_the_list_each_run_is_asked_for_by_itself(
    mosaic: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any]
) -> None:
    runs = started(mosaic, hook, 20)
    mosaic.inject(fault, path=LIST, times=None, **options)

    def end_them() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 60, 30)
        for run_id in runs:
            mosaic.finish_run(run_id, "cancelled")

    with Meanwhile(end_them):
        events = events_of(runs, poll_interval=0.05)
    assert {event["status"] for event in events.values()} == {"cancelled"}
    # It is left alone for a while: three tries at most, of one page.
    assert sent(mosaic, "GET " + LIST) <= 3


def test_a_hanging_look_harms_only_itself(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 3)
    mosaic.inject("hang", path=f"/agent_run/{runs[0]}", times=None)
    ended: list[str] = []

    async def wait(run_id: str) -> None:
        await anext(MosaicRunTrigger(run_id=run_id, poll_interval=0.02).run())
        ended.append(run_id)

    async def all_of_them() -> None:
        waits = [asyncio.create_task(wait(run_id)) for run_id in runs]
        await asyncio.to_thread(until, lambda: len(gets_by_run(mosaic)) == 3)
        for run_id in runs[1:]:
            await asyncio.to_thread(mosaic.finish_run, run_id, "failed")
        await asyncio.wait(waits[1:], timeout=10)
        waits[0].cancel()
        await asyncio.wait(waits)

    run_bounded(all_of_them())
    assert sorted(ended) == sorted(runs[1:])
    assert len(gets_by_run(mosaic)[runs[0]]) == 1


def test_a_wait_that_is_cancelled_leaves_the_others_alone(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 30)

    async def all_of_them() -> list[Any]:
        waits = [
            asyncio.create_task(anext(MosaicRunTrigger(run_id=run_id, poll_interval=0.05).run()))  # type: ignore[arg-type]
            for run_id in runs
        ]
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + LIST) >= 3)
        for wait in waits[:20]:
            wait.cancel()
        for run_id in runs[20:]:
            await asyncio.to_thread(mosaic.finish_run, run_id, "failed")
        return await asyncio.gather(*waits, return_exceptions=True)

    came = run_bounded(all_of_them())
    assert {type(each) for each in came[:20]} == {asyncio.CancelledError}
    assert [each.payload["id"] for each in came[20:]] == runs[20:]


def test_two_waits_for_one_run_both_end(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 5)

    def end_them() -> None:
        until(lambda: sent(mosaic, "GET " + LIST) >= 2)
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    async def twice() -> list[Any]:
        triggers = [MosaicRunTrigger(run_id=run_id, poll_interval=0.05) for run_id in runs * 2]
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    with Meanwhile(end_them):
        assert [event.payload["id"] for event in run_bounded(twice())] == runs * 2


def test_the_deadline_of_each_is_kept_in_a_fleet(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 20)
    deadline = time.time() + 1.0
    events = events_of(runs, poll_interval=60.0, deadline=deadline)
    assert {event["outcome"] for event in events.values()} == {"timeout"}
    last = {run_id: gets[-1]["time"] for run_id, gets in gets_by_run(mosaic).items()}
    # How a run stands at its deadline is asked of itself, not of the list.
    assert sorted(last) == sorted(runs)
    assert min(last.values()) >= deadline


def test_a_list_that_shows_what_has_ended_is_found_out(mosaic: Emulator, hook: MosaicHook) -> None:
    from airflow_provider_mosaic.api import poll_strategy as polling_plan
    from airflow_provider_mosaic.api.poll_strategy import PollStrategy

    plan = PollStrategy()
    plan.record_audit(had_ended=True, now=0.0, cycle=30.0)
    assert plan.prefers_list(100, now=0.0)
    plan.record_audit(had_ended=True, now=0.0, cycle=30.0)
    assert not plan.prefers_list(100, now=0.0)
    assert plan.prefers_list(100, now=polling_plan._DOUBT)
    for _ in range(2):
        plan.record_audit(had_ended=True, now=0.0, cycle=1000.0)
    assert not plan.prefers_list(100, now=1000.0), "not each of them has been looked at by itself yet"


def test_the_progress_of_each_run_is_noted_where_the_list_shows_it(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(speed=1.0, node_seconds=1.0, render="tiny")
    runs = [hook.run_agent(AGENT) for _ in range(10)]
    with caplog.at_level(logging.INFO, logger="airflow_provider_mosaic.triggers.runs"):
        events_of(runs, poll_interval=0.1)
    for run_id in runs:
        said = [line for line in caplog.messages if run_id in line]
        assert said[-1].endswith("is completed: 2 completed, 0 in progress, 0 failed.")
        assert len(said) == len(set(said)) >= 2


def test_waits_that_are_cancelled_at_once_take_no_place_from_others(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = started(mosaic, hook, 40)

    async def many_give_up() -> Any:
        keeping = asyncio.create_task(anext(MosaicRunTrigger(run_id=runs[0], poll_interval=0.05).run()))  # type: ignore[arg-type]
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 1)
        (shared,) = polling._pollers[asyncio.get_running_loop()].values()
        for run_id in runs[1:]:
            wait = BatchedRunWait(
                run_id, run_poll_state(run_id, poll_interval=60.0, deadline=None, noted=lambda line: None)
            )
            shared.add(wait)
            shared._queue_poll(wait)
            shared._start_polls()
            # Its look has not made its first step yet.
            shared.remove(wait)
        await asyncio.to_thread(mosaic.finish_run, runs[0], "failed")
        return (await asyncio.wait_for(keeping, 20)).payload

    assert run_bounded(many_give_up())["status"] == "failed"


def test_as_many_hanging_looks_as_there_are_places_stop_nobody(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "SLOW", 0.1)
    runs = started(mosaic, hook, poller._MAX_POLLS + 1)
    mosaic.inject("forbidden", path=LIST, times=None)
    for run_id in runs[:-1]:
        mosaic.inject("hang", path=f"/agent_run/{run_id}", times=None)
    mosaic.finish_run(runs[-1], "failed")

    async def all_of_them() -> Any:
        waits = [
            asyncio.create_task(anext(MosaicRunTrigger(run_id=run_id, poll_interval=0.05).run()))  # type: ignore[arg-type]
            for run_id in runs[:-1]
        ]
        await asyncio.to_thread(until, lambda: len(gets_by_run(mosaic)) == len(runs) - 1)
        last = asyncio.create_task(anext(MosaicRunTrigger(run_id=runs[-1], poll_interval=0.05).run()))  # type: ignore[arg-type]
        came = await asyncio.wait_for(last, 20)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        return came.payload

    assert run_bounded(all_of_them())["status"] == "failed"
