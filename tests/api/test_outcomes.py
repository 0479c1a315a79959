from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.arguments import validate_credits
from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, AvatarStatus
from airflow_provider_mosaic.api.endpoints.billing import Credits, balance_words
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.endpoints.social import Post, PostStatus
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.outcomes import (
    Outcome,
    avatar_profile_outcome,
    credits_outcome,
    post_outcome,
    run_outcome,
)

RUNS = {
    "running": Outcome.PENDING,
    "completed": Outcome.SUCCESS,
    "partial_complete": Outcome.PARTIAL,
    "failed": Outcome.FAILED,
    "cancelled": Outcome.FAILED,
}
POSTS = {
    "scheduled": Outcome.PENDING,
    "pending_approval": Outcome.PENDING,
    "processing": Outcome.PENDING,
    "posted": Outcome.SUCCESS,
    "partial_failure": Outcome.PARTIAL,
    "failed": Outcome.FAILED,
    "rejected": Outcome.FAILED,
}
AVATARS = {
    "pending": Outcome.PENDING,
    "processing": Outcome.PENDING,
    "ready": Outcome.SUCCESS,
    "failed": Outcome.FAILED,
}
UNKNOWN = ["queued", "", "completed ", "paused", "0"]


def test_the_tables_are_whole() -> None:
    assert set(RUNS) == {status.value for status in RunStatus}
    assert set(AVATARS) == {status.value for status in AvatarStatus}
    assert set(POSTS) == {status.value for status in PostStatus}


@pytest.mark.parametrize(("status", "standing"), RUNS.items())
def test_a_run_stands_as_its_status_says(status: str, standing: Outcome) -> None:
    verdict = run_outcome(Run(run_id="r", status=status))
    assert (verdict.outcome, verdict.status, verdict.known) == (standing, status, True)
    assert verdict.ended is (standing is not Outcome.PENDING)


@pytest.mark.parametrize(("status", "standing"), POSTS.items())
def test_a_post_stands_as_its_status_says(status: str, standing: Outcome) -> None:
    verdict = post_outcome(Post(post_id="p", status=status))
    assert (verdict.outcome, verdict.status, verdict.known) == (standing, status, True)
    assert verdict.ended is (standing is not Outcome.PENDING)


@pytest.mark.parametrize(("status", "standing"), AVATARS.items())
def test_an_avatar_profile_stands_as_its_status_says(status: str, standing: Outcome) -> None:
    verdict = avatar_profile_outcome(AvatarProfile(id="a", status=status))
    assert (verdict.outcome, verdict.status, verdict.known) == (standing, status, True)


@pytest.mark.parametrize("status", UNKNOWN)
def test_a_status_that_nobody_documented_means_going_on(status: str) -> None:
    for verdict in (
        run_outcome(Run(run_id="r", status=status)),
        post_outcome(Post(post_id="p", status=status)),
        avatar_profile_outcome(AvatarProfile(id="a", status=status)),
    ):
        assert (verdict.outcome, verdict.status, verdict.known, verdict.ended) == (
            Outcome.PENDING,
            status,
            False,
            False,
        )


def test_a_run_that_wants_credits_but_runs_has_not_ended() -> None:
    assert not run_outcome(Run(run_id="r", status="running", needs_credits=True)).ended


def test_a_post_without_a_status_has_not_ended() -> None:
    assert not post_outcome(Post(post_id="p")).ended


@pytest.mark.parametrize(
    ("credits", "enough", "words"),
    [
        (Credits(balance=100), True, "100 credits"),
        (Credits(balance=100.5), True, "100.5 credits"),
        (Credits(balance=99.9), False, "99.9 credits"),
        (Credits(balance=-5), False, "-5 credits"),
        (Credits(balance=0, unlimited=True), True, "unlimited"),
        (Credits(unlimited=True), True, "unlimited"),
        (Credits(), False, "not reported"),
    ],
)
def test_a_balance_is_enough_or_it_is_waited_for(credits: Credits, enough: bool, words: str) -> None:
    verdict = credits_outcome(credits, 100)
    assert verdict.outcome is (Outcome.SUCCESS if enough else Outcome.PENDING)
    assert verdict.known
    assert balance_words(credits) == words


@pytest.mark.parametrize(("given", "read"), [(0, 0.0), (12.5, 12.5), ("100", 100.0), (" 7 ", 7.0)])
def test_a_number_of_credits_may_come_from_a_template(given: object, read: float) -> None:
    assert validate_credits("min_credits", given) == read


@pytest.mark.parametrize("given", [-1, True, None, "", "many", "nan", float("inf"), [5], "{{ n }}", 10**400])
def test_what_is_no_number_of_credits_is_refused(given: object) -> None:
    with pytest.raises(MosaicValidationError, match="min_credits="):
        validate_credits("min_credits", given)
