"""A retry continues with the run that a killed or failed attempt started."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Deferred, Killed, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, START, Clock, InBackground, effects, sent, started, until
from tasks.kills import killed_during
from tasks.task_runs import LATE, fail_first_attempt, fails_with, post_task, run_operator, run_task

from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)

# Attempts that were killed before the id was recorded


def test_intent_is_recorded_before_the_request_and_the_id_after_it(mosaic: Emulator) -> None:
    store = StateStore()
    seen: list[tuple[bool, int]] = []
    store.after_set = lambda value: seen.append(("id" in value, sent(mosaic, "POST " + START)))
    run_task(store).run_to_end()
    assert seen == [(False, 0), (True, 1)]


def test_no_secret_in_the_store(mosaic: Emulator) -> None:
    store = StateStore()
    secret = "http://127.0.0.1:9/hook?X-Amz-Signature=marked-secret"
    run_task(store, callback_url=secret, wait_for_completion=False).execute()
    assert store.history
    assert "marked-secret" not in str(store.history)
    assert mosaic.api_key not in str(store.history)


def test_run_with_an_unrecorded_id_is_found_by_the_retry(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()

    def break_once(value: dict[str, Any]) -> None:
        store.after_set = lambda value: None
        store.broken_sets = 1

    store.after_set = break_once
    task = run_task(store, deferrable=True)
    assert isinstance(task.execute(), Deferred)
    mosaic.finish_run(started(mosaic))
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_attempt_killed_before_its_request_is_followed_by_a_search_and_a_start(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    assert effects(mosaic) == {}
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1}
    # The attempt may have been killed a moment ago, during its request.
    assert clock.elapsed >= 119


def test_attempt_killed_during_its_request_is_followed_by_an_adoption(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    store = StateStore().killing_at("intent")
    task = run_task(store)
    with pytest.raises(Killed):
        task.execute()
    run_id = hook.run_agent(AGENT)
    mosaic.configure(list_lag=0.1)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    ("on_retry", "expected"),
    [("resume", {"runs_started": 1, "runs_resumed": 1}), ("new", {"runs_started": 2})],
)
def test_failed_run_that_a_retry_finds_is_resumed_or_replaced(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, on_retry: str, expected: dict[str, int]
) -> None:
    task = run_task(StateStore().killing_at("intent"), on_retry=on_retry)
    with pytest.raises(Killed):
        task.execute()
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    mosaic.configure(hold_runs=False)
    assert (task.run_to_end() == run_id) is (on_retry == "resume")
    assert effects(mosaic) == expected


# Attempts with a known run


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_retry_continues_with_an_active_run(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), deferrable=deferrable)
    with pytest.raises(Killed):
        task.execute()
    with InBackground(lambda: until(lambda: task.xcom("mosaic_run_id")) and mosaic.finish_run(started(mosaic))):
        run_id = task.run_to_end()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]


@pytest.mark.parametrize(
    ("status", "on_partial"), [("completed", "warn"), ("completed", "fail"), ("partial_complete", "warn")]
)
@pytest.mark.parametrize("on_retry", ["resume", "new", "fail"])
def test_retry_returns_the_result_of_a_completed_run(
    mosaic: Emulator, status: str, on_partial: str, on_retry: str
) -> None:
    task = run_task(StateStore(), on_retry=on_retry, on_partial=on_partial)
    run_id = fail_first_attempt(mosaic, task, status)
    assert task.execute() == run_id
    assert task.xcom("status") == status
    assert task.xcom("mosaic_run_id") == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    ("status", "end"),
    [("failed", {}), ("failed", {"needs_credits": True})],
    ids=["failed", "out of credits"],
)
def test_retry_resumes_a_failed_run(mosaic: Emulator, clock: Clock, status: str, end: dict[str, Any]) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, status, **end)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}
    assert task.xcom("status") == "completed"


def test_on_retry_new_starts_a_new_run(mosaic: Emulator) -> None:
    task = run_task(StateStore(), on_retry="new")
    old = fail_first_attempt(mosaic, task, "failed")
    assert task.run_to_end() not in (None, old)
    assert effects(mosaic) == {"runs_started": 2}
    assert task.execute() == mosaic.runs()[1]["run_id"]
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize(("status", "kind"), [("failed", MosaicRunFailedError), ("cancelled", MosaicRunCancelledError)])
def test_on_retry_fail_fails_with_the_runs_error(mosaic: Emulator, status: str, kind: type[Exception]) -> None:
    task = run_task(StateStore(), on_retry="fail")
    run_id = fail_first_attempt(mosaic, task, status)
    assert run_id in fails_with(task.execute, kind)
    assert effects(mosaic) == {"runs_started": 1}


def test_partial_run_fails_since_it_cannot_be_resumed(mosaic: Emulator) -> None:
    task = run_task(StateStore(), on_partial="fail")
    run_id = fail_first_attempt(mosaic, task, "partial_complete")
    with pytest.raises(AirflowFailException, match="can't be resumed") as failure:
        task.execute()
    assert run_id in str(failure.value)
    assert str(failure.value).startswith("MosaicRunPartialError: ")
    assert effects(mosaic) == {"runs_started": 1}


def test_partial_run_with_on_retry_new_starts_a_new_run(mosaic: Emulator) -> None:
    task = run_task(StateStore(), on_partial="fail", on_retry="new")
    fail_first_attempt(mosaic, task, "partial_complete")
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 2}


def test_missing_run_is_started_again_after_the_grace_period(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "completed")
    mosaic.forget_run(run_id)
    assert task.run_to_end() != run_id
    assert effects(mosaic) == {"runs_started": 2}
    assert clock.elapsed > 60


@pytest.mark.parametrize(
    "faults", [["not_found"] * 4, ["not_found", "forbidden"] * 5], ids=["404 only", "404 and 403 in turn"]
)
def test_run_that_is_not_found_for_a_moment_is_not_started_again(
    mosaic: Emulator, clock: Clock, faults: list[str]
) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "completed")
    for fault in faults:
        mosaic.inject(fault, method="GET", path="/agent_run/{run_id}")
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_resume_with_a_lost_response_is_not_sent_again(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "failed")
    mosaic.inject("response_lost", method="POST", path="/agent_run/{run_id}/resume")
    mosaic.configure(hold_runs=True)
    with InBackground(lambda: until(lambda: mosaic.counts().runs_resumed) and mosaic.finish_run(run_id)):
        assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_resume_that_finds_no_run_is_sent_again_while_the_run_can_be_read(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "failed")
    mosaic.inject("not_found", method="POST", path="/agent_run/{run_id}/resume", times=2)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_run_resumed_outside_airflow_is_continued(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "failed")
    mosaic.configure(hold_runs=True)
    # The task's first read still shows the failure; the other resume happens before its own.
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", status="failed")
    hook.resume_run(run_id)
    resume = "POST /agent_run/{run_id}/resume"
    with InBackground(lambda: until(lambda: sent(mosaic, resume) >= 2) and mosaic.finish_run(run_id)):
        assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_first_failure_is_retried_and_the_retry_resumes(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(credits=0)
    task = run_task(StateStore())
    with pytest.raises(MosaicNeedsCreditsError):
        task.run_to_end()
    mosaic.configure(credits=1000)
    task.run_to_end()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


@pytest.mark.parametrize(
    ("store", "options", "resumes"),
    [
        (StateStore, {}, True),
        (StateStore, {"durable": False}, False),
        (lambda: None, {}, False),
        (StateStore, {"on_retry": "new"}, False),
        (StateStore, {"on_retry": "fail"}, False),
    ],
    ids=["remembered", "not durable", "no store", "new", "fail"],
)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_missing_credits_are_retried_only_if_the_retry_can_resume(
    mosaic: Emulator, clock: Clock, store: Any, options: dict[str, Any], resumes: bool, deferrable: bool
) -> None:
    mosaic.configure(credits=0)
    task = run_task(store(), deferrable=deferrable, **options)
    if resumes:
        with pytest.raises(MosaicNeedsCreditsError):
            task.run_to_end()
        return
    message = fails_with(task.run_to_end, MosaicNeedsCreditsError)
    assert ("No retry resumes it" in message) == ("on_retry" not in options)
    assert ("MosaicResumeRunOperator" in message) == ("on_retry" not in options)
    assert effects(mosaic) == {"runs_started": 1}


def test_other_failure_is_retried(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_nodes={"Captions": "broken"})
    with pytest.raises(MosaicRunFailedError) as failure:
        run_task(StateStore(), durable=False).run_to_end()
    assert "No retry" not in str(failure.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("unauthorized", MosaicAuthenticationError),
        ("forbidden", MosaicPermissionError),
        ("not_found", MosaicNotFoundError),
    ],
)
def test_non_retryable_start_fails_without_retries(mosaic: Emulator, fault: str, kind: type[Exception]) -> None:
    mosaic.inject(fault, method="POST", path=START)
    fails_with(run_task(StateStore()).execute, kind)
    assert effects(mosaic) == {}


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("rate_limit", {"times": 6}, MosaicRateLimitError),
        ("server_error", {"status": 503, "retry_after": 1, "times": 6}, MosaicServerError),
        ("redirect", {"location": "https://elsewhere.example/"}, MosaicResponseError),
    ],
)
def test_retryable_start_is_left_to_the_retries(
    mosaic: Emulator, clock: Clock, fault: str, options: dict[str, Any], kind: type[Exception]
) -> None:
    mosaic.inject(fault, method="POST", path=START, **options)
    with pytest.raises(kind) as failure:
        run_task(StateStore()).execute()
    assert type(failure.value) is kind
    assert effects(mosaic) == {}


# What must not start a second run


def test_one_404_of_an_old_run_starts_no_second_run(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "completed")
    clock.sleep(3600)
    mosaic.inject("not_found", method="GET", path="/agent_run/{run_id}", times=2)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_404s_around_a_step_of_the_wall_clock_start_no_second_run(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "completed")
    clock.sleep(3600)
    clock.on_sleep = lambda: clock.step(7 * 60)
    mosaic.inject("not_found", method="GET", path="/agent_run/{run_id}", times=4)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_a_run_that_stays_missing_for_a_minute_is_started_again(mosaic: Emulator, clock: Clock) -> None:
    task = run_task(StateStore())
    old = fail_first_attempt(mosaic, task, "completed")
    clock.sleep(3600)
    before = clock.elapsed
    mosaic.forget_run(old)
    assert task.run_to_end() != old
    assert clock.elapsed - before >= 60


def test_a_refused_second_request_leaves_the_first_one_to_the_search(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(list_lag=3600)
    mosaic.inject("response_lost", method="POST", path=START)
    mosaic.inject("rate_limit", method="POST", path=START, times=None)
    task = run_task(StateStore())
    with pytest.raises(MosaicRateLimitError, match="An earlier one"):
        task.execute()
    mosaic.clear_faults()
    mosaic.configure(list_lag=0.0)
    [run] = mosaic.runs()
    assert task.run_to_end() == run["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_a_run_that_a_user_cancels_after_a_resume_is_not_resumed_again(mosaic: Emulator) -> None:
    store = StateStore()
    task = run_task(store)
    run_id = fail_first_attempt(mosaic, task, "failed")
    # The run failed before the cancel of this task reached it, and Mosaic accepted the cancel.
    store.set("mosaic_resume_permission", {"version": 1, "run_id": run_id})
    mosaic.configure(hold_runs=True)

    def cancel() -> None:
        until(lambda: mosaic.runs()[0]["status"] == "running")
        mosaic.finish_run(run_id, "cancelled")

    with InBackground(cancel):
        fails_with(task.run_to_end, MosaicRunCancelledError)
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_argument_that_became_invalid_while_deferred_loses_no_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    mosaic.configure(hold_runs=False)
    run_id = deferred.kwargs["run_id"]
    event = deferred.wait()
    make = task.make
    # For example because the task that returned it was cleared.
    task.make = run_operator(agent_id=None, **LATE)
    with pytest.raises(MosaicValidationError, match="agent_id=None") as caught:
        task.resume(deferred, event)
    message = str(caught.value)
    assert f"No request was sent about run {run_id!r}. It may keep running, and cost credits." in message
    assert f"continues with run {run_id!r}" in message
    task.make = make
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    ("kind", "arguments", "invalid"),
    [
        (MosaicRunAgentOperator, {"agent_id": AGENT}, {"agent_id": 5}),
        (MosaicResumeRunOperator, {}, {"run_id": ""}),
        (MosaicSocialPostOperator, {"text": "Hello", "social_connection_ids": [ACCOUNT]}, {"text": 5}),
    ],
)
def test_argument_that_is_invalid_in_a_retry_hides_no_item(
    mosaic: Emulator, hook: MosaicHook, kind: type[Any], arguments: dict[str, Any], invalid: dict[str, Any]
) -> None:
    mosaic.configure(hold_runs=True, hold_posts=True)
    if kind is MosaicResumeRunOperator:
        arguments = {"run_id": hook.run_agent(AGENT)}
    arguments = {"task_id": "task", "poll_interval": 0.05, **arguments}
    task = TaskRunner(lambda: kind(**arguments), store=StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    done = effects(mosaic)
    noun, [item_id] = (
        ("post", [post["post_id"] for post in mosaic.posts()])
        if mosaic.posts()
        else ("run", [run["run_id"] for run in mosaic.runs()])
    )
    valid, task.make = task.make, lambda: kind(**{**arguments, **invalid}, **LATE)
    with pytest.raises(MosaicValidationError) as caught:
        task.execute()
    assert f"No request was sent about {noun} {item_id!r}. It may" in str(caught.value)
    assert f"continues with {noun} {item_id!r}" in str(caught.value)
    mosaic.configure(hold_runs=False, hold_posts=False)
    task.make = valid
    assert task.run_to_end() == item_id
    assert effects(mosaic) == done


def test_argument_that_became_invalid_is_final_if_a_retry_would_start_a_second_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True, durable=False)
    deferred = task.execute()
    mosaic.configure(hold_runs=False)
    event = deferred.wait()
    task.make = run_operator(agent_id=None, durable=False, **LATE)
    message = fails_with(lambda: task.resume(deferred, event), MosaicValidationError)
    run_id = deferred.kwargs["run_id"]
    assert f"To continue with run {run_id!r}, run this command" in message
    assert "Clearing this task alone starts a new run, which is paid from the beginning." in message
    assert "If it is this task's" not in message


def test_argument_that_became_invalid_while_a_post_was_deferred_suggests_no_second_post(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    options = {"wait_for_completion": True, "deferrable": True, "durable": False}
    task = post_task(StateStore(), **options)
    deferred = task.execute()
    task.make = post_task(schedule_date="soon", **options, **LATE).make
    event = {"outcome": "ended", "id": deferred.kwargs["post_id"]}
    message = fails_with(lambda: task.resume(deferred, event), MosaicValidationError)
    post_id = deferred.kwargs["post_id"]
    assert f"No request was sent about post {post_id!r}. It may be published." in message
    assert f"To continue with post {post_id!r}, run this command" in message
    assert "Clearing this task alone publishes a second post." in message
    assert "start" not in message
    assert effects(mosaic) == {"posts_made": 1}


@pytest.mark.parametrize("fault", ["not_found", "forbidden"])
def test_one_refused_read_after_a_resume_does_not_end_the_task(mosaic: Emulator, clock: Clock, fault: str) -> None:
    task = run_task(StateStore())
    run_id = fail_first_attempt(mosaic, task, "failed")
    mosaic.inject(fault, method="GET", path="/agent_run/{run_id}", skip=1)
    assert task.run_to_end() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_permission_ends_with_the_resume_although_the_run_cannot_be_read(mosaic: Emulator, clock: Clock) -> None:
    store = StateStore()
    task = run_task(store)
    run_id = fail_first_attempt(mosaic, task, "failed")
    store.set("mosaic_resume_permission", {"version": 1, "run_id": run_id})
    mosaic.inject("server_error", method="GET", path="/agent_run/{run_id}", skip=1, times=None, status=503)
    with pytest.raises(MosaicServerError):
        task.execute()
    assert store.get("mosaic_resume_permission") is None


def test_kill_while_a_retry_reads_the_run_sends_no_resume(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    task = run_task(StateStore())
    fail_first_attempt(mosaic, task, "failed")
    with killed_during("GET", "/agent_run/{run_id}", task, monkeypatch), pytest.raises(MosaicError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}
