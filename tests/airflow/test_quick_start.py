"""The quick start on a real Airflow, and its deferred state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from dev import recordings

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_quick_start"


def start(airflow: AirflowInstance, mosaic: Emulator, film: Path, results: Path) -> str:
    return airflow.trigger(DAG_ID, {"recording": str(film), "agent": mosaic.agent_id, "results": str(results)})


def texts(value: Any) -> list[str]:
    """Return all strings in a JSON value."""
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in texts(part)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_quick_start_downloads_the_edited_video(
    airflow: AirflowInstance, mosaic: Emulator, films: list[Path], tmp_path: Path, whole_files_served: Callable[[], int]
) -> None:
    run_id = start(airflow, mosaic, films[0], tmp_path)
    run = airflow.wait_for_dag_run(DAG_ID, run_id)

    states = {task.name: (task.state, task.try_number) for task in airflow.rest.task_instances(DAG_ID, run_id)}
    assert states == dict.fromkeys(("upload", "edit", "download"), ("success", 1))
    assert run.state == "success"
    (edited,) = tmp_path.glob("*.mp4")
    film = recordings.inspect(edited)
    assert film.is_9_to_16
    assert film.has_sound
    files = airflow.rest.xcom(DAG_ID, run_id, "download")
    assert sorted(files) == sorted(str(path) for path in tmp_path.iterdir())
    counts = mosaic.counts()
    assert (counts.uploads_finalized, counts.runs_started, counts.posts_made) == (1, 1, 0)
    assert counts.bytes_stored == films[0].stat().st_size
    assert whole_files_served() == len(files)
    assert counts.key_leaks == 0


def test_xcoms_contain_no_signed_links(
    airflow: AirflowInstance, mosaic: Emulator, films: list[Path], tmp_path: Path
) -> None:
    run_id = start(airflow, mosaic, films[0], tmp_path)
    airflow.wait_for_dag_run(DAG_ID, run_id)

    (upload,), (run,) = mosaic.uploads(), mosaic.runs()
    edit = airflow.rest.xcoms(DAG_ID, run_id, "edit")
    assert airflow.rest.xcoms(DAG_ID, run_id, "upload")["return_value"] in texts(upload)
    assert edit["return_value"] == edit["mosaic_run_id"] == run["run_id"]
    assert edit["status"] == "completed"
    assert edit["output_ids"]
    assert {Path(name).name.split(".")[0] for name in airflow.rest.xcom(DAG_ID, run_id, "download")} == set(
        edit["output_ids"]
    )
    for task_id in ("upload", "edit", "download"):
        for text in texts(airflow.rest.xcoms(DAG_ID, run_id, task_id)):
            assert "X-Goog-" not in text
            assert mosaic.url not in text
            assert mosaic.api_key not in text


def test_deferred_task_has_its_run_id_and_link(
    airflow: AirflowInstance, mosaic: Emulator, films: list[Path], tmp_path: Path
) -> None:
    mosaic.configure(hold_runs=True)
    run_id = start(airflow, mosaic, films[0], tmp_path)
    airflow.wait_for_task(DAG_ID, run_id, "edit", "deferred")

    (run,) = mosaic.runs()
    assert run["status"] == "running"
    assert airflow.rest.xcom(DAG_ID, run_id, "edit", "mosaic_run_id") == run["run_id"]
    # The emulator's agents have no page in Mosaic's editor, so the link leads to the task's page in Airflow.
    # Airflow saves it after the task has deferred.
    link = poll(
        lambda: airflow.rest.links(DAG_ID, run_id, "edit")["Mosaic"], timeout=30, what="the task's link is saved"
    )
    assert link == f"/mosaic/tasks/{DAG_ID}/{quote(run_id, safe='')}/edit/-1"
    assert "mosaic_agent_url" not in airflow.rest.xcoms(DAG_ID, run_id, "edit")
    # The trigger runs until the run ends.
    edit = poll(
        lambda: edit if (edit := airflow.rest.task_instance(DAG_ID, run_id, "edit")).raw["triggerer_job"] else None,
        timeout=30,
        what="the triggerer takes the task up",
    )
    assert edit.state == "deferred"
    assert edit.raw["trigger"]["classpath"] == "airflow_provider_mosaic.triggers.runs.MosaicRunTrigger"
    assert mosaic.runs()[0]["status"] == "running"

    mosaic.configure(hold_runs=False)
    assert airflow.wait_for_dag_run(DAG_ID, run_id).state == "success"
    assert mosaic.counts().runs_started == 1
