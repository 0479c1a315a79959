"""The nightly pipeline on a real Airflow, twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

from dev import recordings

pytestmark = pytest.mark.airflow

DAG_ID = "mosaic_nightly_pipeline"
STEPS = ("upload", "mark_started", "edit", "download", "mark_complete", "first_output", "post")


@pytest.fixture
def studio(airflow: AirflowInstance, mosaic: Emulator, films: list[Path], tmp_path: Path) -> Path:
    """Create folders for recordings and results, and set Airflow's variables."""
    (tmp_path / "recordings").mkdir()
    for film in films:
        shutil.copy(film, tmp_path / "recordings")
    (tmp_path / "recordings" / "notes.txt").write_text("no recording")
    airflow.rest.set_variable("mosaic_recordings", str(tmp_path / "recordings"))
    airflow.rest.set_variable("mosaic_results", str(tmp_path / "results"))
    airflow.rest.set_variable("mosaic_agent_id", mosaic.agent_id)
    return tmp_path


def test_every_recording_is_edited_downloaded_and_posted_once(
    airflow: AirflowInstance, mosaic: Emulator, films: list[Path], studio: Path, whole_files_served: Callable[[], int]
) -> None:
    run_id = airflow.trigger(DAG_ID)
    run = airflow.wait_for_dag_run(DAG_ID, run_id)

    states = {task.name: (task.state, task.try_number) for task in airflow.rest.task_instances(DAG_ID, run_id)}
    assert states == {
        "new_recordings": ("success", 1),
        **{f"recording.{step}[{place}]": ("success", 1) for step in STEPS for place in range(len(films))},
    }
    assert run.state == "success"
    # Row labels of the grid: the recordings.
    labels = {(task.map_index, task.row_label) for task in airflow.rest.task_instances(DAG_ID, run_id)}
    assert labels == {(-1, None), *enumerate(sorted(film.name for film in films))}
    files: list[Path] = []
    for film in films:
        found = [path for path in (studio / "results" / film.name).iterdir() if not path.name.startswith("_")]
        assert [recordings.inspect(path).is_9_to_16 for path in found if path.suffix == ".mp4"] == [True]
        files += found
    counts = mosaic.counts()
    assert (counts.uploads_finalized, counts.runs_started, counts.posts_made) == (len(films),) * 3
    assert whole_files_served() == len(files)
    assert counts.bytes_stored == sum(film.stat().st_size for film in films)

    # Each post contains the first output of its run.
    runs, posts = mosaic.runs(), {post["post_id"]: post for post in mosaic.posts()}
    for place in range(len(films)):
        edited = airflow.rest.xcom(DAG_ID, run_id, "recording.edit", map_index=place)
        (edit,) = (each for each in runs if each["run_id"] == edited)
        post = posts[airflow.rest.xcom(DAG_ID, run_id, "recording.post", map_index=place)]
        (link,) = post["media_urls"]
        assert edit["output_ids"][0] in link
        assert post["published"] <= 1

    # The next DAG run finds all results and starts no runs.
    again = airflow.wait_for_dag_run(DAG_ID, airflow.trigger(DAG_ID))
    assert again.state == "success"
    assert airflow.rest.xcom(DAG_ID, again.run_id, "new_recordings") == []
    assert mosaic.counts().runs_started == len(films)
    assert mosaic.counts().posts_made == len(films)


def test_failing_recording_does_not_block_others(
    airflow: AirflowInstance, mosaic: Emulator, films: list[Path], studio: Path
) -> None:
    broken = studio / "recordings" / "a-broken-one.mp4"
    broken.write_bytes(b"")
    run_id = airflow.trigger(DAG_ID)
    run = airflow.wait_for_dag_run(DAG_ID, run_id)

    assert run.state == "failed"
    states = {task.name: (task.state, task.try_number) for task in airflow.rest.task_instances(DAG_ID, run_id)}
    # An empty file fails without retries.
    assert states["recording.upload[0]"] == ("failed", 1)
    assert states["new_recordings"] == ("success", 1)
    assert "empty" in airflow.rest.task_log(DAG_ID, run_id, "recording.upload", map_index=0)
    for place in range(1, len(films) + 1):
        for step in STEPS:
            assert states[f"recording.{step}[{place}]"] == ("success", 1)
    assert mosaic.counts().runs_started == len(films)
    assert mosaic.counts().posts_made == len(films)
