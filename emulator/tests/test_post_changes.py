from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from .conftest import Api

YOUTUBE, TIKTOK, INSTAGRAM, X, LINKEDIN, FACEBOOK, LIVE = (
    f"c0000000-0000-4000-8000-00000000000{number}" for number in range(1, 8)
)
LATER = "2099-01-01T00:00:00Z"


def create(api: Api, *accounts: str, **body: Any) -> str:
    destinations = [{"social_connection_id": each} for each in accounts or (YOUTUBE,)]
    response = api.post("/social/post", {"post": "x", "destinations": destinations, **body})
    assert response.status_code == 200, response.text
    return str(response.json()["post_id"])


def published(api: Api, *accounts: str) -> str:
    post_id = create(api, *accounts)
    assert api.post_end(post_id)["status"] == "posted"
    return post_id


def patch(api: Api, post_id: str, **body: Any) -> httpx.Response:
    return api.http.patch(f"/social/post/{post_id}", json=body)


def delete(api: Api, post_id: str, body: Any = None, **query: str) -> httpx.Response:
    return api.http.request("DELETE", f"/social/post/{post_id}", json=body, params=query)


def status(api: Api, post_id: str) -> str:
    return str(api.get(f"/social/post/{post_id}").json()["status"])


def soon(seconds: float = 0.0) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def test_scheduled_post_is_rescheduled(api: Api) -> None:
    post_id = create(api, schedule_date=LATER)
    response = patch(api, post_id, schedule_date="2099-02-01T00:00:00Z")
    assert response.json() == {"post_id": post_id, "status": "scheduled"}
    assert api.get(f"/social/post/{post_id}").json()["scheduled_at"] == "2099-02-01T00:00:00Z"
    assert patch(api, post_id, schedule_date=soon(0.05)).status_code == 200
    assert api.post_end(post_id)["status"] == "posted"
    assert api.mosaic.posts()[0]["published"] == 1
    assert api.mosaic.counts().posts_updated == 2


def test_only_scheduled_posts_can_be_rescheduled(api: Api) -> None:
    post_id = published(api)
    assert patch(api, post_id, schedule_date=LATER).status_code == 409
    api.mosaic.configure(hold_posts=True, wrong_post_state_status=400)
    due = create(api, schedule_date=soon())
    # The status is scheduled while the post is published.
    assert status(api, due) == "scheduled"
    assert patch(api, due, schedule_date=LATER).status_code == 400
    assert api.mosaic.counts().posts_updated == 0


def test_approval(api: Api) -> None:
    api.mosaic.configure(approval=True)
    now, later, never = create(api), create(api, schedule_date=LATER), create(api)
    assert patch(api, now, approve=True).json()["status"] == "processing"
    assert patch(api, later, approve=True).json()["status"] == "scheduled"
    assert patch(api, never, approve=False).json()["status"] == "rejected"
    assert api.post_end(now)["status"] == "posted"
    assert patch(api, now, approve=True).status_code == 409
    assert patch(api, never, approve=True).status_code == 409
    both = create(api)
    assert patch(api, both, schedule_date=LATER).status_code == 409
    assert patch(api, both, schedule_date=LATER, approve=True).json()["status"] == "scheduled"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 400),
        ({"social_connection_id": YOUTUBE}, 400),
        ({"post": "other"}, 400),
        ({"media_urls": []}, 400),
        ({"platforms": ["x"]}, 400),
        ({"schedule_date": "soon"}, 400),
        ({"approve": "yes"}, 400),
        ({"notes": "x"}, 400),
        ({"platform_options": {"youtube": True}}, 400),
        ({"platform_options": {"tiktok": {}}}, 400),
        ({"schedule_date": LATER, "social_connection_id": X}, 404),
    ],
)
def test_invalid_change_is_rejected(api: Api, body: dict[str, Any], expected: int) -> None:
    post_id = create(api, schedule_date="2098-01-01T00:00:00Z")
    assert patch(api, post_id, **body).status_code == expected
    assert api.get(f"/social/post/{post_id}").json()["scheduled_at"] == "2098-01-01T00:00:00Z"
    assert patch(api, "none", **body).status_code == 404


def test_disable_comments(api: Api) -> None:
    post_id = published(api, LINKEDIN, INSTAGRAM, X)
    assert patch(api, post_id, disable_comments=True).status_code == 400
    assert patch(api, post_id, disable_comments=True, social_connection_id=X).status_code == 400
    assert patch(api, post_id, platform_options={"x": {}, "linkedin": {"title": "x"}}).status_code == 400
    before = {each["platform"] for each in comments(api, post_id)}
    assert before == {"linkedin", "instagram", "x"}
    assert patch(api, post_id, disable_comments=True, social_connection_id=INSTAGRAM).status_code == 200
    assert patch(api, post_id, platform_options={"linkedin": {"disable_comments": True}}).status_code == 200
    # LinkedIn deletes existing comments.
    assert {each["platform"] for each in comments(api, post_id)} == {"instagram", "x"}


def test_ambiguous_destination_is_rejected(api: Api) -> None:
    post_id = published(api, YOUTUBE, LIVE, LINKEDIN)
    options = {"youtube": {"visibility": "unlisted"}}
    assert patch(api, post_id, platform_options=options).status_code == 400
    assert patch(api, post_id, platform_options=options, social_connection_id=LIVE).status_code == 200
    assert api.mosaic.posts()[0]["platform_options"] == {LIVE: options["youtube"]}


@pytest.mark.parametrize(
    ("shape", "keys"),
    [("post", {"destinations", "description"}), ("success", {"tracking_id", "tracked_status"})],
)
def test_patch_response_shapes(api: Api, shape: str, keys: set[str]) -> None:
    api.mosaic.configure(patch_response=shape, patch_extras=True)
    response = patch(api, create(api, schedule_date=LATER), notes="x").json()
    assert keys <= set(response)


@pytest.mark.parametrize("approval", [True, False])
def test_deleted_post_is_never_published(api: Api, approval: bool) -> None:
    api.mosaic.configure(approval=approval)
    # Without an approval, it must be deleted before its time.
    seconds = 0.2 if approval else 1.0
    post_id = create(api, schedule_date=soon(seconds))
    assert delete(api, post_id).json() == {"post_id": post_id, "status": "rejected"}
    assert status(api, post_id) == "rejected"
    other = create(api, schedule_date=soon(seconds))
    patch(api, other, approve=True)
    api.post_end(other)
    assert api.mosaic.posts()[0]["published"] == 0
    assert [each["post_id"] for each in api.get("/social/posts").json()["posts"]] == [other, post_id]
    api.mosaic.configure(deleted_posts_listed=False)
    assert [each["post_id"] for each in api.get("/social/posts").json()["posts"]] == [other]
    assert delete(api, post_id).status_code == 409
    api.mosaic.configure(repeated_post_delete=200)
    assert delete(api, post_id).json()["status"] == "rejected"
    assert api.mosaic.counts().posts_deleted == 1


def test_processing_post_cannot_be_deleted(api: Api) -> None:
    api.mosaic.configure(hold_posts=True)
    post_id = create(api)
    assert delete(api, post_id).status_code == 409
    api.mosaic.configure(hold_posts=False)
    assert api.post_end(post_id)["status"] == "posted"
    assert delete(api, post_id).status_code == 200
    assert status(api, post_id) == "rejected"


def test_undeletable_platforms(api: Api) -> None:
    post_id = published(api, YOUTUBE, TIKTOK)
    assert delete(api, post_id).status_code == 409
    assert delete(api, post_id, {"social_connection_id": YOUTUBE}).status_code == 200
    assert delete(api, post_id, {"mark_manual_deleted": True}).status_code == 200
    assert status(api, post_id) == "rejected"


@pytest.mark.parametrize("place", ["body", "query"])
def test_delete_one_destination(api: Api, place: str) -> None:
    post_id = create(api, YOUTUBE, X, schedule_date=LATER)
    expected = {"social_connection_id": X}
    response = delete(api, post_id, expected) if place == "body" else delete(api, post_id, **expected)
    assert response.status_code == 200
    assert patch(api, post_id, schedule_date=soon(0.05)).status_code == 200
    post = api.post_end(post_id)
    assert post["status"] == "posted"
    assert [each["status"] for each in post["destinations"]] == ["posted", "rejected"]


def test_invalid_deletion_is_rejected(api: Api) -> None:
    post_id = create(api, schedule_date=LATER)
    assert delete(api, "none").status_code == 404
    assert delete(api, post_id, {"social_connection_id": X}).status_code == 404
    assert delete(api, post_id, {"social_connection_id": YOUTUBE}, social_connection_id=X).status_code == 400
    assert delete(api, post_id, {"reason": "x"}).status_code == 400
    assert delete(api, post_id, force="true").status_code == 400
    assert status(api, post_id) == "scheduled"


def test_analytics(api: Api) -> None:
    post_id = published(api, YOUTUBE, LIVE, X)
    body = api.get(f"/social/post/{post_id}/analytics").json()
    assert set(body) == {"analytics", "stats"}
    platforms = body["analytics"]["platforms"]
    assert [each["platform"] for each in platforms] == ["youtube", "x"]
    keys = {"likes", "comments", "shares", "impressions", "views", "video_views"}
    assert all(set(each["metrics"]) == keys for each in platforms)
    assert body["analytics"]["totals"]["likes"] == sum(each["metrics"]["likes"] for each in platforms)
    assert platforms[0]["metrics"]["shares"] is None
    one = api.get(f"/social/post/{post_id}/analytics", params={"social_connection_id": LIVE}).json()
    assert one["analytics"]["platforms"][0]["platform_post_id"] != platforms[0]["platform_post_id"]
    assert api.get(f"/social/post/{post_id}/analytics", params={"social_connection_id": TIKTOK}).status_code == 404
    api.mosaic.configure(analytics_post_id=True)
    assert api.get(f"/social/post/{post_id}/analytics").json()["post_id"] == post_id


def comments(api: Api, post_id: str, **query: Any) -> list[dict[str, Any]]:
    response = api.get(f"/social/post/{post_id}/comments", params=query)
    assert response.status_code == 200, response.text
    return list(response.json()["comments"])


def test_comment_order(api: Api) -> None:
    api.mosaic.configure(list_order="oldest", timestamps="microseconds")
    post_id = published(api, YOUTUBE, X)
    shown = comments(api, post_id)
    times = [each["created_at"] for each in shown]
    assert times[-2:] == [None, None]
    assert times[:-2] == sorted(times[:-2], reverse=True)
    assert [each["platform"] for each in shown[:2]] == ["x", "youtube"]
    assert any(each["replies"] for each in shown)
    first = api.get(f"/social/post/{post_id}/comments", params={"limit": 4}).json()
    rest = api.get(f"/social/post/{post_id}/comments", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert first["comments"] + rest["comments"] == shown
    assert {each["platform"] for each in comments(api, post_id, social_connection_id=X)} == {"x"}


@pytest.mark.parametrize("what", ["analytics", "comments"])
def test_unpublished_post_has_no_analytics(api: Api, what: str) -> None:
    post_id = create(api, schedule_date=LATER)
    assert api.get(f"/social/post/{post_id}/{what}").status_code == 409
    api.mosaic.configure(unpublished_status=200)
    assert api.get(f"/social/post/{post_id}/{what}").status_code == 200
    assert api.get(f"/social/post/none/{what}").status_code == 404
