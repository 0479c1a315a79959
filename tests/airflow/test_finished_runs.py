"""A DAG that starts when a run ends that another program started, also over the death of a triggerer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.emulator.catalogue import GENERATION_AGENT_ID
from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger
from dev.airflow_instance import AirflowInstance
from dev.processes import poll

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_run_finished"
LIST = "GET /agent/{agent_id}/runs"
SOURCE = Path(__file__).resolve().parents[2] / "example_dags" / f"{DAG_ID}.py"


def start_elsewhere(mosaic: Emulator) -> str:
    """Start a run as another program does."""
    request = urllib.request.Request(
        f"{mosaic.url}/agent/{GENERATION_AGENT_ID}/run",
        data=b"{}",
        headers={"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["run_id"])


def wait_for_a_look(mosaic: Emulator) -> None:
    """Wait until a look at the agent's runs has been whole that began after now."""
    before = mosaic.counts().requests.get(LIST, 0)
    poll(
        lambda: mosaic.counts().requests.get(LIST, 0) >= before + 4,
        timeout=90,
        what="the triggerer looks at the agent's runs",
    )


def dag_runs(airflow: AirflowInstance) -> list[dict[str, Any]]:
    return list(airflow.rest.get(f"/api/v2/dags/{DAG_ID}/dagRuns", limit=100)["dag_runs"])


def fetched(airflow: AirflowInstance, results: Path) -> set[str]:
    """The runs whose films are there, once every DAG run is over."""

    def over() -> list[dict[str, Any]] | None:
        found = dag_runs(airflow)
        return found if found and all(run["state"] in ("success", "failed") for run in found) else None

    runs = poll(over, timeout=120, what=f"every run of {DAG_ID} is over")
    assert {(run["state"], run["run_type"]) for run in runs} == {("success", "asset_triggered")}
    # On every Airflow the grid names a row by the run that it fetches.
    for run in runs:
        tasks = airflow.rest.task_instances(DAG_ID, run["dag_run_id"])
        labels = sorted(str(task.row_label) for task in tasks if task.task_id == "download")
        assert labels == airflow.rest.xcom(DAG_ID, run["dag_run_id"], "ended")
    return {path.parent.name for path in results.glob("*/*.mp4")}


@pytest.fixture
def results(airflow: AirflowInstance, mosaic: Emulator, tmp_path: Path) -> Iterator[Path]:
    """The DAG is on for the length of the test."""
    mosaic.configure(hold_runs=True)
    airflow.rest.set_variable("mosaic_results", str(tmp_path))
    airflow.wait_for_dag(DAG_ID)
    # A look each second: a copy of the example that differs in nothing else.
    text = SOURCE.read_text()
    quick = text.replace('"partial_complete"])', '"partial_complete"], poll_interval=1)')
    assert quick != text
    (airflow.dags_folder / SOURCE.name).write_text(quick)
    airflow.rest.patch(f"/api/v2/dags/{DAG_ID}", {"is_paused": False})
    # Whether an asset is watched is decided when its file is read: a change makes Airflow read it soon.
    (airflow.dags_folder / SOURCE.name).write_text(f"{quick}\n")
    yield tmp_path
    airflow.rest.patch(f"/api/v2/dags/{DAG_ID}", {"is_paused": True})
    airflow.add_dag(SOURCE)
    seen: list[int] = []

    def quiet() -> bool:
        seen.append(mosaic.counts().requests.get(LIST, 0))
        return seen[-2:-1] == seen[-1:]

    # Looks that went on would count as requests of the next test.
    poll(quiet, timeout=90, pause=3, what="nobody looks at the agent's runs any more")


def test_a_run_that_ends_starts_the_dag_and_a_restart_of_the_triggerer_loses_none(
    airflow: AirflowInstance, mosaic: Emulator, results: Path
) -> None:
    before, first = start_elsewhere(mosaic), start_elsewhere(mosaic)
    mosaic.finish_run(before)
    wait_for_a_look(mosaic)
    mosaic.finish_run(first)
    poll(lambda: dag_runs(airflow) or None, timeout=60, what=f"{DAG_ID} starts by itself")
    assert fetched(airflow, results) == {first}
    # What was told has been noted as told before the triggerer dies.
    for _ in range(3):
        wait_for_a_look(mosaic)

    second = start_elsewhere(mosaic)
    airflow.kill("triggerer")
    mosaic.finish_run(second)
    airflow.restart("triggerer")
    wait_for_a_look(mosaic)
    third = start_elsewhere(mosaic)
    wait_for_a_look(mosaic)
    mosaic.finish_run(third)
    poll(
        lambda: (results / third).exists() or None,
        timeout=90,
        what="the run that ended after the restart is fetched",
    )
    expected = {first, second, third} if _keeps_state() else {first, third}
    assert fetched(airflow, results) == expected
    # Each run was told once.
    told = [
        event["extra"]["payload"]["run_id"]
        for event in airflow.rest.get("/api/v2/assets/events", limit=100)["asset_events"]
        if "payload" in event["extra"]
    ]
    assert sorted(told) == sorted(expected)


def _keeps_state() -> bool:
    """Whether this Airflow keeps what a watcher knows."""
    return hasattr(MosaicRunFinishedTrigger(agent_id="a"), "asset_state_store")
