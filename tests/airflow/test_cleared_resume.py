"""A task that resumes a run is cleared while it waits: its old wait's end does not end what the new one waits for."""

from __future__ import annotations

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator

from dev.airflow_instance import AirflowInstance
from dev.processes import poll

pytestmark = pytest.mark.airflow

DAG_ID = "resume_a_run"
LOOK = "GET /agent_run/{run_id}"


def test_a_deferred_resume_that_is_cleared_has_its_run_going_on(
    airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str
) -> None:
    mosaic.finish_run(mosaic_run, "failed")
    run_id = airflow.trigger(DAG_ID, {"run_id": mosaic_run})
    airflow.wait_for_task(DAG_ID, run_id, "resume", "deferred")
    assert mosaic.counts().runs_resumed == 1
    # The triggerer has taken it up; Airflow kills no trigger that none has.
    seen = mosaic.counts().requests[LOOK]
    poll(lambda: mosaic.counts().requests[LOOK] > seen + 1 or None, timeout=60, what="looks of the trigger's")

    airflow.rest.clear(DAG_ID, run_id, ["resume"])
    airflow.wait_for_task(DAG_ID, run_id, "resume", "running", "queued", "scheduled")
    airflow.wait_for_task(DAG_ID, run_id, "resume", "deferred")
    assert mosaic.runs()[0]["status"] == "running"
    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    counts = mosaic.counts()
    # Where a trigger is told of the clear, it cancels the run, and the new try resumes it once more.
    kills = int(hasattr(BaseTrigger, "on_kill"))
    assert (counts.runs_started, counts.runs_cancelled, counts.runs_resumed) == (1, kills, 1 + kills)
