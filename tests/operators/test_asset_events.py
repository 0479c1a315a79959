"""What tasks add to the events of their outlets. It never fails a task."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from mosaic_emulator import Emulator
from tasks.fakes import TaskRunner
from tasks.fixtures import AGENT
from tasks.task_runs import post_task, rendered, run_task

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicUploadOperator

EDITED = Asset("edited")
OTHER = Asset(uri="s3://bucket/films", name="films")


def extra(task: TaskRunner, asset: Asset = EDITED) -> dict[str, Any]:
    """Return the extra of the asset event of the last execution, as Airflow's database gets it."""
    found = task.outlet_events[asset].extra
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "://127.0.0.1" not in json.dumps(found), "a signed link"
    return dict(found)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_event_of_a_run(mosaic: Emulator, deferrable: bool) -> None:
    task = run_task(deferrable=deferrable, outlets=[EDITED, OTHER])
    run_id = task.run_to_end()
    [run] = mosaic.runs()
    expected = {
        "run_id": run_id,
        "agent_id": AGENT,
        "status": "completed",
        "output_ids": run["output_ids"],
        "output_count": len(run["output_ids"]),
    }
    assert extra(task) == extra(task, OTHER) == expected


@pytest.mark.usefixtures("mosaic")
def test_event_of_a_run_that_is_not_waited_for() -> None:
    task = run_task(wait_for_completion=False, outlets=[EDITED])
    run_id = task.execute()
    assert extra(task) == {"run_id": run_id, "agent_id": AGENT}


def test_event_of_a_post(mosaic: Emulator) -> None:
    task = post_task(outlets=[EDITED], wait_for_completion=True)
    post_id = task.execute()
    found = extra(task)
    urls = found.pop("post_urls")
    assert found == {"post_id": post_id, "status": "posted"}
    assert [set(row) for row in urls] == [{"platform", "account", "url"}]
    not_waiting = post_task(outlets=[EDITED], text="Later")
    post_id = not_waiting.execute()
    assert extra(not_waiting) == {"post_id": post_id}


def test_event_of_a_scheduled_post_whose_creation_was_accepted(
    mosaic: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    # The response has the status "success".
    mosaic.configure(post_create_response="results")
    task = post_task(outlets=[EDITED], schedule_date="2099-01-01T00:00:00Z")
    with caplog.at_level(logging.INFO):
        post_id = task.execute()
    assert extra(task) == {"post_id": post_id}
    assert f"Created post {post_id!r}, which is scheduled." in caplog.messages
    assert "is published" not in caplog.text


def test_event_of_an_upload(mosaic: Emulator, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0" * 1000)
    task = TaskRunner(lambda: MosaicUploadOperator(task_id="upload", source=str(film), outlets=[EDITED]))
    asset_id = task.execute()
    assert extra(task) == {"asset_id": asset_id, "asset_type": "video", "source": str(film), "size": 1000}


def test_event_of_a_download(mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    run_id, _ = rendered(mosaic, hook)
    task = TaskRunner(
        lambda: MosaicDownloadOutputsOperator(
            task_id="download", run_id=run_id, destination=str(tmp_path), outlets=[EDITED]
        )
    )
    for _ in range(2):
        # The second time the files exist.
        files = task.execute()
        size = sum(Path(file).stat().st_size for file in files)
        assert extra(task) == {"run_id": run_id, "files": files, "file_count": len(files), "size": size}


@pytest.mark.usefixtures("mosaic")
def test_task_without_outlets_and_alias_have_no_event() -> None:
    for outlets in ([], [AssetAlias("alias")]):
        task = run_task(outlets=outlets)
        task.execute()
        assert len(task.outlet_events) == 0


@pytest.mark.usefixtures("mosaic")
def test_event_that_cannot_be_described_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    task = run_task(outlets=[Asset.ref(name="unknown"), "no asset", EDITED])
    run_id = task.execute()
    assert "An asset event of this task lacks details" in caplog.text
    assert extra(task)["run_id"] == run_id
