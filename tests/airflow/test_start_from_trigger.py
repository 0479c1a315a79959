"""Waits that start in the triggerer of a real Airflow."""

from __future__ import annotations

import re

import pytest
from airflow.models.taskinstance import TaskInstance
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from airflow_provider_mosaic.hooks.mosaic import MosaicHook

pytestmark = pytest.mark.airflow

# Before Airflow 3.3 the scheduler ignores it: the wait starts on a worker.
STARTS_IN_THE_TRIGGERER = hasattr(TaskInstance, "defer_task")


def wait_for_processes(airflow: AirflowInstance, dag_id: str, run_id: str, expected: dict[str, int]) -> None:
    """Wait until each task has used that number of worker processes; a supervisor may end after its task."""
    ids = {task.name: str(task.raw["id"]) for task in airflow.rest.task_instances(dag_id, run_id)}

    def processes() -> dict[str, int]:
        log = (airflow.logs / "scheduler.log").read_text(errors="replace")
        finished = re.findall(r"Workload finished .*?workload_id=([0-9a-f-]+)", log)
        return {name: finished.count(ids[name]) for name in expected}

    poll(lambda: processes() == expected or None, timeout=30, what=f"worker processes: {expected}")


def test_a_wait_takes_one_worker_process(airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str) -> None:
    dag_id = "start_from_trigger"
    run_id = airflow.trigger(dag_id, {"run_id": mosaic_run})
    for name in ("starts_there", "pulled"):
        airflow.wait_for_task(dag_id, run_id, name, "deferred", timeout=120)
    mosaic.finish_run(mosaic_run)
    assert airflow.wait_for_dag_run(dag_id, run_id).state == "success"

    assert airflow.rest.xcom(dag_id, run_id, "starts_there") == mosaic_run
    assert airflow.rest.xcom(dag_id, run_id, "pulled") == mosaic_run
    counts = mosaic.counts()
    assert (counts.runs_started, counts.runs_cancelled) == (1, 0)
    if STARTS_IN_THE_TRIGGERER:
        wait_for_processes(airflow, dag_id, run_id, {"starts_there": 1, "pulled": 1})


def test_mapped_waits(
    airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", mosaic.airflow_connection())
    hook = MosaicHook()
    runs = [mosaic_run, hook.run_agent(mosaic.agent_id, video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"])]
    hook.close()
    dag_id = "mapped_waits"
    run_id = airflow.trigger(dag_id, {"runs": runs})
    name = "each.starts_there"
    for map_index in (0, 1):
        airflow.wait_for_task(dag_id, run_id, name, "deferred", map_index=map_index, timeout=120)
    mosaic.finish_run(runs[1])
    airflow.wait_for_task(dag_id, run_id, name, "success", map_index=1)
    assert airflow.rest.task_instance(dag_id, run_id, name, map_index=0).state == "deferred"
    mosaic.finish_run(runs[0])
    airflow.wait_for_dag_run(dag_id, run_id)

    for map_index, waited_for in enumerate(runs):
        assert airflow.rest.task_instance(dag_id, run_id, name, map_index).state == "success"
        assert airflow.rest.xcom(dag_id, run_id, name, map_index=map_index) == waited_for
    for name in ("expanded", "ordered", "by_default.wait"):
        task = airflow.rest.task_instance(dag_id, run_id, name, 0)
        assert (task.state, task.try_number) == ("failed", 1)
        log = airflow.rest.task_log(dag_id, run_id, name, map_index=0)
        assert "start_from_trigger=True: Airflow starts each item of a mapped task on a worker" in log
    if STARTS_IN_THE_TRIGGERER:
        wait_for_processes(airflow, dag_id, run_id, {"each.starts_there[0]": 1})
