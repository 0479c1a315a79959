"""What a watch of an agent's runs tells, look by look, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mosaic.api import run_completions as run_ends
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.run_completions import ENDS, OVERLAP, RunCompletionTracker

BEGAN = 1_800_000_000.0
MINUTE = 60.0


def watch(status: Any = None, kept: Any = None, now: float = BEGAN) -> RunCompletionTracker:
    return RunCompletionTracker("agent", status=status, now=now, kept=kept)


def runs(statuses: Mapping[str, str]) -> list[Run]:
    return [Run(run_id=run_id, status=status) for run_id, status in statuses.items()]


def look(
    ends: RunCompletionTracker,
    listed: Mapping[str, str],
    *,
    now: float = BEGAN,
    recent: Mapping[str, str] | None = None,
    truth: Mapping[str, str | None] | None = None,
) -> list[tuple[str, str]]:
    """One whole look at a Mosaic that lists what it is told to; the truth is what reading a run shows."""
    facts = {**listed, **(truth or {})}
    running = {run_id: status for run_id, status in listed.items() if status == "running"}
    told = []
    for run_id in ends.add_listing(runs(running), runs(listed if recent is None else recent), now=now):
        status = facts.get(run_id)
        end = ends.add_run(run_id, None if status is None else Run(run_id=run_id, status=status), now=now)
        if end is not None:
            assert end.agent_id == "agent"
            told.append((end.run_id, end.status))
    ends.finish_poll(now=now)
    return told


def again(ends: RunCompletionTracker, **options: Any) -> RunCompletionTracker:
    """What a restarted triggerer makes of what was kept."""
    return watch(kept=json.loads(json.dumps(ends.as_json())), **options)


def test_what_had_ended_before_the_watch_began_is_not_told() -> None:
    ends = watch()
    assert look(ends, {"old": "completed", "older": "failed"}) == []
    assert look(ends, {"old": "completed", "older": "failed"}) == []


@pytest.mark.parametrize("status", ENDS)
def test_a_run_that_was_going_on_is_told_once_when_it_ends(status: str) -> None:
    ends = watch()
    assert look(ends, {"a": "running"}) == []
    assert look(ends, {"a": status}) == [("a", status)]
    assert look(ends, {"a": status}) == []


def test_a_run_that_began_and_ended_between_two_looks_is_told() -> None:
    ends = watch()
    look(ends, {})
    assert look(ends, {"a": "completed"}) == [("a", "completed")]


def test_a_long_run_that_the_list_of_new_ones_does_not_reach_is_told() -> None:
    ends = watch()
    assert look(ends, {"a": "running"}, recent={}) == []
    assert look(ends, {}, truth={"a": "partial_complete"}) == [("a", "partial_complete")]


def test_a_run_in_no_list_that_still_goes_on_is_not_told_and_not_forgotten() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    assert look(ends, {}, truth={"a": "quality_check"}) == []
    assert look(ends, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_list_that_lags_behind_the_run_tells_nothing_twice() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    assert look(ends, {}, truth={"a": "completed"}) == [("a", "completed")]
    assert look(ends, {"a": "running"}, truth={"a": "completed"}) == []
    assert look(ends, {"a": "failed"}, truth={"a": "completed"}) == []
    assert look(ends, {"a": "completed"}) == []


def test_a_list_that_shows_a_new_run_late_loses_none() -> None:
    ends = watch()
    look(ends, {})
    look(ends, {}, now=BEGAN + MINUTE)
    # It was created before the last look; the list of new ones begins early enough.
    assert (BEGAN + MINUTE) - ends.since.timestamp() == OVERLAP.total_seconds()
    assert look(ends, {"a": "completed"}, now=BEGAN + 2 * MINUTE) == [("a", "completed")]


@pytest.mark.parametrize("second", ["failed", "completed"])
def test_a_run_that_was_resumed_ends_again(second: str) -> None:
    ends = watch()
    look(ends, {"a": "running"})
    assert look(ends, {"a": "failed"}) == [("a", "failed")]
    assert look(ends, {"a": "running"}) == []
    assert look(ends, {"a": second}) == [("a", second)]


def test_an_old_run_that_is_resumed_is_noticed_while_it_runs() -> None:
    ends = watch()
    look(ends, {})
    assert look(ends, {"ancient": "running"}, recent={}) == []
    assert look(ends, {}, truth={"ancient": "completed"}) == [("ancient", "completed")]


def test_a_resume_and_its_end_between_two_looks_are_noticed_by_another_status() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    look(ends, {"a": "failed"})
    assert look(ends, {"a": "completed"}) == [("a", "completed")]


def test_only_wanted_ends_are_told_and_the_others_are_done_with() -> None:
    ends = watch(status=["completed", "partial_complete"])
    look(ends, {"a": "running", "b": "running"})
    assert look(ends, {"a": "failed", "b": "completed"}) == [("b", "completed")]
    # Nothing is read again for the one that is not told.
    assert ends.add_listing([], runs({"a": "failed", "b": "completed"}), now=BEGAN) == []


def test_a_run_that_is_not_there_any_more_is_believed_to_be_gone_at_the_third_look() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    for _ in range(2):
        assert look(ends, {}, truth={"a": None}) == []
    assert look(ends, {}, truth={"a": None}) == []
    assert ends.add_listing([], [], now=BEGAN) == []


def test_two_looks_that_do_not_find_a_run_lose_none() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    for _ in range(2):
        look(ends, {}, truth={"a": None})
    assert look(ends, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_only_looks_in_a_row_that_do_not_find_a_run_count() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    for status in (None, None, "quality_check", None, None):
        look(ends, {}, truth={"a": status})
    assert look(ends, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_run_that_only_the_list_knows_is_not_read_for_ever() -> None:
    ends = watch()
    look(ends, {})
    for _ in range(3):
        assert ends.add_listing([], runs({"ghost": "completed"}), now=BEGAN) == ["ghost"]
        assert ends.add_run("ghost", None, now=BEGAN) is None
        ends.finish_poll(now=BEGAN)
    assert ends.add_listing([], runs({"ghost": "completed"}), now=BEGAN) == []


def test_a_run_is_read_once_a_look() -> None:
    ends = watch()
    look(ends, {"a": "running"})
    assert ends.add_listing([], runs({"a": "completed"}), now=BEGAN) == ["a"]


def test_a_look_that_breaks_off_is_made_up_for_by_the_next() -> None:
    ends = watch()
    look(ends, {})
    since = ends.since
    named = ends.add_listing([], runs({"a": "completed", "b": "completed"}), now=BEGAN + MINUTE)
    assert sorted(named) == ["a", "b"]
    assert ends.add_run("a", Run(run_id="a", status="completed"), now=BEGAN + MINUTE) is not None
    # The second one could not be read: the look was not whole.
    assert ends.since == since
    assert look(ends, {"a": "completed", "b": "completed"}, now=BEGAN + 2 * MINUTE) == [("b", "completed")]


def test_a_restart_tells_what_ended_meanwhile_and_nothing_twice() -> None:
    ends = watch()
    look(ends, {"a": "running", "b": "running"})
    look(ends, {"a": "completed", "b": "running"})
    later = again(ends, now=BEGAN + 90 * MINUTE)
    assert not later.is_new
    assert later.since == ends.since
    listed = {"a": "completed", "b": "failed", "c": "completed", "d": "running"}
    assert look(later, listed, now=BEGAN + 90 * MINUTE) == [("b", "failed"), ("c", "completed")]
    assert look(later, listed, now=BEGAN + 91 * MINUTE) == []


@pytest.mark.parametrize(
    "kept",
    [
        None,
        5,
        [],
        {},
        {"looked": "x"},
        {"looked": 1, "going": [], "told": []},
        {"looked": 1, "going": [], "told": {"a": 1}},
    ],
)
def test_what_was_kept_and_makes_no_sense_begins_a_new_watch(kept: Any) -> None:
    assert watch(kept=kept).is_new


def test_what_is_kept_does_not_grow_for_ever() -> None:
    ends = watch()
    look(ends, {})
    for hour in range(1, 50):
        now = BEGAN + hour * 60 * MINUTE
        look(ends, {f"run-{hour}": "completed"}, now=now)
    assert len(ends.as_json()["told"]) <= 2
    assert ends.as_json()["going"] == []


def test_an_end_is_remembered_while_the_list_shows_it() -> None:
    ends = watch()
    look(ends, {})
    assert look(ends, {"a": "completed"}) == [("a", "completed")]
    for hour in range(1, 5):
        assert look(ends, {"a": "completed"}, now=BEGAN + hour * 60 * MINUTE) == []


@given(data=st.data())
def test_each_end_is_told_exactly_once_over_looks_that_break_off_and_restarts(data: st.DataObject) -> None:
    """Runs begin and end at random; lists show each change at once or a look late; looks break off; restarts happen."""
    ends, now = watch(), BEGAN
    truth: dict[str, str] = {}
    listed: dict[str, str] = {}
    look(ends, {})
    told: list[str] = []
    for step in range(data.draw(st.integers(1, 12))):
        now += MINUTE
        lags = data.draw(st.booleans())
        if not lags:
            listed = dict(truth)
        if data.draw(st.booleans()):
            truth[f"run-{step}"] = "running"
        for run_id in list(truth):
            if truth[run_id] == "running" and data.draw(st.booleans()):
                truth[run_id] = data.draw(st.sampled_from(ENDS))
        if not lags:
            listed = dict(truth)
        running = {run_id: status for run_id, status in listed.items() if status == "running"}
        named = ends.add_listing(runs(running), runs(listed), now=now)
        whole = data.draw(st.booleans())
        for run_id in named if whole else named[: len(named) // 2]:
            end = ends.add_run(run_id, Run(run_id=run_id, status=truth[run_id]), now=now)
            if end is not None:
                told.append(end.run_id)
        if whole:
            ends.finish_poll(now=now)
        if data.draw(st.booleans()):
            ends = again(ends, now=now)
    for _ in range(2):
        now += MINUTE
        told += [run_id for run_id, _ in look(ends, truth, now=now)]
    assert sorted(told) == sorted(run_id for run_id, status in truth.items() if status != "running")


def test_no_list_makes_the_memory_of_a_watch_grow_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_ends, "_MOST_GOING", 10)
    known = RunCompletionTracker("a", status=None, now=0.0)
    for look in range(5):
        listed = [Run(run_id=f"{look}-{number}", status="running") for number in range(4)]
        known.add_listing(listed, [], now=float(look))
        known.finish_poll(now=float(look))
    assert len(known.as_json()["going"]) == 10
    assert all("more than 10 running runs" in line for line in caplog.messages)
    assert len(caplog.messages) == 3
