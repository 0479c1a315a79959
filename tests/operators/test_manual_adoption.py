"""If the outcome of a start is unknown, a user names the run in an Airflow Variable, and the task adopts it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import DagRun, Deferred, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, START, Clock, effects, in_pause, sent, started, until
from tasks.kills import killed_once
from tasks.task_runs import fails_with, post_task, run_task

from airflow_provider_mosaic.airflow_compat import triggers_receive_kills
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicRateLimitError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.durable import reads
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicCreateAvatarProfileOperator

#: Airflow 3.3, and earlier.
STORES = pytest.mark.parametrize("make_store", [StateStore, lambda: None], ids=["with a store", "without a store"])
SCHEDULED = "scheduled__2026-11-24T01:00:00+00:00"
VIDEO = "https://cdn.example.org/host.mp4"

SetVariable = Callable[..., None]


@pytest.fixture
def set_variable(monkeypatch: pytest.MonkeyPatch) -> SetVariable:
    """Set the Variable of a task."""

    def set_variable(id: object, *, task: str = "run", entry: str = "manual__2026-01-01") -> None:
        text = id if isinstance(id, str) and id.startswith("<") else json.dumps({entry: id})
        monkeypatch.setenv(f"AIRFLOW_VAR_MOSAIC_ADOPT.DAG.{task.upper()}", text)

    return set_variable


def lose_start(mosaic: Emulator, **options: Any) -> tuple[TaskRunner, str]:
    """Return a task with a lost start that may not adopt the only candidate by itself, and the candidate."""
    mosaic.configure(hold_runs=True)
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(options.pop("store", None), on_ambiguous="fail", **options)
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    run_id = mosaic.runs()[0]["run_id"]
    assert "'mosaic_adopt.dag.run'" in message
    assert json.dumps({"manual__2026-01-01": run_id}) in message
    return task, run_id


@pytest.mark.parametrize("value", [SCHEDULED, quote(SCHEDULED, safe=""), "2026-11-24T01:00:00+00:00"])
def test_command_names_the_dag_run_that_a_link_contains_too(mosaic: Emulator, clock: Clock, value: str) -> None:
    callback_url = f"https://hooks.example.org/m?run={value}&key=3f9a1c77d0e2"
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(StateStore(), dag_run=DagRun(run_id=SCHEDULED), on_ambiguous="fail", callback_url=callback_url)
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    run_id = mosaic.runs()[0]["run_id"]
    assert f"runs adopt dag run {SCHEDULED} {run_id} " in message
    assert json.dumps({SCHEDULED: run_id}) in message
    assert str(MosaicError(f"key 3f9a1c77d0e2 of {SCHEDULED}")) == f"key *** of {SCHEDULED}"


@STORES
@pytest.mark.parametrize("cleared", [True, False], ids=["cleared", "retried"])
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_named_run_is_continued(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, make_store: Any, cleared: bool, deferrable: bool
) -> None:
    task, run_id = lose_start(mosaic, store=make_store(), deferrable=deferrable)
    set_variable(run_id)
    if cleared:
        task.clear()
    mosaic.finish_run(run_id)
    assert task.run_to_end() == run_id
    assert task.xcom("mosaic_run_id") == run_id
    assert task.xcom("status") == "completed"
    assert effects(mosaic) == {"runs_started": 1}


@STORES
def test_clear_without_a_variable_starts_a_new_run(mosaic: Emulator, clock: Clock, make_store: Any) -> None:
    task, run_id = lose_start(mosaic, store=make_store())
    task.clear()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() != run_id
    assert effects(mosaic) == {"runs_started": 2}


@STORES
def test_variable_of_another_dag_run_is_ignored(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, make_store: Any
) -> None:
    task, run_id = lose_start(mosaic, store=make_store())
    set_variable(run_id, entry="manual__2026-01-02")
    task.clear()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() != run_id


def test_mapped_task_is_named_with_its_index(mosaic: Emulator, clock: Clock, set_variable: SetVariable) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(StateStore(), on_ambiguous="fail", map_index=4)
    assert '{"manual__2026-01-01[4]": "' in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    set_variable(mosaic.runs()[0]["run_id"], entry="manual__2026-01-01[4]")
    task.clear()
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_adopted_run_is_recorded_and_the_variable_not_read_again(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable
) -> None:
    task, run_id = lose_start(mosaic, store=StateStore(), deferrable=True)
    set_variable(run_id)
    task.clear()
    assert isinstance(task.execute(), Deferred)
    set_variable("<no JSON any more>")
    assert task.execute().kwargs["run_id"] == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("named_at", [None, "2026-01-01T00:00:00+00:00"], ids=["by hand", "with a time"])
def test_with_a_store_a_variable_is_used_once(
    mosaic: Emulator,
    clock: Clock,
    set_variable: SetVariable,
    caplog: pytest.LogCaptureFixture,
    named_at: str | None,
) -> None:
    task, run_id = lose_start(mosaic, store=StateStore())
    set_variable(run_id if named_at is None else {"id": run_id, "named_at": named_at})
    task.clear()
    mosaic.finish_run(run_id)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == run_id
    for number in (2, 3):
        task.clear()
        assert task.run_to_end() == mosaic.runs()[-1]["run_id"] != run_id
        assert effects(mosaic) == {"runs_started": number}
    assert "which this task adopted before" in caplog.text
    assert "Delete the Variable" in caplog.text


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_advice_of_the_log_continues_the_same_run_each_time(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    mosaic.configure(credits=0)
    task = run_task(StateStore(), deferrable=deferrable)
    task.retries = task.max_tries = 0
    for _ in range(3):
        with pytest.raises(MosaicNeedsCreditsError) as failure:
            task.run_to_end()
        value = re.search(r"to (\{.*\}) and clear this task", str(failure.value))
        assert value is not None
        monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.RUN", value[1])
        task.clear()
    mosaic.configure(credits=1000)
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 3}


def test_changed_variable_is_used_too(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, hook: MosaicHook
) -> None:
    task, first = lose_start(mosaic, store=StateStore())
    second = hook.run_agent(AGENT)
    for run_id in (first, second):
        mosaic.finish_run(run_id)
        set_variable(run_id)
        task.clear()
        assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("options", [{}, {"durable": False}], ids=str)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_without_a_store_a_failure_of_a_named_run_announces_that_it_is_adopted_again(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, deferrable: bool, options: dict[str, Any]
) -> None:
    task, run_id = lose_start(mosaic, deferrable=deferrable, **options)
    set_variable(run_id)
    mosaic.finish_run(run_id, "failed")
    # The retry resumes it, and it fails again.
    mosaic.configure(hold_runs=False, failing_nodes={"Captions": "broken"})
    adopts = f"which adopts run {run_id!r} again while Variable 'mosaic_adopt.dag.run' names it"
    with pytest.raises(MosaicRunFailedError) as failure:
        task.run_to_end()
    assert adopts in str(failure.value)
    mosaic.configure(failing_nodes={})
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2}


@pytest.mark.parametrize("options", [{}, {"durable": False}], ids=str)
def test_without_a_store_a_failure_of_a_named_post_announces_that_it_is_adopted_again(
    mosaic: Emulator, hook: MosaicHook, set_variable: SetVariable, options: dict[str, Any]
) -> None:
    mosaic.configure(hold_posts=True)
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    task = post_task(None, wait_for_completion=True, deferrable=True, **options)
    task.try_number = 1
    set_variable(post_id, task="post")
    deferred = task.execute()
    assert deferred.kwargs["post_id"] == post_id
    event = {"outcome": "error", "id": post_id, "error": "MosaicServerError", "message": "Down.", "transient": True}
    with pytest.raises(
        MosaicServerError, match=f"adopts post {post_id!r} again while Variable 'mosaic_adopt.dag.post'"
    ):
        task.resume(deferred, event)
    assert task.execute().kwargs["post_id"] == post_id
    assert effects(mosaic) == {"posts_made": 1}


def test_without_a_store_the_log_asks_to_delete_the_variable(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, caplog: pytest.LogCaptureFixture
) -> None:
    task, run_id = lose_start(mosaic)
    mosaic.finish_run(run_id)
    set_variable(run_id)
    for _ in range(2):
        task.clear()
        assert task.run_to_end() == run_id
    assert "Delete the Variable 'mosaic_adopt.dag.run'" in caplog.text
    assert effects(mosaic) == {"runs_started": 1}


@STORES
def test_named_run_that_failed_is_resumed(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, make_store: Any
) -> None:
    task, run_id = lose_start(mosaic, store=make_store())
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    set_variable(run_id)
    task.clear()
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("on_retry", ["new", "fail"])
@STORES
def test_named_run_is_resumed_by_the_retry_of_a_failed_resume(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, make_store: Any, on_retry: str
) -> None:
    task, run_id = lose_start(mosaic, store=make_store(), on_retry=on_retry)
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    set_variable(run_id)
    task.clear()
    mosaic.inject("rate_limit", method="POST", path="/agent_run/{run_id}/resume", times=6)
    with pytest.raises(MosaicRateLimitError):
        task.execute()
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("status", ["failed", "running"])
def test_named_run_that_fails_after_it_was_continued_is_retried_by_on_retry(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, status: str
) -> None:
    task, run_id = lose_start(mosaic, store=StateStore(), on_retry="new", deferrable=True)
    if status == "failed":
        mosaic.finish_run(run_id, status)
    set_variable(run_id)
    task.clear()
    deferred = task.execute()
    assert deferred.kwargs["run_id"] == run_id
    mosaic.finish_run(run_id, "failed")
    with pytest.raises(MosaicRunFailedError):
        task.resume(deferred, deferred.wait())
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() != run_id


def test_named_run_of_another_agent_is_rejected(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, hook: MosaicHook
) -> None:
    task, _ = lose_start(mosaic, store=StateStore())
    other = "a0000000-0000-4000-8000-000000000001"
    stranger = hook.run_agent(other, video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"])
    set_variable(stranger)
    task.clear()
    message = fails_with(task.execute, MosaicValidationError)
    for part in (stranger, other, AGENT, "'mosaic_adopt.dag.run'"):
        assert part in message
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("spelled", [AGENT.upper(), AGENT.replace("-", "")])
def test_named_run_whose_agent_is_spelled_in_another_way_is_continued(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    task, run_id = lose_start(mosaic, store=StateStore())
    set_variable(run_id)
    task.clear()
    mosaic.finish_run(run_id)
    shown = Run(run_id=run_id, status="completed", agent_id=spelled)
    monkeypatch.setattr(MosaicHook, "get_run", lambda hook, run_id: shown)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("value", ["no-such-run", None, "<no JSON>"])
@STORES
def test_unusable_variable_fails_without_retries(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable, make_store: Any, value: object
) -> None:
    task, _ = lose_start(mosaic, store=make_store())
    set_variable(value)
    task.clear()
    assert "'mosaic_adopt.dag.run'" in fails_with(task.execute, MosaicValidationError)
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + START) == 1


def test_named_run_that_cannot_be_read_is_left_to_a_retry(
    mosaic: Emulator, clock: Clock, set_variable: SetVariable
) -> None:
    task, run_id = lose_start(mosaic, store=StateStore())
    set_variable(run_id)
    task.clear()
    mosaic.finish_run(run_id)
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}", times=6)
    with pytest.raises(MosaicServerError):
        task.execute()
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_run_of_the_cleared_task_is_cancelled_unless_it_is_the_named_one(
    mosaic: Emulator, hook: MosaicHook, set_variable: SetVariable
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute().kwargs["run_id"]
    named = hook.run_agent(AGENT)
    set_variable(named)
    task.clear()
    assert task.execute().kwargs["run_id"] == named
    assert {run["run_id"]: run["status"] for run in mosaic.runs()} == {old: "cancelled", named: "running"}


@pytest.mark.skipif(not triggers_receive_kills(), reason="this Airflow tells no trigger of a clear")
def test_named_run_of_the_cleared_task_is_resumed_after_the_late_kill(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, set_variable: SetVariable
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute()
    run_id = old.kwargs["run_id"]
    set_variable(run_id)
    task.clear()
    # The first pause is that for the late kill.
    in_pause(clock, monkeypatch, lambda: asyncio.run(old.trigger().on_kill()))
    assert task.execute().kwargs["run_id"] == run_id
    assert mosaic.runs()[0]["status"] == "running"
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@pytest.mark.skipif(not triggers_receive_kills(), reason="this Airflow tells no trigger of a clear")
@pytest.mark.parametrize("cancel_on_kill", [True, False])
def test_named_run_is_resumed_if_the_late_kill_comes_before_its_second_read(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, set_variable: SetVariable, cancel_on_kill: bool
) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    task = run_task(store, deferrable=True, cancel_on_kill=cancel_on_kill)
    old = task.execute()
    run_id = old.kwargs["run_id"]
    set_variable(run_id)
    task.clear()

    def late_kill(value: dict[str, Any]) -> None:
        # The first read is before the adoption is saved.
        store.after_set = lambda _: None
        asyncio.run(old.trigger().on_kill())
        if not cancel_on_kill:
            hook.cancel_run(run_id)

    store.after_set = late_kill
    if cancel_on_kill:
        assert task.execute().kwargs["run_id"] == run_id
    else:
        # Only a user can have cancelled it.
        fails_with(task.execute, MosaicRunCancelledError)
    resumed = {"runs_resumed": 1} if cancel_on_kill else {}
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, **resumed}


@pytest.mark.skipif(not triggers_receive_kills(), reason="this Airflow tells no trigger of a clear")
def test_kill_while_the_late_kill_of_a_resumed_run_is_awaited_is_saved(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, set_variable: SetVariable
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    run_id = task.execute().kwargs["run_id"]
    mosaic.finish_run(run_id, "failed")
    set_variable(run_id)
    task.clear()
    short_pauses = reads._PAUSES
    monkeypatch.setattr(reads, "_PAUSES", (3600.0,))
    seen = sent(mosaic, "GET /agent_run/{run_id}")

    def is_time() -> bool:
        # Two reads before the resume, and one after it.
        return sent(mosaic, "GET /agent_run/{run_id}") > seen + 3

    with killed_once(is_time, task), pytest.raises(MosaicRunCancelledError, match="was killed"):
        task.execute()
    monkeypatch.setattr(reads, "_PAUSES", short_pauses)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 2}


@pytest.mark.skipif(not triggers_receive_kills(), reason="this Airflow tells no trigger of a clear")
def test_kill_during_the_second_resume_cancels_the_run(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, set_variable: SetVariable
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute()
    run_id = old.kwargs["run_id"]
    mosaic.finish_run(run_id, "failed")
    set_variable(run_id)
    task.clear()
    # The first pause is that for the late kill, after the first resume.
    in_pause(clock, monkeypatch, lambda: asyncio.run(old.trigger().on_kill()))
    resume_run = MosaicHook.resume_run

    def resume_and_be_killed(hook: MosaicHook, run_id: str) -> Any:
        resumed = resume_run(hook, run_id)
        if mosaic.counts().runs_resumed == 2:
            task.operator.on_kill()
        return resumed

    monkeypatch.setattr(MosaicHook, "resume_run", resume_and_be_killed)
    with pytest.raises(MosaicRunCancelledError, match="was killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 2, "runs_resumed": 2}
    assert mosaic.runs()[0]["status"] == "cancelled"


def test_task_with_a_known_run_needs_no_variable(mosaic: Emulator, set_variable: SetVariable) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    run_id = task.execute().kwargs["run_id"]
    set_variable("another")
    assert task.execute().kwargs["run_id"] == run_id


# Posts and profiles


@STORES
@pytest.mark.parametrize("status", ["posted", "failed"])
def test_named_post_is_continued(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, set_variable: SetVariable, make_store: Any, status: str
) -> None:
    if status == "failed":
        mosaic.configure(failing_platforms={"youtube": "Quota"})
    old = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    until(lambda: mosaic.posts()[0]["status"] == status)
    # Existing items are unknown, so nothing is adopted without a user.
    mosaic.inject("forbidden", method="GET", path="/social/posts")
    mosaic.inject("response_lost", method="POST", path="/social/post")
    task = post_task(make_store())
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    ours = mosaic.posts()[1]["post_id"]
    assert json.dumps({"manual__2026-01-01": ours}) in message
    assert json.dumps({"manual__2026-01-01": old}) in message
    until(lambda: mosaic.posts()[1]["status"] == status)
    mosaic.configure(failing_platforms={})
    set_variable(ours, task="post")
    task.clear()
    # An unpublished failed post is created again, like that of an earlier attempt.
    assert (task.execute() == ours) == (status == "posted")
    assert effects(mosaic) == {"posts_made": 2 if status == "posted" else 3}


@STORES
def test_named_profile_is_continued(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, set_variable: SetVariable, make_store: Any
) -> None:
    old = hook.create_avatar_profile("Host", video_url=VIDEO).id
    task = TaskRunner(
        lambda: MosaicCreateAvatarProfileOperator(task_id="make", name="Host", video_url=VIDEO), store=make_store()
    )
    mosaic.inject("forbidden", method="GET", path="/avatar-profiles")
    mosaic.inject("response_lost", method="POST", path="/avatar-profiles/create")
    assert old in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    ours = next(profile.id for profile in hook.list_avatar_profiles() if profile.id != old)
    set_variable(ours, task="make")
    task.clear()
    assert task.execute() == ours
    assert effects(mosaic) == {"avatars_created": 2}
