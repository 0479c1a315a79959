"""A DAG run that reaches its ``dagrun_timeout``, or fails fast, cancels the runs of its tasks."""

from __future__ import annotations

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

pytestmark = pytest.mark.airflow

#: Whether this Airflow tells a trigger that its task was ended.
KILLS = hasattr(BaseTrigger, "on_kill")
#: How the task ends, and whether its run is cancelled.
ENDS = {
    "timed_out_worker": ("skipped", True),
    "timed_out_deferred": ("skipped", KILLS),
    "failed_fast_worker": ("failed", True),
    "failed_fast_deferred": ("skipped", KILLS),
}


@pytest.fixture(scope="module")
def seen(airflow: AirflowInstance, mosaic_process: Emulator) -> dict[str, tuple[str | None, str]]:
    """
    Run all DAGs concurrently, since a ``dagrun_timeout`` takes a minute.

    Six tasks need a slot of the executor at the same time: a queued task would miss the timeout.
    """
    mosaic = mosaic_process
    mosaic.reset()
    mosaic.configure(hold_runs=True)
    dag_runs = {dag_id: airflow.trigger(dag_id) for dag_id in ENDS}
    mosaic_runs = {}
    for dag_id, run_id in dag_runs.items():
        airflow.wait_for_task(dag_id, run_id, "edit", "deferred" if dag_id.endswith("deferred") else "running")
        mosaic_runs[dag_id] = poll(
            lambda dag_id=dag_id, run_id=run_id: airflow.rest.xcoms(dag_id, run_id, "edit").get("mosaic_run_id"),
            timeout=60,
            what="the run's id",
        )
        if dag_id.endswith("deferred"):
            folder = airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
            poll(
                lambda folder=folder: any(folder.glob("**/*.trigger.*")) or None, timeout=60, what="a triggerer has it"
            )
    airflow.rest.set_variable("dag_run_ends_fail_now", "yes")
    ends = {}
    for dag_id, run_id in dag_runs.items():
        state = airflow.wait_for_task(dag_id, run_id, "edit", "failed", "skipped", timeout=120).state
        assert airflow.wait_for_dag_run(dag_id, run_id).state == "failed"

        def status(wanted: str = mosaic_runs[dag_id]) -> str:
            return next(str(run["status"]) for run in mosaic.runs() if run["run_id"] == wanted)

        if ENDS[dag_id][1]:
            poll(lambda status=status: status() == "cancelled" or None, timeout=60, what=f"the run of {dag_id} ends")
        ends[dag_id] = (state, status())
    mosaic.configure(hold_runs=False)
    return ends


@pytest.mark.parametrize("dag_id", ENDS)
def test_run_is_cancelled(dag_id: str, seen: dict[str, tuple[str | None, str]]) -> None:
    state, cancels = ENDS[dag_id]
    assert seen[dag_id] == (state, "cancelled" if cancels else "running")
