from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator.catalogue import DEFAULT_AGENT_ID, TWO_BRANCH_AGENT_ID

from .conftest import Api, until

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}


def walk(api: Api, path: str, key: str, **query: Any) -> list[list[dict[str, Any]]]:
    pages, cursor = [], None
    while True:
        body = api.get(path, params={**query, **({"cursor": cursor} if cursor else {})}).json()
        pages.append(body[key])
        cursor = body["next_cursor"]
        if cursor is None:
            return pages


def test_pages_contain_every_run_once(api: Api) -> None:
    started = [api.start(body=URL) for _ in range(7)]
    pages = walk(api, "/agent_runs", "runs", limit=3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [run["run_id"] for page in pages for run in page] == started[::-1]
    api.mosaic.configure(list_order="oldest")
    pages = walk(api, "/agent_runs", "runs", limit=3)
    assert [run["run_id"] for page in pages for run in page] == started


def test_default_page_sizes(api: Api) -> None:
    for _ in range(26):
        api.start(body=URL)
        api.post("/social/post", {"post": "x", "platforms": ["youtube"]})
    assert len(api.get("/agent_runs").json()["runs"]) == 25
    assert len(api.get("/social/posts").json()["posts"]) == 20
    assert len(api.get("/agent_runs", params={"limit": 100}).json()["runs"]) == 26


def test_cursor_is_stable_under_inserts(api: Api) -> None:
    started = [api.start(body=URL) for _ in range(4)]
    first = api.get("/agent_runs", params={"limit": 2}).json()
    api.start(body=URL)
    second = api.get("/agent_runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [run["run_id"] for run in second["runs"]] == started[1::-1]


def test_list_items_are_summaries(api: Api) -> None:
    run_id = api.start(body=URL)
    api.end(run_id)
    (item,) = api.get(f"/agent/{DEFAULT_AGENT_ID}/runs").json()["runs"]
    assert set(item) == {
        "run_id",
        "agent_id",
        "status",
        "status_message",
        "started_at",
        "updated_at",
        "node_status_counts",
        "inputs",
        "outputs",
        "triggered_by",
    }
    assert item["triggered_by"] is None
    assert len(item["outputs"]) == 1


def test_run_filters(api: Api) -> None:
    api.mosaic.configure(timestamps="microseconds")
    ended = api.start(body=URL)
    api.end(ended)
    api.mosaic.configure(hold_runs=True)
    held = api.start(body=URL, agent_id=TWO_BRANCH_AGENT_ID)
    between = api.run(held)["started_at"]

    def ids(path: str = "/agent_runs", **query: Any) -> list[str]:
        return [run["run_id"] for run in api.get(path, params=query).json()["runs"]]

    assert ids(status="running") == [held]
    assert ids(status="completed,failed") == [ended]
    assert ids(status="completed,running") == [held, ended]
    assert ids(agent_id=TWO_BRANCH_AGENT_ID) == [held]
    assert ids(f"/agent/{DEFAULT_AGENT_ID}/runs") == [ended]
    assert ids(**{"from": between}) == [held]
    assert ids(to="2026-01-01T00:00:00Z") == []
    assert ids(**{"from": "2020-01-01T00:00:00+02:00"}) == [held, ended]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/agent_runs", {"limit": 0}),
        ("/agent_runs", {"limit": 101}),
        ("/agent_runs", {"limit": "many"}),
        ("/agent_runs", {"from": "yesterday"}),
        ("/agent_runs", {"cursor": "made-up"}),
        ("/agent_runs", {"since": "2026-01-01"}),
        (f"/agent/{DEFAULT_AGENT_ID}/runs", {"agent_id": DEFAULT_AGENT_ID}),
        ("/social/posts", {"status": "success"}),
        ("/social/posts", {"platform": "mastodon"}),
    ],
)
def test_invalid_query_is_rejected(api: Api, path: str, query: dict[str, Any]) -> None:
    assert api.get(path, params=query).status_code == 400
    api.mosaic.configure(validation_status=422)
    assert api.get(path, params=query).status_code == 422


def test_cursor_is_bound_to_its_filters(api: Api) -> None:
    for _ in range(3):
        api.start(body=URL)
    cursor = api.get("/agent_runs", params={"limit": 1}).json()["next_cursor"]
    assert api.get("/agent_runs", params={"limit": 2, "cursor": cursor}).status_code == 200
    assert api.get("/agent_runs", params={"cursor": cursor, "status": "running"}).status_code == 400
    assert api.get("/social/posts", params={"cursor": cursor}).status_code == 400


def test_cursor_key(api: Api) -> None:
    api.mosaic.configure(cursor_key="cursor")
    assert set(api.get("/social/posts").json()) == {"posts", "cursor"}


def test_list_lag(api: Api) -> None:
    api.mosaic.configure(list_lag=60)
    run_id = api.start(body=URL)
    post_id = api.post("/social/post", {"post": "x", "platforms": ["x"]}).json()["post_id"]
    assert api.get("/agent_runs").json()["runs"] == []
    assert api.get("/social/posts").json()["posts"] == []
    assert api.get(f"/agent_run/{run_id}").status_code == 200
    api.mosaic.configure(list_lag=0.2)
    until(lambda: api.get("/agent_runs").json()["runs"], bool)
    posts = until(lambda: api.get("/social/posts").json()["posts"], bool)
    assert posts[0]["post_id"] == post_id


def test_duplicate_page(api: Api) -> None:
    for _ in range(4):
        api.start(body=URL)
    api.mosaic.inject("duplicate_page", path="/agent_runs", skip=1)
    first = api.get("/agent_runs", params={"limit": 2}).json()
    again = api.get("/agent_runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    rest = api.get("/agent_runs", params={"limit": 2, "cursor": again["next_cursor"]}).json()
    assert [run["run_id"] for run in again["runs"]] == [run["run_id"] for run in first["runs"]]
    assert not {run["run_id"] for run in rest["runs"]} & {run["run_id"] for run in first["runs"]}


def test_repeated_cursor(api: Api) -> None:
    for _ in range(3):
        api.start(body=URL)
    api.mosaic.inject("repeated_cursor", times=None)
    cursor = api.get("/agent_runs", params={"limit": 2}).json()["next_cursor"]
    again = api.get("/agent_runs", params={"limit": 2, "cursor": cursor}).json()
    assert again["next_cursor"] == cursor
    assert api.get("/agent_runs", params={"limit": 2, "cursor": cursor}).json()["next_cursor"] == cursor
