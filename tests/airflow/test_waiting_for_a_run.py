"""The run sensor on a real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_wait_for_run"


def test_sensor_defers_until_the_run_ends(
    airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str, tmp_path: Path
) -> None:
    run_id = airflow.trigger(DAG_ID, {"run_id": mosaic_run, "results": str(tmp_path)})
    waiting = airflow.wait_for_task(DAG_ID, run_id, "wait", "deferred")
    assert waiting.raw["trigger"]["classpath"] == "airflow_provider_mosaic.triggers.runs.MosaicRunTrigger"
    assert mosaic.runs()[0]["status"] == "running"

    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert airflow.rest.xcom(DAG_ID, run_id, "wait") == mosaic_run
    assert list(tmp_path.glob("*.mp4"))
    counts = mosaic.counts()
    assert (counts.runs_started, counts.runs_cancelled) == (1, 0)


def test_unknown_run_fails_without_retries(airflow: AirflowInstance, mosaic: Emulator, tmp_path: Path) -> None:
    unknown = "00000000-0000-4000-8000-00000000dead"
    run_id = airflow.trigger(DAG_ID, {"run_id": unknown, "results": str(tmp_path)})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"

    task = airflow.rest.task_instance(DAG_ID, run_id, "wait")
    assert (task.state, task.try_number) == ("failed", 1)
    log = airflow.rest.task_log(DAG_ID, run_id, "wait")
    assert "MosaicNotFoundError" in log
    assert unknown in log


def test_sensor_marked_failed_does_not_cancel_the_run(
    airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str, tmp_path: Path
) -> None:
    run_id = airflow.trigger(DAG_ID, {"run_id": mosaic_run, "results": str(tmp_path)})
    airflow.wait_for_task(DAG_ID, run_id, "wait", "deferred")
    airflow.rest.set_task_state(DAG_ID, run_id, "wait", "failed")
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"

    # Wait for a second sensor, so that a wrong cancellation by the first one would be noticed.
    again = airflow.trigger(DAG_ID, {"run_id": mosaic_run, "results": str(tmp_path)})
    airflow.wait_for_task(DAG_ID, again, "wait", "deferred")
    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, again).state == "success"
    assert mosaic.counts().runs_cancelled == 0
