from __future__ import annotations

from typing import Any

import httpx
import pytest
from mosaic_emulator.catalogue import DEFAULT_AGENT_ID, NODE_TYPES, WORKSPACE_ID, node_id

from .conftest import Api

INPUT, REFRAME, CAPTIONS, CLIPS = (NODE_TYPES[name].id for name in ("Video Input", "Reframe", "Captions", "Clips"))
UNKNOWN = "0f0f0f0f-1111-4222-8333-444444444444"
URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
RENAMED = {"name": "Renamed"}


def node(reference: str, type_id: str, **params: Any) -> dict[str, Any]:
    return {"op": "create_node", "temp_ref_id": reference, "node_type_id": type_id, "params_used": params}


def edge(source: str, target: str, op: str = "create_connection") -> dict[str, Any]:
    return {"op": op, "source_temp_ref_id": source, "target_temp_ref_id": target}


def by_id(source: str, target: str, op: str = "create_connection") -> dict[str, Any]:
    return {"op": op, "source_agent_node_id": source, "target_agent_node_id": target}


GRAPH = [node("in", INPUT), node("cap", CAPTIONS, caption_style="karaoke"), edge("in", "cap")]


def create(api: Api, **body: Any) -> str:
    response = api.post("/agent/create", body)
    assert response.status_code == 200, response.text
    return str(response.json()["agent_id"])


def update(api: Api, agent_id: str, *operations: dict[str, Any], status: int = 200) -> dict[str, Any]:
    response = api.post(f"/agent/{agent_id}/update", {"operations": list(operations)})
    assert response.status_code == status, response.text
    return dict(response.json())


def made(api: Api, *operations: dict[str, Any]) -> tuple[str, dict[str, str]]:
    agent_id = create(api)
    created = update(api, agent_id, *(operations or GRAPH))["created_nodes"]
    return agent_id, {each["temp_ref_id"]: each["agent_node_id"] for each in created}


def graph(api: Api, agent_id: str) -> dict[str, Any]:
    return dict(api.get(f"/agent/{agent_id}").json())


def params(api: Api, agent_node_id: str) -> Any:
    return api.get(f"/agent_nodes/{agent_node_id}").json()["agent_node"]["params_used"]


def test_created_agent_has_no_nodes(api: Api) -> None:
    response = api.post("/agent/create", {"name": "Nightly", "visibility": "public", "workspace_id": WORKSPACE_ID})
    body = response.json()
    agent_id = body.pop("agent_id")
    assert body == {"success": True, "operations_applied": 0, "created_nodes": []}
    result = graph(api, agent_id)
    assert (result["agent_nodes"], result["connections"]) == ([], [])
    assert (result["agent"]["name"], result["agent"]["description"], result["agent"]["visibility"]) == (
        "Nightly",
        "",
        "public",
    )
    assert api.get("/agents").json()["agents"][0]["id"] == agent_id
    counts = api.mosaic.counts()
    assert counts.agents_created == 1
    assert counts.requests["POST /agent/create"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "x" * 121}, 400),
        ({"name": None}, 400),
        ({"description": "x" * 5001}, 400),
        ({"visibility": "secret"}, 400),
        ({"owner": "me"}, 400),
        ({"graph": {}}, 400),
        ({"create_video_input_node": False}, 400),
        ({"workspace_id": "other"}, 404),
    ],
)
def test_invalid_agent_is_rejected(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.post("/agent/create", body).status_code == status
    assert api.mosaic.counts().agents_created == 0


def test_graph_fields_are_always_rejected(api: Api) -> None:
    api.mosaic.configure(unknown_body_fields="ignore")
    assert api.post("/agent/create", {"owner": "me"}).status_code == 200
    assert api.post("/agent/create", {"nodes": []}).status_code == 400


def test_create_agent_settings(api: Api) -> None:
    assert api.post("/agent/create").status_code == 200
    api.mosaic.configure(empty_bodies="refuse", created_status=201, agent_change_response="metadata")
    assert api.post("/agent/create").status_code == 400
    response = api.post("/agent/create", {})
    assert response.status_code == 201
    assert set(response.json()) == {
        "success",
        "agent_id",
        "name",
        "description",
        "visibility",
        "created_at",
        "updated_at",
        "workspace_id",
    }
    api.mosaic.configure(agent_change_response="both")
    assert {"operations_applied", "name"} <= set(api.post("/agent/create", {}).json())


def test_operations_build_a_runnable_graph(api: Api) -> None:
    agent_id, ids = made(api)
    result = graph(api, agent_id)
    assert [each["agent_node_id"] for each in result["agent_nodes"]] == [ids["in"], ids["cap"]]
    assert result["agent_nodes"][1]["params_used"] == {"caption_style": "karaoke"}
    assert result["connections"] == [{"source_agent_node_id": ids["in"], "target_agent_node_id": ids["cap"]}]
    run = api.finished(agent_id=agent_id)
    assert run["status"] == "completed"
    assert [each["original_node_id"] for each in run["outputs"]] == [ids["cap"]]
    assert api.mosaic.counts().agents_updated == 1


def test_nodes_of_unknown_types_run(api: Api) -> None:
    agent_id, ids = made(api, *GRAPH, node("new", UNKNOWN, anything=[1]), edge("cap", "new"))
    result = api.get(f"/agent_nodes/{ids['new']}").json()["agent_node"]
    assert result["node_type"] == {
        "node_type_id": UNKNOWN,
        "node_type_name": None,
        "docs_url": None,
        "params_docs_url": None,
    }
    run = api.finished(agent_id=agent_id)
    assert [each["original_node_id"] for each in run["outputs"]] == [ids["new"]]
    api.mosaic.configure(unknown_node_types="refuse")
    update(api, agent_id, node("other", UNKNOWN), status=404)


def test_update_by_patch_and_with_metadata(api: Api) -> None:
    response = api.http.patch(f"/agent/{DEFAULT_AGENT_ID}/update", json={**RENAMED, "description": "New"})
    assert response.status_code == 200
    assert response.json()["operations_applied"] == 0
    about = graph(api, DEFAULT_AGENT_ID)["agent"]
    assert (about["name"], about["description"], about["visibility"]) == ("Renamed", "New", "private")
    assert about["updated_at"] > about["created_at"]


def test_update_merges_params(api: Api) -> None:
    agent_id, ids = made(api, node("new", UNKNOWN, a={"x": 1}, b=1))

    def change(**new: Any) -> None:
        update(api, agent_id, {"op": "update_node", "agent_node_id": ids["new"], "params_used": new})

    change(a={"y": 2}, b=None)
    assert params(api, ids["new"]) == {"a": {"y": 2}, "b": None}
    api.mosaic.configure(params_merge="deep", null_params="unset")
    change(a={"z": 3}, b=None)
    assert params(api, ids["new"]) == {"a": {"y": 2, "z": 3}}


def test_deleting_a_node_deletes_its_connections(api: Api) -> None:
    agent_id, ids = made(api, *GRAPH, node("re", REFRAME), edge("cap", "re"))
    update(api, agent_id, {"op": "delete_node", "agent_node_id": ids["cap"]})
    result = graph(api, agent_id)
    assert [each["agent_node_id"] for each in result["agent_nodes"]] == [ids["in"], ids["re"]]
    assert result["connections"] == []
    assert api.get(f"/agent_nodes/{ids['cap']}").status_code == 404


def test_connection_is_replaced(api: Api) -> None:
    agent_id, ids = made(api, *GRAPH, node("re", REFRAME))
    update(api, agent_id, by_id(ids["in"], ids["cap"], "delete_connection"), by_id(ids["in"], ids["re"]))
    assert graph(api, agent_id)["connections"] == [
        {"source_agent_node_id": ids["in"], "target_agent_node_id": ids["re"]}
    ]
    update(api, agent_id, by_id(ids["in"], ids["cap"], "delete_connection"), status=404)


A, B = node_id(1, 2), node_id(1, 3)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        pytest.param({"op": "explode"}, 400, id="unknown operation"),
        pytest.param({}, 400, id="no operation"),
        pytest.param({"op": "create_node"}, 400, id="no type"),
        pytest.param({"op": "create_node", "node_type_id": "captions"}, 400, id="type that is no UUID"),
        pytest.param({"op": "create_node", "node_type_id": CAPTIONS, "agent_node_id": A}, 400, id="id of its own"),
        pytest.param({"op": "create_node", "node_type_id": CAPTIONS, "position_x": 1}, 400, id="position"),
        pytest.param(node("x", CLIPS, num_clip=3), 400, id="unknown param"),
        pytest.param(node("x", CLIPS, num_clips=21), 400, id="param out of bounds"),
        pytest.param(node("x", CAPTIONS, caption_font_weight=700), 400, id="weight that is a number"),
        pytest.param({"op": "update_node", "agent_node_id": A}, 400, id="update without params"),
        pytest.param(
            {"op": "update_node", "agent_node_id": "x", "params_used": {}}, 404, id="update of an unknown node"
        ),
        pytest.param({"op": "delete_node", "agent_node_id": "x"}, 404, id="delete of an unknown node"),
        pytest.param(edge("x", "y"), 400, id="unknown references"),
        pytest.param(by_id(A, "x"), 404, id="connection to an unknown node"),
        pytest.param(by_id(A, A), 400, id="connection to itself"),
        pytest.param(by_id(B, A), 400, id="cycle"),
        pytest.param(by_id(node_id(1, 4), A), 400, id="long cycle"),
        pytest.param(by_id(A, B), 400, id="existing connection"),
        pytest.param(by_id(A, node_id(1, 1)), 400, id="connection into a Video Input"),
        pytest.param({"op": "create_connection", "source_agent_node_id": A}, 400, id="no target"),
        pytest.param({**by_id(A, B), "source_temp_ref_id": "a"}, 400, id="both names"),
    ],
)
def test_invalid_operation_undoes_the_update(api: Api, operation: dict[str, Any], status: int) -> None:
    before = graph(api, DEFAULT_AGENT_ID)
    body = {**RENAMED, "operations": [node("a", REFRAME), operation]}
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/update", body).status_code == status
    assert graph(api, DEFAULT_AGENT_ID) == before
    assert api.mosaic.counts().agents_updated == 0


def test_operations_before_an_invalid_one_can_be_kept(api: Api) -> None:
    api.mosaic.configure(atomic_operations=False)
    body = {**RENAMED, "operations": [node("a", REFRAME), edge("a", "b"), node("c", REFRAME)]}
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/update", body).status_code == 400
    result = graph(api, DEFAULT_AGENT_ID)
    assert (result["agent"]["name"], len(result["agent_nodes"])) == ("Renamed", 5)
    assert api.mosaic.counts().agents_updated == 1


@pytest.mark.parametrize("body", [{}, {"graph": {}}, {"operations": {}}, {"operations": ["create_node"]}, {"name": 3}])
def test_invalid_update_is_rejected(api: Api, body: dict[str, Any]) -> None:
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/update", body).status_code == 400


def test_references_are_unique_and_valid_in_one_request(api: Api) -> None:
    agent_id, _ = made(api)
    update(api, agent_id, node("re", REFRAME), edge("cap", "re"), status=400)
    update(api, agent_id, node("re", REFRAME), node("re", REFRAME), status=400)
    update(api, agent_id, edge("a", "b"), node("a", INPUT), node("b", REFRAME), status=400)


def test_settings_of_operations(api: Api) -> None:
    api.mosaic.configure(
        repeated_connection="ignore",
        connections_into_inputs=True,
        checked_params="none",
        unknown_operation_node_status=400,
        max_operations=3,
    )
    update(api, DEFAULT_AGENT_ID, by_id(A, B), node("a", INPUT), node("x", CLIPS, num_clip=3))
    update(
        api,
        DEFAULT_AGENT_ID,
        node("a", INPUT),
        {**by_id(A, "x"), "target_agent_node_id": None} | {"target_temp_ref_id": "a"},
    )
    update(api, DEFAULT_AGENT_ID, {"op": "delete_node", "agent_node_id": "x"}, status=400)
    update(api, DEFAULT_AGENT_ID, *[node(str(each), INPUT) for each in range(4)], status=400)
    api.mosaic.configure(checked_params="listed")
    update(api, DEFAULT_AGENT_ID, node("x", CAPTIONS, caption_sytle="karaoke"), status=400)


def test_params_of_runs_can_be_validated(api: Api) -> None:
    body = {**URL, "update_params": {node_id(1, 4): {"caption_font_weight": 700}}}
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/run", body).status_code == 200
    api.mosaic.configure(params_checked_in_runs=True)
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/run", body).status_code == 400


def test_run_keeps_its_graph_when_the_agent_changes(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    agent_id, ids = made(api)
    run_id = api.start(body=URL, agent_id=agent_id)
    update(api, agent_id, {"op": "delete_node", "agent_node_id": ids["cap"]})
    api.mosaic.configure(hold_runs=False)
    assert api.end(run_id)["outputs"][0]["original_node_id"] == ids["cap"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_deleting_an_agent_keeps_its_runs(api: Api, method: str) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL)
    response = api.http.request(method, f"/agent/{DEFAULT_AGENT_ID}/delete")
    assert response.json() == {"success": True, "agent_id": DEFAULT_AGENT_ID, "message": "Agent removed"}
    for path in (f"/agent/{DEFAULT_AGENT_ID}", f"/agent/{DEFAULT_AGENT_ID}/runs", f"/agent_nodes/{A}"):
        assert api.get(path).status_code == 404
    assert DEFAULT_AGENT_ID not in {each["id"] for each in api.get("/agents").json()["agents"]}
    assert api.http.request(method, f"/agent/{DEFAULT_AGENT_ID}/delete").status_code == 404
    api.mosaic.configure(hold_runs=False, repeated_delete=200)
    assert api.http.request(method, f"/agent/{DEFAULT_AGENT_ID}/delete").status_code == 200
    assert api.end(run_id)["status"] == "completed"
    assert api.mosaic.counts().agents_deleted == 1


def test_deleting_an_agent_can_cancel_its_runs(api: Api) -> None:
    api.mosaic.configure(hold_runs=True, delete_cancels_runs=True)
    run_id = api.start(body=URL)
    api.post(f"/agent/{DEFAULT_AGENT_ID}/delete")
    assert api.end(run_id)["status"] == "cancelled"


def test_agent_pages_are_stable_when_an_agent_is_deleted(api: Api) -> None:
    first = api.get("/agents", params={"limit": 2}).json()
    api.post(f"/agent/{first['agents'][0]['id']}/delete")
    rest = api.get("/agents", params={"limit": 10, "cursor": first["next_cursor"]}).json()
    assert len(rest["agents"]) == 3
    assert not {each["id"] for each in first["agents"]} & {each["id"] for each in rest["agents"]}


def test_duplicate_has_the_same_graph_with_new_ids(api: Api) -> None:
    source = graph(api, DEFAULT_AGENT_ID)
    copy = api.post(f"/agent/{DEFAULT_AGENT_ID}/duplicate", {}).json()
    assert copy == graph(api, copy["agent"]["id"])
    assert copy["agent"]["name"] == "Copy of Shorts maker"
    assert copy["agent"]["description"] == source["agent"]["description"]
    assert [each["node_type"] for each in copy["agent_nodes"]] == [each["node_type"] for each in source["agent_nodes"]]
    assert len(copy["connections"]) == len(source["connections"])
    ids = {each["agent_node_id"] for each in copy["agent_nodes"]}
    assert not ids & {each["agent_node_id"] for each in source["agent_nodes"]}
    assert api.finished(body=URL, agent_id=copy["agent"]["id"])["status"] == "completed"
    named = api.post(f"/agent/{DEFAULT_AGENT_ID}/duplicate", {"name": "Mine", "description": ""}).json()["agent"]
    assert (named["name"], named["description"]) == ("Mine", "")
    assert api.post(f"/agent/{DEFAULT_AGENT_ID}/duplicate", {"workspace_id": WORKSPACE_ID}).status_code == 400
    assert api.mosaic.counts().agents_duplicated == 2


def test_agents_as_in_early_2026(api: Api) -> None:
    api.mosaic.configure(agent_response="nodes")
    for result in (graph(api, DEFAULT_AGENT_ID), api.post(f"/agent/{DEFAULT_AGENT_ID}/duplicate", {}).json()):
        assert set(result) == {"agent", "nodes"}
        assert "visibility" not in result["agent"]
        assert set(result["nodes"][0]) == {"id", "node_type_id", "node_type_name", "params_used"}


def test_agent_nodes_by_run_node_id(api: Api) -> None:
    run_id = api.start(body=URL)
    runtime = api.nodes(run_id)[1]["agent_node_id"]
    assert api.get(f"/agent_nodes/{A}").json()["agent_node"]["agent_node_id"] == A
    assert api.get(f"/agent_nodes/{runtime}").status_code == 404
    api.mosaic.configure(runtime_node_ids=True)
    assert api.get(f"/agent_nodes/{runtime}").json()["agent_node"]["agent_node_id"] == runtime


def test_agent_without_nodes(api: Api) -> None:
    agent_id = create(api)
    run = api.finished(body={}, agent_id=agent_id)
    assert (run["status"], run["outputs"]) == ("completed", [])
    api.mosaic.configure(empty_agents="refuse")
    assert api.post(f"/agent/{agent_id}/run", {}).status_code == 400


def test_agent_with_a_lost_response_is_listed_after_the_lag(api: Api) -> None:
    api.mosaic.configure(list_lag=60)
    api.mosaic.inject("response_lost", path="/agent/create")
    with pytest.raises(httpx.RemoteProtocolError):
        api.post("/agent/create", RENAMED)
    assert len(api.get("/agents").json()["agents"]) == 5
    api.mosaic.configure(list_lag=0)
    assert [each["name"] for each in api.get("/agents").json()["agents"]].count("Renamed") == 1


@pytest.mark.parametrize("what", ["update", "delete", "duplicate"])
def test_unknown_agent_is_not_found(api: Api, what: str) -> None:
    assert api.post(f"/agent/none/{what}", RENAMED if what == "update" else None).status_code == 404


def test_node_types_can_list_their_params(api: Api) -> None:
    kinds = {each["node_type_name"]: each for each in api.get("/node_types").json()["node_types"]}
    assert all("params" not in kind for kind in kinds.values())
    api.mosaic.configure(node_type_params="listed")
    kinds = {each["node_type_name"]: each for each in api.get("/node_types").json()["node_types"]}
    assert [each["name"] for each in kinds["Clips"]["params"]] == ["prompt", "num_clips", "target_duration"]
    assert "params" not in kinds["Outro"]
    assert api.get(f"/node_type/{CLIPS}").json()["node_type"] == kinds["Clips"]


def test_new_node_can_have_default_params(api: Api) -> None:
    _, ids = made(api, node("plain", CLIPS, num_clips=3))
    assert params(api, ids["plain"]) == {"num_clips": 3}
    api.mosaic.configure(default_params=True)
    _, ids = made(api, node("filled", CLIPS, num_clips=3), node("given", CLIPS, prompt="Goals"))
    assert params(api, ids["filled"]) == {"num_clips": 3, "prompt": ""}
    assert params(api, ids["given"]) == {"prompt": "Goals"}


def test_params_can_be_dropped(api: Api) -> None:
    api.mosaic.configure(dropped_params=["prompt"])
    agent_id, ids = made(api, node("a", CLIPS, num_clips=3, prompt="Goals"))
    update(api, agent_id, {"op": "update_node", "agent_node_id": ids["a"], "params_used": {"prompt": "Fouls"}})
    assert params(api, ids["a"]) == {"num_clips": 3}


def test_repeated_agent_name_can_be_rejected(api: Api) -> None:
    create(api, name="Nightly")
    create(api, name="Nightly")
    api.mosaic.configure(repeated_agent_name="refuse")
    response = api.post("/agent/create", {"name": "Nightly"})
    assert (response.status_code, list(response.json())) == (409, ["detail"])
    create(api)
    create(api)
