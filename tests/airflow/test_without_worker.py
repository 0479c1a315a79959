"""Waits that begin in the triggerer of a real Airflow, and one that ends there."""

from __future__ import annotations

import re

import pytest
from airflow.models.taskinstance import TaskInstance

from airflow_provider_mosaic.emulator import Emulator
from dev.airflow_instance import AirflowInstance
from dev.processes import poll

pytestmark = pytest.mark.airflow

DAG_ID = "without_worker"


def test_a_wait_takes_one_worker_process_or_none(airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str) -> None:
    run_id = airflow.trigger(DAG_ID, {"run_id": mosaic_run})
    for name in ("begins_there", "ends_there", "pulled"):
        airflow.wait_for_task(DAG_ID, run_id, name, "deferred", timeout=120)
    mosaic.finish_run(mosaic_run)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"

    assert airflow.rest.xcom(DAG_ID, run_id, "begins_there") == mosaic_run
    assert airflow.rest.xcom(DAG_ID, run_id, "pulled") == mosaic_run
    counts = mosaic.counts()
    assert (counts.runs_started, counts.runs_cancelled) == (1, 0)
    # Elsewhere the scheduler does not heed it: the wait begins on a worker as any other.
    begins_in_the_triggerer = hasattr(TaskInstance, "defer_task")
    expected = {"begins_there": 1, "ends_there": 0, "pulled": 1}
    if begins_in_the_triggerer:
        ids = {task.task_id: str(task.raw["id"]) for task in airflow.rest.task_instances(DAG_ID, run_id)}

        def processes() -> dict[str, int]:
            log = (airflow.logs / "scheduler.log").read_text(errors="replace")
            finished = re.findall(r"Workload finished .*?workload_id=([0-9a-f-]+)", log)
            return {name: finished.count(ids[name]) for name in expected}

        # A supervisor may end after its task.
        poll(lambda: processes() == expected or None, timeout=30, what=f"worker processes: {expected}")
