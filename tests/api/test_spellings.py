"""Statuses and times in other spellings than the documented ones: an end is an end, and a time a time."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, get_avatar_profile
from airflow_provider_mosaic.api.endpoints.running import running_runs
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, RunStatus
from airflow_provider_mosaic.api.endpoints.social import Destination, Post, PostStatus
from airflow_provider_mosaic.api.models import parse_time, status_key
from airflow_provider_mosaic.api.outcomes import Outcome, avatar_profile_outcome, post_outcome, run_outcome
from airflow_provider_mosaic.api.poll_state import (
    UNKNOWN_STATUS_TIMEOUT,
    avatar_profile_poll_state,
    post_poll_state,
    run_poll_state,
)
from airflow_provider_mosaic.api.reports import avatar_profile_failure, node_lines, post_failure, run_failure
from airflow_provider_mosaic.api.responses import Response

GOOD, PARTIAL, BAD = Outcome.SUCCESS, Outcome.PARTIAL, Outcome.FAILED
RUNS = {
    "Completed": GOOD, "COMPLETED": GOOD, "complete": GOOD, "success": GOOD, "Succeeded": GOOD, "done": GOOD,
    "PartialComplete": PARTIAL, "partial-complete": PARTIAL, "Partially Completed": PARTIAL,
    "FAILED": BAD, "error": BAD, "Error": BAD, "timed_out": BAD, "TimedOut": BAD, "TIMED-OUT": BAD, "timeout": BAD,
    "canceled": BAD, "Cancelled": BAD, "CANCELED": BAD,
}  # fmt: skip
POSTS = {
    "Posted": GOOD, "published": GOOD, "success": GOOD, "SUCCESS": GOOD, "Partial Failure": PARTIAL, "error": BAD,
    "Failed": BAD, "timed_out": BAD, "canceled": BAD, "Rejected": BAD, "deleted": BAD,
}  # fmt: skip
AVATARS = {
    "Ready": GOOD, "completed": GOOD, "Success": GOOD, "FAILED": BAD, "error": BAD, "timed_out": BAD, "Canceled": BAD,
}  # fmt: skip


@pytest.mark.parametrize(("status", "standing"), RUNS.items())
def test_a_run_ends_in_any_spelling(status: str, standing: Outcome) -> None:
    run = Run(run_id="r", status=status)
    assert (run_outcome(run).outcome, run_outcome(run).known) == (standing, True)
    assert run.status in {each.value for each in RunStatus}
    assert run.reported_status == status


@pytest.mark.parametrize(("status", "standing"), POSTS.items())
def test_a_post_ends_in_any_spelling(status: str, standing: Outcome) -> None:
    verdict = post_outcome(Post(post_id="p", status=status))
    assert (verdict.outcome, verdict.known) == (standing, True)


@pytest.mark.parametrize(("status", "standing"), AVATARS.items())
@pytest.mark.parametrize("field", ["status", "processing_status"])
def test_an_avatar_profile_ends_in_any_spelling(field: str, status: str, standing: Outcome) -> None:
    profile = get_avatar_profile("a").result(Response(200, {}, json.dumps({"id": "a", field: status}).encode()))
    verdict = avatar_profile_outcome(profile)
    assert (verdict.outcome, verdict.known) == (standing, True)


@pytest.mark.parametrize("status", ["error", "timed_out", "failure", "Canceled", "deleted"])
def test_only_the_documented_word_says_that_nothing_of_a_post_is_out(status: str) -> None:
    post = Post(post_id="p", status=status)
    assert post.status != PostStatus.FAILED
    assert "not made again" in str(post_failure(post))
    assert "Nothing is out" not in str(post_failure(post))
    assert Post(post_id="p", status="FAILED").status == PostStatus.FAILED


@pytest.mark.parametrize("status", ["running", "completed", "failed", "queued", "under_review"])
def test_what_is_spelled_as_documented_or_is_unknown_is_kept(status: str) -> None:
    run = Run(run_id="r", status=status)
    assert (run.status, run.reported_status) == (status, None)


def test_the_story_of_an_end_has_the_servers_own_word() -> None:
    assert "'timed_out'" in str(run_failure(Run(run_id="r", status="timed_out")))
    assert "'Canceled'" in str(post_failure(Post(post_id="p", status="Canceled")))
    assert "'error'" in str(avatar_profile_failure(AvatarProfile(id="a", status="error")))


@pytest.mark.parametrize("status", ["Failed", "error", "BLOCKED", "Canceled", "timed_out", "PartialComplete"])
def test_a_tile_that_failed_is_named_in_any_spelling(status: str) -> None:
    node = RunNode.model_validate({"original_node_id": "n-1", "status": status})
    assert any("n-1" in line for line in node_lines(Run(run_id="r", status="failed"), [node]))


@pytest.mark.parametrize("status", ["Posted", "SUCCESS", "published", "completed"])
def test_where_a_post_is_out_is_told_in_any_spelling(status: str) -> None:
    out = Destination(platform="x", status=status)
    other = Destination(platform="youtube", status="Error", message="No title")
    story = str(post_failure(Post(post_id="p", status="partial_failure", destinations=(out, other))))
    assert "out on x" in story
    assert "failed on youtube: No title" in story


@pytest.mark.parametrize("status", ["running", "Running", "RUNNING"])
def test_a_row_of_the_running_runs_is_known_in_any_case(status: str) -> None:
    body = json.dumps({"runs": [{"run_id": "r", "status": status}], "next_cursor": None}).encode()
    (row,) = running_runs().result(Response(200, {}, body)).items
    assert row.running


def test_the_key_of_a_status() -> None:
    assert {status_key(text) for text in ("TimedOut", "timed-out", "Timed Out", "TIMED_OUT")} == {"timed_out"}


MOMENT = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        1782907200, 1782907200.0, "1782907200", "1782907200.0", " 1782907200 ", 1782907200000, "1782907200000",
        1782907200000000, "1782907200000000",
    ],
)  # fmt: skip
def test_the_seconds_since_the_epoch_are_a_time(value: Any) -> None:
    assert parse_time(value) == MOMENT


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1782907200.25, datetime(2026, 7, 1, 12, 0, 0, 250000, timezone.utc)),
        ("20260701120000", MOMENT),
        ("20260701", datetime(2026, 7, 1, tzinfo=timezone.utc)),
    ],
)
def test_fractions_and_dates_without_separators_are_no_other_time(value: Any, moment: datetime) -> None:
    assert parse_time(value) == moment


def test_a_run_with_such_times_can_be_told_from_others() -> None:
    assert Run.model_validate({"run_id": "r", "status": "running", "started_at": 1782907200000}).started_at == MOMENT


# Statuses that stay unknown


class Course:
    """A wait whose clock is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, noun: str) -> None:
        self.now = 1_000_000.0
        course: dict[str, Any] = {"poll_interval": 30.0, "deadline": None, "log": lambda line: None}
        make = {"run": run_poll_state, "post": post_poll_state, "avatar": avatar_profile_poll_state}[noun]
        self.watch: Any = make("it", **course)
        monkeypatch.setattr(self.watch, "_now", lambda: self.now)
        self._noun = noun

    def see(self, status: str, *, after: float = 0.0) -> None:
        self.now += after
        subjects: dict[str, Any] = {
            "run": Run(run_id="it", status=status),
            "post": Post(post_id="it", status=status),
            "avatar": AvatarProfile(id="it", status=status),
        }
        assert not self.watch.record_success(subjects[self._noun]).ended


@pytest.mark.parametrize("noun", ["run", "post", "avatar"])
def test_a_status_that_is_unknown_for_an_hour_is_warned_of_once(
    noun: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    course = Course(monkeypatch, noun)
    course.see("archiving")
    course.see("archiving", after=UNKNOWN_STATUS_TIMEOUT - 1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    for _ in range(5):
        course.see("archiving", after=1800)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "'archiving'" in warning.getMessage()
    assert "'it'" in warning.getMessage()


def test_a_known_status_in_between_begins_the_hour_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    course = Course(monkeypatch, "run")
    for _ in range(3):
        course.see("archiving", after=UNKNOWN_STATUS_TIMEOUT - 10)
        course.see("running", after=5)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
