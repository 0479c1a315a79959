from __future__ import annotations

import httpx
import pytest
from mosaic_emulator.catalogue import TWO_BRANCH_AGENT_ID, TWO_INPUT_AGENT_ID, node_id

from .conftest import Api, until

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
MUSIC = node_id(2, 4)
FIELDS = {
    "agent_id",
    "started_at",
    "status",
    "status_message",
    "needs_credits",
    "errors",
    "node_status_counts",
    "inputs",
    "outputs",
}


def test_run_completes_with_outputs(api: Api, storage: httpx.Client) -> None:
    data = b"the bytes of a video"
    run = api.end(api.start(body={"video_ids": [api.upload(data)]}))
    assert set(run) == FIELDS
    assert run["status"] == "completed"
    assert run["status_message"] is None
    assert run["errors"] == []
    assert run["node_status_counts"] == {"completed": 4, "in_progress": 0, "failed": 0}
    (output,) = run["outputs"]
    assert set(output) == {
        "id",
        "video_url",
        "thumbnail_url",
        "premiere_prproj_url",
        "sources",
        "completed_at",
        "original_node_id",
    }
    assert output["original_node_id"] == node_id(1, 4)
    assert storage.get(output["video_url"]).content == data
    assert storage.get(output["thumbnail_url"]).content.startswith(b"\xff\xd8")


def test_held_run_continues_when_released(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL)
    until(lambda: api.nodes(run_id), lambda nodes: nodes[1]["status"] == "running")
    run = api.run(run_id)
    assert run["status"] == "running"
    assert run["outputs"] == []
    assert run["node_status_counts"] == {"completed": 1, "in_progress": 3, "failed": 0}
    assert [node["status"] for node in api.nodes(run_id)] == ["completed", "running", "not_started", "not_started"]
    api.mosaic.configure(hold_runs=False)
    assert api.end(run_id)["status"] == "completed"


def test_nodes_of_a_run_have_new_ids(api: Api) -> None:
    first, second = api.start(body=URL), api.start(body=URL)
    ids = [{node["agent_node_id"] for node in api.nodes(run_id)} for run_id in (first, second)]
    assert not ids[0] & ids[1]
    assert [node["original_node_id"] for node in api.nodes(first)] == [node_id(1, place) for place in range(1, 5)]


def test_failed_branch_makes_the_run_partial(api: Api) -> None:
    api.mosaic.configure(failing_nodes={"AI Music": "Music generation timed out"})
    run_id = api.start(body=URL, agent_id=TWO_BRANCH_AGENT_ID)
    run = api.end(run_id)
    assert run["status"] == "partial_complete"
    assert run["errors"] == [{"original_node_id": MUSIC, "messages": ["Music generation timed out"]}]
    assert run["node_status_counts"] == {"completed": 3, "in_progress": 0, "failed": 1}
    assert [output["original_node_id"] for output in run["outputs"]] == [node_id(2, 3)]
    failed = next(node for node in api.nodes(run_id) if node["original_node_id"] == MUSIC)
    assert (failed["status"], failed["errors"]) == ("failed", ["Music generation timed out"])
    assert api.post(f"/agent_run/{run_id}/resume").status_code == 409


def test_failed_run_is_resumed(api: Api) -> None:
    api.mosaic.configure(failing_nodes={node_id(1, 3): "No face found"})
    run_id = api.start(body=URL)
    run = api.end(run_id)
    assert (run["status"], run["outputs"], run["status_message"]) == ("failed", [], "No face found")
    assert [node["status"] for node in api.nodes(run_id)] == ["completed", "completed", "failed", "blocked"]
    api.mosaic.configure(failing_nodes={})
    response = api.post(f"/agent_run/{run_id}/resume").json()
    assert response == {
        "success": True,
        "run_id": run_id,
        "agent_state_id": run_id,
        "nodes_queued": 2,
        "nodes_considered": 4,
        "requeued_nodes": 2,
        "requeued_node_tasks_detached": 2,
        "requeued_node_active_tasks_cancelled": 0,
        "requeued_node_active_tasks_total": 0,
    }
    run = api.end(run_id)
    assert (run["status"], run["errors"], len(run["outputs"])) == ("completed", [], 1)
    counts = api.mosaic.counts()
    assert (counts.runs_started, counts.runs_resumed) == (1, 1)


def test_run_without_credits_fails_and_is_resumed(api: Api) -> None:
    api.mosaic.configure(credits=15, node_credits=10)
    run_id = api.start(body=URL)
    run = api.end(run_id)
    assert (run["status"], run["needs_credits"], run["outputs"]) == ("failed", True, [])
    assert run["status_message"] == "Not enough credits"
    nodes = api.nodes(run_id)
    assert [node["needs_credits"] for node in nodes] == [False, False, True, False]
    api.mosaic.configure(credits=100)
    assert api.post(f"/agent_run/{run_id}/resume").json()["nodes_queued"] == 2
    run = api.end(run_id)
    assert (run["status"], run["needs_credits"]) == ("completed", False)
    assert api.mosaic.settings()["credits"] == 80


def test_cancelled_run_is_resumed(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL)
    until(lambda: api.nodes(run_id), lambda nodes: nodes[1]["status"] == "running")
    response = api.post(f"/agent_run/{run_id}/cancel").json()
    assert set(response) == {"success", "run_id", "tasks_cancelled", "nodes_reset", "message"}
    assert (response["success"], response["tasks_cancelled"], response["nodes_reset"]) == (True, 1, 2)
    assert api.run(run_id)["status"] == "cancelled"
    assert api.post(f"/agent_run/{run_id}/cancel").status_code == 409
    api.mosaic.configure(hold_runs=False)
    assert api.post(f"/agent_run/{run_id}/resume").json()["nodes_queued"] == 3
    assert api.end(run_id)["status"] == "completed"
    counts = api.mosaic.counts()
    assert (counts.runs_cancelled, counts.runs_resumed) == (1, 1)


@pytest.mark.parametrize("status", [200, 400])
def test_cancel_terminal_status(api: Api, status: int) -> None:
    api.mosaic.configure(cancel_terminal_status=status)
    run_id = api.start(body=URL)
    api.end(run_id)
    assert api.post(f"/agent_run/{run_id}/cancel").status_code == status
    assert api.run(run_id)["status"] == "completed"
    assert api.mosaic.counts().runs_cancelled == 0


def test_cancel_lag(api: Api) -> None:
    api.mosaic.configure(hold_runs=True, cancel_lag=3600)
    run_id = api.start(body=URL)
    assert api.post(f"/agent_run/{run_id}/cancel").status_code == 200
    assert api.run(run_id)["status"] == "running"
    api.mosaic.configure(cancel_lag=0.05)
    run_id = api.start(body=URL)
    assert api.post(f"/agent_run/{run_id}/cancel").status_code == 200
    assert api.end(run_id)["status"] == "cancelled"


@pytest.mark.parametrize("status", ["running", "completed"])
def test_only_failed_or_cancelled_runs_can_be_resumed(api: Api, status: str) -> None:
    api.mosaic.configure(hold_runs=status == "running")
    run_id = api.start(body=URL)
    until(lambda: api.run(run_id), lambda run: run["status"] == status)
    response = api.post(f"/agent_run/{run_id}/resume")
    assert response.status_code == 409
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("status", ["completed", "partial_complete", "failed", "cancelled"])
def test_finish_run(api: Api, status: str) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL, agent_id=TWO_BRANCH_AGENT_ID)
    api.mosaic.finish_run(run_id, status, message="by hand")
    run = api.run(run_id)
    assert (run["status"], run["status_message"]) == (status, "by hand")
    assert len(run["outputs"]) == {"completed": 2, "partial_complete": 1}.get(status, 0)
    assert run["node_status_counts"]["failed"] == (1 if status in ("partial_complete", "failed") else 0)
    api.mosaic.configure(hold_runs=False)
    assert api.run(run_id)["status"] == status


def test_finish_run_with_failed_nodes(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL)
    api.mosaic.finish_run(run_id, "failed", message="No money", needs_credits=True, failed=["Rough Cut"])
    run = api.run(run_id)
    assert run["needs_credits"] is True
    assert run["errors"] == [{"original_node_id": node_id(1, 2), "messages": ["No money"]}]
    assert [node["status"] for node in api.nodes(run_id)] == ["completed", "failed", "blocked", "blocked"]


def test_forget_run(api: Api) -> None:
    run_id = api.start(body=URL)
    api.mosaic.forget_run(run_id)
    assert api.get(f"/agent_run/{run_id}").status_code == 404


def test_initial_status(api: Api) -> None:
    api.mosaic.configure(initial_status="queued", queue_seconds=1e6)
    assert api.run(api.start(body=URL))["status"] == "queued"
    api.mosaic.configure(queue_seconds=0)
    assert api.finished(body=URL)["status"] == "completed"


def test_outputs_while_running(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL, agent_id=TWO_BRANCH_AGENT_ID)
    until(lambda: api.nodes(run_id), lambda nodes: nodes[1]["status"] == "running")
    # The branch with music completes one step earlier.
    api.mosaic.configure(hold_runs=False, speed=1, node_seconds=3600)
    run = until(lambda: api.run(run_id), lambda run: run["outputs"] or run["status"] != "running")
    assert (run["status"], len(run["outputs"])) == ("running", 1)
    api.mosaic.configure(outputs_while_running=False)
    assert api.run(run_id)["outputs"] == []
    api.mosaic.finish_run(run_id)
    run = api.run(run_id)
    assert (run["status"], len(run["outputs"])) == ("completed", 2)


def test_late_output(api: Api) -> None:
    api.mosaic.configure(late_output_seconds=3600)
    run = api.finished(body=URL)
    assert (run["status"], run["outputs"]) == ("completed", [])
    api.mosaic.configure(late_output_seconds=0.01)
    run_id = api.start(body=URL)
    api.end(run_id)
    assert until(lambda: api.run(run_id), lambda run: run["outputs"])["status"] == "completed"


def test_unavailable_url_fails_the_run(api: Api) -> None:
    run = api.finished(body={"video_urls": [f"{api.mosaic.url}/no-such-video.mp4"]})
    assert run["status"] == "failed"
    assert run["errors"][0]["original_node_id"] == node_id(1, 1)
    assert "404" in run["errors"][0]["messages"][0]


def test_run_with_an_unavailable_input_is_resumed(api: Api) -> None:
    entries = [
        {"agent_node_id": node_id(3, 1), "video_urls": [f"{api.mosaic.url}/missing.mp4"]},
        {"agent_node_id": node_id(3, 2), "video_urls": ["https://cdn.example.org/a.mp4"]},
    ]
    run_id = api.start(body={"video_inputs": entries}, agent_id=TWO_INPUT_AGENT_ID)
    assert api.end(run_id)["status"] == "failed"
    assert [node["status"] for node in api.nodes(run_id)] == ["failed", "completed", "blocked", "blocked"]
    response = api.post(f"/agent_run/{run_id}/resume").json()
    # Video Inputs are not queued again.
    assert response["nodes_queued"] == 2


def test_signed_link_as_input(api: Api) -> None:
    link = api.finished()["outputs"][0]["video_url"]
    assert api.finished(body={"video_urls": [link]})["status"] == "completed"
    api.mosaic.expire_links()
    assert api.finished(body={"video_urls": [link]})["status"] == "failed"
    assert api.mosaic.counts().downloads == 0


def test_many_concurrent_runs(api: Api) -> None:
    ids = {api.start(body=URL) for _ in range(50)}
    for run_id in ids:
        api.end(run_id)
    assert len(ids) == api.mosaic.counts().runs_started == 50
    assert {run["run_id"] for run in api.mosaic.runs()} == ids
    assert all(run["ended"] == 1 for run in api.mosaic.runs())
