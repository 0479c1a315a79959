from __future__ import annotations

import httpx
import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import WORKSPACE_ID

from .conftest import Api


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer mk_other"},
        {"Authorization": "Basic mk_emulator"},
        {"Authorization": "mk_emulator"},
        {"X-API-Key": "mk_emulator"},
    ],
    ids=["missing", "wrong", "basic", "bare", "x-api-key"],
)
def test_api_key_is_required(mosaic: Emulator, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/whoami"), ("POST", f"/agent/{mosaic.agent_id}/run"), ("GET", "/social/posts")):
        response = httpx.request(method, mosaic.url + path, headers=headers, trust_env=False)
        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid API key"}
    assert mosaic.counts().runs_started == 0


def test_x_api_key_header(mosaic: Emulator) -> None:
    mosaic.configure(accept_x_api_key=True)
    response = httpx.get(mosaic.url + "/whoami", headers={"X-API-Key": mosaic.api_key}, trust_env=False)
    assert response.status_code == 200


def test_whoami_returns_the_organization(api: Api) -> None:
    body = api.get("/whoami").json()
    assert set(body) == {
        "organization_id",
        "organization_name",
        "organization_slug",
        "created_at",
        "last_used_at",
        "scopes",
    }
    assert body["scopes"] is None


def test_whoami_as_in_2025(api: Api) -> None:
    api.mosaic.configure(whoami="user")
    assert {"user_id", "email", "is_admin", "api_key_id"} <= set(api.get("/whoami").json())


def test_scopes_restrict_everything_but_whoami(api: Api) -> None:
    api.mosaic.configure(scopes=["agents:read", "agent_runs:read"])
    assert api.get("/whoami").json()["scopes"] == ["agents:read", "agent_runs:read"]
    assert api.get("/agents").status_code == 200
    assert api.get("/agent_runs").status_code == 200
    refused = api.post(f"/agent/{api.mosaic.agent_id}/run", {"video_urls": ["https://example.org/a.mp4"]})
    assert refused.status_code == 403
    assert refused.json() == {"detail": "The API key lacks the scope agent_runs:write"}
    assert api.post("/uploads/video/get_upload_url").status_code == 403


def test_foreign_workspace_is_rejected(api: Api) -> None:
    assert api.get("/agents", headers={"X-Workspace-Id": WORKSPACE_ID}).status_code == 200
    assert api.get("/agents", headers={"X-Workspace-Id": "somebody-else"}).status_code == 403


def test_agent_list_has_no_graphs(api: Api) -> None:
    body = api.get("/agents").json()
    assert body["next_cursor"] is None
    assert len(body["agents"]) == 5
    for item in body["agents"]:
        assert set(item) == {"id", "name", "description", "created_at", "updated_at"}
        graph = api.get(f"/agent/{item['id']}").json()
        assert graph["agent"]["id"] == item["id"]
        ids = {node["agent_node_id"] for node in graph["agent_nodes"]}
        for edge in graph["connections"]:
            assert {edge["source_agent_node_id"], edge["target_agent_node_id"]} <= ids


def test_default_agent_reframes_and_captions(api: Api) -> None:
    graph = api.get(f"/agent/{api.mosaic.agent_id}").json()
    names = [node["node_type"]["node_type_name"] for node in graph["agent_nodes"]]
    assert names == ["Video Input", "Rough Cut", "Reframe", "Captions"]
    assert graph["agent_nodes"][0]["node_type"]["node_type_id"] == "9451e6ff-ac7f-4317-9055-a2f35f641b29"


def test_node_types_have_links_but_no_parameters(api: Api) -> None:
    types = api.get("/node_types").json()["node_types"]
    for item in types:
        assert set(item) == {"node_type_id", "node_type_name", "docs_url", "params_docs_url"}
    captions = "cdccb204-168e-4aec-aa72-480b11e74324"
    one = api.get(f"/node_type/{captions}").json()
    assert one == {"node_type": next(item for item in types if item["node_type_id"] == captions)}


@pytest.mark.parametrize(
    "path", ["/agent/none", "/node_type/none", "/agent_run/none", "/agent/none/runs", "/social/post/none"]
)
def test_unknown_ids_are_not_found(api: Api, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 404
    assert list(response.json()) == ["detail"]


def test_unknown_paths_and_methods_are_rejected(api: Api) -> None:
    assert api.get("/v1/agents").status_code == 404
    assert api.get("/agents/").status_code == 404
    wrong = api.http.delete("/agents")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET"
    counted = api.mosaic.counts().requests
    assert counted == {"GET (no route)": 2, "DELETE /agents": 1}
