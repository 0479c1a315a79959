"""The run operator without errors: start, wait, judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import AGENT, InBackground, effects, sent, started, until

from airflow_provider_mosaic.api.errors import (
    MosaicNeedsCreditsError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.operators import MosaicRunAgentOperator
from airflow_provider_mosaic.sensors import MosaicRunSensor


def task_runner(store: StateStore | None = None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=store or StateStore())


@pytest.mark.parametrize("deferrable", [False, True])
def test_run_is_started_once_and_waited_for(mosaic: Emulator, deferrable: bool) -> None:
    task = task_runner(deferrable=deferrable)
    run_id = task.run_to_end()
    [run] = mosaic.runs()
    assert run_id == run["run_id"]
    assert effects(mosaic) == {"runs_started": 1}
    assert task.xcom("mosaic_run_id") == run_id
    # Mosaic's editor does not know the agents of the emulator.
    assert not [key for key in task.dag_run.xcoms if "url" in key[2] or "link" in key[2]]
    assert task.xcom("status") == "completed"
    assert task.xcom("output_ids") == run["output_ids"]


@pytest.mark.usefixtures("as_production_api")
@pytest.mark.parametrize("deferrable", [False, True])
def test_id_and_link_are_pushed_while_the_run_is_running(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=deferrable)
    seen: dict[str, Any] = {}

    def check_xcoms() -> None:
        run_id = started(mosaic)
        seen["id"] = until(lambda: task.dag_run.xcoms.get(("run", -1, "mosaic_run_id")))
        seen["url"] = until(lambda: task.dag_run.xcoms.get(("run", -1, "mosaic_agent_url")))
        seen["link"] = until(lambda: task.dag_run.xcoms.get(("run", -1, "_link_MosaicAgentLink")))
        seen["status"] = task.dag_run.xcoms.get(("run", -1, "status"))
        mosaic.finish_run(run_id)

    with InBackground(check_xcoms):
        run_id = task.run_to_end()
    page = f"https://edit.mosaic.so/agents/{AGENT}"
    assert seen == {"id": run_id, "url": page, "link": page, "status": None}


def test_trigger_arguments_are_json_scalars(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    deferred = task_runner(deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    for value in (*deferred.trigger_kwargs.values(), *deferred.kwargs.values()):
        assert value is None or isinstance(value, (str, int, float, bool))
    trigger = deferred.trigger()
    assert trigger.serialize() == (deferred.classpath, deferred.trigger_kwargs)
    assert json.loads(json.dumps(deferred.trigger_kwargs)) == deferred.trigger_kwargs
    assert deferred.trigger_kwargs["run_id"] == started(mosaic) == deferred.kwargs["run_id"]
    # Airflow's timeout must be later than the trigger's own deadline.
    assert deferred.timeout.total_seconds() > 24 * 3600


def test_ended_run_needs_no_triggerer(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()

    def finish_run(value: dict[str, Any]) -> None:
        if "id" in value:
            mosaic.finish_run(value["id"])

    store.after_set = finish_run
    assert isinstance(task_runner(store, deferrable=True).execute(), str)


def test_task_that_does_not_wait_ends_with_the_start(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(wait_for_completion=False, deferrable=True)
    run_id = task.execute()
    assert run_id == started(mosaic)
    assert task.xcom("mosaic_run_id") == run_id
    assert sent(mosaic, "GET /agent_run/{run_id}") == 0
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("on_partial", ["fail", "warn", "skip"])
@pytest.mark.parametrize("stale", ["running", "failed"])
def test_end_that_was_read_stays_read(mosaic: Emulator, on_partial: str, stale: str) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True, on_partial=on_partial)
    deferred = task.execute()
    run_id = deferred.kwargs["run_id"]
    mosaic.finish_run(run_id)
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", skip=1, times=1, status=stale)
    assert task.resume(deferred, {"outcome": "ended", "id": run_id, "status": "completed"}) == run_id
    assert task.xcom("status") == "completed"
    assert mosaic.counts().faults_used == {"unknown_status": 1}
    assert effects(mosaic) == {"runs_started": 1}


def test_task_defers_again_before_the_end(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    event = {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "failed"}
    # A user resumed it since: the status of the run counts, not the event.
    again = task.resume(deferred, event)
    assert isinstance(again, Deferred)
    assert again.trigger_kwargs == deferred.trigger_kwargs | {"started_at": again.trigger_kwargs["started_at"]}
    mosaic.finish_run(deferred.kwargs["run_id"])
    assert task.resume(again, again.wait()) == deferred.kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    "event",
    [None, {}, {"outcome": "ended", "id": "another"}, {"outcome": "novel"}, {"status": "success"}],
    ids=str,
)
def test_event_of_another_run_is_ignored(mosaic: Emulator, event: dict[str, Any] | None) -> None:
    mosaic.configure(hold_runs=True)
    task = task_runner(deferrable=True)
    deferred = task.execute()
    again = task.resume(deferred, event)
    assert isinstance(again, Deferred)
    assert again.kwargs["run_id"] == deferred.kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


# One table of ends. Every kind of wait must end alike.
ENDS: list[tuple[str, dict[str, Any], str, str | type[Exception]]] = [
    ("completed", {}, "warn", "good"),
    ("completed", {}, "fail", "good"),
    ("partial_complete", {"failed": ["Captions"]}, "warn", "good"),
    ("partial_complete", {"failed": ["Captions"]}, "fail", MosaicRunPartialError),
    ("partial_complete", {"failed": ["Captions"]}, "skip", "skipped"),
    ("failed", {"message": "The node broke"}, "warn", MosaicRunFailedError),
    ("failed", {"message": "The node broke"}, "skip", MosaicRunFailedError),
    ("failed", {"needs_credits": True}, "warn", MosaicNeedsCreditsError),
    ("cancelled", {}, "warn", MosaicRunCancelledError),
    ("cancelled", {}, "skip", MosaicRunCancelledError),
]


def ending_of(act: Any) -> str | type[BaseException]:
    try:
        act()
    except AirflowSkipException:
        return "skipped"
    except (AirflowFailException, MosaicRunFailedError) as error:
        failure: BaseException = error
    else:
        return "good"
    if isinstance(failure, AirflowFailException):
        cause = failure.error
        assert str(failure).startswith(f"{type(cause).__name__}: ")
        return type(cause)
    return type(failure)


@pytest.mark.parametrize("way", ["operator", "deferrable operator", "sensor", "deferrable sensor"])
@pytest.mark.parametrize(("status", "end", "on_partial", "expected"), ENDS, ids=lambda value: str(value))
@pytest.mark.parametrize("detour", [None, "under_review"], ids=["straight", "by an unknown status"])
def test_every_kind_of_wait_ends_alike(
    mosaic: Emulator,
    hook: Any,
    way: str,
    status: str,
    end: dict[str, Any],
    on_partial: str,
    expected: Any,
    detour: str | None,
) -> None:
    mosaic.configure(hold_runs=True, initial_status=detour or "running")
    common = {"on_partial": on_partial, "poll_interval": 0.05, "deferrable": "deferrable" in way}

    def finish() -> None:
        run_id = started(mosaic)
        # At least one poll reads the first status.
        until(lambda: sent(mosaic, "GET /agent_run/{run_id}") >= 1)
        mosaic.finish_run(run_id, status, **end)

    if "sensor" in way:
        run_id = hook.run_agent(AGENT)
        task = TaskRunner(lambda: MosaicRunSensor(task_id="wait", run_id=run_id, **common))
    else:
        task = task_runner(**common)
    with InBackground(finish):
        assert ending_of(task.run_to_end) == expected
    assert effects(mosaic).get("runs_started") == 1
    assert mosaic.counts().runs_cancelled == 0
    if "operator" in way:
        assert task.xcom("status") == status


def test_failure_has_a_report(mosaic: Emulator) -> None:
    mosaic.configure(failing_nodes={"Captions": "No speech was found"})
    with pytest.raises(MosaicRunFailedError) as failure:
        task_runner().execute()
    story = str(failure.value)
    [run] = mosaic.runs()
    assert run["run_id"] in story
    assert "Failed nodes:" in story
    assert "Captions" in story
    assert "No speech was found" in story
    assert "Nothing was rendered" in story


def test_partial_failure_reports_the_outputs(mosaic: Emulator, hook: Any, tmp_path: Path) -> None:
    mosaic.configure(hold_runs=True, render="tiny")
    film = tmp_path / "film.mp4"
    film.write_bytes(SAMPLE_VIDEO.read_bytes())
    task = task_runner(
        on_partial="fail", agent_id="a0000000-0000-4000-8000-000000000002", video_ids=[hook.upload_asset(film)]
    )

    def finish() -> None:
        mosaic.finish_run(started(mosaic), "partial_complete", message="No music today", failed=["AI Music"])

    with InBackground(finish), pytest.raises(AirflowFailException) as failure:
        task.execute()
    [rendered] = mosaic.runs()[0]["output_ids"]
    assert f"1 output(s) were rendered and can be downloaded: {rendered}" in str(failure.value)
    assert "AI Music" in str(failure.value)
    assert task.xcom("output_ids") == [rendered]


def test_unreadable_node_names_do_not_hide_the_end(mosaic: Emulator, clock: Any) -> None:
    mosaic.configure(failing_nodes={"Captions": "No speech was found"})
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}/nodes", times=None)
    with pytest.raises(MosaicRunFailedError, match="No speech was found"):
        task_runner().execute()
