from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator.catalogue import (
    DEFAULT_AGENT_ID,
    GENERATION_AGENT_ID,
    TWO_INPUT_AGENT_ID,
    node_id,
)

from .conftest import Api

URL = "https://cdn.example.org/a.mp4"
INPUT = node_id(1, 1)
CAPTIONS = node_id(1, 4)


def test_kinds_of_inputs(api: Api) -> None:
    first = api.finished(body={"video_ids": [api.upload()]})
    second = api.finished(body={"node_render_ids": [first["outputs"][0]["id"]]})
    third = api.finished(body={"video_urls": [URL, "https://www.youtube.com/watch?v=abc"]})
    assert [run["status"] for run in (first, second, third)] == ["completed"] * 3
    assert [len(run["inputs"]) for run in (first, second, third)] == [1, 1, 2]


def test_video_inputs_for_a_single_input(api: Api) -> None:
    entry = {"agent_node_id": INPUT, "video_urls": [URL], "input_clip_start_ms": 0, "input_clip_end_ms": 1500}
    run_id = api.start(body={"video_inputs": [entry]})
    assert api.end(run_id)["status"] == "completed"
    stored = api.mosaic.runs()[0]["inputs"][0]
    assert (stored["start_ms"], stored["end_ms"]) == (0, 1500)


def test_two_video_inputs(api: Api) -> None:
    entries = [{"agent_node_id": node_id(3, place), "video_urls": [URL]} for place in (1, 2)]
    assert api.finished(body={"video_inputs": entries}, agent_id=TWO_INPUT_AGENT_ID)["status"] == "completed"


def test_generating_agent_takes_no_input(api: Api) -> None:
    assert api.finished(body={}, agent_id=GENERATION_AGENT_ID)["status"] == "completed"
    empty = api.http.post(f"/agent/{GENERATION_AGENT_ID}/run")
    assert empty.status_code == 200
    with_params = {"update_params": {node_id(4, 1): {"prompt": "a sea"}}}
    assert api.finished(body=with_params, agent_id=GENERATION_AGENT_ID)["status"] == "completed"


def entry(place: int, agent: int = 3, **more: Any) -> dict[str, Any]:
    return {"agent_node_id": node_id(agent, place), "video_urls": [URL], **more}


@pytest.mark.parametrize(
    ("agent_id", "body", "status"),
    [
        pytest.param(DEFAULT_AGENT_ID, {}, 400, id="no input at all"),
        pytest.param(DEFAULT_AGENT_ID, {"video_ids": []}, 400, id="an empty list"),
        pytest.param(DEFAULT_AGENT_ID, {"video_ids": "abc"}, 400, id="a text instead of a list"),
        pytest.param(DEFAULT_AGENT_ID, {"video_ids": ["unknown"]}, 404, id="an unknown upload"),
        pytest.param(DEFAULT_AGENT_ID, {"node_render_ids": ["unknown"]}, 404, id="an unknown render"),
        pytest.param(DEFAULT_AGENT_ID, {"video_urls": ["ftp://x/y"]}, 400, id="no http URL"),
        pytest.param(DEFAULT_AGENT_ID, {"signed_urls": [URL]}, 400, id="a retired field"),
        pytest.param(DEFAULT_AGENT_ID, {"video_urls": [URL], "idempotency_key": "1"}, 400, id="an unknown field"),
        pytest.param(DEFAULT_AGENT_ID, {"video_inputs": []}, 400, id="no entry"),
        pytest.param(DEFAULT_AGENT_ID, {"video_inputs": [{"video_urls": [URL]}]}, 400, id="an entry without a tile"),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_inputs": [{"agent_node_id": INPUT}]}, 400, id="an entry without a source"
        ),
        pytest.param(
            DEFAULT_AGENT_ID,
            {"video_inputs": [entry(1, 1)], "video_urls": [URL]},
            400,
            id="both forms",
        ),
        pytest.param(DEFAULT_AGENT_ID, {"video_inputs": [entry(2, 1)]}, 400, id="an entry for another kind of tile"),
        pytest.param(
            DEFAULT_AGENT_ID,
            {"video_inputs": [entry(1, 1, input_clip_start_ms=10, input_clip_end_ms=10)]},
            400,
            id="an empty clip",
        ),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_inputs": [entry(1, 1, input_clip_start_ms=-1)]}, 400, id="a negative bound"
        ),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_inputs": [entry(1, 1, youtube_urls=[URL])]}, 400, id="an unknown field inside"
        ),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_urls": [URL], "update_params": {"none": {}}}, 400, id="params of no node"
        ),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_urls": [URL], "update_params": {CAPTIONS: 3}}, 400, id="params that are none"
        ),
        pytest.param(
            DEFAULT_AGENT_ID,
            {"video_urls": [URL], "ignore_nodes": [CAPTIONS], "update_params": {CAPTIONS: {}}},
            400,
            id="params of an ignored node",
        ),
        pytest.param(
            DEFAULT_AGENT_ID, {"video_urls": [URL], "ignore_nodes": ["none"]}, 400, id="an unknown node is ignored"
        ),
        pytest.param(DEFAULT_AGENT_ID, {"video_urls": [URL], "callback_url": "nowhere"}, 400, id="no callback URL"),
        pytest.param(TWO_INPUT_AGENT_ID, {"video_urls": [URL]}, 400, id="shorthand for two inputs"),
        pytest.param(TWO_INPUT_AGENT_ID, {"video_inputs": [entry(1)]}, 400, id="a tile without an entry"),
        pytest.param(TWO_INPUT_AGENT_ID, {"video_inputs": [entry(1), entry(1)]}, 400, id="a tile twice"),
        pytest.param(GENERATION_AGENT_ID, {"video_urls": [URL]}, 400, id="an input for an agent that takes none"),
        pytest.param("none", {"video_urls": [URL]}, 404, id="an unknown agent"),
    ],
)
def test_invalid_start_is_rejected(api: Api, agent_id: str, body: dict[str, Any], status: int) -> None:
    response = api.post(f"/agent/{agent_id}/run", body)
    assert response.status_code == status, response.text
    assert isinstance(response.json()["detail"], str)
    assert api.mosaic.counts().runs_started == 0
    assert api.mosaic.runs() == []


def test_malformed_json_is_rejected(api: Api) -> None:
    for content in (b"{", b"[]", b'"x"'):
        assert api.http.post(f"/agent/{api.mosaic.agent_id}/run", content=content).status_code == 400


def test_input_must_be_finalized(api: Api) -> None:
    form = api.reserve()
    api.store(form)
    body = {"video_ids": [form["video_id"]]}
    assert api.post(f"/agent/{api.mosaic.agent_id}/run", body).status_code == 404
    api.mosaic.configure(finalize_required=False)
    assert api.post(f"/agent/{api.mosaic.agent_id}/run", body).status_code == 200


def test_repeated_request_starts_a_second_run(api: Api) -> None:
    body = {"video_urls": [URL]}
    assert api.start(body=body) != api.start(body=body)
    assert api.mosaic.counts().runs_started == 2


def test_ignored_nodes_are_bridged(api: Api) -> None:
    run_id = api.start(body={"video_urls": [URL], "ignore_nodes": [node_id(1, 2), CAPTIONS]})
    run = api.end(run_id)
    assert run["node_status_counts"] == {"completed": 2, "in_progress": 0, "failed": 0}
    assert run["outputs"][0]["original_node_id"] == node_id(1, 3)


def test_ignored_input(api: Api) -> None:
    body = {"ignore_nodes": [INPUT]}
    assert api.finished(body=body)["status"] == "completed"


def test_update_params_apply_to_one_run(api: Api) -> None:
    run_id = api.start(body={"video_urls": [URL], "update_params": {CAPTIONS: {"caption_font_weight": "700"}}})
    node = next(node for node in api.mosaic.runs()[0]["nodes"] if node["original_node_id"] == CAPTIONS)
    assert node["params"] == {"caption_font_weight": "700"}
    api.end(run_id)
    graph = api.get(f"/agent/{api.mosaic.agent_id}").json()
    assert all(node["params_used"] == {} for node in graph["agent_nodes"])


def test_max_concurrent_runs(api: Api) -> None:
    api.mosaic.configure(max_concurrent_runs=1, hold_runs=True, error_codes=True)
    api.start(body={"video_urls": [URL]})
    refused = api.post(f"/agent/{api.mosaic.agent_id}/run", {"video_urls": [URL]})
    assert (refused.status_code, refused.json()["error"]) == (403, "concurrent_agent_limit")
