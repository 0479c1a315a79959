"""Workspaces: a request that is restricted to one does not see the other."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator.catalogue import SECOND_WORKSPACE_ID, WORKSPACE_ID

from .conftest import Api

FIRST, SECOND = ({"X-Workspace-Id": each} for each in (WORKSPACE_ID, SECOND_WORKSPACE_ID))
FOREIGN = {"X-Workspace-Id": "0a000000-0000-4000-8000-0000000000ff"}
URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}


def made(api: Api, body: dict[str, Any], headers: dict[str, str] | None = None) -> str:
    response = api.http.post("/agent/create", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return str(response.json()["agent_id"])


def with_input(api: Api, agent_id: str) -> None:
    node = {"op": "create_node", "node_type_id": "9451e6ff-ac7f-4317-9055-a2f35f641b29"}
    assert api.post(f"/agent/{agent_id}/update", {"operations": [node]}).status_code == 200


def test_workspace_of_a_created_agent(api: Api) -> None:
    by_body = made(api, {"name": "by body", "workspace_id": SECOND_WORKSPACE_ID})
    by_header = made(api, {"name": "by header"}, SECOND)
    by_neither = made(api, {"name": "by neither"})
    visible = {each["id"] for each in api.get("/agents", headers=SECOND).json()["agents"]}
    assert visible == {by_body, by_header}
    first = {each["id"] for each in api.get("/agents", headers=FIRST).json()["agents"]}
    assert by_neither in first
    assert not visible & first
    assert visible | first == {each["id"] for each in api.get("/agents").json()["agents"]}


def test_header_hides_the_other_workspace(api: Api) -> None:
    agent_id = made(api, {"workspace_id": SECOND_WORKSPACE_ID})
    with_input(api, agent_id)
    run_id = api.start(URL, agent_id)
    node_id = api.get(f"/agent/{agent_id}").json()["agent_nodes"][0]["agent_node_id"]
    copy_id = api.post(f"/agent/{agent_id}/duplicate", {}).json()["agent"]["id"]
    post = {"post": "Hello", "platforms": ["x"], "workspace_id": SECOND_WORKSPACE_ID}
    post_id = api.post("/social/post", post).json()["post_id"]
    asset = api.http.post("/uploads/image/get_upload_url", headers=SECOND).json()
    assert api.store(asset).status_code == 204
    paths = [
        f"/agent/{agent_id}", f"/agent/{copy_id}", f"/agent/{agent_id}/runs", f"/agent_run/{run_id}",
        f"/agent_run/{run_id}/nodes", f"/agent_run/{run_id}/progress", f"/agent_nodes/{node_id}",
        f"/agent/{agent_id}/triggers", f"/social/post/{post_id}",
    ]  # fmt: skip
    for path in paths:
        assert [api.get(path, headers=each).status_code for each in ({}, SECOND, FIRST)] == [200, 200, 404], path
    for key, path in {"runs": "/agent_runs", "posts": "/social/posts"}.items():
        assert [len(api.get(path, headers=each).json()[key]) for each in ({}, SECOND, FIRST)] == [1, 1, 0], path
    body = {"image_id": asset["image_id"]}
    for headers, status in ((FIRST, 404), (SECOND, 200), ({}, 200)):
        response = api.http.post("/uploads/image/finalize_upload", json=body, headers=headers)
        assert response.status_code == status
    for method, path in (("POST", f"/agent/{agent_id}/run"), ("POST", f"/agent_run/{run_id}/cancel")):
        assert api.http.request(method, path, headers=FIRST, json={}).status_code == 404
    assert api.http.delete(f"/agent/{agent_id}/delete", headers=FIRST).status_code == 404
    assert api.mosaic.counts().agents_deleted == 0


@pytest.mark.parametrize(("path", "key"), [("/pipeline_runs", "pipeline_runs"), ("/automations/runs", "runs")])
def test_observability_lists_by_workspace(api: Api, path: str, key: str) -> None:
    agent_id = made(api, {"workspace_id": SECOND_WORKSPACE_ID})
    with_input(api, agent_id)
    api.start(URL, agent_id)
    api.start(URL)
    assert [len(api.get(path, headers=each).json()[key]) for each in ({}, SECOND, FIRST)] == [2, 1, 1]
    api.mosaic.configure(workspace_header="observability")
    assert [len(api.get(path, headers=each).json()[key]) for each in ({}, SECOND, FIRST)] == [2, 1, 1]
    assert len(api.get("/agent_runs", headers=SECOND).json()["runs"]) == 2


def test_storage_triggers_are_in_the_primary_workspace(api: Api) -> None:
    for path, key in (("/storage_triggers", "storage_triggers"), ("/automations/ingest-batches", "ingest_batches")):
        assert api.get(path, headers=SECOND).json()[key] == []
        assert api.get(path, headers=FIRST).json()[key] == api.get(path).json()[key] != []


def test_query_must_match_the_header(api: Api) -> None:
    api.start(URL)
    for expected, headers, found in (
        (WORKSPACE_ID, {}, 1),
        (SECOND_WORKSPACE_ID, {}, 0),
        (WORKSPACE_ID, FIRST, 1),
    ):
        response = api.get("/pipeline_runs", params={"workspace_id": expected}, headers=headers)
        assert len(response.json()["pipeline_runs"]) == found
    assert api.get("/pipeline_runs", params={"workspace_id": WORKSPACE_ID}, headers=SECOND).status_code == 400
    assert api.http.post("/agent/create", json={"workspace_id": WORKSPACE_ID}, headers=SECOND).status_code == 400
    assert api.get("/pipeline_runs", params={"workspace_id": "other"}).status_code == 404
    assert api.get("/agents", headers=FOREIGN).status_code == 403


def test_posts_listed_without_a_workspace(api: Api) -> None:
    post = {"post": "Hello", "platforms": ["youtube"]}
    for workspace_id in (WORKSPACE_ID, SECOND_WORKSPACE_ID):
        assert api.http.post("/social/post", json={**post, "workspace_id": workspace_id}).status_code == 200
    assert [len(api.get("/social/posts", headers=each).json()["posts"]) for each in ({}, SECOND, FIRST)] == [2, 1, 1]
    api.mosaic.configure(lists_without_workspace="primary")
    assert [len(api.get("/social/posts", headers=each).json()["posts"]) for each in ({}, SECOND, FIRST)] == [1, 1, 1]


def test_avatar_profiles_of_the_primary_workspace(api: Api) -> None:
    body = {"name": "Presenter", "sources": {"video_url": "https://cdn.example.com/presenter.mp4"}}
    assert api.http.post("/avatar-profiles/create", json=body, headers=SECOND).status_code == 200
    listed = [len(api.get("/avatar-profiles", headers=each).json()["avatar_profiles"]) for each in ({}, SECOND, FIRST)]
    assert listed == [1, 1, 1]
    api.mosaic.configure(avatar_workspace="primary")
    listed = [len(api.get("/avatar-profiles", headers=each).json()["avatar_profiles"]) for each in ({}, SECOND, FIRST)]
    assert listed == [1, 0, 1]
