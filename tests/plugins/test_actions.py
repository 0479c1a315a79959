"""The buttons of a run: cancel and resume, through Airflow's API server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from threading import Barrier
from typing import Any

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.api.endpoints.runs import get_run
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.plugins.action_lock import lock_variable
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


@pytest.fixture(scope="module")
def second_server(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Run another API server on the same database."""
    with server.another(tmp_path_factory.mktemp("second")) as second:
        yield second


def test_users_of_two_servers_who_resume_at_once_resume_once(
    server: ApiServer, second_server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    row = task_row(name, state="failed", mosaic_item=item("run", run_id))
    server.seed([row])
    # Mosaic would accept a second resume: the run still looks as before.
    mosaic.inject("hang", method="POST", path=RESUME, seconds=1, times=None)
    path = f"/mosaic/api/{path_of(row)}"
    presses = [(each, user) for each in (server, second_server) for user in ("admin", "editor")]
    tokens = {user: server.get(path, user=user).json["csrf_token"] for user in ("admin", "editor")}
    together = Barrier(len(presses))

    def resume(press: tuple[ApiServer, str]) -> bool:
        pressed, user = press
        # The page of one server works at the other.
        assert pressed.get(path, user=user).json["run"]["id"] == run_id
        together.wait(timeout=60)
        response = pressed.post(f"{path}/resume", user=user, headers={"X-CSRF-Token": tokens[user]})
        assert response.status == 200, pressed.log[-5000:]
        return bool(response.json["done"])

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(resume, presses))
    assert sorted(done) == [False, False, False, True]
    assert mosaic.counts().requests[f"POST {RESUME}"] == 1
    variables = server.get("/api/v2/variables?variable_key_pattern=mosaic_action").json["variables"]
    assert variables == []


@pytest.mark.parametrize(("minutes", "done"), [(1, False), (-1, True)])
def test_an_action_of_a_server_that_died_blocks_others_for_a_while(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str, minutes: int, done: bool
) -> None:
    run_id = held(mosaic, client)
    row = task_row(name, state="running", mosaic_item=item("run", run_id))
    server.seed([row])
    expiry = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    server.add_variable(lock_variable("mosaic_default", run_id), expiry.isoformat())
    assert press(server, row)["done"] is done


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
    mosaic.inject("response_lost", method="POST", path=RESUME)
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
