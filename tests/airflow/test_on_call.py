"""The logs of failures on a real Airflow, in each mode of waiting."""

from __future__ import annotations

import re

import pytest
from airflow.sdk import Context
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

pytestmark = pytest.mark.airflow

DAG_ID = "on_call"
REMEMBERS = "task_state_store" in Context.__annotations__


def errors_in(log: str) -> list[str]:
    """Return the events at level ERROR, without Airflow's own line."""
    found = re.findall(r"(?m)^\S+ error (.*)$", log)
    return [event for event in found if not event.startswith("Task failed")]


def exceptions_in(log: str) -> list[str]:
    """Return the exceptions in the log, including causes."""
    return re.findall(r"(?m)^    (\w+): ", log)


def test_failure_logs_are_short_in_every_mode(airflow: AirflowInstance, mosaic: Emulator, mosaic_run: str) -> None:
    mosaic.configure(failing_nodes={"Captions": "The font Garamond is missing"}, hold_runs=False)
    run_id = airflow.trigger(DAG_ID, {"agent": mosaic.agent_id, "run_id": mosaic_run})
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "failed"

    def log_of(task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        log = airflow.rest.task_log(DAG_ID, run_id, task_id, try_number=try_number, map_index=map_index)
        print(f"\n=== {task_id}[{map_index}] try {try_number}\n{log}")
        return log

    def last(log: str) -> None:
        what, heading, node, means, *to_do = errors_in(log)
        assert re.fullmatch(r"Run '\S+' of agent '\S+' failed.*", what)
        assert heading == "Failed nodes:"
        assert re.fullmatch(r"  Captions  \S+  The font Garamond is missing", node)
        assert means == "Nothing was rendered."
        assert any("lear this task" in line for line in to_do)
        assert not any("tries the task again" in line for line in to_do)
        assert exceptions_in(log) in (["MosaicFailException"], ["MosaicRunFailedError"])

    first = log_of("worker")
    if REMEMBERS:
        assert errors_in(first)[-1].startswith("Airflow tries the task again (try 2 of 2), which resumes run ")
        assert not any("lear this task" in line for line in errors_in(first))
        last(log_of("worker", try_number=2))
    last(log_of("deferred"))
    for map_index in (0, 1):
        last(log_of("mapped", map_index=map_index))
    for task_id in ("watch_worker", "watch_deferred"):
        last(log_of(task_id))
    for task_id in ("deferred", "watch_deferred"):
        lines = [line.partition(" ")[2] for line in log_of(task_id).splitlines() if "Run '" in line]
        assert len(lines) == len(set(lines)), "the worker repeats what the triggerer has logged"
    # This task fails because its argument is missing, not because a run failed.
    log = log_of("post")
    assert exceptions_in(log) == ["MosaicRunFailedError"]
    assert "This attempt published nothing." in errors_in(log)
    assert mosaic.counts().posts_made == 0
