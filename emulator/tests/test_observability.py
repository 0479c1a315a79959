from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator.catalogue import DEFAULT_AGENT_ID, TWO_BRANCH_AGENT_ID, WORKSPACE_ID, node_id
from mosaic_emulator.triggers.storage_events import BATCH_KEY, BUCKET_TRIGGER_ID, DRIVE_FOLDER, DRIVE_TRIGGER_ID

from .conftest import Api

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
CAPTIONS = node_id(1, 4)


def ago(**span: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(**span)).isoformat()


def listed(api: Api, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
    response = api.get(path, params=query)
    assert response.status_code == 200, response.text
    return list(response.json()[key])


def test_pipeline_runs_are_summaries(api: Api) -> None:
    run_id = api.start(body=URL)
    api.end(run_id)
    (item,) = listed(api, "/pipeline_runs", "pipeline_runs")
    assert item["run_id"] == run_id
    assert not {"inputs", "outputs", "nodes"} & set(item)
    assert item["trigger_info"] is None
    api.mosaic.configure(pipeline_run_id="agent_state_id", observability_lists="items")
    assert listed(api, "/pipeline_runs", "items")[0]["agent_state_id"] == run_id


def test_pipeline_run_filters(api: Api) -> None:
    api.mosaic.configure(timestamps="microseconds")
    ended = api.start(body=URL)
    api.end(ended)
    api.mosaic.configure(hold_runs=True)
    held = api.start(body=URL, agent_id=TWO_BRANCH_AGENT_ID)

    def ids(**query: str) -> list[str]:
        return [each["run_id"] for each in listed(api, "/pipeline_runs", "pipeline_runs", **query)]

    assert ids() == [held, ended]
    assert ids(status="running") == ids(agent_id=TWO_BRANCH_AGENT_ID) == [held]
    assert ids(workspace_id=WORKSPACE_ID) == [held, ended]
    assert api.get("/pipeline_runs", params={"status": "running,failed"}).status_code == 400
    assert api.get("/pipeline_runs", params={"workspace_id": "other"}).status_code == 404
    watermark = listed(api, "/pipeline_runs", "pipeline_runs", agent_id=TWO_BRANCH_AGENT_ID)[0]["updated_at"]
    assert ids(updated_from=watermark) == [held]
    api.mosaic.finish_run(held)
    assert ids(updated_from=watermark) == [held]


def test_progress_is_that_of_the_whole_run(api: Api) -> None:
    api.mosaic.configure(failing_nodes={CAPTIONS: "No voice"})
    run_id = api.start(body=URL)
    api.end(run_id)
    first = api.get(f"/agent_run/{run_id}/progress", params={"limit": 3}).json()
    rest = api.get(f"/agent_run/{run_id}/progress", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    for page in (first, rest):
        assert (page["run_id"], page["total_nodes"], page["completed_node_percent"]) == (run_id, 4, 75.0)
        assert page["node_status_counts"] == {"completed": 3, "in_progress": 0, "failed": 1}
    assert (len(first["tiles"]), len(rest["tiles"]), rest["next_cursor"]) == (3, 1, None)
    failed = next(each for each in first["tiles"] + rest["tiles"] if each["original_node_id"] == CAPTIONS)
    assert [(task["status"], task["progress"]) for task in failed["recent_tasks"]] == [("failed", 0)]


def test_tasks_of_earlier_attempts_are_detached(api: Api) -> None:
    api.mosaic.configure(failing_nodes={CAPTIONS: "No voice"})
    run_id = api.start(body=URL)
    api.end(run_id)
    before = listed(api, f"/agent_run/{run_id}/tasks", "tasks")
    # The Video Input has no tasks.
    assert [task["status"] for task in before] == ["failed", "completed", "completed"]
    api.mosaic.configure(failing_nodes={})
    api.post(f"/agent_run/{run_id}/resume")
    api.end(run_id)
    after = listed(api, f"/agent_run/{run_id}/tasks", "tasks")
    assert [task["progress"] for task in after] == [100, 100, 100]
    assert before[0]["id"] not in {task["id"] for task in after}
    assert {"heartbeat_timestamp", "original_node_id"} <= set(after[0])


def test_running_task_has_progress(api: Api) -> None:
    api.mosaic.configure(hold_runs=True)
    run_id = api.start(body=URL)
    (task,) = listed(api, f"/agent_run/{run_id}/tasks", "tasks")
    assert (task["status"], 0 < task["progress"] < 100) == ("running", True)


def test_notifications_by_channel(api: Api) -> None:
    api.mosaic.configure(notification_channels=["email", "slack"])
    run_id = api.start(body=URL)
    api.end(run_id)
    result = listed(api, f"/agent_run/{run_id}/notifications", "notifications")
    assert {each["channel"] for each in result} == {"email", "slack"}
    again = listed(api, f"/agent_run/{run_id}/notifications", "notifications")
    assert [each["id"] for each in again] == [each["id"] for each in result]
    stored = listed(api, f"/agent_run/{run_id}/notification_configurations", "notification_configurations")
    assert [each["channels"] for each in stored] == [["email", "slack"]] * 4


@pytest.mark.parametrize("what", ["progress", "tasks", "notifications", "notification_configurations"])
def test_unknown_run_is_not_found(api: Api, what: str) -> None:
    assert api.get(f"/agent_run/none/{what}").status_code == 404


def test_automation_runs(api: Api) -> None:
    api.mosaic.configure(failing_nodes={CAPTIONS: "No voice"})
    ids = [api.start(body=URL) for _ in range(3)]
    for each in ids:
        api.end(each)
    page = api.get("/automations/runs", params={"limit": 2}).json()
    assert set(page) == {"runs"}
    assert [each["id"] for each in page["runs"]] == ids[:0:-1]
    assert [each["original_node_id"] for each in page["runs"][0]["failed_nodes"]] == [CAPTIONS]
    assert [each["id"] for each in listed(api, "/automations/runs", "runs", offset=2)] == ids[:1]
    assert listed(api, "/automations/runs", "runs", status="completed,running") == []
    assert listed(api, "/automations/runs", "runs", since=ago(seconds=-60)) == []
    assert listed(api, "/automations/runs", "runs", agent_id=TWO_BRANCH_AGENT_ID) == []
    api.mosaic.configure(automations_total=True, workspace_header_required=True)
    assert api.get("/automations/runs").status_code == 400
    response = api.get("/automations/runs", params={"limit": 1}, headers={"X-Workspace-Id": WORKSPACE_ID})
    assert response.json()["total"] == 3


def test_ingest_batches(api: Api) -> None:
    def statuses(**query: Any) -> list[str]:
        return [each["status"] for each in listed(api, "/automations/ingest-batches", "ingest_batches", **query)]

    assert statuses() == ["open", "open", "failed"]
    assert statuses(status="failed") == ["failed"]
    assert statuses(status="open,failed", agent_id=DEFAULT_AGENT_ID) == ["open", "failed"]
    assert statuses(batch_key=BATCH_KEY, production_id="production-1") == ["open"]
    assert statuses(since=ago(hours=24)) == ["open", "open"]
    assert statuses(limit=1, offset=2) == ["failed"]


def test_storage_triggers_and_folders(api: Api) -> None:
    both = listed(api, "/storage_triggers", "storage_triggers")
    assert {each["id"] for each in both} == {DRIVE_TRIGGER_ID, BUCKET_TRIGGER_ID}
    (drive,) = listed(api, "/storage_triggers", "storage_triggers", agent_id=DEFAULT_AGENT_ID)
    assert (drive["provider"], drive["selected_folder_display_path"]) == ("google_drive", "My Drive / Recordings")
    folders = listed(api, f"/storage_trigger/{DRIVE_TRIGGER_ID}/folders", "folders")
    by_id = {each["watcher"]["folder_id"]: each for each in folders}
    assert by_id[DRIVE_FOLDER]["is_active"] is True
    deleted = next(each for each in folders if not each["is_active"])
    assert deleted["deleted_at"] is not None
    assert deleted["last_event_at"] is None
    assert deleted["last_error"] is not None
    active = listed(api, f"/storage_trigger/{DRIVE_TRIGGER_ID}/folders", "folders", is_active="true")
    assert [each["watcher"]["folder_id"] for each in active] == [DRIVE_FOLDER]
    assert listed(api, f"/storage_trigger/{BUCKET_TRIGGER_ID}/folders", "folders") == []


def test_storage_events_batches_and_items(api: Api) -> None:
    events = listed(api, f"/storage_trigger/{DRIVE_TRIGGER_ID}/events", "events")
    assert [each["batch_ids"] for each in events if each["error_message"]] == [[]]
    batches = listed(api, "/storage_batches", "storage_batches", folder_id=DRIVE_FOLDER)
    assert [each["stage"] for each in batches] == ["open", "failed"]
    assert (batches[1]["agent_state_id"], batches[1]["last_error"]) == (None, "The file could not be read")
    linked = {each["id"] for each in events if each["batch_ids"] == [batches[0]["id"]]}
    items = listed(api, f"/storage_batch/{batches[0]['id']}/items", "items")
    assert {each["event_id"] for each in items} == linked
    assert len(listed(api, "/storage_batches", "storage_batches", batch_key=BATCH_KEY)) == 1


def test_new_files_are_listed_after_updated_from(api: Api) -> None:
    api.mosaic.configure(timestamps="microseconds")
    watermark = ago()
    path = f"/storage_trigger/{DRIVE_TRIGGER_ID}/events"
    assert listed(api, path, "events", updated_from=watermark) == []
    api.mosaic.fire_trigger(DRIVE_TRIGGER_ID, file_names=["a.mp4", "b.mp4", "c.mp4"])
    first = api.get(path, params={"updated_from": watermark, "limit": 2}).json()
    rest = api.get(path, params={"updated_from": watermark, "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [each["file_name"] for each in first["events"] + rest["events"]] == ["c.mp4", "b.mp4", "a.mp4"]
    assert api.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/storage_trigger/none/folders", 404),
        ("/storage_trigger/none/events", 404),
        ("/storage_batch/none/items", 404),
        (f"/storage_trigger/{DRIVE_TRIGGER_ID}/folders?is_active=yes", 400),
        ("/storage_triggers?status=open", 400),
        ("/storage_batches?limit=101", 400),
        ("/pipeline_runs?updated_from=now", 400),
        ("/automations/runs?limit=501", 400),
        ("/automations/runs?offset=-1", 400),
        ("/automations/runs?cursor=x", 400),
        ("/automations/ingest-batches?since=lately", 400),
    ],
)
def test_invalid_storage_requests_are_rejected(api: Api, path: str, status: int) -> None:
    assert api.get(path).status_code == status


def test_batch_items_have_no_updated_from(api: Api) -> None:
    batch = listed(api, "/storage_batches", "storage_batches")[0]["id"]
    assert api.get(f"/storage_batch/{batch}/items", params={"from": ago(days=30)}).status_code == 200
    assert api.get(f"/storage_batch/{batch}/items", params={"updated_from": ago()}).status_code == 400
