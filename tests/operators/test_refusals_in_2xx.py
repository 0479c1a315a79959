"""A server rejects requests with status 200: nothing is sent again, its message is shown, and a cancel is verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import Clock
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicPostFailedError,
    MosaicValidationError,
)
from airflow_provider_mosaic.operators import (
    MosaicCancelRunOperator,
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
START, POST, CANCEL, RESUME = "/agent/an-agent/run", "/social/post", "/agent_run/r/cancel", "/agent_run/r/resume"


class RejectingMosaic(OtherMosaic):
    """A Mosaic that rejects some POSTs with status 200; a cancel takes effect after some reads."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Any] = {}
        self.posts: list[dict[str, Any]] = []
        #: Whether a rejected start starts a run nevertheless.
        self.starts_all_the_same = False
        self.reads_until_cancelled: int | None = None

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        path = urlsplit(target).path
        if path == "/social/posts":
            return 200, {"posts": self.posts}
        if method == "POST" and path in self.answers:
            self.requests.append(f"{method} {path}")
            if path == START and self.starts_all_the_same:
                self.add("made-1", status="completed")
            return 200, self.answers[path]
        if method == "GET" and self.reads_until_cancelled is not None and path.startswith("/agent_run/"):
            self.reads_until_cancelled -= 1
            if self.reads_until_cancelled <= 0:
                self.runs[0]["status"] = "cancelled"
        return super().answer(method, target)

    def sent(self, path: str) -> int:
        return self.requests.count(f"POST {path}")


@pytest.fixture
def rejecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[RejectingMosaic]:
    with serving(RejectingMosaic()) as other:
        assert isinstance(other, RejectingMosaic)
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield other


def running(**options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": "an-agent", "video_ids": ["v"], "poll_interval": 0.02, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=StateStore())


def posting() -> TaskRunner:
    return TaskRunner(
        lambda: MosaicSocialPostOperator(task_id="post", text="Premiere", platforms=["x"]), store=StateStore()
    )


@WAITS
def test_rejected_start_is_sent_once_and_its_message_is_shown(
    rejecting: RejectingMosaic, clock: Clock, deferrable: bool
) -> None:
    rejecting.answers[START] = {"success": False, "detail": "The agent is archived"}
    with pytest.raises(AirflowFailException, match="The agent is archived") as failure:
        running(deferrable=deferrable).execute()
    assert type(failure.value.error) is MosaicValidationError
    assert rejecting.sent(START) == 1
    assert clock.pauses == []


def test_rejected_post_is_sent_once_and_its_message_is_shown(rejecting: RejectingMosaic, clock: Clock) -> None:
    rejecting.answers[POST] = {"post_id": None, "status": "error", "error": {"message": "No video in it"}}
    with pytest.raises(AirflowFailException, match="No video in it"):
        posting().execute()
    assert rejecting.sent(POST) == 1
    assert clock.pauses == []


def test_rejected_start_leaves_no_record(rejecting: RejectingMosaic, clock: Clock) -> None:
    rejecting.answers[START] = {"success": False, "detail": "The agent is archived"}
    task = running()
    with pytest.raises(AirflowFailException):
        task.execute()
    del rejecting.answers[START]
    assert task.run_to_end() == "started-0"
    assert max(clock.pauses) < 1


def test_run_named_by_a_rejected_start_is_searched(rejecting: RejectingMosaic, clock: Clock) -> None:
    rejecting.answers[START] = {"success": False, "run_id": "made-1", "detail": "Late"}
    rejecting.starts_all_the_same = True
    assert running().run_to_end() == "made-1"
    assert rejecting.sent(START) == 1


@pytest.mark.parametrize("field", ["run_id", "id"])
def test_unlisted_run_named_by_a_rejected_start_needs_manual_review(
    rejecting: RejectingMosaic, clock: Clock, field: str
) -> None:
    rejecting.answers[START] = {"success": False, field: "made-1", "detail": "Late"}
    with pytest.raises(AirflowFailException, match=r"Variable.*made-1") as failure:
        running().execute()
    assert type(failure.value.error) is MosaicAmbiguousOutcomeError
    assert rejecting.sent(START) == 1


@pytest.mark.parametrize("signs", [{"status": "queued"}, {"nodes_queued": 3}, {"run_url": "https://x/y"}])
def test_rejection_that_contradicts_itself_is_not_sent_again(
    rejecting: RejectingMosaic, clock: Clock, signs: dict[str, Any]
) -> None:
    rejecting.answers[START] = {"success": False, "detail": "Late", **signs}
    with pytest.raises(AirflowFailException, match="contradicts itself") as failure:
        running().execute()
    assert type(failure.value.error) is MosaicAmbiguousOutcomeError
    assert rejecting.sent(START) == 1


def test_post_named_by_a_rejected_request_is_not_sent_again(rejecting: RejectingMosaic, clock: Clock) -> None:
    rejecting.answers[POST] = {"post_id": "p-1", "status": "error", "error": {"message": "Late"}}
    with pytest.raises(AirflowFailException, match="MosaicAmbiguousOutcomeError"):
        posting().execute()
    assert rejecting.sent(POST) == 1


@pytest.mark.parametrize("status", ["failed", "FAILED"])
def test_post_that_failed_at_once_fails_a_task_that_does_not_wait(rejecting: RejectingMosaic, status: str) -> None:
    rejecting.answers[POST] = {"post_id": "p-1", "status": status}
    with pytest.raises(MosaicPostFailedError, match="Nothing was published"):
        posting().execute()
    assert rejecting.sent(POST) == 1


def test_message_of_a_rejected_resume_is_shown(rejecting: RejectingMosaic, clock: Clock) -> None:
    rejecting.add("r", status="failed")
    rejecting.answers[RESUME] = {"success": False, "run_id": "r", "detail": "No credits left"}
    with pytest.raises(AirflowFailException, match="No credits left"):
        TaskRunner(lambda: MosaicResumeRunOperator(task_id="resume", run_id="r"), store=StateStore()).execute()
    assert rejecting.sent(RESUME) == 1


# Cancel


def cancelling() -> TaskRunner:
    return TaskRunner(lambda: MosaicCancelRunOperator(task_id="cancel", run_id="r"))


@pytest.mark.parametrize("answer", [{"success": False, "detail": "Busy"}, {"status": "error", "message": "Busy"}])
def test_rejected_cancel_of_a_running_run_fails_with_its_message(rejecting: RejectingMosaic, answer: Any) -> None:
    rejecting.add("r", status="running")
    rejecting.looks_until_end = 10**6
    rejecting.answers[CANCEL] = answer
    with pytest.raises(AirflowFailException, match="Busy"):
        cancelling().execute()


def test_rejected_cancel_of_an_ended_run_is_no_failure(
    rejecting: RejectingMosaic, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting.add("r", status="completed")
    rejecting.answers[CANCEL] = {"success": False, "detail": "Not running"}
    with caplog.at_level("INFO"):
        assert cancelling().execute() == "r"
    assert "had ended already, as completed" in caplog.text


def test_slow_cancel_is_waited_for(rejecting: RejectingMosaic, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    rejecting.add("r", status="running")
    rejecting.looks_until_end = 10**6
    rejecting.answers[CANCEL] = {"success": True}
    rejecting.reads_until_cancelled = 5
    with caplog.at_level("INFO"):
        assert cancelling().execute() == "r"
    assert "is cancelled" in caplog.text


def test_cancel_without_effect_can_be_retried(
    rejecting: RejectingMosaic, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting.add("r", status="running")
    rejecting.looks_until_end = 10**6
    rejecting.answers[CANCEL] = {"success": True}
    with caplog.at_level("INFO"), pytest.raises(MosaicError, match="still running"):
        cancelling().execute()
    assert "is cancelled" not in caplog.text


def test_run_that_ended_before_its_cancel_is_not_reported_as_cancelled(
    rejecting: RejectingMosaic, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting.add("r", status="running")
    rejecting.looks_until_end = 2
    rejecting.answers[CANCEL] = {"success": True}
    with caplog.at_level("INFO"):
        assert cancelling().execute() == "r"
    assert "as completed" in caplog.text
    assert "is cancelled" not in caplog.text


@WAITS
def test_timed_out_run_is_reported_as_cancelled_only_if_it_is(
    rejecting: RejectingMosaic, clock: Clock, deferrable: bool
) -> None:
    rejecting.looks_until_end = 10**6
    rejecting.answers["/agent_run/started-0/cancel"] = {"success": True}
    with pytest.raises(AirflowFailException, match=r"accepted the cancel of run .* still running"):
        running(timeout=0.2, deferrable=deferrable).run_to_end()
