from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.runs import Run, RunStatus
from airflow_provider_mosaic.api.social import Post, PostStatus
from airflow_provider_mosaic.api.verdicts import Standing, judge_post, judge_run

RUNS = {
    "running": Standing.WAITING,
    "completed": Standing.GOOD,
    "partial_complete": Standing.PARTIAL,
    "failed": Standing.BAD,
    "cancelled": Standing.BAD,
}
POSTS = {
    "scheduled": Standing.WAITING,
    "pending_approval": Standing.WAITING,
    "processing": Standing.WAITING,
    "posted": Standing.GOOD,
    "partial_failure": Standing.PARTIAL,
    "failed": Standing.BAD,
    "rejected": Standing.BAD,
}
UNKNOWN = ["queued", "RUNNING", "", "success", "completed ", "paused", "0"]


def test_the_tables_are_whole() -> None:
    assert set(RUNS) == {status.value for status in RunStatus}
    assert set(POSTS) == {status.value for status in PostStatus}


@pytest.mark.parametrize(("status", "standing"), RUNS.items())
def test_a_run_stands_as_its_status_says(status: str, standing: Standing) -> None:
    verdict = judge_run(Run(run_id="r", status=status))
    assert (verdict.standing, verdict.status, verdict.known) == (standing, status, True)
    assert verdict.ended is (standing is not Standing.WAITING)


@pytest.mark.parametrize(("status", "standing"), POSTS.items())
def test_a_post_stands_as_its_status_says(status: str, standing: Standing) -> None:
    verdict = judge_post(Post(post_id="p", status=status))
    assert (verdict.standing, verdict.status, verdict.known) == (standing, status, True)
    assert verdict.ended is (standing is not Standing.WAITING)


@pytest.mark.parametrize("status", UNKNOWN)
def test_a_status_that_nobody_documented_means_going_on(status: str) -> None:
    for verdict in (judge_run(Run(run_id="r", status=status)), judge_post(Post(post_id="p", status=status))):
        assert (verdict.standing, verdict.status, verdict.known, verdict.ended) == (
            Standing.WAITING,
            status,
            False,
            False,
        )


def test_a_run_that_wants_credits_but_runs_has_not_ended() -> None:
    assert not judge_run(Run(run_id="r", status="running", needs_credits=True)).ended


def test_a_post_without_a_status_has_not_ended() -> None:
    assert not judge_post(Post(post_id="p")).ended
