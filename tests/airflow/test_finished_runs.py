"""
DAGs that are triggered by completed runs, also across a killed triggerer and a paused DAG.

These tests take minutes: two events of a watcher are at least 30 seconds apart.
"""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, GENERATION_AGENT_ID
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll
from packaging.version import Version

from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_run_finished"
LIST = "GET /agent/{agent_id}/runs"
SOURCE = Path(__file__).resolve().parents[2] / "example_dags" / f"{DAG_ID}.py"


def start_elsewhere(mosaic: Emulator, agent_id: str = GENERATION_AGENT_ID) -> str:
    """Start a run outside of Airflow."""
    videos = {} if agent_id == GENERATION_AGENT_ID else {"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}
    request = urllib.request.Request(
        f"{mosaic.url}/agent/{agent_id}/run",
        data=json.dumps(videos).encode(),
        headers={"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["run_id"])


def wait_for_any_poll(mosaic: Emulator) -> None:
    """Wait until a new poll of the agent's runs has completed."""
    before = mosaic.counts().requests.get(LIST, 0)
    poll(
        lambda: mosaic.counts().requests.get(LIST, 0) >= before + 4,
        timeout=90,
        what="the triggerer looks at the agent's runs",
    )


def dag_runs(airflow: AirflowInstance, dag_id: str = DAG_ID) -> list[dict[str, Any]]:
    return list(airflow.rest.get(f"/api/v2/dags/{dag_id}/dagRuns", limit=100)["dag_runs"])


def fetched(airflow: AirflowInstance, results: Path) -> set[str]:
    """Return the ids of the downloaded runs, when all DAG runs have ended."""

    def over() -> list[dict[str, Any]] | None:
        found = dag_runs(airflow)
        return found if found and all(run["state"] in ("success", "failed") for run in found) else None

    runs = poll(over, timeout=120, what=f"every run of {DAG_ID} is over")
    assert {(run["state"], run["run_type"]) for run in runs} == {("success", "asset_triggered")}
    # The row label of the grid is the run id.
    for run in runs:
        tasks = airflow.rest.task_instances(DAG_ID, run["dag_run_id"])
        labels = sorted(str(task.row_label) for task in tasks if task.task_id == "download")
        assert labels == airflow.rest.xcom(DAG_ID, run["dag_run_id"], "run_ids")
    return {path.parent.name for path in results.glob("*/*.mp4")}


@pytest.fixture
def results(airflow: AirflowInstance, mosaic: Emulator, tmp_path: Path) -> Iterator[Path]:
    """Unpause the DAG during the test."""
    mosaic.configure(hold_runs=True)
    airflow.rest.set_variable("mosaic_results", str(tmp_path))
    airflow.wait_for_dag(DAG_ID)
    # A copy of the example that polls each second.
    text = SOURCE.read_text()
    quick = text.replace('"partial_complete"])', '"partial_complete"], poll_interval=1)')
    assert quick != text
    (airflow.dags_folder / SOURCE.name).write_text(quick)
    airflow.rest.patch(f"/api/v2/dags/{DAG_ID}", {"is_paused": False})
    # Airflow decides at parse time whether it watches an asset. A change makes it parse the file.
    (airflow.dags_folder / SOURCE.name).write_text(f"{quick}\n")
    yield tmp_path
    airflow.rest.patch(f"/api/v2/dags/{DAG_ID}", {"is_paused": True})
    airflow.add_dag(SOURCE)


def test_ended_run_triggers_the_dag_despite_a_restart(
    airflow: AirflowInstance, mosaic: Emulator, results: Path
) -> None:
    before, first = start_elsewhere(mosaic), start_elsewhere(mosaic)
    mosaic.finish_run(before)
    wait_for_any_poll(mosaic)
    mosaic.finish_run(first)
    poll(lambda: dag_runs(airflow) or None, timeout=60, what=f"{DAG_ID} starts by itself")
    assert fetched(airflow, results) == {first}
    # The reported runs are saved before the triggerer is killed.
    for _ in range(3):
        wait_for_any_poll(mosaic)

    second = start_elsewhere(mosaic)
    airflow.kill("triggerer")
    mosaic.finish_run(second)
    airflow.restart("triggerer")
    wait_for_any_poll(mosaic)
    third = start_elsewhere(mosaic)
    wait_for_any_poll(mosaic)
    mosaic.finish_run(third)
    poll(
        lambda: (results / third).exists() or None,
        timeout=90,
        what="the run that ended after the restart is fetched",
    )
    expected = {first, second, third} if _keeps_state() else {first, third}
    assert fetched(airflow, results) == expected
    # Each run was reported once.
    told = [
        run["run_id"]
        for event in airflow.rest.get("/api/v2/assets/events", limit=100)["asset_events"]
        if event["name"].startswith("mosaic_finished_runs.")
        for run in event["extra"]["payload"]["runs"]
    ]
    assert sorted(told) == sorted(expected)


# Bursts and pauses

BURST = 50
SHARED_DAGS = ("ended_always_on", "ended_paused_for_a_while", "ended_one_at_a_time")
BURST_SOURCE = Path(__file__).parent / "dags" / "ended_runs.py"


def polls(mosaic: Emulator, agent_id: str) -> int:
    """Return how many requests have asked for the runs of an agent."""
    return sum(request["path"] == f"/agent/{agent_id}/runs" for request in mosaic.requests())


def wait_for_a_poll(mosaic: Emulator, agent_id: str) -> None:
    """Wait until a poll of an agent's runs has started and ended after now."""
    before = polls(mosaic, agent_id)
    poll(lambda: polls(mosaic, agent_id) >= before + 4, timeout=120, what=f"the triggerer polls agent {agent_id}")


def reported(airflow: AirflowInstance, dag_id: str) -> list[str]:
    """Return the runs in the events of all DAG runs of a DAG, with repetitions."""
    found = [run["dag_run_id"] for run in dag_runs(airflow, dag_id) if run["state"] == "success"]
    return sorted(run_id for each in found for run_id in airflow.rest.xcom(dag_id, each, "ended"))


def wait_until_reported(airflow: AirflowInstance, dag_id: str, expected: list[str]) -> None:
    """Wait until each run was reported to a DAG once."""
    poll(lambda: len(reported(airflow, dag_id)) >= len(expected), timeout=180, what=f"{dag_id} was told of its runs")
    assert reported(airflow, dag_id) == sorted(expected)


def end_together(mosaic: Emulator, agent_id: str, count: int = BURST) -> list[str]:
    """Start runs and finish them at the same time."""
    started = [start_elsewhere(mosaic, agent_id) for _ in range(count)]
    for run_id in started:
        # A failed run renders nothing, which saves minutes.
        mosaic.finish_run(run_id, "failed")
    return started


@pytest.fixture
def switch(airflow: AirflowInstance, mosaic: Emulator) -> Iterator[Callable[..., None]]:
    """Pause or unpause DAGs and make Airflow parse the file, which starts or stops their watchers."""
    mosaic.configure(hold_runs=True)
    reads = itertools.count()

    def switch(*dag_ids: str, on: bool) -> None:
        for dag_id in dag_ids:
            airflow.wait_for_dag(dag_id)
            airflow.rest.patch(f"/api/v2/dags/{dag_id}", {"is_paused": not on})
        (airflow.dags_folder / BURST_SOURCE.name).write_text(BURST_SOURCE.read_text() + "\n" * next(reads))

    yield switch
    switch(*SHARED_DAGS, "ended_alone", on=False)
    for agent_id in (GENERATION_AGENT_ID, CLIPS_AGENT_ID):
        wait_until_idle(mosaic, agent_id)


def wait_until_idle(mosaic: Emulator, agent_id: str) -> None:
    """Wait until nothing polls an agent. A watcher polls each second, except for 30 seconds after an event."""
    seen: list[int] = []

    def is_idle() -> bool:
        seen.append(polls(mosaic, agent_id))
        return len(seen) > 8 and len(set(seen[-8:])) == 1

    poll(is_idle, timeout=180, pause=5, what=f"nothing polls agent {agent_id} any more")


def create_asset_event(airflow: AirflowInstance, name: str) -> None:
    """Create an asset event without a payload, like a user in the UI."""
    (asset,) = airflow.rest.get("/api/v2/assets", name_pattern=name)["assets"]
    airflow.rest.post("/api/v2/assets/events", {"asset_id": asset["id"], "extra": {}})


@pytest.mark.bursts
def test_burst_of_ended_runs_reaches_each_dag_once(
    airflow: AirflowInstance, mosaic: Emulator, switch: Callable[..., None]
) -> None:
    hold = (airflow.dags_folder / BURST_SOURCE.name).with_suffix(".hold")
    hold.touch()
    switch(*SHARED_DAGS, "ended_alone", on=True)
    for agent_id in (GENERATION_AGENT_ID, CLIPS_AGENT_ID):
        wait_for_a_poll(mosaic, agent_id)
    shared, alone = end_together(mosaic, GENERATION_AGENT_ID), end_together(mosaic, CLIPS_AGENT_ID)
    for dag_id in ("ended_always_on", "ended_paused_for_a_while"):
        wait_until_reported(airflow, dag_id, shared)
    wait_until_reported(airflow, "ended_alone", alone)
    assert len(dag_runs(airflow, "ended_always_on")) <= 2

    # Paused: the asset of one DAG is still watched for the others, that of the fourth DAG is not watched.
    # Reported runs are saved seconds after their event. A watcher that stops before reports them again.
    wait_for_a_poll(mosaic, CLIPS_AGENT_ID)
    switch("ended_paused_for_a_while", "ended_alone", on=False)
    wait_until_idle(mosaic, CLIPS_AGENT_ID)
    missed_shared, missed_alone = end_together(mosaic, GENERATION_AGENT_ID), end_together(mosaic, CLIPS_AGENT_ID)
    wait_until_reported(airflow, "ended_always_on", shared + missed_shared)
    switch("ended_paused_for_a_while", "ended_alone", on=True)
    wait_for_a_poll(mosaic, CLIPS_AGENT_ID)
    if _keeps_state():
        alone += missed_alone
        wait_until_reported(airflow, "ended_alone", alone)
    # https://github.com/apache/airflow/issues/49857: missed events wait for the next event.
    wait_until_reported(airflow, "ended_paused_for_a_while", shared)

    # One more event delivers all missed ones.
    shared += missed_shared + end_together(mosaic, GENERATION_AGENT_ID, 1)
    alone += end_together(mosaic, CLIPS_AGENT_ID, 1)
    for dag_id in ("ended_always_on", "ended_paused_for_a_while"):
        wait_until_reported(airflow, dag_id, shared)
    wait_until_reported(airflow, "ended_alone", alone)

    # https://github.com/apache/airflow/issues/56050: a DAG with max_active_runs gets the first of the missed
    # events. The others wait for another event, which a user can create.
    hold.unlink()
    if _strands_events():
        poll(lambda: states(airflow, "ended_one_at_a_time") == ["success"] * 2, timeout=120, what="its second DAG run")
        assert set(reported(airflow, "ended_one_at_a_time")) < set(shared)
        create_asset_event(airflow, "ended_shared")
    wait_until_reported(airflow, "ended_one_at_a_time", shared)


def states(airflow: AirflowInstance, dag_id: str) -> list[str]:
    """Return the states of all DAG runs of a DAG."""
    return [str(run["state"]) for run in dag_runs(airflow, dag_id)]


def _strands_events() -> bool:
    """Return whether this Airflow lacks the fix of https://github.com/apache/airflow/pull/70972."""
    return Version(version("apache-airflow-core")).release < (3, 4)


def _keeps_state() -> bool:
    """Return whether this Airflow saves the state of watchers."""
    return hasattr(MosaicRunFinishedTrigger(agent_id="a"), "asset_state_store")
