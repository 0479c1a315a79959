"""The buttons of a run: cancel and resume, through Airflow's API server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.api.endpoints.runs import get_run
from airflow_provider_mosaic.clients.sync_client import SyncClient
from plugins.api_server import ApiServer, path_of, task_row
from plugins.runs import ended_run, held, item

pytestmark = pytest.mark.airflow

CANCEL = "/agent_run/{run_id}/cancel"
RESUME = "/agent_run/{run_id}/resume"


def press(server: ApiServer, row: dict[str, Any], *, user: str = "editor", token: str | None = None) -> dict[str, Any]:
    """Press the only button of a page, and return the result."""
    page = server.get(f"/mosaic/api/{path_of(row)}", user=user).json
    [action] = page["actions"]
    response = server.post(
        f"/mosaic/{action['url']}",
        user=user,
        headers={"X-CSRF-Token": token or page["csrf_token"], "Origin": server.url, "Sec-Fetch-Site": "same-origin"},
    )
    assert response.status == 200, response.body
    return dict(response.json)


def test_cancel(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = held(mosaic, client)
    row = task_row(name, state="running", mosaic_item=item("run", run_id))
    server.seed([row])
    result = press(server, row)
    assert result["done"], result
    assert client.send(get_run(run_id)).status == "cancelled"
    page = server.get(f"/mosaic/api/{path_of(row)}").json
    assert page["run"]["status"] == "cancelled"


def test_resume(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    row = task_row(name, state="failed", mosaic_item=item("run", run_id))
    server.seed([row])
    result = press(server, row)
    assert result["done"], result
    assert mosaic.counts().runs_resumed == 1
    assert mosaic.counts().runs_started == 1
    page = server.get(f"/mosaic/api/{path_of(row)}").json
    assert [action["name"] for action in page["actions"]] == ["cancel"]


def test_the_audit_log_names_the_user_and_the_run(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    run_id = held(mosaic, client)
    row = task_row(name, state="running", mosaic_item=item("run", run_id))
    server.seed([row])
    press(server, row, user="editor")
    [entry] = server.get(f"/api/v2/eventLogs?dag_id=nightly&task_id={name}").json["event_logs"]
    assert (entry["event"], entry["owner"], entry["run_id"]) == ("mosaic_cancel_run", "editor", row["run_id"])
    assert run_id in entry["extra"]


def test_two_users_who_resume_at_once_resume_once(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    row = task_row(name, state="failed", mosaic_item=item("run", run_id))
    server.seed([row])
    mosaic.inject("hang", method="POST", path=RESUME, seconds=1, times=1)
    tokens = [server.get(f"/mosaic/api/{path_of(row)}", user=user).json["csrf_token"] for user in ("admin", "editor")]

    def resume(user: str, token: str) -> bool:
        path = f"/mosaic/api/{path_of(row)}/resume"
        return bool(server.post(path, user=user, headers={"X-CSRF-Token": token}).json["done"])

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(resume, ("admin", "editor"), tokens))
    assert sorted(done) == [False, True]
    assert mosaic.counts().requests[f"POST {RESUME}"] == 1


def test_an_old_page_cannot_cancel_a_run_that_has_ended(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    run_id = held(mosaic, client)
    row = task_row(name, state="running", mosaic_item=item("run", run_id))
    server.seed([row])
    page = server.get(f"/mosaic/api/{path_of(row)}").json
    mosaic.finish_run(run_id)
    path = f"/mosaic/{page['actions'][0]['url']}"
    result = server.post(path, headers={"X-CSRF-Token": page["csrf_token"]}).json
    assert not result["done"]
    assert "completed" in result["message"]
    assert f"POST {CANCEL}" not in mosaic.counts().requests


def test_a_lost_response_is_not_repeated(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    row = task_row(name, state="failed", mosaic_item=item("run", run_id))
    server.seed([row])
    mosaic.inject("answer_lost", method="POST", path=RESUME)
    result = press(server, row)
    assert not result["done"]
    assert "may have done it" in result["message"]
    assert mosaic.counts().requests[f"POST {RESUME}"] == 1
    # The page shows what happened.
    assert server.get(f"/mosaic/api/{path_of(row)}").json["run"]["status"] == "running"


def test_a_task_without_a_run_has_nothing_to_cancel(server: ApiServer, client: SyncClient, name: str) -> None:
    row = task_row(name, state="running")
    ran = task_row(f"{name}_ran", mosaic_item=item("run", ended_run(client).run_id))
    server.seed([row, ran])
    token = server.get(f"/mosaic/api/{path_of(row)}").json["csrf_token"]
    assert token is None
    # The run of another task does not help: its token is for that task, and the path has no run id.
    assert server.post(f"/mosaic/api/{path_of(row)}/cancel").status == 403
    assert server.post(f"/mosaic/api/{path_of(row)}/delete").status == 422
