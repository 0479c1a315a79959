"""Shapes that earlier versions of the documentation describe, chosen by settings."""

from __future__ import annotations

import pytest

from .conftest import Api, until

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
ACCOUNTS = ["c0000000-0000-4000-8000-000000000001", "c0000000-0000-4000-8000-000000000004"]
POST = {"post": "Premiere", "destinations": [{"social_connection_id": each} for each in ACCOUNTS]}
CHANNEL = "UCabcdefghijklmnopqrstuv"


def test_start_response_shapes(api: Api) -> None:
    api.mosaic.configure(start_response="summary")
    body = api.post(f"/agent/{api.mosaic.agent_id}/run", URL).json()
    assert {"run_id", "agent_id", "status", "outputs"} <= set(body)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ("short", {"post_id", "status"}),
        ("results", {"post_id", "status", "links", "results", "error", "tracking_id", "tracked_status"}),
    ],
)
def test_create_post_response_shapes(api: Api, shape: str, fields: set[str]) -> None:
    api.mosaic.configure(post_create_response=shape)
    assert set(api.post("/social/post", POST).json()) == fields


def test_post_results_as_in_early_2026(api: Api) -> None:
    api.mosaic.configure(post_outcomes="results", failing_platforms={"x": "No credentials"})
    post = api.post_end(api.post("/social/post", POST).json()["post_id"])
    assert post["status"] == "partial_failure"
    assert all("status" not in each for each in post["destinations"])
    assert [(each["platform"], each["status"], each["message"]) for each in post["results"]] == [
        ("youtube", "success", None),
        ("x", "error", "No credentials"),
    ]
    assert [each["platform"] for each in post["links"]] == ["youtube"]


def test_channels_of_triggers_as_urls(api: Api) -> None:
    api.mosaic.configure(listed_channels="urls")
    triggers = f"/agent/{api.mosaic.agent_id}/triggers"
    api.post(f"{triggers}/add_youtube_channels", {"youtube_channels": [CHANNEL]})
    [trigger] = api.get(triggers).json()
    assert trigger["youtube_channels"] == [f"https://www.youtube.com/channel/{CHANNEL}"]
    # A listed URL can be sent.
    api.post(f"{triggers}/remove_youtube_channels", {"youtube_channels": trigger["youtube_channels"]})
    assert api.get(triggers).json() == []


def test_avatar_status_key(api: Api) -> None:
    api.mosaic.configure(avatar_status_key="processing_status")
    sources = {"video_url": "https://cdn.example.org/host.mp4"}
    made = api.post("/avatar-profiles/create", {"name": "Host", "sources": sources}).json()
    where = f"/avatar-profiles/{made['id']}"
    shown = until(lambda: api.get(where).json(), lambda profile: profile["processing_status"] == "ready")
    assert "status" not in shown


@pytest.mark.parametrize("status", [201, 204])
def test_success_status_of_changes(api: Api, status: int) -> None:
    api.mosaic.configure(success_status=status)
    post_id = api.post("/social/post", {**POST, "schedule_date": "2035-01-01T00:00:00Z"}).json()["post_id"]
    responses = [
        api.http.patch(f"/social/post/{post_id}", json={"schedule_date": "2035-01-02T00:00:00Z"}),
        api.http.delete(f"/social/post/{post_id}"),
        api.http.delete(f"/social/connections/{ACCOUNTS[0]}"),
    ]
    assert [(each.status_code, each.content == b"") for each in responses] == [(status, status == 204)] * 3
