"""The operators in Airflow's own task runner, with ``dag.test()``: templates, XComs, deferrals, failures."""

from __future__ import annotations

import os
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO
from tasks.fixtures import Clock, effects

START = "/agent/{agent_id}/run"


@pytest.fixture(scope="module")
def dags(dag_test_api: None) -> Iterator[dict[str, DAG]]:
    """Return the DAGs, from a DAG folder and a database of this test session."""
    from airflow.utils.db import initdb

    initdb()
    file = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "in_task_runner.py"
    file.parent.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "dags" / file.name, file)
    yield {name: each for name, each in runpy.run_path(str(file)).items() if isinstance(each, DAG)}
    file.unlink()


def instances(run: Any) -> list[Any]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        mine = select(TaskInstance).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        found = list(session.scalars(mine))
        session.expunge_all()
    return found


def states(run: Any) -> dict[str, str]:
    return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}": ti.state for ti in instances(run)}


@pytest.mark.parametrize("way", ["on_worker", "deferrable"])
def test_pipeline_passes_ids_through_xcom(dags: dict[str, DAG], mosaic: Emulator, tmp_path: Path, way: str) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(SAMPLE_VIDEO.read_bytes())
    conf = {"film": str(film), "destination": str(tmp_path / "out")}
    run = dags[f"pipeline_{way}"].test(run_conf=conf)
    assert states(run) == dict.fromkeys(["upload", "run", "wait", "fetch", "post"], "success")
    assert effects(mosaic) == {"runs_started": 1, "posts_made": 1, "uploads_stored": 1, "uploads_finalized": 1}
    assert mosaic.posts()[0]["description"] == "completed"
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("way", ["on_worker", "deferrable"])
def test_other_operators_and_sensors_accept_references(dags: dict[str, DAG], mosaic: Emulator, way: str) -> None:
    mosaic.configure(credits=1000)
    run = dags[f"the_rest_{way}"].test(run_conf={})
    assert set(states(run).values()) == {"success"}
    done = effects(mosaic)
    assert {name: done[name] for name in ("runs_started", "posts_made", "avatars_created", "channels_added")} == {
        "runs_started": 1,
        "posts_made": 1,
        "avatars_created": 1,
        "channels_added": 1,
    }
    assert mosaic.runs()[0]["status"] == "completed"


def test_outputs_of_a_mapped_task_inside_an_argument_are_sent_as_a_list(dags: dict[str, DAG], mosaic: Emulator) -> None:
    run = dags["list_of_mapped_outputs"].test()
    assert states(run)["run"] == "success"
    [start] = [request for request in mosaic.requests() if request["path"].endswith("/run")]
    assert list(start["body"]["update_params"].values()) == [{"numbers": [2, 4, 6]}]


@pytest.mark.parametrize("way", ["on_worker", "deferrable"])
def test_mapped_tasks_start_their_own_runs(dags: dict[str, DAG], mosaic: Emulator, way: str) -> None:
    run = dags[f"mapped_{way}"].test()
    assert states(run) == {f"run_{number}": "success" for number in range(3)}
    assert effects(mosaic) == {"runs_started": 3}
    # The mapped values are no labels: the grid shows numbers.
    assert {ti.map_index: ti.rendered_map_index for ti in instances(run)} == {0: "0", 1: "1", 2: "2"}


def test_rows_of_mapped_tasks_and_groups_are_labelled_by_file(
    dags: dict[str, DAG], mosaic: Emulator, tmp_path: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(SAMPLE_VIDEO.read_bytes())
    run = dags["named_rows"].test(run_conf={"folder": str(tmp_path)})
    labels = {(ti.task_id, ti.map_index): ti.rendered_map_index for ti in instances(run)}
    assert labels == {
        (task_id, number): name
        for task_id in ("upload", "each.upload")
        for number, name in ((0, "a.mp4"), (1, "b.mp4"))
    }


def test_lost_response_of_a_mapped_task_is_found_beside_its_siblings(
    dags: dict[str, DAG], mosaic: Emulator, clock: Clock
) -> None:
    mosaic.inject("response_lost", method="POST", path=START, skip=1)
    run = dags["mapped_on_worker"].test()
    assert set(states(run).values()) == {"success"}
    assert effects(mosaic) == {"runs_started": 3}


def test_non_retryable_error_fails_without_retries(dags: dict[str, DAG], mosaic: Emulator) -> None:
    mosaic.inject("forbidden", method="POST", path=START, times=None)
    run = dags["retried"].test()
    assert states(run) == {"run": "failed"}
    assert instances(run)[0].try_number == 1
    assert effects(mosaic) == {}


def test_failed_run_is_never_started_again(dags: dict[str, DAG], mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_nodes={"Captions": "No speech was found"})
    run = dags["retried"].test()
    assert states(run) == {"run": "failed"}
    assert mosaic.counts().runs_started == 1
