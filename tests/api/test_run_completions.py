"""Which runs the tracker reports, poll by poll, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mosaic.api import run_completions
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.run_completions import ENDS, OVERLAP, RunCompletionTracker

START = 1_800_000_000.0
MINUTE = 60.0


def new_tracker(status: Any = None, state: Any = None, now: float = START) -> RunCompletionTracker:
    return RunCompletionTracker("agent", status=status, now=now, state=state)


def runs(statuses: Mapping[str, str]) -> list[Run]:
    return [Run(run_id=run_id, status=status) for run_id, status in statuses.items()]


def poll(
    tracker: RunCompletionTracker,
    listed: Mapping[str, str],
    *,
    now: float = START,
    recent: Mapping[str, str] | None = None,
    truth: Mapping[str, str | None] | None = None,
) -> list[tuple[str, str]]:
    """Complete a poll. ``listed`` is what the lists show, ``truth`` what reading a run returns."""
    facts = {**listed, **(truth or {})}
    running = {run_id: status for run_id, status in listed.items() if status == "running"}
    reported = []
    for run_id in tracker.add_listing(runs(running), runs(listed if recent is None else recent), now=now):
        status = facts.get(run_id)
        end = tracker.add_run(run_id, None if status is None else Run(run_id=run_id, status=status), now=now)
        if end is not None:
            assert end.agent_id == "agent"
            reported.append((end.run_id, end.status))
    tracker.finish_poll(now=now)
    return reported


def restarted(tracker: RunCompletionTracker, **options: Any) -> RunCompletionTracker:
    """Return the tracker of a restarted triggerer."""
    return new_tracker(state=json.loads(json.dumps(tracker.as_json())), **options)


def test_runs_that_had_ended_before_the_first_poll_are_not_reported() -> None:
    tracker = new_tracker()
    assert poll(tracker, {"old": "completed", "older": "failed"}) == []
    assert poll(tracker, {"old": "completed", "older": "failed"}) == []


def test_every_ended_status_can_be_requested() -> None:
    assert set(ENDS) == {each for each in RunStatus if run_outcome(Run(run_id="r", status=each)).ended}


@pytest.mark.parametrize("status", ENDS)
def test_a_running_run_is_reported_once_when_it_ends(status: str) -> None:
    tracker = new_tracker()
    assert poll(tracker, {"a": "running"}) == []
    assert poll(tracker, {"a": status}) == [("a", status)]
    assert poll(tracker, {"a": status}) == []


def test_a_run_that_started_and_ended_between_two_polls_is_reported() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert poll(tracker, {"a": "completed"}) == [("a", "completed")]


def test_an_old_run_that_is_in_neither_list_is_reported() -> None:
    tracker = new_tracker()
    assert poll(tracker, {"a": "running"}, recent={}) == []
    assert poll(tracker, {}, truth={"a": "partial_complete"}) == [("a", "partial_complete")]


def test_a_run_that_is_in_neither_list_but_running_is_reported_later() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    assert poll(tracker, {}, truth={"a": "quality_check"}) == []
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_running_run_that_only_the_list_of_recent_runs_shows_is_reported_when_it_ends() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert poll(tracker, {"a": "queued"}) == []
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_run_that_is_running_although_a_list_shows_it_as_ended_is_reported_when_it_ends() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert poll(tracker, {"a": "failed"}, truth={"a": "running"}) == []
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_list_that_lags_reports_nothing_twice() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]
    assert poll(tracker, {"a": "running"}, truth={"a": "completed"}) == []
    assert poll(tracker, {"a": "failed"}, truth={"a": "completed"}) == []
    assert poll(tracker, {"a": "completed"}) == []


def test_a_new_run_that_is_listed_late_is_reported() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    poll(tracker, {}, now=START + MINUTE)
    # It was created before the last poll. The list of recent runs reaches back far enough.
    assert (START + MINUTE) - tracker.since.timestamp() == OVERLAP.total_seconds()
    assert poll(tracker, {"a": "completed"}, now=START + 2 * MINUTE) == [("a", "completed")]


@pytest.mark.parametrize("second", ["failed", "completed"])
def test_a_resumed_run_is_reported_again(second: str) -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    assert poll(tracker, {"a": "failed"}) == [("a", "failed")]
    assert poll(tracker, {"a": "running"}) == []
    assert poll(tracker, {"a": second}) == [("a", second)]


def test_an_old_run_that_is_resumed_is_reported() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert poll(tracker, {"ancient": "running"}, recent={}) == []
    assert poll(tracker, {}, truth={"ancient": "completed"}) == [("ancient", "completed")]


def test_a_resume_and_its_end_between_two_polls_are_reported_if_the_status_differs() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    poll(tracker, {"a": "failed"})
    assert poll(tracker, {"a": "completed"}) == [("a", "completed")]


def test_other_statuses_are_not_reported_and_not_read_again() -> None:
    tracker = new_tracker(status=["completed", "partial_complete"])
    poll(tracker, {"a": "running", "b": "running"})
    assert poll(tracker, {"a": "failed", "b": "completed"}) == [("b", "completed")]
    assert tracker.add_listing([], runs({"a": "failed", "b": "completed"}), now=START) == []


def test_a_run_counts_as_deleted_after_two_minutes() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    for minutes in range(3):
        assert poll(tracker, {}, truth={"a": None}, now=START + minutes * MINUTE) == []
    assert tracker.add_listing([], [], now=START + 3 * MINUTE) == []


def test_a_run_that_the_lists_show_before_it_can_be_read_is_reported() -> None:
    # The hints of webhooks make polls follow each other every ten seconds.
    tracker = new_tracker()
    poll(tracker, {})
    for seconds in (0, 10, 20, 30):
        assert poll(tracker, {"a": "completed"}, truth={"a": None}, now=START + seconds) == []
    assert poll(tracker, {"a": "completed"}, now=START + 40) == [("a", "completed")]


def test_two_not_found_responses_lose_no_run() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    for _ in range(2):
        poll(tracker, {}, truth={"a": None})
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_only_not_found_responses_in_a_row_count() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    for status in (None, None, "quality_check", None, None):
        poll(tracker, {}, truth={"a": status})
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]


def test_a_listed_run_that_is_never_found_is_not_read_forever() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    for minutes in range(3):
        now = START + minutes * MINUTE
        assert tracker.add_listing([], runs({"ghost": "completed"}), now=now) == ["ghost"]
        assert tracker.add_run("ghost", None, now=now) is None
        tracker.finish_poll(now=now)
    assert tracker.add_listing([], runs({"ghost": "completed"}), now=START + 3 * MINUTE) == []


def test_a_run_is_read_once_in_a_poll() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running"})
    assert tracker.add_listing([], runs({"a": "completed"}), now=START) == ["a"]


def test_the_poll_after_a_failed_one_reports_the_rest() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    since = tracker.since
    to_read = tracker.add_listing([], runs({"a": "completed", "b": "completed"}), now=START + MINUTE)
    assert sorted(to_read) == ["a", "b"]
    assert tracker.add_run("a", Run(run_id="a", status="completed"), now=START + MINUTE) is not None
    # The second run could not be read, so the poll is incomplete.
    assert tracker.since == since
    assert poll(tracker, {"a": "completed", "b": "completed"}, now=START + 2 * MINUTE) == [("b", "completed")]


def test_a_run_that_could_not_be_read_is_returned_until_it_is_read() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert tracker.add_listing([], runs({"a": "completed"}), now=START) == ["a"]
    tracker.keep("a")
    tracker.finish_poll(now=START)
    # While it is listed, and when it is too old for the list, also after a restart.
    assert tracker.add_listing([], runs({"a": "completed"}), now=START) == ["a"]
    tracker.finish_poll(now=START)
    tracker = restarted(tracker)
    assert poll(tracker, {}, truth={"a": "completed"}) == [("a", "completed")]
    assert poll(tracker, {}) == []


def test_a_restart_reports_what_has_ended_and_nothing_twice() -> None:
    tracker = new_tracker()
    poll(tracker, {"a": "running", "b": "running"})
    poll(tracker, {"a": "completed", "b": "running"})
    later = restarted(tracker, now=START + 90 * MINUTE)
    assert not later.is_new
    assert later.since == tracker.since
    listed = {"a": "completed", "b": "failed", "c": "completed", "d": "running"}
    assert poll(later, listed, now=START + 90 * MINUTE) == [("b", "failed"), ("c", "completed")]
    assert poll(later, listed, now=START + 91 * MINUTE) == []


@pytest.mark.parametrize(
    "state",
    [
        None,
        5,
        [],
        {},
        {"polled_at": "x"},
        {"polled_at": 1, "running": [], "reported": []},
        {"polled_at": 1, "running": [], "reported": {"a": 1}},
        *(
            {"polled_at": at, "running": [], "reported": {}}
            for at in (float("nan"), float("inf"), 1e300, -1e11, 10**400)
        ),
    ],
)
def test_an_invalid_state_is_ignored(state: Any) -> None:
    tracker = new_tracker(state=state)
    assert tracker.is_new
    assert tracker.since < datetime.fromtimestamp(START, timezone.utc)


def test_the_state_does_not_grow_forever() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    for hour in range(1, 50):
        now = START + hour * 60 * MINUTE
        poll(tracker, {f"run-{hour}": "completed"}, now=now)
    assert len(tracker.as_json()["reported"]) <= 2
    assert tracker.as_json()["running"] == []


def test_a_reported_run_is_remembered_while_it_is_listed() -> None:
    tracker = new_tracker()
    poll(tracker, {})
    assert poll(tracker, {"a": "completed"}) == [("a", "completed")]
    for hour in range(1, 5):
        assert poll(tracker, {"a": "completed"}, now=START + hour * 60 * MINUTE) == []


@given(data=st.data())
def test_each_end_is_reported_once_over_failed_polls_and_restarts(data: st.DataObject) -> None:
    """Runs start and end at random, lists lag by a poll, polls fail, and the triggerer restarts."""
    tracker, now = new_tracker(), START
    truth: dict[str, str] = {}
    listed: dict[str, str] = {}
    poll(tracker, {})
    reported: list[str] = []
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
        to_read = tracker.add_listing(runs(running), runs(listed), now=now)
        is_complete = data.draw(st.booleans())
        for run_id in to_read if is_complete else to_read[: len(to_read) // 2]:
            end = tracker.add_run(run_id, Run(run_id=run_id, status=truth[run_id]), now=now)
            if end is not None:
                reported.append(end.run_id)
        if is_complete:
            tracker.finish_poll(now=now)
        if data.draw(st.booleans()):
            tracker = restarted(tracker, now=now)
    for _ in range(2):
        now += MINUTE
        reported += [run_id for run_id, _ in poll(tracker, truth, now=now)]
    assert sorted(reported) == sorted(run_id for run_id, status in truth.items() if status != "running")


def test_the_number_of_tracked_runs_is_limited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_completions, "_MAX_RUNNING", 10)
    tracker = RunCompletionTracker("a", status=None, now=0.0)
    for number_of_poll in range(5):
        listed = [Run(run_id=f"{number_of_poll}-{number}", status="running") for number in range(4)]
        tracker.add_listing(listed, [], now=float(number_of_poll))
        tracker.finish_poll(now=float(number_of_poll))
    assert len(tracker.as_json()["running"]) == 10
    # A read can add one more.
    tracker.add_run("resumed", Run(run_id="resumed", status="running"), now=5.0)
    tracker.add_listing(listed, [], now=6.0)
    assert len(tracker.as_json()["running"]) == 11
    assert all("more running runs than the 1" in line for line in caplog.messages)
    assert len(caplog.messages) == 4


def test_the_characters_of_tracked_ids_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_completions, "MAX_ID_CHARACTERS", 100)
    tracker = new_tracker()
    poll(tracker, {})
    poll(tracker, {str(number) * 30: "running" for number in range(5)})
    assert len(tracker.as_json()["running"]) == 3
    tracker = new_tracker()
    poll(tracker, {})
    for minute in range(5):
        run_id = str(minute) * 30
        now = START + minute * MINUTE
        assert poll(tracker, {run_id: "completed"}, now=now) == [(run_id, "completed")]
    # Four are too many. What a list shows is kept: it would be reported again.
    assert list(tracker.as_json()["reported"]) == ["3" * 30, "4" * 30]
    assert poll(tracker, {run_id: "completed"}, now=now) == []


def test_row_without_a_status_is_read_by_itself() -> None:
    tracker = new_tracker()
    assert poll(tracker, {"before": "unknown"}, truth={"before": "completed"}) == []
    assert poll(tracker, {"before": "unknown", "new": "unknown"}, truth={"before": "completed", "new": "failed"}) == [
        ("new", "failed")
    ]
    assert poll(tracker, {"new": "unknown", "later": "unknown"}, truth={"new": "failed", "later": "running"}) == []
    assert poll(tracker, {"new": "unknown", "later": "unknown"}, truth={"new": "failed", "later": "completed"}) == [
        ("later", "completed")
    ]


@pytest.mark.parametrize("is_recent", [True, False])
def test_end_after_a_first_poll_that_failed_is_reported(is_recent: bool) -> None:
    tracker = new_tracker()
    first = {"a": "running", "odd": "unknown", "before": "completed"}
    # The odd run could not be read, so the poll is incomplete.
    assert tracker.add_listing(runs({"a": "running"}), runs(first), now=START) == ["odd"]
    second = {"odd": "unknown", "before": "completed"} | ({"a": "failed", "new": "completed"} if is_recent else {})
    truth = {"a": "failed", "odd": "completed"}
    assert sorted(poll(tracker, second, truth=truth)) == [("a", "failed")] + [("new", "completed")] * is_recent
    assert poll(tracker, second, truth=truth) == []


def test_first_poll_that_failed_is_continued_after_a_restart() -> None:
    tracker = new_tracker()
    tracker.add_listing(runs({"a": "running"}), runs({"odd": "unknown", "before": "completed"}), now=START)
    tracker = restarted(tracker, now=START + MINUTE)
    listed = {"a": "completed", "odd": "completed", "before": "completed"}
    assert poll(tracker, listed, now=START + MINUTE) == [("a", "completed")]


def test_unclear_run_of_the_first_poll_that_is_read_later_is_reported_only_if_it_was_running() -> None:
    tracker = new_tracker()
    assert sorted(tracker.add_listing([], runs({"x": "unknown", "y": "unknown"}), now=START)) == ["x", "y"]
    tracker.keep("x")
    tracker.keep("y")
    tracker.finish_poll(now=START)
    listed = {"x": "unknown", "y": "unknown"}
    assert poll(tracker, listed, truth={"x": "completed", "y": "running"}) == []
    assert poll(tracker, listed, truth={"x": "completed", "y": "completed"}) == [("y", "completed")]
