from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import Api

YOUTUBE = "c0000000-0000-4000-8000-000000000001"
TIKTOK = "c0000000-0000-4000-8000-000000000002"


def test_a_link_makes_no_connection_before_a_human_opens_it(api: Api) -> None:
    answer = api.post("/social/connections", {"platform": "tiktok", "connection_name": "Second"}).json()
    assert set(answer) == {"platform", "connect_url"}
    assert len(api.get("/social/connections").json()["connected_accounts"]) == 7
    made = api.mosaic.link_account(answer["connect_url"])
    assert made is not None
    accounts = api.get("/social/connections").json()["connected_accounts"]
    assert accounts[-1] == made
    assert (made["platform"], made["account_name"]) == ("tiktok", "Second")
    with pytest.raises(LookupError):
        api.mosaic.link_account(answer["connect_url"])
    counts = api.mosaic.counts()
    assert (counts.connection_links, counts.connections_added) == (1, 1)


def test_a_link_leads_on_to_where_it_was_told(api: Api) -> None:
    body = {"platform": "x", "redirect_url": "https://example.org/done"}
    url = api.post("/social/connections", body).json()["connect_url"]
    answer = httpx.get(url, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "https://example.org/done")


@pytest.mark.parametrize(
    "body", [{}, {"platform": "mastodon"}, {"platform": "x", "redirect_url": "done"}, {"name": "x"}]
)
def test_a_link_that_is_not_valid_is_not_handed_out(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/social/connections", body).status_code == 400
    assert api.mosaic.counts().connection_links == 0


def test_the_number_of_connections_can_have_a_limit(api: Api) -> None:
    api.mosaic.configure(max_connections=7)
    assert api.post("/social/connections", {"platform": "x"}).status_code == 403
    api.mosaic.configure(max_connections=8)
    assert api.post("/social/connections", {"platform": "x"}).status_code == 200


def test_a_disconnected_account_is_gone(api: Api) -> None:
    answer = api.http.delete(f"/social/connections/{TIKTOK}")
    assert answer.json() == {"success": True, "platform": "tiktok", "social_connection_id": TIKTOK}
    assert api.get(f"/social/connections/{TIKTOK}").status_code == 404
    assert api.http.delete(f"/social/connections/{TIKTOK}").status_code == 404
    api.mosaic.configure(repeated_delete=200)
    assert api.http.delete(f"/social/connections/{TIKTOK}").json()["success"] is True
    assert api.http.delete("/social/connections/none").status_code == 404
    assert api.mosaic.counts().connections_deleted == 1


def test_what_is_on_its_way_to_a_disconnected_account_fails_there(api: Api) -> None:
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
