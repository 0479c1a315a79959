"""The response to a start is lost: the run is found, and nothing is started twice."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import DagRun, StateStore
from tasks.fixtures import AGENT, START, Clock, effects, in_pause, sent, until
from tasks.task_runs import fails_with, run_task

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicPermissionError,
    MosaicServerError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicUploadOperator

LOST_AFTER: list[tuple[str, dict[str, Any]]] = [
    ("response_lost", {}),
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
def test_lost_run_is_found_and_continued(
    mosaic: Emulator,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    options: dict[str, Any],
    deferrable: bool,
) -> None:
    mosaic.inject(fault, method="POST", path=START, **options)
    # By then the late effect of the 504 shows.
    in_pause(clock, monkeypatch, lambda: until(mosaic.runs), number=3)
    task = run_task(StateStore(), deferrable=deferrable)
    run_id = task.run_to_end()
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
def test_start_without_effect_is_sent_again_after_two_minutes(
    mosaic: Emulator, clock: Clock, fault: str, options: dict[str, Any]
) -> None:
    mosaic.inject(fault, method="POST", path=START, **options)
    run_id = run_task(StateStore()).run_to_end()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    assert sent(mosaic, "POST " + START) == 2
    assert clock.elapsed >= 119


def test_two_starts_without_effect_can_be_retried(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=START, status=502, times=2)
    task = run_task(StateStore())
    with pytest.raises(MosaicServerError, match="502"):
        task.execute()
    assert effects(mosaic) == {}
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1}


def test_refused_second_start_advises_no_clear(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=START, status=502)
    mosaic.inject("forbidden", method="POST", path=START)
    message = fails_with(run_task(StateStore()).execute, MosaicPermissionError)
    assert "An earlier one may have had one" in message
    assert "runs adopt" in message
    assert "Clear this task to start a run" not in message


@pytest.mark.parametrize("kind", ["rate_limit", "server_error"])
def test_rate_limited_start_is_sent_again_without_a_search(mosaic: Emulator, clock: Clock, kind: str) -> None:
    options = {"status": 503} if kind == "server_error" else {}
    mosaic.inject(kind, method="POST", path=START, times=2, retry_after=1, **options)
    run_task(StateStore()).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + START) == 3
    # One read of the list before the start, and none after it.
    assert sent(mosaic, "GET /agent/{agent_id}/runs") == 1


def test_delayed_list_is_read_until_it_shows_the_run(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(list_lag=3600)
    in_pause(clock, monkeypatch, lambda: mosaic.configure(list_lag=0), number=3)
    mosaic.inject("response_lost", method="POST", path=START)
    run_task(StateStore()).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET /agent/{agent_id}/runs") >= 8


def test_list_that_fails_for_a_while_does_not_end_the_search(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    mosaic.inject("server_error", method="GET", path="/agent/{agent_id}/runs", skip=1, times=7, status=502)
    run_task(StateStore()).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_list_that_always_fails_needs_manual_review(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs", skip=1, times=None)
    message = fails_with(run_task(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert "could not be read" in message
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + START) == 1


@pytest.mark.parametrize("skew", [-540, 540], ids=["behind", "ahead"])
@pytest.mark.parametrize("fault", ["response_lost", "server_error"])
def test_server_clock_that_is_nine_minutes_off(mosaic: Emulator, clock: Clock, skew: int, fault: str) -> None:
    mosaic.configure(clock_skew=skew)
    mosaic.inject(fault, method="POST", path=START)
    run_task(StateStore()).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


# Runs of others


def start_other_run(store: StateStore, hook: MosaicHook) -> list[str]:
    """Start a run outside Airflow between the task's snapshot and its own start."""
    others: list[str] = []

    def start(value: dict[str, Any]) -> None:
        if "id" not in value and not others:
            others.append(hook.run_agent(AGENT))

    store.after_set = start
    return others


def test_several_candidates_need_manual_review(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store = StateStore()
    others = start_other_run(store, hook)
    mosaic.inject("response_lost", method="POST", path=START, skip=1)
    message = fails_with(run_task(store).execute, MosaicAmbiguousOutcomeError)
    assert len(mosaic.runs()) == 2
    for run in mosaic.runs():
        assert run["run_id"] in message
    assert others[0] in message
    assert "clear this task" in message
    assert clock.elapsed >= 119


def test_next_attempt_searches_again_and_starts_nothing(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store = StateStore()
    start_other_run(store, hook)
    mosaic.inject("response_lost", method="POST", path=START, skip=1)
    task = run_task(store)
    fails_with(task.execute, MosaicAmbiguousOutcomeError)
    fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 2}


def test_runs_of_siblings_are_no_candidates(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store, dag_run = StateStore(), DagRun()
    others = start_other_run(store, hook)
    store_start = store.after_set

    def owned(value: dict[str, Any]) -> None:
        store_start(value)
        dag_run.xcoms[("run", 7, "mosaic_run_id")] = others[0]
        dag_run.states |= {"run_0": "running", "run_7": "deferred"}

    store.after_set = owned
    mosaic.inject("response_lost", method="POST", path=START, skip=1)
    run_id = run_task(store, dag_run=dag_run, map_index=0).run_to_end()
    assert {run["run_id"] for run in mosaic.runs()} == {run_id, others[0]}
    assert run_id != others[0]


def test_runs_of_other_tasks_of_the_dag_run_are_no_candidates(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store, dag_run = StateStore(), DagRun()
    others = start_other_run(store, hook)
    store_start = store.after_set

    def owned(value: dict[str, Any]) -> None:
        store_start(value)
        dag_run.xcoms[("before", -1, "mosaic_run_id")] = others[0]
        dag_run.states |= {"run": "running", "before": "success"}

    store.after_set = owned
    mosaic.inject("response_lost", method="POST", path=START, skip=1)

    def run_other_tasks() -> None:
        MosaicRunAgentOperator(task_id="before", agent_id=AGENT)
        MosaicUploadOperator(task_id="upload", source="/nowhere.mp4")

    run_id = run_task(store, dag_run=dag_run, others=run_other_tasks).run_to_end()
    assert run_id != others[0]
    assert len(mosaic.runs()) == 2


@pytest.mark.parametrize("state", ["running", "up_for_retry"])
def test_nothing_is_adopted_while_a_sibling_is_starting(mosaic: Emulator, clock: Clock, state: str) -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": state, "run_2": "scheduled"})
    mosaic.inject("response_lost", method="POST", path=START)
    message = fails_with(run_task(StateStore(), dag_run=dag_run, map_index=0).execute, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_run_is_adopted_once_the_sibling_has_its_id(mosaic: Emulator, clock: Clock) -> None:
    dag_run = DagRun(states={"run_0": "running", "run_1": "running"})
    reads = []

    def count_read() -> None:
        reads.append(1)
        if len(reads) == 3:
            assert len(mosaic.runs()) == 1
            dag_run.xcoms[("run", 1, "mosaic_run_id")] = "its-own"

    dag_run.on_states_read = count_read
    mosaic.inject("response_lost", method="POST", path=START)
    run_id = run_task(StateStore(), dag_run=dag_run, map_index=0).run_to_end()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    # From now on it is the only candidate; the task adopts it after five polls.
    assert len(reads) == 7


def test_unreadable_siblings_are_not_taken_for_none(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(StateStore(), map_index=0)
    task.states_broken = True
    fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 1}


def test_existing_runs_are_never_adopted(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    before = hook.run_agent(AGENT)
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_id = run_task(StateStore()).run_to_end()
    assert run_id != before
    assert [run["run_id"] for run in mosaic.runs()] == [before, run_id]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_existing_runs_beyond_the_first_page_are_not_adopted(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, order: str
) -> None:
    mosaic.configure(hold_runs=True, list_order=order)
    before = {hook.run_agent(AGENT) for _ in range(101)}
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_id = run_task(StateStore(), wait_for_completion=False).execute()
    assert run_id not in before
    assert effects(mosaic) == {"runs_started": 102}


def test_nothing_is_adopted_when_existing_runs_are_unknown(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    before = hook.run_agent(AGENT)
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs")
    mosaic.inject("server_error", method="POST", path=START, status=502)
    message = fails_with(run_task(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert before in message
    assert "may have existed before the request" in message
    assert effects(mosaic) == {"runs_started": 1}


def test_start_is_sent_again_when_existing_runs_are_unknown_and_none_is_found(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs")
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_task(StateStore()).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


def test_on_ambiguous_fail_names_the_candidate_and_does_not_adopt_it(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    message = fails_with(run_task(StateStore(), on_ambiguous="fail").execute, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert "not adopted because of on_ambiguous='fail'" in message
    assert effects(mosaic) == {"runs_started": 1}


def test_on_ambiguous_fail_sends_a_start_without_effect_again(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=START, status=502)
    run_task(StateStore(), on_ambiguous="fail").run_to_end()
    assert effects(mosaic) == {"runs_started": 1}
    assert clock.elapsed >= 119
