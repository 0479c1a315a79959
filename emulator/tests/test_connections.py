from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import Api

YOUTUBE = "c0000000-0000-4000-8000-000000000001"
TIKTOK = "c0000000-0000-4000-8000-000000000002"


def test_connection_exists_after_the_link_is_opened(api: Api) -> None:
    response = api.post("/social/connections", {"platform": "tiktok", "connection_name": "Second"}).json()
    assert set(response) == {"platform", "connect_url"}
    assert len(api.get("/social/connections").json()["connected_accounts"]) == 7
    made = api.mosaic.link_account(response["connect_url"])
    assert made is not None
    accounts = api.get("/social/connections").json()["connected_accounts"]
    assert accounts[-1] == made
    assert (made["platform"], made["account_name"]) == ("tiktok", "Second")
    with pytest.raises(LookupError):
        api.mosaic.link_account(response["connect_url"])
    counts = api.mosaic.counts()
    assert (counts.connection_links, counts.connections_added) == (1, 1)


def test_link_redirects_to_redirect_url(api: Api) -> None:
    body = {"platform": "x", "redirect_url": "https://example.org/done"}
    url = api.post("/social/connections", body).json()["connect_url"]
    response = httpx.get(url, trust_env=False)
    assert (response.status_code, response.headers["location"]) == (303, "https://example.org/done")


@pytest.mark.parametrize(
    "body", [{}, {"platform": "mastodon"}, {"platform": "x", "redirect_url": "done"}, {"name": "x"}]
)
def test_invalid_link_request_is_rejected(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/social/connections", body).status_code == 400
    assert api.mosaic.counts().connection_links == 0


def test_connection_limit(api: Api) -> None:
    api.mosaic.configure(max_connections=7)
    assert api.post("/social/connections", {"platform": "x"}).status_code == 403
    api.mosaic.configure(max_connections=8)
    assert api.post("/social/connections", {"platform": "x"}).status_code == 200


def test_deleted_connection_is_not_found(api: Api) -> None:
    response = api.http.delete(f"/social/connections/{TIKTOK}")
    assert response.json() == {"success": True, "platform": "tiktok", "social_connection_id": TIKTOK}
    assert api.get(f"/social/connections/{TIKTOK}").status_code == 404
    assert api.http.delete(f"/social/connections/{TIKTOK}").status_code == 404
    api.mosaic.configure(repeated_delete=200)
    assert api.http.delete(f"/social/connections/{TIKTOK}").json()["success"] is True
    assert api.http.delete("/social/connections/none").status_code == 404
    assert api.mosaic.counts().connections_deleted == 1


def test_scheduled_post_to_a_deleted_connection_fails(api: Api) -> None:
    api.mosaic.configure(hold_posts=True)
    body = {"post": "x", "destinations": [{"social_connection_id": each} for each in (YOUTUBE, TIKTOK)]}
    post_id = api.post("/social/post", body).json()["post_id"]
    api.http.delete(f"/social/connections/{TIKTOK}")
    api.mosaic.configure(hold_posts=False)
    post = api.post_end(post_id)
    assert post["status"] == "partial_failure"
    assert {each["platform"]: each["status"] for each in post["destinations"]} == {
        "youtube": "posted",
        "tiktok": "failed",
    }
