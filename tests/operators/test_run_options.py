"""Clears and changed arguments start a new run; all attempts share one deadline."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import START, Clock, effects, started, until
from tasks.task_runs import fail_first_attempt, fails_with, run_operator, run_task

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.tasks.reporting import ITEM_KEY, RUN_ID_KEY

#: A node of the emulator's agent.
NODE = "b0000004-0000-4000-8000-000000000002"


def changed_task(mosaic: Emulator, **options: Any) -> tuple[TaskRunner, str]:
    """Kill the first attempt after the start of its run, and change the arguments. Return the task and the run."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), update_params={NODE: {"a": 1}}, **options)
    with pytest.raises(Killed):
        task.execute()
    task.make = run_operator(update_params={NODE: {"a": 2}}, **options)
    return task, started(mosaic)


@pytest.mark.parametrize("options", [{"cancel_on_kill": False}, {"wait_for_completion": False}], ids=str)
def test_changed_arguments_start_no_run_beside_one_that_keeps_running(mosaic: Emulator, options: Any) -> None:
    task, old = changed_task(mosaic, deferrable=True, **options)
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert f"started run {old!r} with other arguments" in message
    assert next(iter(options)) in message
    assert effects(mosaic) == {"runs_started": 1}
    # The user decides: a clear starts another run.
    task.clear()
    task.execute()
    assert effects(mosaic) == {"runs_started": 2}


def test_changed_arguments_start_no_run_if_the_cancel_is_refused(mosaic: Emulator, clock: Clock) -> None:
    task, old = changed_task(mosaic, deferrable=True)
    mosaic.inject("forbidden", method="POST", path="/agent_run/{run_id}/cancel", times=None)
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert old in message
    assert "clear this task" in message
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.clear_faults()
    task.clear()
    task.execute()
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}


@pytest.mark.parametrize("times", [None, 1], ids=["still running", "not readable any more"])
def test_changed_arguments_start_no_run_if_the_cancel_stops_nothing(
    mosaic: Emulator, clock: Clock, times: int | None
) -> None:
    task, old = changed_task(mosaic, deferrable=True)
    # The emulator finds nothing to cancel in a run that has ended. Its reads show the run as running.
    mosaic.configure(cancel_terminal_status=200)
    mosaic.finish_run(old, "failed")
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", status="running", times=times)
    mosaic.inject("forbidden", method="GET", path="/agent_run/{run_id}", times=None)
    with pytest.raises(MosaicAmbiguousOutcomeError, match=f"found nothing to cancel in run {old!r}"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.clear_faults()
    task.execute()
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize(
    "paths", [["/agent_run/{run_id}/cancel"], ["/agent_run/{run_id}", "/agent_run/{run_id}/cancel"]], ids=len
)
def test_changed_arguments_are_retried_after_an_outage(mosaic: Emulator, clock: Clock, paths: list[str]) -> None:
    task, old = changed_task(mosaic, deferrable=True)
    for path in paths:
        mosaic.inject("server_error", path=path, times=None)
    with pytest.raises(MosaicAmbiguousOutcomeError, match=old):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.clear_faults()
    task.execute()
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}


def test_changed_arguments_start_no_run_after_a_few_404s(mosaic: Emulator, clock: Clock) -> None:
    task, _ = changed_task(mosaic, deferrable=True)
    for path in ("/agent_run/{run_id}", "/agent_run/{run_id}/cancel"):
        mosaic.inject("not_found", path=path, times=3)
    task.execute()
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}


@pytest.mark.parametrize("options", [{}, {"cancel_on_kill": False}, {"wait_for_completion": False}], ids=str)
@pytest.mark.parametrize("became", ["completed", "failed", "forgotten"])
def test_changed_arguments_start_a_run_after_the_end_of_the_old_one(
    mosaic: Emulator, clock: Clock, became: str, options: Any
) -> None:
    task, old = changed_task(mosaic, deferrable=True, **options)
    if became == "forgotten":
        mosaic.forget_run(old)
    else:
        mosaic.finish_run(old, became)
    task.execute()
    assert effects(mosaic) == {"runs_started": 2}


def test_changed_arguments_cancel_the_run_that_no_attempt_waits_for(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore().killing_at("id")
    with pytest.raises(Killed):
        run_task(store, update_params={NODE: {"a": 1}}).execute()
    run_task(store, update_params={NODE: {"a": 2}}, deferrable=True).execute()
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}
    assert [run["status"] for run in mosaic.runs()].count("cancelled") == 1


@pytest.mark.parametrize("on_short", ["fail", "skip"])
def test_changed_arguments_name_the_old_run_if_the_credits_do_not_allow_another(
    mosaic: Emulator, on_short: str
) -> None:
    mosaic.configure(credits=1000)
    task, old = changed_task(mosaic, deferrable=True, min_credits=1000, on_short_of_credits=on_short)
    mosaic.configure(credits=10)
    # A skipped task would hide that the run still runs.
    assert f"continue with run {old!r}" in fails_with(task.execute, MosaicNeedsCreditsError)
    assert task.xcom(RUN_ID_KEY) == task.xcom(ITEM_KEY)["id"] == old
    assert effects(mosaic) == {"runs_started": 1}


def test_changed_arguments_announce_what_a_retry_does_with_the_old_run(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(credits=1000)
    task, old = changed_task(mosaic, deferrable=True, min_credits=10)
    mosaic.inject("server_error", path="/credits", times=None)
    with pytest.raises(MosaicServerError) as failure:
        task.execute()
    assert f"cancels run {old!r} and starts another one, because the arguments changed" in str(failure.value)
    mosaic.clear_faults()
    new = task.execute().kwargs["run_id"]
    assert effects(mosaic) == {"runs_started": 2, "runs_cancelled": 1}
    assert task.xcom(RUN_ID_KEY) == task.xcom(ITEM_KEY)["id"] == new


def test_changed_arguments_withdraw_the_id_of_a_cancelled_run(mosaic: Emulator) -> None:
    task, _ = changed_task(mosaic, deferrable=True)
    mosaic.inject("forbidden", method="POST", path=START)
    with pytest.raises(AirflowFailException, match="This attempt started no run"):
        task.execute()
    assert task.xcom(RUN_ID_KEY) is None


@pytest.mark.parametrize("lost", [None, 200, 409], ids=["with a response", "without, then 200", "without, then 409"])
def test_run_that_a_change_cancelled_is_resumed_if_no_other_one_was_started(
    mosaic: Emulator, clock: Clock, lost: int | None
) -> None:
    mosaic.configure(hold_runs=True, credits=1000)
    if lost:
        mosaic.configure(cancel_terminal_status=lost)
        mosaic.inject("server_error", method="POST", path="/agent_run/{run_id}/cancel", status=504, effect=True)
    store = StateStore().killing_at("id")
    before, after = ({"update_params": {NODE: {"a": number}}, "deferrable": True} for number in (1, 2))
    with pytest.raises(Killed):
        run_task(store, **before).execute()
    fails_with(run_task(store, **after, min_credits=1e9).execute, MosaicNeedsCreditsError)
    assert effects(mosaic) == {"runs_started": 1}
    mosaic.inject("forbidden", method="POST", path=START)
    with pytest.raises((MosaicError, AirflowFailException)):
        run_task(store, **after).execute()
    run_task(store, **before).execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("X-Amz-Signature=1&X-Amz-Date=2", "X-Amz-Signature=3&X-Amz-Date=4"),
        ("v=1&Expires=1&Signature=a&Key-Pair-Id=k", "v=1&Expires=2&Signature=b&Key-Pair-Id=l"),
        ("sv=1&sig=a&se=2", "sv=1&sig=b&se=3"),
    ],
)
def test_newly_signed_link_is_the_same_request(mosaic: Emulator, before: str, after: str) -> None:
    mosaic.configure(hold_runs=True)
    store, address = StateStore(), "http://127.0.0.1:9/hook?"
    old = run_task(store, wait_for_completion=False, callback_url=address + before).execute()
    assert run_task(store, wait_for_completion=False, callback_url=address + after).execute() == old
    mosaic.finish_run(old, "completed")
    assert run_task(store, wait_for_completion=False, callback_url=address + "v=2").execute() != old
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("retries", [2, 0, 5], ids=lambda retries: f"{retries} retries by then")
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_clear_starts_a_new_run(mosaic: Emulator, deferrable: bool, retries: int) -> None:
    task = run_task(StateStore(), deferrable=deferrable)
    first = task.run_to_end()
    task.clear(retries=retries)
    second = task.run_to_end()
    assert first != second
    assert effects(mosaic) == {"runs_started": 2}


def test_clear_that_looks_like_a_retry_needs_manual_review_once(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    first = task.run_to_end()
    # max_tries is unchanged: one attempt and one retry.
    task.clear(retries=1)
    assert first in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}
    task.clear()
    assert task.run_to_end() != first
    assert effects(mosaic) == {"runs_started": 2}


def test_retry_continues_after_retries_were_lowered(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), wait_for_completion=False)
    with pytest.raises(Killed):
        task.execute()
    task.retries = 1
    assert task.execute() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_record_of_another_provider_version_is_searched(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    task = run_task(store, deferrable=True)
    task.execute()
    store.set("mosaic_run", {**store.get("mosaic_run"), "version": 2})
    assert mosaic.runs()[0]["run_id"] in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}
    # The next clear starts a new run again.
    task.clear()
    task.execute()
    assert mosaic.counts().runs_started == 2


def test_clear_of_a_deferred_task_is_not_affected_by_the_late_kill(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute()
    task.clear()
    new = task.execute()
    asyncio.run(old.trigger().on_kill())
    states = {run["run_id"]: run["status"] for run in mosaic.runs()}
    assert states == {old.kwargs["run_id"]: "cancelled", new.kwargs["run_id"]: "running"}


def test_clear_cancels_the_old_run_if_its_trigger_did_not(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    task.clear()
    task.execute()
    assert [run["status"] for run in mosaic.runs()] == ["cancelled", "running"]


@pytest.mark.parametrize("options", [{"cancel_on_kill": False}, {"wait_for_completion": False}], ids=str)
def test_clear_without_cancel_on_kill_keeps_the_old_run(mosaic: Emulator, options: dict[str, Any]) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True, **options)
    task.execute()
    task.clear()
    task.execute()
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("became", ["completed", "failed", "forgotten", "unreadable"])
def test_clear_starts_a_new_run_whatever_the_old_status(
    mosaic: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture, became: str
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    old = task.execute().kwargs["run_id"]
    if became == "forgotten":
        mosaic.forget_run(old)
    elif became == "unreadable":
        mosaic.inject("server_error", path="/agent_run/{run_id}", method="GET", times=6)
        mosaic.inject("forbidden", path="/agent_run/{run_id}/cancel", method="POST")
    else:
        mosaic.finish_run(old, became)
    task.clear()
    assert task.execute().kwargs["run_id"] != old
    assert effects(mosaic) == {"runs_started": 2}
    assert ("may keep running" in caplog.text) == (became == "unreadable")
    assert ("does not exist any more" in caplog.text) == (became == "forgotten")


def test_without_durable_a_retry_starts_a_new_run_and_nothing_is_stored(mosaic: Emulator) -> None:
    store = StateStore()
    task = run_task(store, durable=False)
    first = task.run_to_end()
    assert task.run_to_end() != first
    assert store.history == []
    assert effects(mosaic) == {"runs_started": 2}


# An Airflow without a task state store


def test_without_a_store_a_lost_response_is_found_within_the_attempt(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(None)
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_retry_does_not_pay_for_a_possible_run(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_nodes={"Captions": "broken"})
    task = run_task(None)
    with pytest.raises(MosaicRunFailedError):
        task.run_to_end()
    message = fails_with(task.run_to_end, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_retry_starts_if_nothing_can_have_been_started(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("rate_limit", method="POST", path=START, times=6)
    task = run_task(None)
    with pytest.raises(Exception, match="429"):
        task.execute()
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_retry_searches_after_retries_were_lowered(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(None, deferrable=True)
    task.execute()
    task.retries = 0
    assert mosaic.runs()[0]["run_id"] in fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_clear_starts_a_new_run(mosaic: Emulator) -> None:
    task = run_task(None)
    first = task.run_to_end()
    task.clear()
    assert task.run_to_end() != first


# One deadline for all attempts


def test_deadline_is_that_of_the_first_attempt(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), deferrable=True, timeout=60)
    with pytest.raises(Killed):
        task.execute()
    assert task.store is not None
    [saved] = {value["deadline"] for _, value in task.store.history}
    again = task.execute()
    assert again.trigger_kwargs["deadline"] == again.kwargs["deadline"] == saved


def test_new_run_of_a_retry_keeps_the_deadline(mosaic: Emulator) -> None:
    task = run_task(StateStore(), on_retry="new", timeout=60, deferrable=True)
    fail_first_attempt(mosaic, task, "failed")
    assert task.store is not None
    [saved] = {value["deadline"] for _, value in task.store.history}
    mosaic.configure(hold_runs=True)
    assert task.execute().kwargs["deadline"] == saved


def test_refused_new_run_keeps_the_deadline(mosaic: Emulator) -> None:
    task = run_task(StateStore(), on_retry="new", timeout=60, deferrable=True)
    fail_first_attempt(mosaic, task, "failed")
    assert task.store is not None
    [saved] = {value["deadline"] for _, value in task.store.history}
    mosaic.inject("server_error", method="POST", path=START, status=503, retry_after=86400)
    with pytest.raises(MosaicServerError):
        task.execute()
    mosaic.configure(hold_runs=True)
    assert task.execute().kwargs["deadline"] == saved


@pytest.mark.parametrize("on_retry", ["resume", "new"])
def test_retry_after_the_deadline_pays_nothing(mosaic: Emulator, on_retry: str) -> None:
    task = run_task(StateStore(), on_retry=on_retry, timeout=0.2)
    fail_first_attempt(mosaic, task, "failed")
    until(lambda: time.time() > task.store.get("mosaic_run")["deadline"])
    with pytest.raises(AirflowFailException, match=r"[Tt]imeout .*has passed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}


def test_retry_after_the_deadline_cancels_a_running_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), timeout=0.01)
    with pytest.raises(Killed):
        task.execute()
    assert "timeout=0:00:00.010000" in fails_with(task.execute, MosaicTimeoutError)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
