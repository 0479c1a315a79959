"""When the list is used, when a scan ends, and what is learned from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mosaic.api import poll_strategy
from airflow_provider_mosaic.api.endpoints.runs import get_run
from airflow_provider_mosaic.api.errors import (
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.poll_strategy import MIN_RUNS_FOR_LIST, ListScan, PollStrategy
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.running_runs import RunningRow, counts_of, running_runs, still_running


def page_of(names: list[str], cursor: str | None) -> Page[RunningRow]:
    return Page(tuple(RunningRow(name, True) for name in names), cursor)


def read_pages(scan: ListScan, running: list[str], size: int = 100) -> set[str]:
    """Read a list until the scan ends. Return the runs that it showed."""
    seen: set[str] = set()
    place = 0
    while scan.next_call is not None:
        assert scan.next_call.query["cursor"] == (str(place) if place else None)
        names = running[place : place + size]
        place += size
        seen |= {row.run_id for row in scan.add_page(page_of(names, str(place) if place < len(running) else None))}
    return seen


def test_a_scan_ends_when_all_requested_runs_were_shown() -> None:
    running = [f"r{number}" for number in range(1000)]
    scan = ListScan(running[:150])
    read_pages(scan, running)
    assert (scan.pages, scan.missing, scan.is_complete) == (2, set(), True)


def test_a_scan_that_saves_no_requests_ends_early() -> None:
    running = [f"r{number}" for number in range(10_000)]
    scan = ListScan(running[-10:])
    read_pages(scan, running)
    assert not scan.is_complete
    assert scan.pages == 10


def test_a_scan_continues_while_each_page_shows_a_requested_run() -> None:
    running = [f"r{number}" for number in range(20_000)]
    scan = ListScan(running[::20])
    read_pages(scan, running)
    assert (scan.pages, scan.missing) == (200, set())


@given(
    others=st.integers(0, 600),
    waited=st.integers(1, 200),
    gone=st.integers(0, 50),
    seed=st.randoms(use_true_random=False),
)
def test_a_scan_and_the_polls_after_it_cost_at_most_twice_the_single_polls(
    others: int, waited: int, gone: int, seed: Any
) -> None:
    running = [f"w{number}" for number in range(waited)] + [f"o{number}" for number in range(others)]
    seed.shuffle(running)
    wanted = [f"w{number}" for number in range(waited)] + [f"g{number}" for number in range(gone)]
    scan = ListScan(wanted)
    seen = read_pages(scan, running, size=10)
    assert scan.missing == set(wanted) - seen
    assert scan.pages + len(scan.missing) <= 2 * len(wanted) + 8


@pytest.mark.parametrize(("names", "cursors"), [(["w1"], ["a", "a"]), ([], ["a"])])
def test_a_circular_list_is_not_used_for_a_while_and_does_not_count_as_expensive(
    names: list[str], cursors: list[str]
) -> None:
    strategy = PollStrategy()
    scan = ListScan(f"w{number}" for number in range(1000))
    for cursor in cursors:
        scan.add_page(page_of(names, cursor))
    assert scan.next_call is None
    strategy.record_scan(scan, now=0.0)
    assert not strategy.prefers_list(1000, now=14.0)
    # If the circular page counted, hundreds of runs would be needed.
    assert strategy.prefers_list(10, now=16.0)


@pytest.mark.parametrize("cursors", [["a", "a", "a"], ["a", "b", "a", "b"], ["a", "b", "c", "d", "e", "f"]])
def test_a_scan_of_a_circular_list_ends(cursors: list[str]) -> None:
    scan = ListScan(f"w{number}" for number in range(100))
    pages = 0
    while scan.next_call is not None:
        # Some servers repeat the last page.
        scan.add_page(page_of(["r1", "w1"], cursors[min(pages, len(cursors) - 1)]))
        pages += 1
    assert pages == 2
    assert not scan.is_complete, "the other runs may be running"


def test_a_scan_of_endless_pages_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_strategy, "_MAX_SEEN", 1_000)
    scan = ListScan([f"run-{number}" for number in range(100)])
    scan.add_page(page_of([f"other-{number}" for number in range(900)], "next"))
    assert scan.next_call is not None
    scan.add_page(page_of([f"another-{number}" for number in range(900)], "last"))
    assert scan.next_call is None
    assert not scan.is_complete


def test_rows_with_another_status_are_ignored() -> None:
    scan = ListScan(["a", "b", "c"])
    rows = scan.add_page(Page((RunningRow("a", True), RunningRow("b", False), RunningRow("", True)), None))
    assert [row.run_id for row in rows] == ["a"]
    assert scan.missing == {"b", "c"}


def test_few_runs_are_polled_one_by_one() -> None:
    strategy = PollStrategy()
    assert not strategy.prefers_list(MIN_RUNS_FOR_LIST - 1, now=0.0)
    assert strategy.prefers_list(MIN_RUNS_FOR_LIST, now=0.0)


def test_an_expensive_list_is_tried_again_later() -> None:
    strategy = PollStrategy()
    scan = ListScan(f"w{number}" for number in range(10))
    read_pages(scan, [f"o{number}" for number in range(5000)])
    strategy.record_scan(scan, now=1000.0)
    assert not strategy.prefers_list(10, now=1000.0 + poll_strategy._COST_HALF_LIFE)
    assert strategy.prefers_list(10, now=1000.0 + 10 * poll_strategy._COST_HALF_LIFE)
    # It is still used for thousands of runs.
    assert strategy.prefers_list(5000, now=1000.0)


def test_the_cost_of_the_list_expires_by_time_and_not_by_use() -> None:
    strategy = PollStrategy()
    scan = ListScan(f"w{number}" for number in range(10_000))
    read_pages(scan, [f"w{number}" for number in range(10_000)])
    strategy.record_scan(scan, now=0.0)
    # Of many new waits, some are due every few milliseconds.
    assert not any(strategy.prefers_list(5, now=number / 100) for number in range(1000))
    assert strategy.pages == 100


def test_errors_of_the_list_stop_its_use_longer_each_time_up_to_a_limit() -> None:
    strategy = PollStrategy()
    now, rests = 0.0, []
    for _ in range(8):
        rests.append(strategy.record_error(MosaicServerError("x"), now=now, first_page=True))
        now += rests[-1]
        assert not strategy.prefers_list(100, now=now - 1)
        assert strategy.prefers_list(100, now=now)
    assert rests == sorted(rests)
    assert rests[0] < rests[-1] == poll_strategy._MAX_REST


def test_two_refusals_of_the_first_page_stop_the_use_of_the_list_for_an_hour() -> None:
    strategy = PollStrategy()
    for _ in range(4):
        assert strategy.record_error(MosaicValidationError("an expired cursor"), now=0.0, first_page=False) < 600
    assert strategy.record_error(MosaicPermissionError("x"), now=0.0, first_page=True) < 600
    assert strategy.record_error(MosaicPermissionError("x"), now=0.0, first_page=True) >= 3600


ROW = {"run_id": "r", "status": "running", "node_status_counts": {"completed": 1, "in_progress": 2, "failed": 0}}


@pytest.mark.parametrize(
    ("item", "row"),
    [
        (ROW, RunningRow("r", True, (1, 2, 0))),
        ({"id": "r", "status": "running"}, RunningRow("r", True, None)),
        ({"agent_state_id": 7, "status": "running", "node_status_counts": []}, RunningRow("7", True, None)),
        (ROW | {"status": "completed"}, RunningRow("r", False, (1, 2, 0))),
        (ROW | {"node_status_counts": {"completed": None}}, RunningRow("r", True, (0, 0, 0))),
        ({"status": None}, RunningRow("", False, None)),
        (ROW | {"run_id": "r" * 10_000}, RunningRow("", True, (1, 2, 0))),
    ],
)
def test_rows_are_decoded_in_every_shape(item: dict[str, Any], row: RunningRow) -> None:
    call = running_runs()
    # A null among the rows is not documented: the page is decoded in another way.
    for rows in ([item], [item, None]):
        page = call.read(call.decode(json.dumps({"runs": rows, "next_cursor": "c", "more": {}}).encode()))
        assert page == Page((row,), "c")


@pytest.mark.parametrize("count", [3, "3", 3.0, 3.7, "three", True, None, -1, 2**53, 2**60, 10**30, [], {}], ids=repr)
def test_a_row_has_the_counts_that_a_read_of_the_run_has(count: Any) -> None:
    item = ROW | {"node_status_counts": dict.fromkeys(("completed", "in_progress", "failed"), count)}
    run = get_run("r").result(Response(200, {}, json.dumps(item).encode()))
    for rows in ([item], [item, None]):
        page = running_runs().result(Response(200, {}, json.dumps({"runs": rows}).encode()))
        assert page.items[0].counts == counts_of(run)


@pytest.mark.parametrize(
    ("fields", "cursor"),
    [
        ({"cursor": "c"}, "c"),
        ({"next_cursor": "c", "cursor": "b"}, "c"),
        ({"next_cursor": None, "cursor": "b"}, None),
        ({}, None),
        ({"nextCursor": "c"}, "c"),
        ({"nextCursor": None, "cursor": "b"}, None),
        ({"pagination": {"next_cursor": "c", "has_more": True}}, "c"),
        ({"next_cursor": "c", "has_more": False}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [[ROW], [ROW, None]], ids=["documented", "with a null"])
def test_next_cursor_of_a_page(rows: list[Any], fields: dict[str, Any], cursor: str | None) -> None:
    page = running_runs().result(Response(200, {}, json.dumps({"runs": rows, **fields}).encode()))
    assert page.next_cursor == cursor


@pytest.mark.parametrize("rows", [[ROW], [ROW, None]], ids=["documented", "with a null"])
def test_a_page_with_more_rows_and_no_cursor_is_an_error(rows: list[Any]) -> None:
    with pytest.raises(MosaicResponseError, match="'has_more' is true"):
        running_runs().result(Response(200, {}, json.dumps({"runs": rows, "has_more": True}).encode()))


@pytest.mark.parametrize("fields", [{"total": 9}, {"totalCount": 9}, {"pagination": {"total_count": 9}}], ids=str)
@pytest.mark.parametrize("rows", [[ROW], [ROW, None]], ids=["documented", "with a null"])
def test_a_scan_whose_total_exceeds_its_rows_is_incomplete(rows: list[Any], fields: dict[str, Any]) -> None:
    page = running_runs().result(Response(200, {}, json.dumps({"runs": rows, **fields}).encode()))
    scan, strategy = ListScan(["r", *(f"w{number}" for number in range(8))]), PollStrategy()
    scan.add_page(page)
    strategy.record_scan(scan, now=0.0)
    assert (scan.next_call, scan.is_complete) == (None, False), "the other runs may be running"
    assert not strategy.prefers_list(1000, now=14.0)


def test_a_scan_whose_total_is_reached_is_complete() -> None:
    scan = ListScan(["r0", "w"])
    scan.add_page(page_of(["r0", "r1"], "c"))
    scan.add_page(Page((RunningRow("r2", True),), total=3))
    assert scan.is_complete


def test_a_total_that_counts_runs_which_started_during_the_scan_is_no_error() -> None:
    scan = ListScan(["r0", "w"])
    scan.add_page(page_of(["r0", "r1"], "c"))
    scan.add_page(Page((RunningRow("r2", True),), total=4))
    assert (scan.is_complete, scan.is_broken) == (True, False)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"runs": {}}', b'{"runs": [1]}', b'"runs"'])
def test_an_invalid_page_is_an_error(content: bytes) -> None:
    with pytest.raises(MosaicResponseError, match="list the running runs"):
        running_runs().result(Response(200, {}, content))


def test_a_row_is_converted_to_a_run() -> None:
    run = still_running("r", (1, 2, 3), needs_credits=True)
    assert (run.run_id, run.status, counts_of(run), run.needs_credits) == ("r", "running", (1, 2, 3), True)


def test_the_request_for_a_page() -> None:
    assert running_runs("c").target == "/agent_runs?limit=100&status=running&cursor=c"
