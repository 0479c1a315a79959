"""Actions on a run while its task or another action changes something: nothing is resumed twice, nor paid twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.dag_testing import own_database

from airflow_provider_mosaic.api.endpoints.runs import RunStatus, get_run, resume_run
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.plugins import action_lock, actions
from airflow_provider_mosaic.plugins.access import Viewer
from airflow_provider_mosaic.plugins.action_lock import acquire, release
from airflow_provider_mosaic.plugins.actions import act, available_actions
from airflow_provider_mosaic.plugins.items import TaskKey, TaskRecord
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.tasks.reporting import read_item
from plugins.runs import held, item

T = TypeVar("T")

USER = Viewer(id="1", name="editor", may_edit=True)
GET_RUN = "/agent_run/{run_id}"
RESUME = "/agent_run/{run_id}/resume"


@pytest.fixture
def task(mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> TaskRecord:
    """Return a failed task with a failed run. Airflow's database has the same."""
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", mosaic.airflow_connection())
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    key = TaskKey(dag_id="nightly", run_id="r", task_id="edit", map_index=-1)
    task = TaskRecord(key=key, state="failed", operator="MosaicRunAgentOperator", item=read_item(item("run", run_id)))
    monkeypatch.setattr(actions, "find_task", lambda key: task)
    monkeypatch.setattr(actions, "log_action", lambda key, **facts: None)
    monkeypatch.setattr(actions, "acquire", lambda key: "expiry")
    monkeypatch.setattr(actions, "release", lambda key, expiry: None)
    return task


def run(steps: Callable[[MosaicReads], Coroutine[Any, Any, T]]) -> T:
    """Run steps on an event loop of their own."""

    async def with_reads() -> T:
        reads = MosaicReads()
        try:
            return await steps(reads)
        finally:
            await reads.aclose()

    return asyncio.run(with_reads())


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
@pytest.mark.parametrize(
    ("state", "names"),
    [
        # Cleared, before the scheduler saw it: its next attempt starts another run.
        (None, []),
        ("queued", []),
        ("running", []),
        ("deferred", []),
        ("up_for_retry", ["resume"]),
        ("failed", ["resume"]),
        ("success", ["resume"]),
    ],
)
def test_a_run_is_resumed_only_if_its_task_does_nothing_about_it(
    task: TaskRecord, client: SyncClient, state: str | None, names: list[str], status: RunStatus
) -> None:
    assert task.item is not None
    ended = client.send(get_run(task.item.id)).model_copy(update={"status": status})
    assert [action.name for action in available_actions(replace(task, state=state), ended)] == names


@pytest.mark.parametrize(
    "change",
    [{"state": "running"}, {"state": None}, {"item": None}, {"item": read_item(item("run", "another"))}],
)
def test_a_task_that_starts_meanwhile_keeps_its_run(
    mosaic: Emulator, task: TaskRecord, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(actions, "find_task", lambda key: replace(task, **change))
    result = run(lambda reads: act(reads, task, "resume", USER))
    assert not result.done
    assert f"POST {RESUME}" not in mosaic.counts().requests


def test_an_action_does_not_use_a_read_that_was_sent_before_it(mosaic: Emulator, task: TaskRecord) -> None:
    assert task.item is not None
    run_id = task.item.id
    mosaic.inject("slow_body", path="/agent_run/{run_id}", seconds=0.5)

    async def resume_elsewhere(reads: MosaicReads) -> bool:
        before = asyncio.ensure_future(reads.read("mosaic_default", get_run(run_id), max_age=0))
        while "GET /agent_run/{run_id}" not in mosaic.counts().requests:
            await asyncio.sleep(0.01)
        elsewhere = MosaicReads()
        await elsewhere.send_once("mosaic_default", resume_run(run_id))
        await elsewhere.aclose()
        result = await act(reads, task, "resume", USER)
        await before
        return result.done

    assert not run(resume_elsewhere)
    assert mosaic.counts().requests[f"POST {RESUME}"] == 1


@pytest.mark.parametrize(
    ("reads_as_running", "fault", "status"),
    [
        (1, None, "The run is failed now."),
        (2, None, "The run is running now."),
        (1, "server_error", "The run could not be read since: check its status."),
    ],
)
def test_a_cancel_that_stops_nothing_is_not_reported_as_accepted(
    mosaic: Emulator, task: TaskRecord, reads_as_running: int, fault: str | None, status: str
) -> None:
    # The emulator finds nothing to cancel in a run that has ended. Its first reads show the run as running.
    mosaic.configure(cancel_terminal_status=200)
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="running", times=reads_as_running)
    if fault:
        mosaic.inject(fault, method="GET", path=GET_RUN)
    result = run(lambda reads: act(reads, task, "cancel", USER))
    assert not result.done
    assert f"found nothing to cancel in run {task.item and task.item.id}. {status}" in result.message
    assert mosaic.counts().requests["GET " + GET_RUN] == 2


def test_an_action_is_sent_in_a_pause_of_the_connection(mosaic: Emulator, task: TaskRecord) -> None:
    assert task.item is not None
    run_id = task.item.id
    mosaic.inject("rate_limit", path="/agent_run/{run_id}", retry_after=900)

    async def press(reads: MosaicReads) -> bool:
        assert (await reads.read("mosaic_default", get_run(run_id), max_age=0)).pause > 800
        return (await act(reads, task, "resume", USER)).done

    assert run(press)
    assert mosaic.counts().runs_resumed == 1


def test_a_slow_action_does_not_delete_the_lock_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_database(tmp_path):
        monkeypatch.setattr(action_lock, "_LIFETIME", timedelta(minutes=-3))
        slow = acquire("mosaic_action.x")
        monkeypatch.setattr(action_lock, "_LIFETIME", timedelta(minutes=3))
        following = acquire("mosaic_action.x")
        assert slow
        assert following
        release("mosaic_action.x", slow)
        assert not acquire("mosaic_action.x")
        release("mosaic_action.x", following)
        assert acquire("mosaic_action.x")
