"""Existing runs are resumed and waited for, or cancelled; successful runs are left as they are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException, TaskDeferralTimeout
from tasks.fakes import Deferred, StateStore, TaskRunner
from tasks.fixtures import AGENT, LATE_EFFECT_PAUSES, Clock, InBackground, effects, in_pause, sent, until
from tasks.kills import killed_once

from airflow_provider_mosaic.airflow_compat import triggers_receive_kills
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicNotFoundError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.durable import reads
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicCancelRunOperator, MosaicResumeRunOperator
from airflow_provider_mosaic.tasks.run_waits import RunWait

GET_RUN = "/agent_run/{run_id}"
RESUME = "/agent_run/{run_id}/resume"
CANCEL = "/agent_run/{run_id}/cancel"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


needs_kills = pytest.mark.skipif(not triggers_receive_kills(), reason="this Airflow tells no trigger of a clear")


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True)
    return hook.run_agent(AGENT)


def resuming(run_id: str, store: StateStore | None = None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "resume", "run_id": run_id, "poll_interval": 0.05, **options}
    return TaskRunner(lambda: MosaicResumeRunOperator(**arguments), store=store or StateStore())


def cancelling(run_id: str) -> TaskRunner:
    return TaskRunner(lambda: MosaicCancelRunOperator(task_id="cancel", run_id=run_id))


# Cancel


@pytest.mark.parametrize(
    ("fault", "options"), [("server_error", {"status": 500, "effect": True}), ("response_lost", {})]
)
def test_cancel_whose_responses_are_lost_is_read(
    mosaic: Emulator, run_id: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: str, options: dict[str, Any]
) -> None:
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", clock.sleep)
    mosaic.inject(fault, method="POST", path=CANCEL, times=None, **options)
    assert cancelling(run_id).execute() == run_id


# Resume


@WAITS
@pytest.mark.usefixtures("as_production_api")
@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_failed_run_is_resumed_once_and_waited_for(
    mosaic: Emulator, run_id: str, deferrable: bool, status: str
) -> None:
    mosaic.finish_run(run_id, status)
    mosaic.configure(hold_runs=False)
    task = resuming(run_id, deferrable=deferrable)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}
    assert mosaic.runs()[0]["status"] == "completed"
    assert task.xcom("mosaic_run_id") == run_id
    assert task.xcom("mosaic_agent_url") == f"https://edit.mosaic.so/agents/{AGENT}"
    assert task.xcom("status") == "completed"
    assert task.xcom("output_ids") == mosaic.runs()[0]["output_ids"]


@WAITS
def test_running_run_is_only_waited_for(mosaic: Emulator, run_id: str, deferrable: bool) -> None:
    def finish() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) >= 2)
        mosaic.finish_run(run_id)

    with InBackground(finish):
        assert resuming(run_id, deferrable=deferrable).run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + RESUME) == 0


@WAITS
@pytest.mark.parametrize(
    ("status", "on_partial", "expected"),
    [
        ("completed", "warn", None),
        ("partial_complete", "warn", None),
        ("partial_complete", "fail", AirflowFailException),
        ("partial_complete", "skip", AirflowSkipException),
    ],
)
def test_run_that_cannot_be_resumed_is_taken_as_it_is(
    mosaic: Emulator, run_id: str, deferrable: bool, status: str, on_partial: str, expected: Any
) -> None:
    mosaic.finish_run(run_id, status)
    task = resuming(run_id, deferrable=deferrable, on_partial=on_partial)
    if expected is None:
        assert task.execute() == run_id
    else:
        with pytest.raises(expected, match="ended partly"):
            task.execute()
    assert sent(mosaic, "POST " + RESUME) == 0


def test_task_that_does_not_wait_ends_with_the_resume(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    assert resuming(run_id, wait_for_completion=False, deferrable=True).execute() == run_id
    assert mosaic.runs()[0]["status"] == "running"
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("fault", ["response_lost", "truncated_json"])
def test_resume_with_a_lost_response_is_not_sent_again(mosaic: Emulator, run_id: str, fault: str) -> None:
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    mosaic.inject(fault, method="POST", path=RESUME)
    assert resuming(run_id).run_to_end() == run_id
    assert sent(mosaic, "POST " + RESUME) == 1
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("resumed_by", ["this task with a lost response", "another user"])
def test_old_end_of_a_resumed_run_is_ignored_for_a_while(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, run_id: str, resumed_by: str
) -> None:
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    if resumed_by == "another user":
        hook.resume_run(run_id)
    else:
        mosaic.inject("response_lost", method="POST", path=RESUME)
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="failed", times=4)
    assert resuming(run_id).run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_old_end_after_an_accepted_resume_is_ignored_for_a_while(
    mosaic: Emulator, clock: Clock, run_id: str, status: str
) -> None:
    mosaic.finish_run(run_id, status)
    mosaic.configure(hold_runs=False)
    # The first read is before the resume.
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status=status, skip=1, times=4)
    store = StateStore()
    assert resuming(run_id, store).run_to_end() == run_id
    assert effects(mosaic)["runs_resumed"] == 1
    assert store.get("mosaic_resume_permission") is None


def test_kill_after_a_resume_that_is_not_shown_yet_is_saved(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    mosaic.finish_run(run_id, "failed")
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="failed", times=None)
    monkeypatch.setattr(reads, "_PAUSES", (3600.0,))
    store = StateStore()
    task = resuming(run_id, store)
    with killed_once(lambda: mosaic.counts().runs_resumed, task), pytest.raises(MosaicRunCancelledError):
        task.execute()
    assert store.get("mosaic_resume_permission")["run_id"] == run_id
    assert effects(mosaic)["runs_cancelled"] == 1


@pytest.mark.parametrize("why", ["cancel_on_kill=False", "failed cancel"])
def test_kill_that_cancels_nothing_after_a_resume_lets_no_retry_undo_a_users_cancel(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, hook: MosaicHook, run_id: str, why: str
) -> None:
    mosaic.finish_run(run_id, "cancelled")
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="cancelled", times=None)
    monkeypatch.setattr(reads, "_PAUSES", (3600.0,))
    store = StateStore()
    task = resuming(run_id, store, cancel_on_kill=why != "cancel_on_kill=False")
    if why == "failed cancel":
        mosaic.inject("server_error", method="POST", path=CANCEL, status=500)
    with killed_once(lambda: mosaic.counts().runs_resumed, task), pytest.raises(MosaicRunCancelledError):
        task.execute()
    assert store.get("mosaic_resume_permission") is None
    mosaic.clear_faults()
    hook.cancel_run(run_id)
    with pytest.raises(AirflowFailException, match="No cancel by this task is known"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1, "runs_cancelled": 1}


def test_resume_without_effect_is_left_to_a_retry(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    mosaic.inject("server_error", method="POST", path=RESUME, status=502)
    task = resuming(run_id)
    with pytest.raises(MosaicServerError, match="502"):
        task.execute()
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_retry_resumes_a_run_that_failed_again(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id)

    def fail_again() -> None:
        until(lambda: mosaic.counts().runs_resumed == 1)
        mosaic.finish_run(run_id, "failed", message="The node broke")

    with InBackground(fail_again), pytest.raises(MosaicRunFailedError, match="The node broke"):
        task.run_to_end()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2}


def test_retry_after_a_crash_continues_the_wait(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    assert isinstance(task.execute(), Deferred)
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_retry_that_does_not_find_the_run_for_a_moment_continues_the_wait(
    mosaic: Emulator, clock: Clock, run_id: str
) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    assert isinstance(task.execute(), Deferred)
    mosaic.inject("not_found", method="GET", path="/agent_run/{run_id}")
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_deadline_is_that_of_the_first_attempt(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True, timeout=1000)
    first, second = task.execute(), task.execute()
    assert first.kwargs["deadline"] == second.kwargs["deadline"] == first.trigger_kwargs["deadline"]


@WAITS
def test_timeout_cancels_the_run_and_fails_without_retries(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    mosaic.finish_run(run_id, "failed")
    # The timeout passes after the first poll.
    monkeypatch.setattr(RunWait, "sleep", lambda *_: monkeypatch.setattr(PollState, "expired", True))
    task = resuming(run_id, deferrable=deferrable, timeout=timedelta(seconds=60))
    with pytest.raises(AirflowFailException, match=r"MosaicTimeoutError: .*timeout=.*cancelled") as over:
        task.resume(task.execute(), {"outcome": "timeout", "id": run_id})
    assert type(over.value.error) is MosaicTimeoutError
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1, "runs_cancelled": 1}


def test_run_after_its_deadline_is_not_resumed(mosaic: Emulator, clock: Clock, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    store = StateStore()
    task = resuming(run_id, store, deferrable=True, timeout=60)
    assert isinstance(task.execute(), Deferred)
    mosaic.finish_run(run_id, "failed")
    clock.sleep(100)
    with pytest.raises(AirflowFailException, match="it is not resumed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize(("cancel_on_kill", "cancelled"), [(True, 1), (False, 0)])
def test_kill_cancels_the_run_unless_cancel_on_kill_is_false(
    mosaic: Emulator, run_id: str, cancel_on_kill: bool, cancelled: int
) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, cancel_on_kill=cancel_on_kill)

    def kill() -> None:
        until(lambda: mosaic.counts().runs_resumed == 1 and sent(mosaic, "GET " + GET_RUN) >= 3)
        task.operator.on_kill()

    with InBackground(kill), pytest.raises(MosaicRunCancelledError, match="was killed"):
        task.execute()
    assert mosaic.counts().runs_cancelled == cancelled


@needs_kills
def test_clear_of_a_deferred_task_resumes_the_run_after_the_late_kill(
    mosaic: Emulator, run_id: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    old = task.execute()
    task.clear()
    # The first pause is that for the late kill.
    in_pause(clock, monkeypatch, lambda: asyncio.run(old.trigger().on_kill()))
    assert task.execute().kwargs["run_id"] == run_id
    assert mosaic.runs()[0]["status"] == "running"
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2, "runs_cancelled": 1}


@needs_kills
@pytest.mark.parametrize("first", ["the signal", "the trigger"])
def test_kill_while_a_cleared_task_waits_for_the_late_kill_is_saved(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    old = task.execute()
    task.clear()
    short_pauses = reads._PAUSES
    monkeypatch.setattr(reads, "_PAUSES", (3600.0,))
    seen = sent(mosaic, "GET " + GET_RUN)

    def is_time() -> bool:
        # The first read is before that wait.
        if sent(mosaic, "GET " + GET_RUN) <= seen + 1:
            return False
        if first == "the trigger":
            asyncio.run(old.trigger().on_kill())
        return True

    with killed_once(is_time, task), pytest.raises(MosaicRunCancelledError, match="was killed"):
        task.execute()
    assert f"Run {run_id!r} may keep running" in caplog.text
    assert mosaic.runs()[0]["status"] == "cancelled"
    monkeypatch.setattr(reads, "_PAUSES", short_pauses)
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 2, "runs_cancelled": 1}


@needs_kills
def test_clear_waits_a_quarter_of_a_minute_for_a_kill_that_never_comes(
    mosaic: Emulator, run_id: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    task.execute()
    task.clear()
    clock.pauses.clear()
    monkeypatch.setattr(reads, "_PAUSES", LATE_EFFECT_PAUSES)
    assert isinstance(task.execute(), Deferred)
    assert sum(clock.pauses) == 15
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize(
    "options", [{"cancel_on_kill": False}, {"wait_for_completion": False}, {"retried": True}], ids=str
)
def test_clear_does_not_wait_where_no_kill_can_come(
    mosaic: Emulator, run_id: str, clock: Clock, options: dict[str, Any]
) -> None:
    retried = options.pop("retried", False)
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True, **options)
    task.execute()
    clock.pauses.clear()
    if not retried:
        task.clear()
    task.execute()
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, None), ({"cancel_on_kill": False}, "cancel_on_kill"), ({"wait_for_completion": False}, "wait_for")],
    ids=str,
)
def test_retry_with_another_run_leaves_no_resumed_run_running(
    mosaic: Emulator, hook: MosaicHook, run_id: str, clock: Clock, options: dict[str, Any], kept: str | None
) -> None:
    mosaic.finish_run(run_id, "failed")
    other = hook.run_agent(AGENT)
    mosaic.finish_run(other, "failed")
    task = resuming(run_id, deferrable=True, **options)
    task.execute()
    task.make = resuming(other, deferrable=True, **options).make
    before = {"runs_started": 2, "runs_resumed": 1}
    if kept is not None:
        with pytest.raises(AirflowFailException, match=rf"resumed run {run_id!r} .*{kept}"):
            task.execute()
        assert effects(mosaic) == before
        return
    # Nothing is cancelled before the other run is known to exist.
    mosaic.inject("forbidden", method="GET", path=GET_RUN)
    with pytest.raises(AirflowFailException, match=f"Run {run_id!r} may keep running.*resume run {other!r} once more"):
        task.execute()
    assert effects(mosaic) == before
    assert task.execute().kwargs["run_id"] == other
    assert effects(mosaic) == {"runs_started": 2, "runs_resumed": 2, "runs_cancelled": 1}
    assert {run["run_id"]: run["status"] for run in mosaic.runs()} == {run_id: "cancelled", other: "running"}


def test_retry_with_another_spelling_of_the_run_continues_the_wait(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    task.execute()
    task.make = resuming(run_id.upper(), deferrable=True).make
    assert task.execute().kwargs["run_id"] == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_clear_with_another_run_waits_for_no_kill(
    mosaic: Emulator, hook: MosaicHook, run_id: str, clock: Clock
) -> None:
    other = hook.run_agent(AGENT)
    task = resuming(run_id, deferrable=True)
    task.execute()
    task.clear()
    # The trigger from before the clear cancels the old run.
    task.make = resuming(other, deferrable=True).make
    clock.pauses.clear()
    assert task.execute().kwargs["run_id"] == other
    assert clock.pauses == []


def test_killed_trigger_of_a_deferred_task_cancels_the_run(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    deferred = resuming(run_id, deferrable=True).execute()
    asyncio.run(deferred.trigger().on_kill())
    assert mosaic.counts().runs_cancelled == 1


def test_trigger_timeout_cancels_the_run(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id, "failed")
    task = resuming(run_id, deferrable=True)
    task.execute()
    with pytest.raises(TaskDeferralTimeout):
        task.on_timeout()
    assert mosaic.counts().runs_cancelled == 1


def test_missing_run_fails_without_retries(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="MosaicNotFoundError") as failure:
        resuming("no-such-run").execute()
    assert type(failure.value.error) is MosaicNotFoundError
    assert effects(mosaic) == {}


# Cancel


def test_running_run_is_cancelled(mosaic: Emulator, run_id: str) -> None:
    assert cancelling(run_id).execute() == run_id
    assert mosaic.runs()[0]["status"] == "cancelled"
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("answer", [200, 400, 409])
@pytest.mark.parametrize("status", ["completed", "partial_complete", "failed", "cancelled"])
def test_ended_run_is_not_cancelled(mosaic: Emulator, run_id: str, status: str, answer: int) -> None:
    mosaic.configure(cancel_terminal_status=answer)
    mosaic.finish_run(run_id, status)
    assert cancelling(run_id).execute() == run_id
    assert mosaic.runs()[0]["status"] == status


def test_ended_run_is_logged(mosaic: Emulator, run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    mosaic.finish_run(run_id)
    with caplog.at_level("INFO"):
        cancelling(run_id).execute()
    assert "had ended already, as completed" in caplog.text


def test_rejected_cancel_of_a_running_run_fails(mosaic: Emulator, run_id: str) -> None:
    mosaic.inject("server_error", method="POST", path=CANCEL, status=409)
    with pytest.raises(MosaicConflictError):
        cancelling(run_id).execute()
    assert mosaic.runs()[0]["status"] == "running"


def test_cancel_of_a_running_run_that_gets_a_404_is_sent_again(mosaic: Emulator, run_id: str, clock: Clock) -> None:
    mosaic.inject("not_found", method="POST", path=CANCEL, times=2)
    assert cancelling(run_id).execute() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_cancel_with_a_lost_response_is_sent_again(mosaic: Emulator, run_id: str, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=CANCEL)
    assert cancelling(run_id).execute() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_cancel_of_a_missing_run_fails_without_retries(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="MosaicNotFoundError"):
        cancelling("no-such-run").execute()
    assert sent(mosaic, "POST " + CANCEL) == 1
