"""Undocumented spellings of statuses and formats of times."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, get_avatar_profile
from airflow_provider_mosaic.api.endpoints.posts import (
    Destination,
    Post,
    PostStatus,
    create_post,
    get_post,
    list_posts,
    update_post,
)
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, RunStatus
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
from airflow_provider_mosaic.api.running_runs import running_runs

GOOD, PARTIAL, BAD = Outcome.SUCCESS, Outcome.PARTIAL, Outcome.FAILED
RUNS = {
    "Completed": GOOD, "COMPLETED": GOOD, "complete": GOOD, "success": GOOD, "Succeeded": GOOD, "done": GOOD,
    "PartialComplete": PARTIAL, "partial-complete": PARTIAL, "Partially Completed": PARTIAL,
    "FAILED": BAD, "error": BAD, "Error": BAD, "timed_out": BAD, "TimedOut": BAD, "TIMED-OUT": BAD, "timeout": BAD,
    "completed_with_errors": PARTIAL, "partial_failure": PARTIAL, "Partially Failed": PARTIAL,
    "completed_partially": PARTIAL, "finished_with_errors": PARTIAL, "FinishedWithFailures": PARTIAL,
    "partially_succeeded": PARTIAL, "PartialSuccess": PARTIAL, "partially_finished": PARTIAL,
    "Expired": BAD, "killed": BAD, "crashed": BAD, "Stopped": BAD, "terminated": BAD,
    "canceled": BAD, "Cancelled": BAD, "CANCELED": BAD,
}  # fmt: skip
POSTS = {
    "Posted": GOOD, "published": GOOD, "success": GOOD, "SUCCESS": GOOD, "Partial Failure": PARTIAL, "error": BAD,
    "Failed": BAD, "timed_out": BAD, "canceled": BAD, "Rejected": BAD, "deleted": BAD, "expired": BAD,
    "partially_published": PARTIAL, "PartiallyPosted": PARTIAL, "completed_with_errors": PARTIAL,
    "Finished with errors": PARTIAL, "published_with_errors": PARTIAL, "partially_completed": PARTIAL,
}  # fmt: skip
AVATARS = {
    "Ready": GOOD, "completed": GOOD, "Success": GOOD, "FAILED": BAD, "error": BAD, "timed_out": BAD, "Canceled": BAD,
    "expired": BAD, "Killed": BAD, "crashed": BAD,
}  # fmt: skip


@pytest.mark.parametrize(("status", "standing"), RUNS.items())
def test_run_status_spellings(status: str, standing: Outcome) -> None:
    run = Run(run_id="r", status=status)
    assert (run_outcome(run).outcome, run_outcome(run).known) == (standing, True)
    assert run.status in {each.value for each in RunStatus}
    assert run.reported_status == status


@pytest.mark.parametrize(("status", "standing"), POSTS.items())
def test_post_status_spellings(status: str, standing: Outcome) -> None:
    verdict = post_outcome(Post(post_id="p", status=status))
    assert (verdict.outcome, verdict.known) == (standing, True)


SCHEDULE = {"schedule_date": "2099-01-01T00:00:00Z"}
NOW, LATER = create_post("Premiere", platforms=["x"]), create_post("Premiere", platforms=["x"], **SCHEDULE)
APPROVED, MOVED = update_post("p", approve=True), update_post("p", **SCHEDULE)


def post_in(call: Call[Post], **body: Any) -> Post:
    return call.result(Response(200, {}, json.dumps({"post_id": "p", **body}).encode()))


@pytest.mark.parametrize("word", ["success", "SUCCESS", "Succeeded", "completed"])
@pytest.mark.parametrize(
    ("call", "tracked", "status"),
    [
        (NOW, {}, "processing"),
        (LATER, {}, "scheduled"),
        (MOVED, {}, "scheduled"),
        (APPROVED, {}, "unknown"),
        (LATER, {"tracked_status": None}, "scheduled"),
        (LATER, {"tracked_status": {"a": 1}}, "scheduled"),
        (LATER, {"tracked_status": "success"}, "scheduled"),
        (NOW, {"tracked_status": "posted"}, "posted"),
        (NOW, {"tracked_status": "scheduled"}, "scheduled"),
        (APPROVED, {"tracked_status": "scheduled"}, "scheduled"),
        (MOVED, {"tracked_status": "pending_approval"}, "pending_approval"),
        (MOVED, {"tracked_status": "something new"}, "something new"),
    ],
)
def test_an_accepted_request_does_not_mean_a_published_post(
    call: Call[Post], tracked: dict[str, Any], status: str, word: str
) -> None:
    post = post_in(call, status=word, **tracked)
    assert (post.status, post.reported_status) == (status, word)


@pytest.mark.parametrize("call", [NOW, LATER, APPROVED, MOVED])
@pytest.mark.parametrize(
    ("reported", "status"), [("posted", "posted"), ("Posted", "posted"), ("published", "posted"), ("failed", "failed")]
)
def test_a_status_of_the_post_counts_in_the_response_to_a_change(call: Call[Post], reported: str, status: str) -> None:
    assert post_in(call, status=reported, tracked_status="scheduled").status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "success", "tracked_status": "scheduled"}, "scheduled"),
        ({"status": "success", "tracked_status": "failed"}, "failed"),
        ({"status": "error", "tracked_status": "posted"}, "posted"),
        ({"status": "success", "tracked_status": None}, "posted"),
        ({"status": "success", "tracked_status": "success"}, "posted"),
        ({"status": "error"}, "error"),
        ({"status": "failed", "tracked_status": "posted"}, "failed"),
    ],
)
def test_the_post_has_its_tracked_status(body: dict[str, Any], status: str) -> None:
    page = json.dumps({"posts": [{"post_id": "p", **body}]}).encode()
    [listed] = list_posts().page(None).result(Response(200, {}, page)).items
    for post in (listed, post_in(get_post("p"), **body)):
        assert post.status == status
        assert not post.is_published_nowhere


@pytest.mark.parametrize(("status", "standing"), AVATARS.items())
@pytest.mark.parametrize("field", ["status", "processing_status"])
def test_avatar_profile_status_spellings(field: str, status: str, standing: Outcome) -> None:
    profile = get_avatar_profile("a").result(Response(200, {}, json.dumps({"id": "a", field: status}).encode()))
    verdict = avatar_profile_outcome(profile)
    assert (verdict.outcome, verdict.known) == (standing, True)


@pytest.mark.parametrize("status", ["error", "timed_out", "failure", "Canceled", "deleted", "expired"])
def test_only_documented_failed_means_nothing_was_published(status: str) -> None:
    post = Post(post_id="p", status=status)
    assert post.status != PostStatus.FAILED
    assert "not sent again" in str(post_failure(post))
    assert "Nothing was published" not in str(post_failure(post))
    assert Post(post_id="p", status="FAILED").status == PostStatus.FAILED


def test_an_expired_destination_may_have_shown_the_post() -> None:
    expired = Destination(platform="instagram", status="Expired")
    assert not Post(post_id="p", status="failed", destinations=(expired,)).is_published_nowhere


@pytest.mark.parametrize("status", ["running", "completed", "failed", "queued", "under_review"])
def test_documented_and_unknown_statuses_are_kept(status: str) -> None:
    run = Run(run_id="r", status=status)
    assert (run.status, run.reported_status) == (status, None)


def test_failure_message_has_the_reported_status() -> None:
    assert "'timed_out'" in str(run_failure(Run(run_id="r", status="timed_out")))
    assert "'Canceled'" in str(post_failure(Post(post_id="p", status="Canceled")))
    assert "'error'" in str(avatar_profile_failure(AvatarProfile(id="a", status="error")))


@pytest.mark.parametrize("status", ["Failed", "error", "BLOCKED", "Canceled", "timed_out", "PartialComplete"])
def test_failed_tile_is_named_in_any_spelling(status: str) -> None:
    node = RunNode.model_validate({"original_node_id": "n-1", "status": status})
    assert any("n-1" in line for line in node_lines(Run(run_id="r", status="failed"), [node]))


@pytest.mark.parametrize("status", ["Posted", "SUCCESS", "published", "completed"])
def test_destination_result_in_any_spelling(status: str) -> None:
    out = Destination(platform="x", status=status)
    other = Destination(platform="youtube", status="Error", message="No title")
    story = str(post_failure(Post(post_id="p", status="partial_failure", destinations=(out, other))))
    assert "published on x" in story
    assert "failed on youtube: No title" in story


@pytest.mark.parametrize("status", ["running", "Running", "RUNNING"])
def test_running_row_is_recognized_in_any_case(status: str) -> None:
    body = json.dumps({"runs": [{"run_id": "r", "status": status}], "next_cursor": None}).encode()
    (row,) = running_runs().result(Response(200, {}, body)).items
    assert row.running


def test_status_key() -> None:
    assert {status_key(text) for text in ("TimedOut", "timed-out", "Timed Out", "TIMED_OUT")} == {"timed_out"}


MOMENT = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        1782907200, 1782907200.0, "1782907200", "1782907200.0", " 1782907200 ", 1782907200000, "1782907200000",
        1782907200000000, "1782907200000000",
    ],
)  # fmt: skip
def test_seconds_since_the_epoch_are_a_time(value: Any) -> None:
    assert parse_time(value) == MOMENT


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1782907200.25, datetime(2026, 7, 1, 12, 0, 0, 250000, timezone.utc)),
        ("20260701120000", MOMENT),
        ("20260701", datetime(2026, 7, 1, tzinfo=timezone.utc)),
    ],
)
def test_dates_without_separators_are_not_epochs(value: Any, moment: datetime) -> None:
    assert parse_time(value) == moment


def test_run_with_epoch_times() -> None:
    assert Run.model_validate({"run_id": "r", "status": "running", "started_at": 1782907200000}).started_at == MOMENT


# Unknown statuses


class Course:
    """A wait with a fake clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, noun: str) -> None:
        self.now = 1_000_000.0
        course: dict[str, Any] = {"poll_interval": 30.0, "deadline": None, "log": lambda line: None}
        make = {"run": run_poll_state, "post": post_poll_state, "avatar": avatar_profile_poll_state}[noun]
        self.watch: Any = make("it", **course)
        for clock in ("_now", "_monotonic"):
            monkeypatch.setattr(self.watch, clock, lambda: self.now)
        self._noun = noun

    def see(self, status: str, *, after: float = 0.0) -> None:
        self.now += after
        items: dict[str, Any] = {
            "run": Run(run_id="it", status=status),
            "post": Post(post_id="it", status=status),
            "avatar": AvatarProfile(id="it", status=status),
        }
        assert not self.watch.record_success(items[self._noun]).ended


@pytest.mark.parametrize("noun", ["run", "post", "avatar"])
def test_status_unknown_for_an_hour_is_warned_about_once(
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


def test_known_status_restarts_the_hour(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    course = Course(monkeypatch, "run")
    for _ in range(3):
        course.see("archiving", after=UNKNOWN_STATUS_TIMEOUT - 10)
        course.see("running", after=5)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
