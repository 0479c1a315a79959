"""Never pay twice, never lose a run: lost answers, tries that died, retries and clears of the run operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fixtures import AGENT, START, Clock, Meanwhile, effects, sent, started, until
from tasks.standins import DagRun, Deferred, Killed, Life, StateStore

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicNeedsCreditsError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicUploadOperator

CANCEL = "POST /agent_run/{run_id}/cancel"


def life(
    store: StateStore | None = None,
    *,
    dag_run: DagRun | None = None,
    map_index: int = -1,
    others: Callable[[], Any] = lambda: None,
    **options: Any,
) -> Life:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.05, **options}
    return Life(
        lambda: MosaicRunAgentOperator(**arguments), store=store, dag_run=dag_run, map_index=map_index, others=others
    )


def gives_up(act: Callable[[], Any], kind: type[Exception]) -> str:
    """The message of a failure that burns no retries."""
    with pytest.raises(AirflowFailException) as failure:
        act()
    assert type(failure.value.__cause__) is kind
    assert str(failure.value).startswith(f"{kind.__name__}: ")
    return str(failure.value)


# The answer to the start is lost

LOST_AFTER: list[tuple[str, dict[str, Any]]] = [
    ("answer_lost", {}),
    ("reset", {"when": "after"}),
    ("server_error", {"status": 500, "effect": True}),
    ("server_error", {"status": 502, "effect": True, "body": "html"}),
    ("server_error", {"status": 504, "effect_after": 0.1}),
    ("server_error", {"status": 503, "effect": True}),
    ("truncated_json", {}),
    ("empty", {}),
    ("html", {"effect": True}),
]


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize(("fault", "options"), LOST_AFTER, ids=lambda value: str(value))
def test_a_run_whose_answer_was_lost_is_found_and_gone_on_with(
    mosaic: Emulator, clock: Clock, fault: str, options: dict[str, Any], deferrable: bool
) -> None:
    mosaic.inject(fault, method="POST", path=START, **options)
    task = life(StateStore(), deferrable=deferrable)
    run_id = task.see_through()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    assert task.xcom("mosaic_run_id") == run_id
    assert sent(mosaic, "POST " + START) == 1


LOST_BEFORE: list[tuple[str, dict[str, Any]]] = [
    ("reset", {"when": "before"}),
    ("server_error", {"status": 500}),
    ("server_error", {"status": 502, "body": "html"}),
    ("html", {}),
]


@pytest.mark.parametrize(("fault", "options"), LOST_BEFORE, ids=lambda value: str(value))
def test_a_start_without_effect_is_sent_once_more_after_two_minutes(
    mosaic: Emulator, clock: Clock, fault: str, options: dict[str, Any]
) -> None:
    mosaic.inject(fault, method="POST", path=START, **options)
    run_id = life(StateStore()).see_through()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    assert sent(mosaic, "POST " + START) == 2
    assert sum(clock.pauses) >= 119


def test_a_start_that_fails_twice_without_effect_says_why_and_may_be_retried(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=START, status=502, times=2)
    task = life(StateStore())
    with pytest.raises(MosaicServerError, match="502"):
        task.execute()
    assert effects(mosaic) == {}
    assert task.see_through() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("kind", ["rate_limit", "server_error"])
def test_a_start_that_was_refused_for_now_is_sent_again_without_a_look(
    mosaic: Emulator, clock: Clock, kind: str
) -> None:
    options = {"status": 503} if kind == "server_error" else {}
    mosaic.inject(kind, method="POST", path=START, times=2, retry_after=1, **options)
    life(StateStore()).see_through()
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + START) == 3
    # The one look before the start, and none after it.
    assert sent(mosaic, "GET /agent/{agent_id}/runs") == 1


def test_a_list_that_lags_is_looked_at_until_it_shows_the_run(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(list_lag=0.1)
    mosaic.inject("answer_lost", method="POST", path=START)
    life(StateStore()).see_through()
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET /agent/{agent_id}/runs") > 2


def test_a_list_that_cannot_be_read_for_a_while_does_not_end_the_search(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=START)
    mosaic.inject("server_error", method="GET", path="/agent/{agent_id}/runs", skip=1, times=7, status=502)
    life(StateStore()).see_through()
    assert effects(mosaic) == {"runs_started": 1}


def test_a_list_that_cannot_be_read_at_all_leaves_it_to_a_person(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=START)
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs", skip=1, times=None)
    message = gives_up(life(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert "could not be read" in message
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + START) == 1


@pytest.mark.parametrize("skew", [-540, 540], ids=["behind", "ahead"])
@pytest.mark.parametrize("fault", ["answer_lost", "server_error"])
def test_a_server_whose_clock_is_nine_minutes_off_is_understood(
    mosaic: Emulator, clock: Clock, skew: int, fault: str
) -> None:
    mosaic.configure(clock_skew=skew)
    mosaic.inject(fault, method="POST", path=START)
    life(StateStore()).see_through()
    assert effects(mosaic) == {"runs_started": 1}


# What is not this task's run


def other_run_meanwhile(store: StateStore, hook: MosaicHook) -> list[str]:
    """Someone else starts a run between this task's look and its own start."""
    others: list[str] = []

    def start(value: dict[str, Any]) -> None:
        if "id" not in value and not others:
            others.append(hook.run_agent(AGENT))

    store.after_set = start
    return others


def test_several_candidates_are_left_to_a_person_and_nothing_is_sent_again(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    store = StateStore()
    others = other_run_meanwhile(store, hook)
    mosaic.inject("answer_lost", method="POST", path=START, skip=1)
    message = gives_up(life(store).execute, MosaicAmbiguousOutcomeError)
    assert len(mosaic.runs()) == 2
    for run in mosaic.runs():
        assert run["run_id"] in message
    assert others[0] in message
    assert "clear this task" in message
    assert sum(clock.pauses) >= 119


def test_the_next_try_looks_again_and_does_not_start_either(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store = StateStore()
    other_run_meanwhile(store, hook)
    mosaic.inject("answer_lost", method="POST", path=START, skip=1)
    task = life(store)
    gives_up(task.execute, MosaicAmbiguousOutcomeError)
    gives_up(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 2}


def test_candidates_that_siblings_own_are_left_out(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store, dag_run = StateStore(), DagRun()
    others = other_run_meanwhile(store, hook)
    store_start = store.after_set

    def owned(value: dict[str, Any]) -> None:
        store_start(value)
        dag_run.xcoms[("run", 7, "mosaic_run_id")] = others[0]
        dag_run.states |= {"run_0": "running", "run_7": "deferred"}

    store.after_set = owned
    mosaic.inject("answer_lost", method="POST", path=START, skip=1)
    run_id = life(store, dag_run=dag_run, map_index=0).see_through()
    assert {run["run_id"] for run in mosaic.runs()} == {run_id, others[0]}
    assert run_id != others[0]


def test_candidates_that_another_task_of_the_dag_run_owns_are_left_out(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    store, dag_run = StateStore(), DagRun()
    others = other_run_meanwhile(store, hook)
    store_start = store.after_set

    def owned(value: dict[str, Any]) -> None:
        store_start(value)
        dag_run.xcoms[("before", -1, "mosaic_run_id")] = others[0]
        dag_run.states |= {"run": "running", "before": "success"}

    store.after_set = owned
    mosaic.inject("answer_lost", method="POST", path=START, skip=1)

    def the_rest_of_the_dag() -> None:
        MosaicRunAgentOperator(task_id="before", agent_id=AGENT)
        MosaicUploadOperator(task_id="upload", source="/nowhere.mp4")

    run_id = life(store, dag_run=dag_run, others=the_rest_of_the_dag).see_through()
    assert run_id != others[0]
    assert len(mosaic.runs()) == 2


@pytest.mark.parametrize("state", ["running", "up_for_retry"])
def test_while_a_sibling_is_between_start_and_id_nothing_is_adopted(mosaic: Emulator, clock: Clock, state: str) -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": state, "run_2": "scheduled"})
    mosaic.inject("answer_lost", method="POST", path=START)
    message = gives_up(life(StateStore(), dag_run=dag_run, map_index=0).execute, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_once_the_sibling_has_said_its_id_the_run_is_adopted(mosaic: Emulator, clock: Clock) -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": "running"})
    looks = []

    def looked() -> None:
        looks.append(1)
        if len(looks) == 3:
            assert len(mosaic.runs()) == 1
            dag_run.xcoms[("run", 1, "mosaic_run_id")] = "its-own"

    dag_run.looked = looked
    mosaic.inject("answer_lost", method="POST", path=START)
    run_id = life(StateStore(), dag_run=dag_run, map_index=0).see_through()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    # From then on it is alone, and is believed when it was seen so five times.
    assert len(looks) == 7


def test_siblings_that_cannot_be_read_are_not_taken_for_none(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=START)
    task = life(StateStore(), map_index=0)
    task.states_broken = True
    gives_up(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}


def test_runs_that_were_there_before_are_never_adopted(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    before = hook.run_agent(AGENT)
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_id = life(StateStore()).see_through()
    assert run_id != before
    assert [run["run_id"] for run in mosaic.runs()] == [before, run_id]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_runs_beyond_the_first_page_of_those_before_are_not_adopted_either(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, order: str
) -> None:
    mosaic.configure(hold_runs=True, list_order=order)
    before = {hook.run_agent(AGENT) for _ in range(101)}
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_id = life(StateStore(), wait_for_completion=False).execute()
    assert run_id not in before
    assert effects(mosaic) == {"runs_started": 102}


def test_when_the_runs_before_are_not_known_nothing_is_adopted(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    before = hook.run_agent(AGENT)
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs")
    mosaic.inject("server_error", method="POST", path=START, status=502)
    message = gives_up(life(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert before in message
    assert effects(mosaic) == {"runs_started": 1}


def test_when_the_runs_before_are_not_known_and_there_is_none_the_start_is_sent_once_more(
    mosaic: Emulator, clock: Clock
) -> None:
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs")
    mosaic.inject("server_error", method="POST", path=START, status=502)
    life(StateStore()).see_through()
    assert effects(mosaic) == {"runs_started": 1}


def test_told_to_fail_the_task_names_the_one_candidate_and_takes_it_not(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=START)
    message = gives_up(life(StateStore(), on_ambiguous="fail").execute, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_told_to_fail_the_task_still_sends_again_what_had_no_effect(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=START, status=502)
    life(StateStore(), on_ambiguous="fail").see_through()
    assert effects(mosaic) == {"runs_started": 1}
    assert sum(clock.pauses) >= 119


# A try that died


def test_the_intent_is_noted_before_the_request_and_the_id_after_it(mosaic: Emulator) -> None:
    store = StateStore()
    seen: list[tuple[bool, int]] = []
    store.after_set = lambda value: seen.append(("id" in value, sent(mosaic, "POST " + START)))
    life(store).see_through()
    assert seen == [(False, 0), (True, 1)]


def test_no_secret_lies_in_the_store(mosaic: Emulator) -> None:
    store = StateStore()
    secret = "http://127.0.0.1:9/hook?X-Amz-Signature=marked-secret"
    life(store, callback_url=secret, wait_for_completion=False).execute()
    assert store.history
    assert "marked-secret" not in str(store.history)
    assert mosaic.api_key not in str(store.history)


def test_when_the_intent_cannot_be_noted_nothing_is_sent(mosaic: Emulator) -> None:
    store = StateStore()
    store.broken_sets = 1
    with pytest.raises(RuntimeError, match="away"):
        life(store).execute()
    assert sent(mosaic, "POST " + START) == 0


def test_when_the_id_cannot_be_noted_the_run_goes_on_and_the_next_try_finds_it(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()

    def break_once(value: dict[str, Any]) -> None:
        store.after_set = lambda value: None
        store.broken_sets = 1

    store.after_set = break_once
    task = life(store, deferrable=True)
    assert isinstance(task.execute(), Deferred)
    mosaic.finish_run(started(mosaic))
    assert task.see_through() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


def test_a_try_that_died_before_it_sent_anything_is_followed_by_one_that_looks_and_then_starts(
    mosaic: Emulator, clock: Clock
) -> None:
    task = life(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    assert effects(mosaic) == {}
    task.see_through()
    assert effects(mosaic) == {"runs_started": 1}
    # It may have died a moment ago, with its request on the way.
    assert sum(clock.pauses) >= 119


def test_a_try_that_died_while_its_request_was_on_the_way_is_followed_by_one_that_finds_the_run(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    store = StateStore().killing_at("intent")
    task = life(store)
    with pytest.raises(Killed):
        task.execute()
    run_id = hook.run_agent(AGENT)
    mosaic.configure(list_lag=0.1)
    assert task.see_through() == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_a_retry_goes_on_with_a_run_that_is_active(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_runs=True)
    task = life(StateStore().killing_at("id"), deferrable=deferrable)
    with pytest.raises(Killed):
        task.execute()
    with Meanwhile(lambda: until(lambda: task.xcom("mosaic_run_id")) and mosaic.finish_run(started(mosaic))):
        run_id = task.see_through()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]


def end_of_first_try(mosaic: Emulator, task: Life, status: str, **end: Any) -> str:
    """The first try dies when its run has begun, and the run ends meanwhile."""
    assert task.store is not None
    task.store.killing_at("id")
    mosaic.configure(hold_runs=True)
    with pytest.raises(Killed):
        task.execute()
    run_id = started(mosaic)
    mosaic.finish_run(run_id, status, **end)
    mosaic.configure(hold_runs=False)
    return run_id


@pytest.mark.parametrize(
    ("status", "on_partial"), [("completed", "warn"), ("completed", "fail"), ("partial_complete", "warn")]
)
@pytest.mark.parametrize("on_retry", ["resume", "new", "fail"])
def test_a_retry_takes_the_result_of_a_run_that_ended_well(
    mosaic: Emulator, status: str, on_partial: str, on_retry: str
) -> None:
    task = life(StateStore(), on_retry=on_retry, on_partial=on_partial)
    run_id = end_of_first_try(mosaic, task, status)
    assert task.execute() == run_id
    assert task.xcom("status") == status
    assert task.xcom("mosaic_run_id") == run_id
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(
    ("status", "end"),
    [("failed", {}), ("cancelled", {}), ("failed", {"needs_credits": True})],
    ids=["failed", "cancelled", "out of credits"],
)
def test_a_retry_resumes_a_run_that_ended_badly(
    mosaic: Emulator, clock: Clock, status: str, end: dict[str, Any]
) -> None:
    task = life(StateStore())
    run_id = end_of_first_try(mosaic, task, status, **end)
    counts = {"runs_started": 1, "runs_resumed": 1}
    if status == "cancelled":
        assert task.execute() == run_id
    else:
        assert task.see_through() == run_id
    assert effects(mosaic) == counts
    assert task.xcom("status") == "completed"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_told_so_a_retry_starts_a_new_run(mosaic: Emulator, status: str) -> None:
    task = life(StateStore(), on_retry="new")
    old = end_of_first_try(mosaic, task, status)
    assert task.see_through() not in (None, old)
    assert effects(mosaic) == {"runs_started": 2}
    assert task.execute() == mosaic.runs()[1]["run_id"]
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize(("status", "kind"), [("failed", MosaicRunFailedError), ("cancelled", MosaicRunCancelledError)])
def test_told_so_a_retry_fails_with_the_runs_story(mosaic: Emulator, status: str, kind: type[Exception]) -> None:
    task = life(StateStore(), on_retry="fail")
    run_id = end_of_first_try(mosaic, task, status)
    assert run_id in gives_up(task.execute, kind)
    assert effects(mosaic) == {"runs_started": 1}


def test_a_partial_run_that_may_not_be_fails_with_its_story_since_it_cannot_be_resumed(mosaic: Emulator) -> None:
    task = life(StateStore(), on_partial="fail")
    run_id = end_of_first_try(mosaic, task, "partial_complete")
    with pytest.raises(AirflowFailException, match="can't be resumed") as failure:
        task.execute()
    assert run_id in str(failure.value)
    assert str(failure.value).startswith("MosaicRunPartialError: ")
    assert effects(mosaic) == {"runs_started": 1}


def test_a_partial_run_that_may_not_be_is_started_anew_when_told_so(mosaic: Emulator) -> None:
    task = life(StateStore(), on_partial="fail", on_retry="new")
    end_of_first_try(mosaic, task, "partial_complete")
    task.see_through()
    assert effects(mosaic) == {"runs_started": 2}


def test_a_run_that_vanished_is_started_anew_once_that_can_be_believed(mosaic: Emulator, clock: Clock) -> None:
    task = life(StateStore())
    run_id = end_of_first_try(mosaic, task, "completed")
    mosaic.forget_run(run_id)
    assert task.see_through() != run_id
    assert effects(mosaic) == {"runs_started": 2}
    assert sum(clock.pauses) > 60


def test_a_run_that_is_not_found_for_a_moment_is_not_started_anew(mosaic: Emulator, clock: Clock) -> None:
    task = life(StateStore())
    run_id = end_of_first_try(mosaic, task, "completed")
    mosaic.inject("not_found", method="GET", path="/agent_run/{run_id}", times=4)
    assert task.see_through() == run_id
    assert effects(mosaic) == {"runs_started": 1}


def test_a_resume_whose_answer_was_lost_is_not_sent_again(mosaic: Emulator, clock: Clock) -> None:
    task = life(StateStore())
    run_id = end_of_first_try(mosaic, task, "failed")
    mosaic.inject("answer_lost", method="POST", path="/agent_run/{run_id}/resume")
    mosaic.configure(hold_runs=True)
    with Meanwhile(lambda: until(lambda: task.xcom("mosaic_run_id")) and mosaic.finish_run(run_id)):
        assert task.see_through() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_a_run_that_someone_else_resumed_is_gone_on_with(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    task = life(StateStore())
    run_id = end_of_first_try(mosaic, task, "failed")
    mosaic.configure(hold_runs=True)
    # The task's first look still sees the failure; by its own resume, the other one has taken place.
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", status="failed")
    hook.resume_run(run_id)
    with Meanwhile(lambda: until(lambda: task.xcom("mosaic_run_id")) and mosaic.finish_run(run_id)):
        assert task.see_through() == run_id
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


def test_the_first_failure_burns_a_retry_and_the_retry_resumes(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(credits=0)
    task = life(StateStore())
    with pytest.raises(MosaicNeedsCreditsError):
        task.see_through()
    mosaic.configure(credits=1000)
    task.see_through()
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}


# The order changed


def test_changed_arguments_start_anew_and_leave_the_old_run_alone(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    store = StateStore()
    first = life(store, wait_for_completion=False, update_params={"b0000004-0000-4000-8000-000000000002": {"a": 1}})
    old = first.execute()
    changed = life(store, wait_for_completion=False, update_params={"b0000004-0000-4000-8000-000000000002": {"a": 2}})
    assert changed.execute() != old
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("X-Amz-Signature=1&X-Amz-Date=2", "X-Amz-Signature=3&X-Amz-Date=4"),
        ("v=1&Expires=1&Signature=a&Key-Pair-Id=k", "v=1&Expires=2&Signature=b&Key-Pair-Id=l"),
        ("sv=1&sig=a&se=2", "sv=1&sig=b&se=3"),
    ],
)
def test_a_link_that_was_only_signed_anew_is_the_same_order(mosaic: Emulator, before: str, after: str) -> None:
    mosaic.configure(hold_runs=True)
    store, address = StateStore(), "http://127.0.0.1:9/hook?"
    old = life(store, wait_for_completion=False, callback_url=address + before).execute()
    assert life(store, wait_for_completion=False, callback_url=address + after).execute() == old
    assert life(store, wait_for_completion=False, callback_url=address + "v=2").execute() != old
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_a_clear_starts_afresh_whatever_became_of_the_old_run(mosaic: Emulator, deferrable: bool) -> None:
    task = life(StateStore(), deferrable=deferrable)
    first = task.see_through()
    task.clear()
    second = task.see_through()
    assert first != second
    assert effects(mosaic) == {"runs_started": 2}


def test_a_clear_of_a_deferred_task_starts_afresh_and_the_old_triggers_late_kill_leaves_the_new_run_alone(
    mosaic: Emulator,
) -> None:
    mosaic.configure(hold_runs=True)
    task = life(StateStore(), deferrable=True)
    old = task.execute()
    task.clear()
    new = task.execute()
    asyncio.run(old.trigger().on_kill())
    states = {run["run_id"]: run["status"] for run in mosaic.runs()}
    assert states == {old.kwargs["run_id"]: "cancelled", new.kwargs["run_id"]: "running"}


def test_without_durable_a_retry_starts_anew_and_nothing_is_stored(mosaic: Emulator) -> None:
    store = StateStore()
    task = life(store, durable=False)
    first = task.see_through()
    assert task.see_through() != first
    assert store.history == []
    assert effects(mosaic) == {"runs_started": 2}


# An Airflow without a task state store


def test_without_a_store_a_lost_answer_is_still_found_within_the_try(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("answer_lost", method="POST", path=START)
    task = life(None)
    task.see_through()
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_retry_does_not_pay_again_for_what_may_be_its_own(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_nodes={"Captions": "broken"})
    task = life(None)
    with pytest.raises(MosaicRunFailedError):
        task.see_through()
    message = gives_up(task.see_through, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_retry_starts_when_nothing_can_have_been_started(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("rate_limit", method="POST", path=START, times=6)
    task = life(None)
    with pytest.raises(Exception, match="429"):
        task.execute()
    task.see_through()
    assert effects(mosaic) == {"runs_started": 1}


def test_without_a_store_a_clear_starts_afresh(mosaic: Emulator) -> None:
    task = life(None)
    first = task.see_through()
    task.clear()
    assert task.see_through() != first


# One deadline over all tries


def test_the_deadline_is_that_of_the_first_try(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(StateStore().killing_at("id"), deferrable=True, timeout=60)
    with pytest.raises(Killed):
        task.execute()
    assert task.store is not None
    [noted] = {value["deadline"] for _, value in task.store.history}
    again = task.execute()
    assert again.trigger_kwargs["deadline"] == again.kwargs["deadline"] == noted


def test_a_new_run_of_a_retry_has_no_new_deadline(mosaic: Emulator) -> None:
    task = life(StateStore(), on_retry="new", timeout=60, deferrable=True)
    end_of_first_try(mosaic, task, "failed")
    assert task.store is not None
    [noted] = {value["deadline"] for _, value in task.store.history}
    mosaic.configure(hold_runs=True)
    assert task.execute().kwargs["deadline"] == noted


@pytest.mark.parametrize("on_retry", ["resume", "new"])
def test_when_the_time_is_over_a_retry_pays_for_nothing_more(mosaic: Emulator, on_retry: str) -> None:
    task = life(StateStore(), on_retry=on_retry, timeout=0.2)
    end_of_first_try(mosaic, task, "failed")
    until(lambda: time.time() > task.store.get("mosaic_run")["deadline"])
    with pytest.raises(AirflowFailException, match=r"time given for .* is over"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}


def test_a_retry_after_the_deadline_cancels_a_run_that_still_goes_on(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = life(StateStore().killing_at("id"), timeout=0.01)
    with pytest.raises(Killed):
        task.execute()
    assert "timeout=0:00:00.010000" in gives_up(task.execute, MosaicTimeoutError)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
