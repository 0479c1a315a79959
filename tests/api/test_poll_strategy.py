"""The fewest requests for many waits: when the list is taken, when a sweep ends, what is learned from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mosaic.api import poll_strategy as polling_plan
from airflow_provider_mosaic.api.endpoints.running import RunningRow, counts_of, running_runs, still_running
from airflow_provider_mosaic.api.errors import (
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.poll_strategy import FEWEST_FOR_LIST, ListScan, PollStrategy
from airflow_provider_mosaic.api.responses import Response


def page_of(names: list[str], cursor: str | None) -> Page[RunningRow]:
    return Page(tuple(RunningRow(name, True) for name in names), cursor)


def walk(sweep: ListScan, running: list[str], size: int = 100) -> set[str]:
    """Read a well-behaved list for as long as the sweep wants it."""
    seen: set[str] = set()
    place = 0
    while sweep.next_call is not None:
        assert sweep.next_call.query["cursor"] == (str(place) if place else None)
        names = running[place : place + size]
        place += size
        seen |= {row.run_id for row in sweep.add_page(page_of(names, str(place) if place < len(running) else None))}
    return seen


def test_a_sweep_ends_when_all_that_are_asked_for_were_seen() -> None:
    running = [f"r{number}" for number in range(1000)]
    sweep = ListScan(running[:150])
    walk(sweep, running)
    assert (sweep.pages, sweep.missing, sweep.whole) == (2, set(), True)


def test_a_sweep_that_does_not_pay_is_given_up_and_costs_little() -> None:
    running = [f"r{number}" for number in range(10_000)]
    sweep = ListScan(running[-10:])
    walk(sweep, running)
    assert not sweep.whole
    assert sweep.pages == 10


def test_a_sweep_goes_on_while_each_page_brings_what_is_wanted() -> None:
    running = [f"r{number}" for number in range(20_000)]
    sweep = ListScan(running[::20])
    walk(sweep, running)
    assert (sweep.pages, sweep.missing) == (200, set())


@given(
    others=st.integers(0, 600),
    waited=st.integers(1, 200),
    gone=st.integers(0, 50),
    seed=st.randoms(use_true_random=False),
)
def test_a_sweep_and_what_it_leaves_cost_at_most_twice_the_single_looks(
    others: int, waited: int, gone: int, seed: Any
) -> None:
    running = [f"w{number}" for number in range(waited)] + [f"o{number}" for number in range(others)]
    seed.shuffle(running)
    wanted = [f"w{number}" for number in range(waited)] + [f"g{number}" for number in range(gone)]
    sweep = ListScan(wanted)
    seen = walk(sweep, running, size=10)
    assert sweep.missing == set(wanted) - seen
    assert sweep.pages + len(sweep.missing) <= 2 * len(wanted) + 8


@pytest.mark.parametrize(("names", "cursors"), [(["w1"], ["a", "a"]), ([], ["a"])])
def test_a_list_that_goes_in_circles_is_left_alone_for_a_while_and_is_not_thought_dear(
    names: list[str], cursors: list[str]
) -> None:
    plan = PollStrategy()
    sweep = ListScan(f"w{number}" for number in range(1000))
    for cursor in cursors:
        sweep.add_page(page_of(names, cursor))
    assert sweep.next_call is None
    plan.record_scan(sweep, now=0.0)
    assert not plan.prefers_list(1000, now=14.0)
    # It would need hundreds if a page that went wrong counted.
    assert plan.prefers_list(10, now=16.0)


@pytest.mark.parametrize("cursors", [["a", "a", "a"], ["a", "b", "a", "b"], ["a", "b", "c", "d", "e", "f"]])
def test_a_list_that_goes_in_circles_is_left(cursors: list[str]) -> None:
    sweep = ListScan(f"w{number}" for number in range(100))
    taken = 0
    while sweep.next_call is not None:
        # The same rows again and again, as some servers do behind the last page.
        sweep.add_page(page_of(["r1", "w1"], cursors[min(taken, len(cursors) - 1)]))
        taken += 1
    assert taken == 2
    assert not sweep.whole, "what it did not show may be running"


def test_only_a_row_that_says_so_itself_is_running() -> None:
    sweep = ListScan(["a", "b", "c"])
    rows = sweep.add_page(Page((RunningRow("a", True), RunningRow("b", False), RunningRow("", True)), None))
    assert [row.run_id for row in rows] == ["a"]
    assert sweep.missing == {"b", "c"}


def test_few_waits_are_looked_at_one_by_one() -> None:
    plan = PollStrategy()
    assert not plan.prefers_list(FEWEST_FOR_LIST - 1, now=0.0)
    assert plan.prefers_list(FEWEST_FOR_LIST, now=0.0)


def test_a_dear_list_is_left_alone_and_tried_again_some_day() -> None:
    plan = PollStrategy()
    sweep = ListScan(f"w{number}" for number in range(10))
    walk(sweep, [f"o{number}" for number in range(5000)])
    plan.record_scan(sweep, now=1000.0)
    assert not plan.prefers_list(10, now=1000.0 + polling_plan._COST_HALF_LIFE)
    assert plan.prefers_list(10, now=1000.0 + 10 * polling_plan._COST_HALF_LIFE)
    # Whoever waits for thousands still takes it.
    assert plan.prefers_list(5000, now=1000.0)


def test_what_a_list_costs_is_not_forgotten_by_asking_often() -> None:
    plan = PollStrategy()
    sweep = ListScan(f"w{number}" for number in range(10_000))
    walk(sweep, [f"w{number}" for number in range(10_000)])
    plan.record_scan(sweep, now=0.0)
    # Some of many that begin together are due each few milliseconds.
    assert not any(plan.prefers_list(5, now=number / 100) for number in range(1000))
    assert plan.pages == 100


def test_a_list_that_fails_rests_longer_each_time_but_never_for_long() -> None:
    plan = PollStrategy()
    now, rests = 0.0, []
    for _ in range(8):
        rests.append(plan.record_error(MosaicServerError("x"), now=now, first_page=True))
        now += rests[-1]
        assert not plan.prefers_list(100, now=now - 1)
        assert plan.prefers_list(100, now=now)
    assert rests == sorted(rests)
    assert rests[0] < rests[-1] == polling_plan._LONGEST_REST


def test_only_a_first_page_that_is_refused_twice_is_taken_for_a_list_that_is_not_to_be_had() -> None:
    plan = PollStrategy()
    for _ in range(4):
        assert plan.record_error(MosaicValidationError("a cursor that grew old"), now=0.0, first_page=False) < 600
    assert plan.record_error(MosaicPermissionError("x"), now=0.0, first_page=True) < 600
    assert plan.record_error(MosaicPermissionError("x"), now=0.0, first_page=True) >= 3600


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
    ],
)
def test_a_row_is_read_in_every_shape(item: dict[str, Any], row: RunningRow) -> None:
    call = running_runs()
    # With a null among the rows it is no page as documented, and is read in another way.
    for rows in ([item], [item, None]):
        page = call.read(call.decode(json.dumps({"runs": rows, "next_cursor": "c", "more": {}}).encode()))
        assert page == Page((row,), "c")


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"runs": {}}', b'{"runs": [1]}', b'"runs"'])
def test_a_page_that_is_none_is_told(content: bytes) -> None:
    with pytest.raises(MosaicResponseError, match="list the running runs"):
        running_runs().result(Response(200, {}, content))


def test_a_row_reads_as_the_run_that_it_shows() -> None:
    run = still_running("r", (1, 2, 3), needs_credits=True)
    assert (run.run_id, run.status, counts_of(run), run.needs_credits) == ("r", "running", (1, 2, 3), True)


def test_the_list_is_asked_for_running_runs_a_hundred_a_page() -> None:
    assert running_runs("c").target == "/agent_runs?limit=100&status=running&cursor=c"
