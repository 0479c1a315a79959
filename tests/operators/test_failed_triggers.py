"""A trigger that failed or reports an error cancels nothing. The task reads what the event says."""

from __future__ import annotations

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, StateStore
from tasks.fixtures import effects, started
from tasks.task_runs import run_task

CANCEL = "/agent_run/{run_id}/cancel"
RESUME = "/agent_run/{run_id}/resume"
GET_RUN = "/agent_run/{run_id}"


def test_other_trigger_failure_cancels_nothing(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    broken = Deferred(
        classpath="", trigger_kwargs={}, method="__fail__", kwargs={"error": "Trigger failure"}, timeout=None
    )
    with pytest.raises(Exception, match="Trigger failure"):
        task.resume(broken, None)
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.finish_run(deferred.kwargs["run_id"])
    assert task.run_to_end() == deferred.kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_trigger_that_failed_after_errors_keeps_the_run_for_the_retry(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    run_id = deferred.kwargs["run_id"]
    event = {
        "outcome": "error", "id": run_id, "error": "MosaicServerError", "message": "It answered 502.",
        "transient": True,
    }  # fmt: skip
    with pytest.raises(Exception, match=r"could not be read by its trigger. It answered 502") as failure:
        task.resume(deferred, event)
    assert type(failure.value).__name__ == "MosaicServerError"
    mosaic.finish_run(run_id)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_trigger_with_a_wrong_key_fails_without_retries(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    event = {
        "outcome": "error", "id": started(mosaic), "error": "MosaicAuthenticationError", "message": "401",
        "transient": False,
    }  # fmt: skip
    with pytest.raises(AirflowFailException, match="MosaicAuthenticationError"):
        task.resume(deferred, event)
    assert effects(mosaic) == {"runs_started": 1}


def test_event_with_an_unknown_error_class_is_read(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    for named in ("NoSuchError", "Sequence", "MosaicRunFailedError"):
        event = {"outcome": "error", "id": started(mosaic), "error": named, "message": "no luck", "transient": True}
        with pytest.raises(Exception, match="no luck"):
            task.resume(deferred, event)
