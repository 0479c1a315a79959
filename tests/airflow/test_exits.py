"""All ways in which a task can end on a real Airflow, and which of them cancel its run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime, timezone

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

pytestmark = pytest.mark.airflow

#: Whether this Airflow calls on_kill of a trigger when its task is marked or cleared.
KILLS = hasattr(BaseTrigger, "on_kill")


@dataclass(frozen=True, kw_only=True)
class Exit:
    """
    A way in which a task ends.

    :param shape: The task's configuration in the DAG file.
    :param waits: The state of the waiting task.
    :param marked: The state that a user sets. Without it the task reaches a timeout.
    :param ends: The final state.
    :param cancels: Whether the run is cancelled.
    """

    shape: str
    waits: str = "deferred"
    marked: str | None = None
    ends: str = "failed"
    cancels: bool = True


EXITS = {
    "a task on a worker is marked failed": Exit(shape="worker", waits="running", marked="failed"),
    "a task on a worker is marked success": Exit(shape="worker", waits="running", marked="success", ends="success"),
    "a deferred task is marked failed": Exit(shape="deferred", marked="failed", cancels=KILLS),
    "a deferred task is marked success": Exit(shape="deferred", marked="success", ends="success", cancels=KILLS),
    "a deferred task is marked failed, cancel_on_kill=False": Exit(shape="kept", marked="failed", cancels=False),
    "timeout on a worker": Exit(shape="timeout_worker"),
    "timeout while deferred": Exit(shape="timeout_deferred"),
    "execution_timeout on a worker": Exit(shape="execution_timeout_worker"),
    "execution_timeout while deferred": Exit(shape="execution_timeout_deferred"),
    "Airflow's limit on the trigger": Exit(shape="limit_deferred"),
}


@pytest.fixture(scope="module")
def seen(airflow: AirflowInstance, mosaic_process: Emulator) -> dict[str, tuple[str | None, str]]:
    """Run all exits concurrently. Return the final state of each task and its run."""
    mosaic = mosaic_process
    mosaic.reset()
    mosaic.configure(hold_runs=True)
    dag_runs = {name: airflow.trigger(f"exit_{way.shape}") for name, way in EXITS.items()}
    mosaic_runs: dict[str, str] = {}
    for name, way in EXITS.items():
        dag_id, run_id = f"exit_{way.shape}", dag_runs[name]
        if way.marked is not None:
            airflow.wait_for_task(dag_id, run_id, "edit", way.waits)
            mosaic_runs[name] = poll(
                lambda dag_id=dag_id, run_id=run_id: airflow.rest.xcoms(dag_id, run_id, "edit").get("mosaic_run_id"),
                timeout=60,
                what="the run's id",
            )
            if way.waits == "deferred":
                wait_for_triggerers(airflow, dag_id, run_id)
            airflow.rest.set_task_state(dag_id, run_id, "edit", way.marked)
    states: dict[str, str | None] = {}
    for name, way in EXITS.items():
        dag_id, run_id = f"exit_{way.shape}", dag_runs[name]
        states[name] = airflow.wait_for_task(dag_id, run_id, "edit", "success", "failed", timeout=120).state
        mosaic_runs.setdefault(name, airflow.rest.xcom(dag_id, run_id, "edit", "mosaic_run_id"))
        if way.cancels:
            wanted = mosaic_runs[name]
            poll(lambda wanted=wanted: status_of(mosaic, wanted) == "cancelled" or None, timeout=60, what=name)
    return {name: (state, status_of(mosaic, mosaic_runs[name])) for name, state in states.items()}


def status_of(mosaic: Emulator, run_id: str) -> str:
    return next(str(run["status"]) for run in mosaic.runs() if run["run_id"] == run_id)


def polls_of(mosaic: Emulator, run_id: str) -> int:
    """Return the number of polls of a run, by id or by list."""
    return sum(request["path"] in (f"/agent_run/{run_id}", "/agent_runs") for request in mosaic.requests())


def wait_for_triggerers(airflow: AirflowInstance, dag_id: str, run_id: str, times: int = 1) -> None:
    """Wait until a number of triggerers have run the trigger of a task. Each writes a log file."""
    folder = airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    poll(lambda: len(list(folder.glob("**/*.trigger.*"))) >= times or None, timeout=90, what="a triggerer has the task")


@pytest.mark.parametrize("name", EXITS)
def test_exit_cancels_the_run(name: str, seen: dict[str, tuple[str | None, str]]) -> None:
    assert seen[name] == (EXITS[name].ends, "cancelled" if EXITS[name].cancels else "running")


def test_restarts_and_dag_changes_keep_the_run(airflow: AirflowInstance, mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    dag_id = "exit_retried"
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "edit", "deferred")
    mosaic_run = str(mosaic.runs()[0]["run_id"])
    wait_for_triggerers(airflow, dag_id, run_id)

    # The DAG changes.
    path = airflow.dags_folder / "exits.py"
    changed_at = datetime.now(timezone.utc)
    path.write_text(path.read_text().replace("schedule=None)", 'schedule=None, tags=["changed"])'))
    poll(lambda: parsed_since(airflow, dag_id, changed_at) or None, timeout=90, what="the DAG file is parsed again")
    # The triggerer and the scheduler are killed and restarted.
    for process in ("triggerer", "scheduler"):
        airflow.kill(process, signal.SIGKILL)
        airflow.restart(process)
        wait_for_triggerers(airflow, dag_id, run_id, times=2)
        seen = polls_of(mosaic, mosaic_run)
        poll(lambda seen=seen: polls_of(mosaic, mosaic_run) > seen + 2 or None, timeout=60, what="further looks")

    assert mosaic.runs()[0]["status"] == "running"
    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(dag_id, run_id).state == "success"
    assert airflow.rest.xcom(dag_id, run_id, "edit") == mosaic_run
    assert airflow.rest.task_instance(dag_id, run_id, "edit").try_number == 1
    counts = mosaic.counts()
    assert (counts.runs_started, counts.runs_cancelled) == (1, 0)


def parsed_since(airflow: AirflowInstance, dag_id: str, moment: datetime) -> bool:
    told = airflow.rest.get(f"/api/v2/dags/{dag_id}")["last_parsed_time"]
    return told is not None and datetime.fromisoformat(told.replace("Z", "+00:00")) > moment
