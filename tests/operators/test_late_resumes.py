"""A task resumes long after its trigger has fired: the item may have ended, and the timeout passed, since then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import TaskDeferralTimeout
from tasks.fakes import StateStore, TaskInstance
from tasks.fixtures import Clock, Lookups, effects, started, until
from tasks.task_runs import post_task, run_task

from airflow_provider_mosaic.api.errors import MosaicRunFailedError, MosaicTransportError

STORES = pytest.mark.parametrize("make_store", [StateStore, lambda: None], ids=["with a store", "without a store"])


LATE = [
    {"outcome": "timeout"},
    {"outcome": "ended", "status": "completed"},
    None,
]


@STORES
@pytest.mark.parametrize("map_index", [-1, 3])
@pytest.mark.parametrize("clock_name", ["timeout", "execution_timeout"])
@pytest.mark.parametrize("event", LATE, ids=["timeout", "ended", "another's"])
def test_run_that_ended_while_the_task_was_queued_is_taken(
    mosaic: Emulator, make_store: Any, map_index: int, clock_name: str, event: dict[str, Any] | None
) -> None:
    mosaic.configure(hold_runs=True)
    options = {clock_name: timedelta(seconds=60)}
    task = run_task(make_store(), deferrable=True, map_index=map_index, **options)
    deferred = task.execute()
    late = {**deferred.kwargs, "deadline": 1.0 if clock_name == "timeout" else None, "try_started_at": 1.0}
    mosaic.finish_run(started(mosaic))
    # A single error must not let the deadline decide.
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}", status=500)
    event = event and {**event, "id": started(mosaic)}
    assert task.resume(replace(deferred, kwargs=late), event) == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_run_that_failed_while_the_task_was_queued_is_reported(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True, timeout=60)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic), "failed")
    with pytest.raises(MosaicRunFailedError):
        task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)})


def test_post_that_was_published_while_the_task_was_queued_is_taken(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    task = post_task(StateStore(), deferrable=True, wait_for_completion=True)
    deferred = task.execute()
    mosaic.configure(hold_posts=False)
    post_id = deferred.kwargs["post_id"]
    until(lambda: mosaic.posts()[0]["status"] == "posted")
    assert task.resume(deferred, {"outcome": "timeout", "id": post_id}) == post_id
    assert task.on_timeout() == post_id
    assert effects(mosaic) == {"posts_made": 1}


@STORES
def test_trigger_timeout_fails_the_task_only_if_the_run_has_not_ended(mosaic: Emulator, make_store: Any) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(make_store(), deferrable=True)
    task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.on_timeout() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_trigger_timeout_cancels_a_run_whose_xcom_is_missing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    task.dag_run.xcoms.clear()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_run_id_that_cannot_be_read_is_left_to_the_retries(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    task = run_task(store, deferrable=True)
    task.execute()

    def unavailable(*args: Any, **kwargs: Any) -> None:
        raise OSError("the bucket is unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(TaskInstance, "xcom_pull", unavailable)
        store.broken_gets = 1
        with pytest.raises(MosaicTransportError, match="which continues with its run: nothing is paid twice"):
            task.on_timeout()
        # One of the two ids is enough.
        with pytest.raises(TaskDeferralTimeout):
            task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_trigger_timeout_cancels_a_run_after_failed_lookups(mosaic: Emulator, clock: Clock, lookups: Lookups) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    lookups.fail(2)
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
