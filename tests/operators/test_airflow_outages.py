"""Airflow fails: connections, Variables, XComs and the state store can't be read or written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, Killed, StateStore, TaskInstance, TaskRunner
from tasks.fixtures import START, Clock, Lookups, effects, nothing_was_done, started
from tasks.kills import killed_during
from tasks.task_runs import fail_first_attempt, fails_with, post_task, rendered, run_task

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConnectionError,
    MosaicRunCancelledError,
    MosaicTransportError,
)
from airflow_provider_mosaic.durable import failures
from airflow_provider_mosaic.durable import manual_adoption as decisions
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCancelRunOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicResumeRunOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.tasks import run_cancels

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
STORES = pytest.mark.parametrize("make_store", [StateStore, lambda: None], ids=["with a store", "without a store"])
Make = Callable[..., TaskRunner]


@pytest.fixture(autouse=True)
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_SAVE_PAUSES", (0.0,) * len(failures._SAVE_PAUSES))


def resume_task(store: StateStore | None, run_id: str = "a-run", **options: Any) -> TaskRunner:
    arguments = {"task_id": "resume", "run_id": run_id, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicResumeRunOperator(**arguments), store=store)


def avatar_task(store: StateStore | None) -> TaskRunner:
    video = "https://cdn.example.org/host.mp4"
    return TaskRunner(
        lambda: MosaicCreateAvatarProfileOperator(task_id="avatar", name="Host", video_url=video), store=store
    )


def agent_task(store: StateStore | None) -> TaskRunner:
    definition = {"name": "Made once", "nodes": {"film": {"tile": "Video Generation"}}}
    return TaskRunner(lambda: MosaicApplyAgentOperator(task_id="agent", definition=definition), store=store)


# Lookups of the connection


STARTS: dict[str, Make] = {
    "run": run_task,
    "post": post_task,
    "avatar": avatar_task,
    "agent": agent_task,
    "resume": resume_task,
    "cancel": lambda store: TaskRunner(lambda: MosaicCancelRunOperator(task_id="cancel", run_id="a-run"), store=store),
    "upload": lambda store: TaskRunner(
        lambda: MosaicUploadOperator(task_id="upload", source="https://cdn.example.org/a.mp4"), store=store
    ),
}


@STORES
@pytest.mark.parametrize("kind", STARTS)
def test_failed_lookup_at_the_start_is_left_to_the_retries(
    mosaic: Emulator, lookups: Lookups, kind: str, make_store: Any
) -> None:
    lookups.fail()
    task = STARTS[kind](make_store())
    with pytest.raises(MosaicConnectionError, match="mosaic_conn_id='mosaic_default'") as failure:
        task.execute()
    assert failure.value.transient
    assert nothing_was_done(mosaic)


@STORES
def test_retry_starts_the_run_after_a_failed_lookup(
    mosaic: Emulator, clock: Clock, lookups: Lookups, make_store: Any
) -> None:
    lookups.fail(2)
    task = run_task(make_store())
    with pytest.raises(MosaicConnectionError):
        task.execute()
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


@STORES
@pytest.mark.parametrize("make", [run_task, post_task], ids=["run", "post"])
def test_failed_lookup_after_the_deferral_is_tolerated(
    mosaic: Emulator, clock: Clock, lookups: Lookups, make_store: Any, make: Make
) -> None:
    mosaic.configure(hold_runs=True, hold_posts=True)
    task = make(make_store(), deferrable=True, wait_for_completion=True)
    deferred = task.execute()
    mosaic.configure(hold_runs=False, hold_posts=False)
    event = deferred.wait()
    lookups.fail(1)
    again = task.resume(deferred, event)
    # The triggerer continues to wait, without a worker.
    assert isinstance(again, Deferred)
    assert task.resume(again, again.wait()) == event["id"]
    assert sum(effects(mosaic).values()) == 1


@STORES
def test_failed_lookup_at_the_deadline_is_tolerated_before_the_cancel(
    mosaic: Emulator, clock: Clock, lookups: Lookups, make_store: Any
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(make_store(), deferrable=True)
    deferred = task.execute()
    mosaic.finish_run(started(mosaic))
    lookups.fail(4)
    assert task.resume(deferred, {"outcome": "timeout", "id": started(mosaic)}) == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


@STORES
def test_lookups_that_fail_for_minutes_fail_the_attempt_not_the_task(
    mosaic: Emulator, clock: Clock, lookups: Lookups, make_store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(make_store(), deferrable=True)
    deferred = task.execute()
    lookups.fail()
    for event in (
        {"outcome": "timeout", "id": started(mosaic)},
        {"outcome": "error", "id": started(mosaic), "error": "MosaicConnectionError", "message": "", "transient": True},
    ):
        with pytest.raises(MosaicConnectionError):
            task.resume(deferred, event)
    assert started(mosaic) in caplog.text
    assert effects(mosaic) == {"runs_started": 1}


def test_retry_keeps_the_run_when_its_lookup_fails(mosaic: Emulator, clock: Clock, lookups: Lookups) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "completed")
    lookups.fail(3)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_named_run_is_not_rejected_for_a_failed_lookup(
    mosaic: Emulator, clock: Clock, lookups: Lookups, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = rendered(mosaic, hook)[0]
    task = run_task(StateStore())
    task.try_number = 1
    task.clear()
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.RUN", json.dumps({"manual__2026-01-01": run_id}))
    lookups.fail(1)
    with pytest.raises(MosaicConnectionError):
        task.execute()
    assert task.execute() == run_id
    assert effects(mosaic) == {"runs_started": 1}


# Variables


def test_unreadable_variable_is_not_taken_for_none(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = run_task(StateStore())
    task.try_number = 1
    task.clear()

    def unavailable(name: str) -> str | None:
        raise RuntimeError("the API server is unavailable")

    monkeypatch.setattr(decisions, "read_variable", unavailable)
    with pytest.raises(MosaicTransportError, match=r"'mosaic_adopt.dag.run' could not be read.*Nothing was sent"):
        task.execute()
    assert nothing_was_done(mosaic)


# Records after a start


@pytest.fixture
def broken_xcom(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the XCom backend fail. Return the keys that tasks tried to push."""
    keys: list[str] = []

    def push(ti: TaskInstance, key: str, value: Any) -> None:
        keys.append(key)
        raise OSError("the bucket is unavailable")

    monkeypatch.setattr(TaskInstance, "xcom_push", push)
    return keys


@STORES
@WAITS
def test_run_is_waited_for_when_its_xcom_cannot_be_pushed(
    mosaic: Emulator, make_store: Any, deferrable: bool, broken_xcom: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run_task(make_store(), deferrable=deferrable).run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}
    warnings = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert any("'mosaic_run_id'" in line and started(mosaic) in line for line in warnings)
    # Each push is retried.
    assert broken_xcom.count("mosaic_run_id") == len(failures._SAVE_PAUSES) + 1
    assert {"status", "output_ids"} <= set(broken_xcom)


@pytest.mark.parametrize(
    ("make", "effect"),
    [(post_task, "posts_made"), (avatar_task, "avatars_created"), (agent_task, None)],
    ids=["post", "avatar", "agent"],
)
def test_item_is_owned_when_its_xcom_cannot_be_pushed(
    mosaic: Emulator, broken_xcom: list[str], make: Make, effect: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    made = make(StateStore()).execute()
    assert made
    assert broken_xcom
    assert f"{made!r}" in caplog.text
    assert effect is None or effects(mosaic) == {effect: 1}


def test_xcom_push_is_retried(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failed = TaskInstance.xcom_push, []

    def push(ti: TaskInstance, key: str, value: Any) -> None:
        if key not in failed:
            failed.append(key)
            raise OSError("the bucket is unavailable")
        real(ti, key, value)

    monkeypatch.setattr(TaskInstance, "xcom_push", push)
    task = run_task(StateStore())
    assert task.run_to_end() == task.xcom("mosaic_run_id")
    assert task.xcom("status")
    assert "could not save" not in caplog.text


def test_id_that_cannot_be_recorded_is_logged(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore()
    store.after_set = lambda value: setattr(store, "broken_sets", 0 if "id" in value else 100)
    assert run_task(store).run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}
    assert f"run {started(mosaic)!r} in the task state store" in caplog.text


def test_nothing_is_sent_when_the_intent_cannot_be_recorded(mosaic: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    for make in (run_task, post_task, avatar_task):
        store = StateStore()
        store.broken_sets = 100
        with pytest.raises(RuntimeError, match="away"):
            make(store).execute()
        assert "Nothing was sent" in caplog.text
        caplog.clear()
    assert nothing_was_done(mosaic)


def test_rejection_is_reported_when_the_store_fails(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(store: StateStore, key: str) -> None:
        raise RuntimeError("the API server is unavailable")

    monkeypatch.setattr(StateStore, "delete", unavailable)
    mosaic.inject("forbidden", method="POST", path=START)
    with pytest.raises(AirflowFailException, match="MosaicPermissionError"):
        run_task(StateStore()).execute()


# Records that are lost


def kill_first_attempt(mosaic: Emulator, store: StateStore, make: Make = run_task) -> TaskRunner:
    task = make(store.killing_at("id"))
    mosaic.configure(hold_runs=True)
    with pytest.raises(Killed):
        task.execute()
    return task


@pytest.mark.parametrize("how", ["returns none", "raises"])
@pytest.mark.parametrize("make", [run_task, post_task], ids=["run", "post"])
def test_missing_value_of_an_entry_means_unknown(mosaic: Emulator, clock: Clock, how: str, make: Make) -> None:
    store = StateStore()
    task = kill_first_attempt(mosaic, store, make)
    store.lose(raising=how == "raises")
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    ids = [run["run_id"] for run in mosaic.runs()] or [post["post_id"] for post in mosaic.posts()]
    assert ids[0] in message
    assert sum(effects(mosaic).values()) == 1
    task.clear()
    mosaic.configure(hold_runs=False)
    task.run_to_end()
    assert sum(effects(mosaic).values()) == 2


def test_missing_value_of_an_entry_and_no_candidate_starts_a_run(mosaic: Emulator, clock: Clock) -> None:
    store = StateStore()
    task = run_task(store.killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    store.lose()
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("backend", ["airflow.providers.common.io.state_store.backend.StateStoreObjectStorageBackend"])
def test_entry_that_can_vanish_means_unknown(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    store = StateStore()
    task = kill_first_attempt(mosaic, store)
    store.clear()
    monkeypatch.setenv("AIRFLOW__STATE_STORE__BACKEND", backend)
    assert started(mosaic) in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}


def test_unreadable_store_is_left_to_the_retries(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore()
    task = kill_first_attempt(mosaic, store)
    store.broken_gets = 1
    with pytest.raises(MosaicTransportError, match="Nothing was sent") as failure:
        task.execute()
    assert failure.value.transient
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_unreadable_store_does_not_block_a_cleared_task(mosaic: Emulator) -> None:
    store = StateStore()
    task = kill_first_attempt(mosaic, store)
    task.clear()
    mosaic.configure(hold_runs=False)
    store.broken_gets = 1
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 2}


# Kills during an outage of Airflow's API server


@pytest.mark.parametrize(
    ("method", "path"), [("POST", START), ("GET", "/agent_run/{run_id}")], ids=["starting", "waiting"]
)
def test_kill_during_an_outage_of_the_api_server_does_not_cancel_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_cancels, "api_server_is_unreachable", lambda seconds: True)
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), poll_interval=0.1)
    with killed_during(method, path, task, monkeypatch), pytest.raises(MosaicRunCancelledError, match="keeps running"):
        task.execute()
    assert started(mosaic) in caplog.text
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.configure(hold_runs=False)
    monkeypatch.undo()
