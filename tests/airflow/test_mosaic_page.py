"""The page of a real task: what the task recorded, and what the buttons do to it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import Context
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from airflow_provider_mosaic.plugins.pages import TaskPage

pytestmark = pytest.mark.airflow

DAG_ID = "edit_with_retries"
RETRIES_RESUME = "task_state_store" in Context.__annotations__


def page_of(airflow: AirflowInstance, run_id: str) -> TaskPage:
    """Return the page of the DAG's task."""
    path = f"/mosaic/api/tasks/{DAG_ID}/{quote(run_id, safe='')}/edit/-1"
    return TaskPage.model_validate(airflow.rest.get(path))


def page_with_run(airflow: AirflowInstance, run_id: str) -> TaskPage:
    """Wait until the task has started its run, and return its page."""

    def started() -> TaskPage | None:
        page = page_of(airflow, run_id)
        return page if page.run else None

    airflow.wait_for_task(DAG_ID, run_id, "edit", "running", "deferred")
    page = poll(started, timeout=60, what="the page shows the run")
    assert isinstance(page, TaskPage)
    return page


def press(airflow: AirflowInstance, page: TaskPage) -> dict[str, Any]:
    """Press the button of a page, as its script does."""
    [action] = page.actions
    token = str(airflow.rest.request("GET", "/auth/token")["access_token"])
    connection = http.client.HTTPConnection("127.0.0.1", airflow.port, timeout=60)
    try:
        headers = {"X-CSRF-Token": str(page.csrf_token), "Authorization": f"Bearer {token}", "Origin": airflow.url}
        connection.request("POST", f"/mosaic/{action.url}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return dict(json.loads(body))
    finally:
        connection.close()


def test_a_task_has_a_page_from_its_start_to_its_end(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    running = page_with_run(airflow, run_id)
    assert running.run is not None
    assert (running.run.outcome, [action.name for action in running.actions]) == ("pending", ["cancel"])
    [mosaic_run] = mosaic.runs()
    assert running.run.id == mosaic_run["run_id"]
    mosaic.finish_run(running.run.id)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    ended = page_of(airflow, run_id)
    assert ended.run is not None
    assert (ended.run.outcome, ended.task_state, ended.refresh_after) == ("success", "success", None)
    [card] = [
        card for card in airflow.rest.get("/mosaic/api/last-night", dag_id=DAG_ID)["cards"] if card["run_id"] == run_id
    ]
    assert (card["item_id"], card["state"], card["task_state"]) == (ended.run.id, "completed", "success")


def test_a_cancel_by_the_button_fails_the_task_and_no_retry_resumes_the_run(
    airflow: AirflowInstance, mosaic: Emulator
) -> None:
    mosaic.configure(hold_runs=True)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    page = page_with_run(airflow, run_id)
    assert press(airflow, page)["done"]
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"
    task = airflow.rest.task_instance(DAG_ID, run_id, "edit")
    assert (task.state, task.try_number) == ("failed", 1)
    assert "No cancel by this task is known" in airflow.rest.task_log(DAG_ID, run_id, "edit")
    assert mosaic.counts().runs_resumed == 0
    ended = page_of(airflow, run_id)
    # A user may still resume it.
    assert [action.name for action in ended.actions] == ["resume"]


@pytest.mark.skipif(not RETRIES_RESUME, reason="Airflow before 3.3 keeps nothing of a try for the next")
def test_a_retry_continues_with_a_run_that_the_button_resumed(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.configure(failing_nodes={"Captions": "The font Garamond is missing"})
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    airflow.wait_for_task(DAG_ID, run_id, "edit", "up_for_retry")
    mosaic.configure(failing_nodes={})
    page = page_of(airflow, run_id)
    # The retry may have started, and then decides itself.
    if page.actions and page.actions[0].name == "resume":
        press(airflow, page)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert mosaic.counts().runs_started == mosaic.counts().runs_resumed == 1
