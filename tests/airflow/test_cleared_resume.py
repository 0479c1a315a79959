"""A deferred task that resumed a run is cleared: the end of its old trigger does not cancel the run."""

from __future__ import annotations

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

pytestmark = pytest.mark.airflow

DAG_ID = "resume_a_run"
LOOK = "GET /agent_run/{run_id}"


def test_run_continues_when_its_deferred_resume_is_cleared(
    airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str
) -> None:
    mosaic.finish_run(mosaic_run, "failed")
    run_id = airflow.trigger(DAG_ID, {"run_id": mosaic_run})
    airflow.wait_for_task(DAG_ID, run_id, "resume", "deferred")
    assert mosaic.counts().runs_resumed == 1
    # Wait until the triggerer runs the trigger.
    seen = mosaic.counts().requests[LOOK]
    poll(lambda: mosaic.counts().requests[LOOK] > seen + 1 or None, timeout=60, what="looks of the trigger's")

    airflow.rest.clear(DAG_ID, run_id, ["resume"])
    airflow.wait_for_task(DAG_ID, run_id, "resume", "running", "queued", "scheduled")
    airflow.wait_for_task(DAG_ID, run_id, "resume", "deferred")
    assert mosaic.runs()[0]["status"] == "running"
    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    counts = mosaic.counts()
    # In some Airflow versions the trigger notices the clear and cancels the run. Then the new attempt resumes it again.
    kills = int(hasattr(BaseTrigger, "on_kill"))
    assert (counts.runs_started, counts.runs_cancelled, counts.runs_resumed) == (1, kills, 1 + kills)
