"""What each status means, documented and unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.arguments import validate_credits
from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, AvatarStatus
from airflow_provider_mosaic.api.endpoints.billing import Credits
from airflow_provider_mosaic.api.endpoints.posts import Post, PostStatus, get_post
from airflow_provider_mosaic.api.endpoints.runs import Run, RunStatus
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.outcomes import (
    Outcome,
    StatusOutcome,
    avatar_profile_outcome,
    credits_outcome,
    post_outcome,
    run_outcome,
)
from airflow_provider_mosaic.api.reports import post_failure
from airflow_provider_mosaic.api.responses import Response

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


def test_all_documented_statuses_are_tested() -> None:
    assert set(RUNS) == {status.value for status in RunStatus}
    assert set(AVATARS) == {status.value for status in AvatarStatus}
    assert set(POSTS) == {status.value for status in PostStatus}


def outcomes(status: str) -> dict[str, StatusOutcome]:
    """Return the outcome of each kind of item with a status."""
    return {
        "run": run_outcome(Run(run_id="r", status=status)),
        "post": post_outcome(Post(post_id="p", status=status)),
        "avatar profile": avatar_profile_outcome(AvatarProfile(id="a", status=status)),
    }


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        (kind, status, outcome)
        for kind, table in {"run": RUNS, "post": POSTS, "avatar profile": AVATARS}.items()
        for status, outcome in table.items()
    ],
)
def test_the_outcome_of_a_documented_status(kind: str, status: str, outcome: Outcome) -> None:
    found = outcomes(status)[kind]
    assert (found.outcome, found.status, found.known) == (outcome, status, True)
    assert found.ended is (outcome is not Outcome.PENDING)


@pytest.mark.parametrize("status", UNKNOWN)
def test_an_unknown_status_is_pending(status: str) -> None:
    for found in outcomes(status).values():
        assert found == StatusOutcome(outcome=Outcome.PENDING, status=status, known=False)
        assert not found.ended


def test_a_running_run_that_is_short_of_credits_has_not_ended() -> None:
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
def test_the_outcome_of_a_balance(credits: Credits, enough: bool, words: str) -> None:
    found = credits_outcome(credits, 100)
    assert found.outcome is (Outcome.SUCCESS if enough else Outcome.PENDING)
    assert found.known
    assert credits.balance_text == words


@pytest.mark.parametrize(("given", "read"), [(0, 0.0), (12.5, 12.5), ("100", 100.0), (" 7 ", 7.0)])
def test_a_number_of_credits_may_be_a_string(given: object, read: float) -> None:
    assert validate_credits("min_credits", given) == read


@pytest.mark.parametrize("given", [-1, True, None, "", "many", "nan", float("inf"), [5], "{{ n }}", 10**400])
def test_an_invalid_number_of_credits_is_rejected(given: object) -> None:
    with pytest.raises(MosaicValidationError, match="min_credits="):
        validate_credits("min_credits", given)


POSTED = {"platform": "youtube", "status": "posted"}


@pytest.mark.parametrize(
    "places",
    [
        {"destinations": [POSTED, {"platform": "x", "status": {"code": 187}}]},
        {"destinations": [{"platform": "x", "status": {"code": 187}}]},
        {"results": "see the dashboard"},
        {"links": ["https://youtu.be/x"]},
    ],
)
def test_failed_post_with_unreadable_destinations_may_be_published(places: dict[str, Any]) -> None:
    body = json.dumps({"status": "failed", **places}).encode()
    post = get_post("post-1").result(Response(200, {}, body))
    assert post.status == "failed"
    assert not post.is_published_nowhere


@pytest.mark.parametrize(
    "shown",
    [
        {"destinations": [{"platform": "x", "url": "https://x.com/n/status/1"}, {"platform": "linkedin"}]},
        {"destinations": [{"platform": "x", "postUrl": "https://x.com/n/status/1"}]},
        {"destinations": [{"platform": "x", "state": "posted"}]},
        {"destinations": [{"platform": "x", "publish_status": "Success"}]},
        {"results": [{"platform": "x", "result": {"permalink": "HTTPS://x.com/n/status/1"}}]},
        {"postIds": [{"platform": "x", "id": "99", "postUrl": "https://x.com/n/status/1"}]},
        {"postIds": {"x": 99}},
        {"destinations": [{"platform": "x", "remotePostId": "99"}]},
        {"posts": [{"status": "success", "id": "post-1"}]},
        {"deep": [[{"a": {"b": {"url": "https://x.com/n/status/1"}}}]]},
        # Results under names of accounts and of media.
        {"social_connections": [{"social_connection_id": "A", "post_url": "https://x.com/n/status/1"}]},
        {"socialConnections": [{"socialConnectionId": "A", "platformPostId": "99"}]},
        {"connections": [{"id": "A", "status": "failed"}, {"id": "B", "status": "posted"}]},
        {"connections": {"A": {"status": "posted"}}},
        {"connected_accounts": [{"platform": "x", "status": "posted"}]},
        {"accounts": [{"id": "A", "status": "posted"}]},
        {"account_results": [{"account_id": "A", "status": "posted"}]},
        {"account_results": {"x": {"status": "posted"}}},
        {"social_media_results": [{"platform": "x", "result": {"url": "https://x.com/n/status/1"}}]},
        {"social_media_post_url": "https://x.com/n/status/1"},
        {"media_posts": [{"id": "99", "status": "failed"}]},
        {"profiles": [{"platform": "x", "state": "posted"}]},
        {"error": "No", "errors": {"results": [{"platform": "x", "status": "posted"}]}},
        # Flags and times.
        {"destinations": [{"platform": "x", "success": True}, {"platform": "linkedin", "success": False}]},
        {"results": [{"platform": "x", "is_published": "true"}]},
        {"results": [{"platform": "x", "response": {"success": 1}}]},
        {"destinations": [{"platform": "x", "publishedAt": "2026-11-24T01:00:00Z"}]},
        {"accounts": [{"id": "A", "posted_at": 1795482000}]},
        {"channel_reports": [{"platform": "x", "posted": True}]},
        {"published_at": "2026-11-24T01:00:00Z"},
        # "platforms" with results instead of names.
        {"platforms": [{"platform": "x", "status": "posted"}]},
        {"platforms": {"x": {"status": "failed"}, "linkedin": {"post_url": "https://linkedin.com/p/1"}}},
        {"results": [{"platform": "linkedin", "author_post": {"url": "https://linkedin.com/p/1"}}]},
    ],
    ids=str,
)
def test_failed_post_with_undocumented_signs_of_publication_may_be_published(shown: dict[str, Any]) -> None:
    body = json.dumps({"status": "failed", **shown}).encode()
    post = get_post("post-1").result(Response(200, {}, body))
    assert not post.is_published_nowhere
    assert f"may be published on some accounts (see {post.publication_sign!r} in its response)" in str(
        post_failure(post)
    )


@pytest.mark.parametrize(
    "shown",
    [
        {"destinations": [{"platform": "x", "profile_url": "https://x.com/n", "connect_url": "https://x.com/c"}]},
        {"thumbnail_url": "https://cdn.example/t.jpg", "mediaUrls": ["https://cdn.example/v.mp4"]},
        {"youTubeOptions": {"thumbNail": "https://cdn.example/t.jpg"}},
        {"destinations": [{"platform": "x", "user": {"avatar": {"url": "https://cdn.example/a.jpg"}}}]},
        {"destinations": [{"platform": "x", "status": "errored", "state": "Timed-Out"}], "tracked_status": "FAILED"},
        {"destinations": [{"platform": "x", "connection_status": "connected"}], "approval_status": "approved"},
        {"error": "Late", "errors": [{"message": "https://x.com refused the post", "status": "error", "code": 187}]},
        {"postIds": [], "post_ids": {"x": None, "linkedin": ""}, "mosaic_post_id": "post-1", "state": ""},
        {"destinations": [{"platform": "x", "platform_post_id": "", "post_id": "post-1"}], "workspace_id": "w"},
        {"analytics": {"status": "success", "totals": {"views": None}, "platforms": []}},
        {"destinations": [{"platform": "x", "message": "No", "error": {"docs_url": "https://docs.example"}}]},
        {"destinations": [{"platform": "x", "help_url": "https://docs.example", "account_status": "active"}]},
        {"description": "https://example.com/episode", "post": "https://example.com/episode"},
        {"success": True, "published_at": None, "published": False, "scheduled_at": "2026-11-24T01:00:00Z"},
        {"destinations": [{"platform": "x", "success": False, "published": "false", "published_at": ""}]},
        {"destinations": [{"platform": "x", "account": {"status": "active"}, "connection": {"status": "active"}}]},
        {"account": {"platform": "x", "status": "active"}, "social_connection": {"status": "active"}},
        {"connected_accounts": [{"platform": "x", "status": "connected", "profile_url": "https://x.com/n"}]},
        {"connected_accounts": [{"platform": "x", "status": "active", "token_status": "valid"}]},
        {"accounts": [{"id": "A", "status": "expired", "last_posted_at": "2026-11-24T01:00:00Z", "posted": 25}]},
        {"platforms": [{"platform": "x"}, {"platform": "linkedin", "status": "failed"}]},
        {"destinations": [{"platform": "x", "reauth_url": "https://x.com/login", "connected": True}]},
        {"media": [{"url": "https://cdn.example/v.mp4", "status": "ready", "success": True}]},
        {"media_assets": [{"variants": [{"url": "https://cdn.example/v.mp4"}]}]},
        {"options": {"platforms": {"x": {"link": "https://example.com/episode", "status": "public"}}}},
        {"errors": [{"platform": "x", "status": "error", "url": "https://help.example"}]},
        {"analytics": {"platforms": [{"platform": "x", "success": True, "status": "success"}]}},
    ],
    ids=str,
)
def test_failed_post_without_signs_of_publication_is_published_nowhere(shown: dict[str, Any]) -> None:
    body = json.dumps({"status": "failed", **shown}).encode()
    assert get_post("post-1").result(Response(200, {}, body)).is_published_nowhere


@pytest.mark.parametrize("places", [{"links": {}}, {"results": ""}, {"destinations": {}}])
def test_failed_post_with_empty_places_of_another_type_is_published_nowhere(places: dict[str, Any]) -> None:
    body = json.dumps({"status": "failed", **places}).encode()
    assert get_post("post-1").result(Response(200, {}, body)).is_published_nowhere
