"""A sibling failed, or belongs to another DAG run: has it certainly started nothing, or may it own the candidate?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fakes import DagRun, Killed, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, START, Clock, effects, sent
from tasks.task_runs import LATE, fail_first_attempt, fails_with, one_post, post_task, run_task

from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicCreateAvatarProfileOperator, MosaicResumeRunOperator

TOLD = "mosaic_not_started"


def fails(task: TaskRunner) -> None:
    with pytest.raises((MosaicError, AirflowFailException)):
        task.execute()


def sibling_task(dag_run: DagRun, store: StateStore | None, **options: Any) -> TaskRunner:
    return run_task(store, dag_run=dag_run, map_index=1, **options)


def lost_beside(mosaic: Emulator, dag_run: DagRun, state: str = "failed") -> TaskRunner:
    """Return a task that has lost the response to its start, beside a failed sibling."""
    dag_run.states = {"run_0": "running", "run_1": state}
    mosaic.inject("response_lost", method="POST", path=START)
    return run_task(StateStore(), dag_run=dag_run, map_index=0, wait_for_completion=False)


REFUSED: dict[str, tuple[str | None, dict[str, Any]]] = {
    "the key is wrong": ("unauthorized", {}),
    "the key may not": ("forbidden", {}),
    "Mosaic does not know the agent": ("not_found", {}),
    "Mosaic refuses an argument": (None, {"ignore_nodes": ["b0000004-0000-4000-8000-0000000000ff"]}),
    "an argument is wrong": (None, {"video_urls": ["no address"], **LATE}),
    "another argument is wrong": (None, {"poll_interval": "often", **LATE}),
    "there is no such connection": (None, {"mosaic_conn_id": "gone"}),
    "Mosaic can't be reached": (None, {"mosaic_conn_id": "away"}),
    "there are too few credits": (None, {"min_credits": 1e9}),
}


@pytest.mark.parametrize("state", ["failed", "up_for_retry"])
@pytest.mark.parametrize("store", [StateStore, lambda: None], ids=["store", "no store"])
@pytest.mark.parametrize("why", REFUSED)
def test_rejected_sibling_owns_nothing(
    mosaic: Emulator,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    store: Callable[[], StateStore | None],
    state: str,
) -> None:
    away = {**json.loads(mosaic.airflow_connection()), "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(away))
    fault, options = REFUSED[why]
    mosaic.configure(credits=1000)
    if fault:
        mosaic.inject(fault, method="POST", path=START)
    dag_run = DagRun()
    sibling = sibling_task(dag_run, store(), **options)
    with pytest.raises(Exception):  # noqa: B017, PT011 - any error
        sibling.execute()
    assert sibling.xcom(TOLD) == 1
    run_id = lost_beside(mosaic, dag_run, state).execute()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]


def killed_before_it_sent(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    sibling = sibling_task(dag_run, StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        sibling.execute()
    return sibling


def lost_twice_and_not_found(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    mosaic.inject("server_error", method="POST", path=START, status=502, times=2)
    sibling = sibling_task(dag_run, StateStore())
    fails(sibling)
    return sibling


def lost_and_then_refused(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    mosaic.inject("server_error", method="POST", path=START, status=502)
    mosaic.inject("forbidden", method="POST", path=START)
    sibling = sibling_task(dag_run, StateStore())
    fails(sibling)
    return sibling


def killed_and_then_refused(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    sibling = killed_before_it_sent(mosaic, dag_run)
    mosaic.inject("forbidden", method="POST", path=START)
    fails(sibling)
    return sibling


def killed_and_then_failed_for_another_argument(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    store = StateStore().killing_at("intent")
    with pytest.raises(Killed):
        sibling_task(dag_run, store).execute()
    sibling = sibling_task(dag_run, store, poll_interval="often", **LATE)
    sibling.try_number = 1
    fails(sibling)
    return sibling


def killed_without_a_store_and_then_refused(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    sibling = sibling_task(dag_run, StateStore(), durable=False)
    sibling.try_number = 1
    mosaic.inject("forbidden", method="POST", path=START)
    fails(sibling)
    return sibling


def refused_then_killed_without_a_store_then_refused(mosaic: Emulator, dag_run: DagRun) -> TaskRunner:
    store = StateStore()
    mosaic.inject("forbidden", method="POST", path=START)
    sibling = sibling_task(dag_run, store)
    fails(sibling)
    # The second attempt had durable=False.
    sibling.try_number = 2
    mosaic.inject("forbidden", method="POST", path=START)
    fails(sibling)
    return sibling


IN_DOUBT = [
    killed_before_it_sent,
    lost_twice_and_not_found,
    lost_and_then_refused,
    killed_and_then_refused,
    killed_and_then_failed_for_another_argument,
    killed_without_a_store_and_then_refused,
    refused_then_killed_without_a_store_then_refused,
]


@pytest.mark.parametrize("ends", IN_DOUBT)
def test_sibling_that_may_have_started_something_needs_manual_review(
    mosaic: Emulator, clock: Clock, ends: Callable[[Emulator, DagRun], TaskRunner]
) -> None:
    dag_run = DagRun()
    assert ends(mosaic, dag_run).xcom(TOLD) is None
    assert effects(mosaic) == {}
    message = fails_with(lost_beside(mosaic, dag_run).execute, MosaicAmbiguousOutcomeError)
    assert mosaic.runs()[0]["run_id"] in message
    assert "may belong to another task that has not pushed an id: " in message
    assert effects(mosaic) == {"runs_started": 1}


def test_sibling_with_a_lost_start_may_own_the_candidate(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    dag_run = DagRun()
    mosaic.inject("response_lost", method="POST", path=START)
    sibling = sibling_task(dag_run, StateStore(), on_ambiguous="fail")
    fails_with(sibling.execute, MosaicAmbiguousOutcomeError)
    assert sibling.xcom(TOLD) is None
    fails_with(lost_beside(mosaic, dag_run).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 2}


def test_cleared_sibling_may_own_something_though_it_is_rejected_now(mosaic: Emulator, clock: Clock) -> None:
    dag_run = DagRun()
    sibling = sibling_task(dag_run, StateStore(), wait_for_completion=False, cancel_on_kill=False)
    sibling.execute()
    for _ in range(3):
        sibling.clear()
        mosaic.inject("forbidden", method="POST", path=START)
        fails(sibling)
        assert sibling.xcom(TOLD) is None


def test_start_is_remembered_over_rejected_retries_and_clears(mosaic: Emulator, clock: Clock) -> None:
    dag_run = DagRun()
    sibling = sibling_task(dag_run, StateStore())
    for cleared in (False, False, True, False):
        if cleared:
            sibling.clear()
        mosaic.inject("forbidden", method="POST", path=START)
        fails(sibling)
        assert sibling.xcom(TOLD) == 1
    # And the task can start.
    run_id = sibling.run_to_end()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id]
    assert sibling.xcom(TOLD) is None


def test_failed_run_counts_as_started(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(hold_runs=True)
    task = sibling_task(DagRun(), StateStore(), deferrable=True)
    deferred = task.execute()
    mosaic.finish_run(mosaic.runs()[0]["run_id"], "failed")
    with pytest.raises((MosaicError, AirflowFailException)):
        task.resume(deferred, deferred.wait())
    assert task.xcom(TOLD) is None


def test_skipped_task_publishes_nothing(mosaic: Emulator) -> None:
    mosaic.configure(credits=1)
    skipped = sibling_task(DagRun(), StateStore(), min_credits=9, on_short_of_credits="skip")
    with pytest.raises(AirflowSkipException):
        skipped.execute()
    resume = TaskRunner(lambda: MosaicResumeRunOperator(task_id="run", run_id="gone"), store=StateStore())
    fails(resume)
    assert skipped.xcom(TOLD) is resume.xcom(TOLD) is None


def test_failing_store_or_xcom_hides_no_error(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    mosaic.inject("forbidden", method="POST", path=START)
    store = StateStore()
    sibling = sibling_task(DagRun(), store)
    store.after_set = lambda value: setattr(store, "broken_sets", 9)
    with pytest.raises(AirflowFailException, match="MosaicPermissionError"):
        sibling.execute()


@pytest.mark.parametrize("refused", [True, False])
def test_posts_and_profiles(mosaic: Emulator, clock: Clock, refused: bool) -> None:
    def profile(dag_run: DagRun, map_index: int, **options: Any) -> TaskRunner:
        arguments = {"task_id": "avatar", "name": "Host", "video_url": "https://cdn.example.org/host.mp4", **options}
        return TaskRunner(
            lambda: MosaicCreateAvatarProfileOperator(**arguments),
            store=StateStore(),
            dag_run=dag_run,
            map_index=map_index,
        )

    def post(dag_run: DagRun, map_index: int, **options: Any) -> TaskRunner:
        return post_task(StateStore(), dag_run=dag_run, map_index=map_index, **options)

    wrong: dict[str, Any] = {"social_connection_ids": ["" if refused else ACCOUNT]}
    for task, path, bad in ((post, "/social/post", wrong), (profile, "/avatar-profiles/create", {"name": ""})):
        dag_run = DagRun()
        if refused:
            sibling = task(dag_run, 1, **bad, **LATE)
            fails(sibling)
            assert sibling.xcom(TOLD) == 1
        name = "post" if task is post else "avatar"
        dag_run.states = {f"{name}_0": "running", f"{name}_1": "failed"}
        mosaic.inject("response_lost", method="POST", path=path)
        if refused:
            assert task(dag_run, 0).execute()
        else:
            fails_with(task(dag_run, 0).execute, MosaicAmbiguousOutcomeError)
        assert sent(mosaic, f"POST {path}") == 1


@pytest.mark.parametrize("options", [{"on_retry": "fail"}, {"on_partial": "fail"}, {"timeout": 0.5}], ids=str)
def test_retry_that_fails_for_its_run_publishes_the_run_id(
    mosaic: Emulator, clock: Clock, options: dict[str, Any]
) -> None:
    dag_run = DagRun()
    sibling = sibling_task(dag_run, StateStore(), **options)
    run_id = fail_first_attempt(mosaic, sibling, "partial_complete" if "on_partial" in options else "failed")
    clock.sleep(1)
    fails(sibling)
    assert sibling.xcom("mosaic_run_id") == run_id
    # No other task owns it, and the sibling finds its own.
    found = lost_beside(mosaic, dag_run).execute()
    assert [run["run_id"] for run in mosaic.runs()] == [run_id, found]


def test_retry_that_fails_for_its_post_publishes_the_post_id(mosaic: Emulator, clock: Clock) -> None:
    store = StateStore().killing_at("id")
    task = post_task(store)
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("not_found", method="GET", path="/social/post/{post_id}", times=None)
    fails(task)
    assert task.xcom("mosaic_post_id") == one_post(mosaic)["post_id"]


def test_the_run_of_another_dag_run_is_not_adopted(mosaic: Emulator, clock: Clock) -> None:
    """The start has no effect, and the same task of another DAG run starts its run in the same second."""
    other, store = DagRun(run_id="other", states={"run": "running"}), StateStore()

    def start_other(intent: dict[str, Any]) -> None:
        store.after_set = lambda value: None
        other.xcoms["run", -1, "mosaic_run_id"] = MosaicHook().run_agent(AGENT)
        mosaic.inject("server_error", method="POST", path=START, status=502)

    store.after_set = start_other
    task = run_task(store, wait_for_completion=False)
    task.other_dag_runs = [other]
    # The request is sent again after two minutes.
    own = task.execute()
    assert {run["run_id"] for run in mosaic.runs()} == {own, other.xcoms["run", -1, "mosaic_run_id"]}
    assert effects(mosaic) == {"runs_started": 2}


@pytest.mark.parametrize("killed", [False, True])
def test_run_that_two_dag_runs_adopt_at_the_same_moment_needs_manual_review(
    mosaic: Emulator, clock: Clock, killed: bool
) -> None:
    """Both searches find the run of one start before one of them has pushed its id."""
    other, store, reads = DagRun(run_id="other", states={"run": "running"}), StateStore(), []

    def adopt_it_too() -> None:
        reads.append(1)
        # The first read was before the adoption.
        if len(reads) == 2:
            other.xcoms["run", -1, "mosaic_run_id"] = mosaic.runs()[0]["run_id"]

    other.on_states_read = adopt_it_too
    task = run_task(store)
    task.other_dag_runs = [other]
    if killed:
        store.killing_at("intent")
        with pytest.raises(Killed):
            task.execute()
        MosaicHook().run_agent(AGENT)
    else:
        mosaic.inject("response_lost", method="POST", path=START)
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    run_id = mosaic.runs()[0]["run_id"]
    assert f"{run_id!r} may belong to this task or to DAG run 'other'" in message
    assert task.xcom("mosaic_run_id") is None
    # The task's page would let a user cancel it.
    assert task.xcom("mosaic_item") is None
    # After a clear, the task must not cancel the run, which may be the other's.
    assert "id" not in store.get("mosaic_run")
    assert effects(mosaic) == {"runs_started": 1}


def test_sibling_whose_old_run_is_replaced_may_own_the_new_one(mosaic: Emulator, clock: Clock) -> None:
    dag_run, store = DagRun(), StateStore()
    sibling = sibling_task(dag_run, StateStore(), on_retry="new")
    fail_first_attempt(mosaic, sibling, "failed")

    def replace_its_run(intent: dict[str, Any]) -> None:
        store.after_set = lambda value: None
        mosaic.inject("response_lost", method="POST", path=START)
        mosaic.inject("forbidden", method="GET", path="/agent/{agent_id}/runs", skip=1, times=None)
        fails_with(sibling.execute, MosaicAmbiguousOutcomeError)
        mosaic.clear_faults()
        dag_run.states = {"run_0": "running", "run_1": "failed"}
        # The start of the other task has no effect: the only new run is the sibling's.
        mosaic.inject("server_error", method="POST", path=START, status=502)

    store.after_set = replace_its_run
    task = run_task(store, dag_run=dag_run, map_index=0)
    fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 2}
