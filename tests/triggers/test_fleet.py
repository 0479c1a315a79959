"""A thousand waits on one event loop: each ends with its own outcome, with a few requests a cycle."""

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
from tasks.fixtures import AGENT, InBackground, effects, run_bounded, sent, until

from airflow_provider_mosaic.api import poll_state, poll_strategy
from airflow_provider_mosaic.api.poll_state import MAX_NOT_FOUND, run_poll_state
from airflow_provider_mosaic.api.poll_strategy import PollStrategy
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, poller, shared_pollers
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait
from airflow_provider_mosaic.triggers.poller import Poller

from .waits import cancel_all, start_wait

GET_RUN = "/agent_run/{run_id}"
LIST = "/agent_runs"
STATUSES = ("completed", "failed", "cancelled", "partial_complete")


def start_runs(mosaic: Emulator, hook: MosaicHook, count: int) -> list[str]:
    mosaic.configure(hold_runs=True, render="tiny", request_log=100_000)
    return [hook.run_agent(AGENT) for _ in range(count)]


def events_of(runs: list[str], *, loop_errors: list[str] | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the events of as many triggers on one loop, started one after the other as Airflow does."""

    async def first(run_id: str) -> dict[str, Any]:
        events = MosaicRunTrigger(run_id=run_id, **options).run()
        try:
            payload: dict[str, Any] = (await anext(events)).payload
            return payload
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def all_of_them() -> dict[str, dict[str, Any]]:
        if loop_errors is not None:
            handler = lambda loop, context: loop_errors.append(context["message"])  # noqa: E731
            asyncio.get_running_loop().set_exception_handler(handler)
        waits = []
        for run_id in runs:
            waits.append(asyncio.create_task(first(run_id)))
            await asyncio.sleep(0)
        events = await asyncio.gather(*waits)
        return dict(zip(runs, events, strict=True))

    return run_bounded(all_of_them(), seconds=300)


def gets_by_run(mosaic: Emulator) -> dict[str, list[dict[str, Any]]]:
    gets: dict[str, list[dict[str, Any]]] = {}
    for request in mosaic.requests():
        if request["template"] == GET_RUN and request["method"] == "GET":
            gets.setdefault(request["path"].rpartition("/")[2], []).append(request)
    return gets


def cycles(mosaic: Emulator) -> list[Counter[str]]:
    """Return the requests from each first page of the list to the next."""
    found: list[Counter[str]] = []
    for request in mosaic.requests():
        if request["method"] == "GET":
            if request["template"] == LIST and "cursor" not in request["query"]:
                found.append(Counter())
            if found:
                found[-1][request["template"]] += 1
    return found


# Starts a thousand runs and reads the list twenty times: some ten seconds.
def test_a_thousand_waits_end_each_with_its_outcome_despite_errors_of_the_server(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A list that failed is not used for up to two minutes. Here it is read again while it still fails.
    monkeypatch.setattr(poll_strategy, "_FIRST_REST", 1.0)
    monkeypatch.setattr(poll_strategy, "_MAX_REST", 4.0)
    # Count the 404s without waiting for a minute.
    monkeypatch.setattr(poll_state, "NOT_FOUND_TIMEOUT", 0.0)
    # The last runs are not listed yet when their waits start.
    mosaic.configure(list_lag=2.0)
    runs = start_runs(mosaic, hook, 1000)
    mosaic.inject("rate_limit", path=LIST, times=3, skip=5, retry_after=1)
    mosaic.inject("rate_limit", path=GET_RUN, times=10, skip=40, retry_after=1)
    for kind in ("reset", "server_error", "truncated_json", "response_lost"):
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

    loop_errors: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with caplog.at_level(logging.WARNING, logger="asyncio"), InBackground(end_them):
            events = events_of(runs, loop_errors=loop_errors, poll_interval=1.0)
        gc.collect()

    assert {run_id: events[run_id]["status"] for run_id in ending} == expected
    assert {events[run_id]["error"] for run_id in vanishing} == {"MosaicNotFoundError"}
    gets = gets_by_run(mosaic)
    for run_id in ending:
        after = [get for get in gets[run_id] if get["time"] > ended_at[run_id]]
        ok = [number for number, get in enumerate(after) if get["status"] == 200 and get["fault"] is None]
        assert ok in ([], [len(after) - 1]), "it was polled after it was known to have ended"
    for run_id in vanishing:
        # A page that was read before the run vanished may show it between two of them; the count starts again then.
        assert MAX_NOT_FOUND <= [get["status"] for get in gets[run_id]].count(404) < 2 * MAX_NOT_FOUND
    assert effects(mosaic) == {"runs_started": 1000}
    assert loop_errors == []
    unclosed = [str(warning.message) for warning in warned if issubclass(warning.category, ResourceWarning)]
    # On Python 3.13, Airflow's own databases of earlier tests warn too.
    assert [warning for warning in unclosed if "sqlite3.Connection" not in warning] == []
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


# Eleven cycles of a second each: shorter ones would overlap on a busy machine.
def test_a_cycle_costs_the_pages_of_the_list_and_at_most_two_requests_more(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 250)
    steady: list[Counter[str]] = []

    def count_and_end() -> None:
        # The first pauses are shorter, and the last cycle may not be over.
        steady.extend(until(lambda: cycles(mosaic)[3:-1][4:] and cycles(mosaic)[3:-1], 60))
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    with InBackground(count_and_end):
        events = events_of(runs, poll_interval=1.0)
    assert {event["status"] for event in events.values()} == {"failed"}
    assert [cycle for cycle in steady if cycle.total() > 3 + 2] == []
    assert {cycle[LIST] for cycle in steady} == {3}


def scan_times(mosaic: Emulator, hook: MosaicHook, *, poll_interval: float, scans: int) -> list[float]:
    """Return the start times of the scans for 250 waits that start in five groups within a second."""
    runs = start_runs(mosaic, hook, 250)

    async def one_after_the_other() -> None:
        waits: list[asyncio.Task[Any]] = []
        for first in range(0, 250, 50):
            waits += [start_wait(run_id, poll_interval=poll_interval) for run_id in runs[first : first + 50]]
            await asyncio.sleep(0.2)
        await asyncio.to_thread(until, lambda: len(cycles(mosaic)) > scans, 60)
        await cancel_all(waits)

    run_bounded(one_after_the_other())
    return [get["time"] for get in mosaic.requests() if get["template"] == LIST and "cursor" not in get["query"]]


# Eleven cycles of a second each.
def test_waits_that_start_at_different_times_share_one_scan_in_a_cycle(mosaic: Emulator, hook: MosaicHook) -> None:
    steady = scan_times(mosaic, hook, poll_interval=1.0, scans=11)[6:]
    assert len(steady) - 1 <= (steady[-1] - steady[0]) / 1.0 + 1, "more than one scan in a poll_interval"
    assert {cycle[LIST] for cycle in cycles(mosaic)[6:-1]} == {3}


# Five scans, two and a half seconds between them.
def test_new_waits_do_not_scan_the_list_more_often(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scan interval is longer than the first pauses of 1 s and 1.5 s.
    monkeypatch.setattr(poll_state, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(poller, "_SCAN_INTERVAL_PER_PAGE", 2.5 / 3)
    starts: list[float] = []
    start_scan = Poller._start_scan

    def recording(self: Poller, due: Any, now: float) -> None:
        starts.append(now)
        start_scan(self, due, now)

    monkeypatch.setattr(Poller, "_start_scan", recording)
    scan_times(mosaic, hook, poll_interval=60.0, scans=5)
    # The number of pages is known after the first complete scan, which is the second at the latest.
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts[2:])]
    assert min(pauses) > 2.4, pauses


# About seventeen cycles of half a second each.
def test_audits_poll_each_run_in_turn(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 5)

    def each_was_polled_twice_in_turn() -> bool:
        """Return whether none was polled twice before all were. On a busy machine, runs are also polled when due."""
        polled = [get["path"] for get in mosaic.requests() if get["template"] == GET_RUN]
        tens = [polled[first : first + 10] for first in range(len(polled) - 9)]
        return any(len({*ten[:5]}) == 5 and sorted(ten[:5]) == sorted(ten[5:]) for ten in tens)

    async def some_cycles() -> None:
        # Long enough for an audit to end before its run is due again, also on a busy machine.
        waits = [start_wait(run_id, poll_interval=0.5) for run_id in runs]
        await asyncio.to_thread(until, each_was_polled_twice_in_turn, 60)
        await cancel_all(waits)

    run_bounded(some_cycles())


def with_others_running(mosaic: Emulator, hook: MosaicHook, waited: int, others: int) -> list[str]:
    mosaic.configure(list_order="oldest")
    return start_runs(mosaic, hook, others + waited)[others:]


# The second case starts a thousand runs.
@pytest.mark.parametrize(("waited", "others", "by_list"), [(40, 60, True), (6, 994, False)])
def test_the_list_is_used_only_if_it_is_cheaper(
    mosaic: Emulator, hook: MosaicHook, waited: int, others: int, by_list: bool
) -> None:
    runs = with_others_running(mosaic, hook, waited, others)
    before: Counter[str] = Counter()

    def count_and_end() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 250 or sent(mosaic, "GET " + LIST) >= 25, 60)
        before.update({LIST: sent(mosaic, "GET " + LIST), GET_RUN: sent(mosaic, "GET " + GET_RUN)})
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    with InBackground(count_and_end):
        events_of(runs, poll_interval=0.2)
    assert (before[LIST] > before[GET_RUN] / 4) == by_list, before


@pytest.mark.parametrize(
    ("fault", "options"), [("forbidden", {}), ("not_found", {}), ("server_error", {"status": 501}), ("html", {})]
)
def test_without_the_list_runs_are_polled_one_by_one(
    mosaic: Emulator, hook: MosaicHook, fault: str, options: dict[str, Any]
) -> None:
    runs = start_runs(mosaic, hook, 20)
    mosaic.inject(fault, path=LIST, times=None, **options)

    def end_them() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 60, 30)
        for run_id in runs:
            mosaic.finish_run(run_id, "cancelled")

    with InBackground(end_them):
        events = events_of(runs, poll_interval=0.05)
    assert {event["status"] for event in events.values()} == {"cancelled"}
    # One page, with up to two retries; then the list is not used for a while.
    assert sent(mosaic, "GET " + LIST) <= 3


def test_a_hanging_poll_delays_only_its_own_wait(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 3)
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
        await asyncio.wait(waits[1:], timeout=60)
        await cancel_all(waits)

    run_bounded(all_of_them())
    assert sorted(ended) == sorted(runs[1:])
    assert len(gets_by_run(mosaic)[runs[0]]) == 1


def test_a_cancelled_wait_does_not_affect_the_others(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 30)

    async def all_of_them() -> list[Any]:
        waits = [start_wait(run_id) for run_id in runs]
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + LIST) >= 3)
        for wait in waits[:20]:
            wait.cancel()
        for run_id in runs[20:]:
            await asyncio.to_thread(mosaic.finish_run, run_id, "failed")
        return await asyncio.gather(*waits, return_exceptions=True)

    results = run_bounded(all_of_them())
    assert {type(result) for result in results[:20]} == {asyncio.CancelledError}
    assert [result.payload["id"] for result in results[20:]] == runs[20:]


def test_two_waits_for_one_run_both_end(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 5)

    def end_them() -> None:
        until(lambda: sent(mosaic, "GET " + LIST) >= 2)
        for run_id in runs:
            mosaic.finish_run(run_id, "failed")

    async def twice() -> list[Any]:
        return await asyncio.gather(*(start_wait(run_id) for run_id in runs * 2))

    with InBackground(end_them):
        assert [event.payload["id"] for event in run_bounded(twice())] == runs * 2


def test_each_wait_polls_its_run_at_its_deadline(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 20)
    deadline = time.time() + 1.0
    events = events_of(runs, poll_interval=60.0, deadline=deadline)
    assert {event["outcome"] for event in events.values()} == {"timeout"}
    last = {run_id: gets[-1]["time"] for run_id, gets in gets_by_run(mosaic).items()}
    # The list is not enough at the deadline.
    assert sorted(last) == sorted(runs)
    # The loop has another clock than the server's log.
    assert min(last.values()) >= deadline - 0.05


def test_two_audits_in_a_row_that_find_an_ended_run_stop_the_use_of_the_list() -> None:
    strategy = PollStrategy()
    strategy.record_audit(had_ended=True, now=0.0, cycle=30.0)
    assert strategy.prefers_list(100, now=0.0)
    strategy.record_audit(had_ended=True, now=0.0, cycle=30.0)
    assert not strategy.prefers_list(100, now=0.0)
    assert strategy.prefers_list(100, now=poll_strategy._REST_AFTER_FAILED_AUDITS)
    for _ in range(2):
        strategy.record_audit(had_ended=True, now=0.0, cycle=1000.0)
    assert not strategy.prefers_list(100, now=1000.0), "not all runs have been polled one by one yet"


def test_progress_that_the_list_shows_is_logged(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Polls of single runs would show the progress too.
    monkeypatch.setattr(Poller, "_start_audit", lambda *_: None)
    runs = start_runs(mosaic, hook, 10)

    def complete_one_node_and_end() -> None:
        until(lambda: all(run_id in caplog.text for run_id in runs))
        mosaic.configure(hold_runs=False, speed=1.0, node_seconds=3600.0)
        until(lambda: caplog.text.count("1 completed, 1 in progress") == 10)
        for run_id in runs:
            mosaic.finish_run(run_id)

    with (
        caplog.at_level(logging.INFO, logger="airflow_provider_mosaic.triggers.base"),
        InBackground(complete_one_node_and_end),
    ):
        events_of(runs, poll_interval=0.1)
    assert sent(mosaic, "GET " + LIST) > 0
    for run_id in runs:
        lines = [line for line in caplog.messages if run_id in line]
        assert lines[-1].endswith("is completed: 2 completed, 0 in progress, 0 failed.")
        assert len(lines) == len(set(lines)) >= 2


def test_waits_that_are_cancelled_at_once_hold_no_slot(mosaic: Emulator, hook: MosaicHook) -> None:
    runs = start_runs(mosaic, hook, 40)

    async def cancel_many() -> Any:
        kept = start_wait(runs[0])
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 1)
        (shared,) = shared_pollers._pollers[asyncio.get_running_loop()].values()
        for run_id in runs[1:]:
            wait = BatchedRunWait(
                run_id, run_poll_state(run_id, poll_interval=60.0, deadline=None, log=lambda line: None)
            )
            shared.add(wait)
            shared._start_poll(wait)
            # Its poll has not made its first step yet.
            shared.remove(wait)
        await asyncio.to_thread(mosaic.finish_run, runs[0], "failed")
        return (await asyncio.wait_for(kept, 60)).payload

    assert run_bounded(cancel_many())["status"] == "failed"


def test_hanging_polls_in_all_slots_stop_no_other_poll(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_SLOW", 0.1)
    runs = start_runs(mosaic, hook, poller._MAX_POLLS + 1)
    mosaic.inject("forbidden", path=LIST, times=None)
    for run_id in runs[:-1]:
        mosaic.inject("hang", path=f"/agent_run/{run_id}", times=None)
    mosaic.finish_run(runs[-1], "failed")

    async def all_of_them() -> Any:
        waits = [start_wait(run_id) for run_id in runs[:-1]]
        await asyncio.to_thread(until, lambda: len(gets_by_run(mosaic)) == len(runs) - 1)
        event = await asyncio.wait_for(start_wait(runs[-1]), 60)
        await cancel_all(waits)
        return event.payload

    assert run_bounded(all_of_them())["status"] == "failed"
