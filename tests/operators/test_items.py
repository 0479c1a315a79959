"""The XCom that the pages inside Airflow read: each task with a run, a post or an asset pushes its ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, started
from tasks.task_runs import one_post, post_task, run_task

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicCancelRunOperator,
    MosaicDownloadOutputsOperator,
    MosaicResumeRunOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor, MosaicSocialPostSensor
from airflow_provider_mosaic.tasks.reporting import ITEM_KEY, TaskItem, read_item


def item_of(task: TaskRunner) -> TaskItem:
    """Return the item that a task pushed."""
    item = read_item(task.xcom(ITEM_KEY))
    assert item is not None
    return item


def a_run(id: str) -> TaskItem:
    return TaskItem(kind="run", id=id, conn_id="mosaic_default", agent_id=AGENT)


def test_a_run_has_its_item_before_the_wait(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(deferrable=True)
    assert isinstance(task.execute(), Deferred)
    assert item_of(task) == a_run(started(mosaic))


def test_a_failed_run_keeps_its_item_and_a_retry_pushes_it_again(mosaic: Emulator) -> None:
    mosaic.configure(failing_nodes={"Captions": "No speech was found"})
    task = run_task(StateStore(), on_retry="fail")
    for _ in range(2):
        with pytest.raises(AirflowFailException):
            task.run_to_end()
        assert item_of(task) == a_run(started(mosaic))


@pytest.mark.parametrize(
    "make",
    [
        lambda run_id, folder: MosaicResumeRunOperator(task_id="t", run_id=run_id),
        lambda run_id, folder: MosaicDownloadOutputsOperator(task_id="t", run_id=run_id, destination=str(folder)),
        lambda run_id, folder: MosaicRunSensor(task_id="t", run_id=run_id, poll_interval=0.05),
    ],
    ids=["resume", "download", "sensor"],
)
def test_tasks_of_an_existing_run(
    mosaic: Emulator, hook: MosaicHook, tmp_path: Path, make: Callable[[str, Path], Any]
) -> None:
    run_id = str(run_task().run_to_end())
    task = TaskRunner(lambda: make(run_id, tmp_path))
    task.run_to_end()
    assert item_of(task) == a_run(run_id)


def test_a_cancelled_run(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    task = TaskRunner(lambda: MosaicCancelRunOperator(task_id="t", run_id=run_id))
    task.run_to_end()
    assert item_of(task) == TaskItem(kind="run", id=run_id, conn_id="mosaic_default")


def test_a_post(mosaic: Emulator, hook: MosaicHook) -> None:
    task = post_task(wait_for_completion=True)
    task.run_to_end()
    expected = TaskItem(kind="post", id=one_post(mosaic)["post_id"], conn_id="mosaic_default")
    assert item_of(task) == expected
    sensor = TaskRunner(lambda: MosaicSocialPostSensor(task_id="t", post_id=expected.id, poll_interval=0.05))
    sensor.run_to_end()
    assert item_of(sensor) == expected
    assert ACCOUNT not in str(task.xcom(ITEM_KEY))


def test_an_upload(mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    file = tmp_path / "monday.mp3"
    file.write_bytes(b"not audio" * 100)
    store = StateStore()
    task = TaskRunner(lambda: MosaicUploadOperator(task_id="t", source=str(file)), store=store)
    asset_id = task.run_to_end()
    [uploaded] = mosaic.uploads()
    for _ in range(2):
        item = item_of(task)
        assert (item.kind, item.id, item.asset_type) == ("asset", asset_id, "audio")
        # A retry uploads nothing again.
        task.run_to_end()
    assert mosaic.uploads() == [uploaded]
    # Neither the name nor the path of the file is stored.
    assert "monday" not in str(task.xcom(ITEM_KEY))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [],
        {},
        {"version": 1, "kind": "run", "id": "", "conn_id": "c"},
        {"kind": "x"},
        # Users may write XComs: no id leads to another path of the API, or takes much memory.
        *({"version": 1, "kind": "run", "id": id, "conn_id": "c"} for id in ("../agents", "a/b", "a?b", "x" * 501)),
        {"version": 1, "kind": "run", "id": "r", "conn_id": "x" * 501},
    ],
)
def test_other_values_are_no_items(value: Any) -> None:
    assert read_item(value) is None
