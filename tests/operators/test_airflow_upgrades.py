"""A task that was deferred before an upgrade to an Airflow with a task state store saves its item when it resumes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import AGENT, Clock, effects, started
from tasks.task_runs import one_post, post_task, run_task

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRunFailedError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicResumeRunOperator


def upgraded(task: TaskRunner) -> Deferred:
    """Defer the task on Airflow 3.2, and upgrade Airflow to 3.3."""
    deferred = task.execute()
    assert isinstance(deferred, Deferred)
    task.store = StateStore()
    return deferred


def lost_connection(id: str) -> dict[str, Any]:
    """Return the event of a trigger that could not read its item."""
    return {
        "outcome": "error", "id": id, "error": "MosaicTransportError", "message": "No response.", "transient": True,
    }  # fmt: skip


def test_retry_of_a_run_that_was_deferred_before_resumes_it(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True)
    deferred = upgraded(task)
    mosaic.finish_run(started(mosaic), "failed")
    with pytest.raises(MosaicRunFailedError, match="resumes run"):
        task.resume(deferred, deferred.wait())
    mosaic.configure(hold_runs=False)
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_retry_of_a_run_continues_after_an_error_of_its_trigger(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True, timeout=3600)
    deferred = upgraded(task)
    with pytest.raises(MosaicError, match="nothing is paid twice"):
        task.resume(deferred, lost_connection(deferred.kwargs["run_id"]))
    again = task.execute()
    assert again.kwargs["run_id"] == deferred.kwargs["run_id"]
    assert again.kwargs["deadline"] == deferred.kwargs["deadline"]
    assert effects(mosaic) == {"runs_started": 1}


def test_retry_of_a_run_continues_after_the_timeout_of_its_trigger(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True)
    deferred = upgraded(task)
    with pytest.raises(Exception, match="Trigger timeout"):
        task.on_timeout()
    assert task.execute().kwargs["run_id"] == deferred.kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_retry_of_a_post_continues_after_an_error_of_its_trigger(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    task = post_task(None, wait_for_completion=True, deferrable=True)
    deferred = upgraded(task)
    with pytest.raises(MosaicError, match="publishes nothing twice"):
        task.resume(deferred, lost_connection(one_post(mosaic)["post_id"]))
    assert task.execute().kwargs["post_id"] == deferred.kwargs["post_id"]
    assert effects(mosaic) == {"posts_made": 1}


def test_retry_of_a_resume_does_not_resume_a_run_that_a_user_cancelled(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    task = TaskRunner(
        lambda: MosaicResumeRunOperator(task_id="resume", run_id=run_id, poll_interval=0.05, deferrable=True)
    )
    deferred = upgraded(task)
    with pytest.raises(MosaicError):
        task.resume(deferred, lost_connection(run_id))
    hook.cancel_run(run_id)
    with pytest.raises(AirflowFailException, match="cancelled"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("ends", ["by an error", "by the timeout of its trigger"])
def test_resume_saves_an_id_whose_save_failed(mosaic: Emulator, clock: Clock, ends: str) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    task = run_task(store, deferrable=True, timeout=3600)

    def fail_next(value: dict[str, Any]) -> None:
        store.after_set, store.broken_sets = lambda value: None, 3

    store.after_set = fail_next
    deferred = task.execute()
    intent = store.get("mosaic_run")
    assert "id" not in intent
    event = lost_connection(deferred.kwargs["run_id"])
    end = partial(task.resume, deferred, event) if ends == "by an error" else task.on_timeout
    with pytest.raises(Exception, match=r"No response|Trigger timeout"):
        end()
    # The first deadline stays, although Airflow passes none on after a timeout.
    saved = store.get("mosaic_run")
    assert (saved["id"], saved["deadline"]) == (deferred.kwargs["run_id"], intent["deadline"])


def test_resume_keeps_what_is_saved_and_needs_no_store(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    assert task.store is not None
    saved = list(task.store.history)
    task.store.broken_gets = 1
    for _ in range(2):
        deferred = task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"]})
    assert task.store.history == saved


def test_resume_of_a_task_without_durable_saves_nothing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True, durable=False)
    deferred = upgraded(task)
    task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"]})
    assert task.store is not None
    assert task.store.history == []


def test_resume_continues_although_an_argument_is_invalid_by_then(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True)
    deferred = upgraded(task)
    mosaic.finish_run(started(mosaic), "completed")
    task.make = run_task(None, deferrable=True, _airflow_from_mapped=True, video_ids=["not an id"]).make
    assert task.resume(deferred, deferred.wait()) == deferred.kwargs["run_id"]
