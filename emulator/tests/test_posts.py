from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator.catalogue import CONNECTIONS

from .conftest import Api, until

YOUTUBE, TIKTOK, X, LIVE = (f"c0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 4, 7))
TO_YOUTUBE = {"post": "Premiere tonight", "destinations": [{"social_connection_id": YOUTUBE}]}


def soon(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def test_connections(api: Api) -> None:
    accounts = api.get("/social/connections").json()["connected_accounts"]
    assert [account["platform"] for account in accounts].count("youtube") == 2
    assert len(accounts) == len(CONNECTIONS) == 7
    assert set(accounts[0]) == {
        "social_connection_id",
        "platform",
        "account_name",
        "account_username",
        "profile_url",
    }
    one = api.get(f"/social/connections/{YOUTUBE}").json()
    assert one["connected"] is True
    assert {"username", "display_name", "user_image"} <= set(one)
    api.mosaic.configure(disconnected=[YOUTUBE])
    assert api.get(f"/social/connections/{YOUTUBE}").json()["connected"] is False
    assert api.get("/social/connections/none").status_code == 404


def test_post_is_published(api: Api) -> None:
    response = api.post("/social/post", {**TO_YOUTUBE, "media_urls": ["https://cdn.example.org/cut.mp4"]}).json()
    assert response["status"] in ("processing", "posted")
    assert (response["description"], response["scheduled_at"], response["platforms"]) == (
        "Premiere tonight",
        None,
        ["youtube"],
    )
    post = api.post_end(response["post_id"])
    assert post["status"] == "posted"
    (destination,) = post["destinations"]
    assert destination["social_connection_id"] == YOUTUBE
    assert destination["platform_post_id"].startswith("youtube_")
    assert destination["post_url"].startswith("https://youtube.example/")
    assert api.mosaic.posts()[0]["published"] == 1


@pytest.mark.parametrize(
    ("failing", "status"),
    [({"x": "No developer key"}, "partial_failure"), ({"x": "No", YOUTUBE: "No"}, "failed"), ({}, "posted")],
)
def test_failing_platforms(api: Api, failing: dict[str, str], status: str) -> None:
    api.mosaic.configure(failing_platforms=failing)
    body = {"post": "x", "destinations": [{"social_connection_id": each} for each in (YOUTUBE, X)]}
    post = api.post_end(api.post("/social/post", body).json()["post_id"])
    assert post["status"] == status
    by_platform = {each["platform"]: each for each in post["destinations"]}
    assert by_platform["x"]["error"] == failing.get("x")
    assert (by_platform["youtube"]["post_url"] is None) == (YOUTUBE in failing)


def test_expired_media_fail_the_post(api: Api) -> None:
    link = api.finished()["outputs"][0]["video_url"]
    good = api.post("/social/post", {**TO_YOUTUBE, "media_urls": [link]}).json()
    assert api.post_end(good["post_id"])["status"] == "posted"
    api.mosaic.expire_links()
    late = api.post("/social/post", {**TO_YOUTUBE, "media_urls": [link]}).json()
    assert api.post_end(late["post_id"])["status"] == "failed"


def test_scheduled_post(api: Api) -> None:
    api.mosaic.configure(hold_posts=True)
    response = api.post("/social/post", {**TO_YOUTUBE, "schedule_date": soon(3600)}).json()
    assert response["status"] == "scheduled"
    assert response["scheduled_at"].endswith("Z")
    response = api.post("/social/post", {**TO_YOUTUBE, "schedule_date": soon(0.1)}).json()
    until(lambda: api.get("/social/posts").json()["posts"][0], lambda post: post["status"] == "processing")
    path = f"/social/post/{response['post_id']}"
    assert api.get(path).json()["status"] == "scheduled"
    api.mosaic.configure(fold_processing=False)
    assert api.get(path).json()["status"] == "processing"
    api.mosaic.configure(hold_posts=False)
    assert api.post_end(response["post_id"])["status"] == "posted"


def test_options_of_the_publishing_service_are_accepted(api: Api) -> None:
    options = {"youTubeOptions": {"title": "Premiere", "visibility": "public"}, "tikTokOptions": {}}
    assert api.post("/social/post", {**TO_YOUTUBE, **options}).status_code == 200
    for wrong in ({"youTubeOptions": "Premiere"}, {"youtube": {"title": "Premiere"}}):
        assert api.post("/social/post", {**TO_YOUTUBE, **wrong}).status_code == 400


def test_schedule_in_the_past(api: Api) -> None:
    body = {**TO_YOUTUBE, "schedule_date": "2020-01-01T00:00:00Z"}
    assert api.post_end(api.post("/social/post", body).json()["post_id"])["status"] == "posted"
    api.mosaic.configure(past_schedule="refuse")
    assert api.post("/social/post", body).status_code == 400


def test_post_waits_for_approval(api: Api) -> None:
    api.mosaic.configure(approval=True)
    response = api.post("/social/post", TO_YOUTUBE).json()
    assert response["status"] == "pending_approval"
    assert api.get("/social/posts", params={"status": "pending_approval"}).json()["posts"] != []


def test_platform_means_its_first_account(api: Api) -> None:
    body: dict[str, Any] = {"post": "x", "platforms": ["youtube", "tiktok"]}
    post = api.post("/social/post", body).json()
    assert [each["social_connection_id"] for each in post["destinations"]] == [YOUTUBE, TIKTOK]
    body["destinations"] = [{"social_connection_id": LIVE}]
    post = api.post("/social/post", body).json()
    assert [each["social_connection_id"] for each in post["destinations"]] == [LIVE, TIKTOK]
    api.mosaic.configure(platforms_allowed=False)
    assert api.post("/social/post", body).status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"post": "x"}, 400),
        ({"post": "x", "destinations": []}, 400),
        ({"post": "x", "platforms": []}, 400),
        ({"post": "x", "platforms": ["mastodon"]}, 400),
        ({"post": "x", "platform": "x"}, 400),
        ({**TO_YOUTUBE, "post": ""}, 400),
        ({**TO_YOUTUBE, "post": 3}, 400),
        ({**TO_YOUTUBE, "media_urls": ["cut.mp4"]}, 400),
        ({**TO_YOUTUBE, "schedule_date": "tomorrow"}, 400),
        ({**TO_YOUTUBE, "node_render_ids": ["x"]}, 400),
        ({**TO_YOUTUBE, "workspace_id": "other"}, 404),
        ({"post": "x", "destinations": [{"social_connection_id": "none"}]}, 404),
        ({"post": "x", "destinations": [{"social_connection_id": YOUTUBE}] * 2}, 400),
    ],
)
def test_invalid_post_is_rejected(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.post("/social/post", body).status_code == status
    assert api.mosaic.counts().posts_made == 0


def test_post_filters(api: Api) -> None:
    first = api.post("/social/post", TO_YOUTUBE).json()["post_id"]
    second = api.post("/social/post", {"post": "y", "platforms": ["x"]}).json()["post_id"]
    api.post_end(first)
    api.post_end(second)

    def ids(**query: str) -> list[str]:
        return [post["post_id"] for post in api.get("/social/posts", params=query).json()["posts"]]

    assert ids() == [second, first]
    assert ids(platform="x") == [second]
    assert ids(social_connection_id=YOUTUBE) == [first]
    assert ids(status="posted") == [second, first]
    assert ids(status="failed") == []


def test_post_of_one_account(api: Api) -> None:
    body = {"post": "x", "destinations": [{"social_connection_id": each} for each in (YOUTUBE, LIVE)]}
    post_id = api.post("/social/post", body).json()["post_id"]
    shown = api.get(f"/social/post/{post_id}", params={"social_connection_id": LIVE}).json()
    assert [each["social_connection_id"] for each in shown["destinations"]] == [LIVE]
    assert api.get(f"/social/post/{post_id}", params={"social_connection_id": X}).status_code == 404
