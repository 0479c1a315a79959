"""Failing runs on a real Airflow."""

from __future__ import annotations

import pytest
from airflow.sdk import Context
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

pytestmark = pytest.mark.airflow

DAG_ID = "edit_with_retries"


def test_log_of_a_failed_run_names_the_failed_node(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.configure(failing_nodes={"Captions": "The font Garamond is missing"})
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"

    log = airflow.rest.task_log(DAG_ID, run_id, "edit", try_number=1)
    assert "Captions" in log
    assert "The font Garamond is missing" in log
    assert airflow.rest.xcom(DAG_ID, run_id, "edit", "status") == "failed"
    assert mosaic.api_key not in log


@pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow before 3.3 keeps nothing of a try for the next"
)
def test_retry_resumes_the_run(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.configure(failing_nodes={"Captions": "The font Garamond is missing"})
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    airflow.wait_for_task(DAG_ID, run_id, "edit", "up_for_retry")
    mosaic.configure(failing_nodes={})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"

    (run,) = mosaic.runs()
    assert run["status"] == "completed"
    assert airflow.rest.xcom(DAG_ID, run_id, "edit") == run["run_id"]
    assert airflow.rest.xcom(DAG_ID, run_id, "edit", "status") == "completed"
    counts = mosaic.counts()
    assert counts.runs_started == 1
    assert counts.runs_resumed == airflow.rest.task_instance(DAG_ID, run_id, "edit").try_number - 1


def test_wrong_key_fails_without_retries(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.inject("unauthorized", times=None)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"

    task = airflow.rest.task_instance(DAG_ID, run_id, "edit")
    assert (task.state, task.try_number) == ("failed", 1)
    assert "MosaicAuthenticationError" in airflow.rest.task_log(DAG_ID, run_id, "edit")
    assert mosaic.counts().runs_started == 0


def test_rate_limit_uses_no_retry(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.inject("rate_limit", method="POST", path="/agent/{agent_id}/run", times=1, retry_after=1)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"

    assert airflow.rest.task_instance(DAG_ID, run_id, "edit").try_number == 1
    assert mosaic.counts().faults_used == {"rate_limit": 1}
    assert mosaic.counts().runs_started == 1


def test_lost_response_starts_no_second_run(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.inject("response_lost", method="POST", path="/agent/{agent_id}/run", times=1)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id})
    assert airflow.wait_for_dag_run(DAG_ID, run_id, timeout=240).state == "success"

    assert mosaic.counts().faults_used == {"response_lost": 1}
    assert mosaic.counts().runs_started == 1
    assert airflow.rest.xcom(DAG_ID, run_id, "edit") == mosaic.runs()[0]["run_id"]
