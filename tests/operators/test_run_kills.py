"""A kill of the task on a worker cancels its run, and nothing is sent after it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, TaskDeferralTimeout
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, KILL_LIMITS, START, InBackground, effects, sent, started, until
from tasks.kills import fork_supervisor, killed_during, killed_once, received, supervisor
from tasks.task_runs import fail_first_attempt, fails_with, post_task, rendered, run_task

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRunCancelledError, MosaicTimeoutError
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
)
from airflow_provider_mosaic.tasks import run_cancels
from airflow_provider_mosaic.tasks.posts import PostTask
from airflow_provider_mosaic.tasks.reporting import STATUS_KEY
from airflow_provider_mosaic.tasks.run_waits import RunWait
from airflow_provider_mosaic.tasks.runs import RunTask

__all__ = ["supervisor"]

CANCEL = "/agent_run/{run_id}/cancel"
RESUME = "/agent_run/{run_id}/resume"
GET_RUN = "/agent_run/{run_id}"
DEFINITION = {"name": "Nightly", "nodes": {"captions": {"tile": "Captions"}}}


def other_task(kind: Any, **options: Any) -> TaskRunner:
    return TaskRunner(lambda: kind(task_id="task", **options), store=StateStore())


def test_kill_during_the_wait_cancels_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), poll_interval=0.1)
    with killed_once(received(mosaic, "GET", GET_RUN), task), pytest.raises(MosaicRunCancelledError):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    assert sent(mosaic, "POST " + CANCEL) == 1


def test_second_signal_lets_a_retry_resume_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=409)
    task = run_task(StateStore(), poll_interval=0.1)
    is_time = received(mosaic, "GET", GET_RUN)
    with killed_once(is_time, task, signals=2), pytest.raises(MosaicRunCancelledError):
        task.execute()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.parametrize("status", [200, 400, 409])
def test_kill_whose_cancel_lost_its_response_lets_a_retry_resume_the_run(
    mosaic: Emulator, status: int, signals: int
) -> None:
    mosaic.configure(hold_runs=True, cancel_terminal_status=status)
    mosaic.inject("server_error", method="POST", path=CANCEL, status=502, effect=True)
    task = run_task(StateStore(), poll_interval=0.1)
    with (
        killed_once(lambda: sent(mosaic, "GET " + GET_RUN) > 1, task, signals=signals),
        pytest.raises(MosaicRunCancelledError, match="is cancelled"),
    ):
        task.execute()
    mosaic.configure(hold_runs=False)
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1, "runs_resumed": 1}


def test_kill_sends_a_cancel_again_that_gets_a_404(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.tasks.run_cancels._NOT_FOUND_PAUSE", 0.01)
    mosaic.configure(hold_runs=True)
    mosaic.inject("not_found", method="POST", path=CANCEL, times=2)
    task = run_task(StateStore(), poll_interval=0.1)
    with killed_once(received(mosaic, "GET", GET_RUN), task), pytest.raises(MosaicRunCancelledError, match="accepted"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("wait_for_completion", [True, False])
def test_kill_during_the_start_cancels_the_run_once_its_id_is_known(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, wait_for_completion: bool
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), wait_for_completion=wait_for_completion)
    with killed_during("POST", START, task, monkeypatch), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_kill_while_a_retry_resumes_the_run_cancels_what_was_resumed(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = run_task(StateStore())
    fail_first_attempt(mosaic, task, "failed")
    mosaic.configure(hold_runs=True)
    with killed_during("POST", RESUME, task, monkeypatch), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic)["runs_resumed"] == 1
    assert mosaic.runs()[0]["status"] == "cancelled"


@pytest.mark.parametrize("moment", ["the resume", "the read of a retry"])
def test_kill_before_the_wait_names_the_run_that_the_operator_resumes(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, hook: MosaicHook, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    task = other_task(MosaicResumeRunOperator, run_id=run_id, deferrable=True)
    method, path = ("POST", RESUME) if moment == "the resume" else ("GET", GET_RUN)
    if method == "GET":
        task.execute()
    with killed_during(method, path, task, monkeypatch), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert f"The task was killed before its wait. Run {run_id!r} may keep running" in caplog.text
    assert mosaic.runs()[0]["status"] == "cancelled"


@pytest.mark.parametrize(("method", "path"), [("POST", START), ("GET", GET_RUN)], ids=["starting", "waiting"])
def test_kill_without_cancel_on_kill_keeps_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), cancel_on_kill=False, poll_interval=0.1)
    with killed_during(method, path, task, monkeypatch), pytest.raises(MosaicRunCancelledError, match="killed"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize("reason", ["cancel_on_kill", "outage", "failed cancel"])
@pytest.mark.parametrize("on_retry", ["new", "fail"])
def test_run_that_a_kill_leaves_running_is_continued_with_every_on_retry(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, reason: str, deferrable: bool, on_retry: str
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), on_retry=on_retry, cancel_on_kill=reason != "cancel_on_kill", deferrable=deferrable)
    if reason == "outage":
        monkeypatch.setattr(run_cancels, "api_server_is_unreachable", lambda timeout: True)
    elif reason == "failed cancel":
        mosaic.inject("forbidden", method="POST", path=CANCEL, times=None)
    deferred = task.execute() if deferrable else None
    with (
        killed_during("GET", GET_RUN, task, monkeypatch),
        pytest.raises(MosaicRunCancelledError, match=r"try 2 of 3\), which continues with run"),
    ):
        task.resume(deferred, {"outcome": "ended", "id": started(mosaic)}) if deferred else task.execute()
    mosaic.finish_run(started(mosaic))
    assert task.run_to_end() == started(mosaic)
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize(("durable", "cancel_on_kill"), [(True, True), (False, False)])
def test_kill_with_on_retry_fail_is_final_if_no_retry_can_continue(
    mosaic: Emulator, durable: bool, cancel_on_kill: bool
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), on_retry="fail", durable=durable, cancel_on_kill=cancel_on_kill)
    with killed_once(received(mosaic, "GET", GET_RUN), task):
        fails_with(task.execute, MosaicRunCancelledError)


@pytest.fixture
def real_kill_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit a kill as in production."""
    for name, seconds in KILL_LIMITS.items():
        monkeypatch.setattr(run_cancels, name, seconds)


@pytest.mark.alone
@pytest.mark.usefixtures("real_kill_limits")
def test_kill_cancels_within_seconds_when_the_server_hangs(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=CANCEL)
    task = run_task(StateStore(), poll_interval=0.1, timeout=8)
    started_at = time.monotonic()
    is_time = received(mosaic, "GET", GET_RUN)
    with killed_once(is_time, task), pytest.raises((MosaicRunCancelledError, AirflowFailException)):
        task.execute()
    # Airflow kills the process five seconds after the signal: there is no time for a second request.
    assert time.monotonic() - started_at < 5


@pytest.mark.usefixtures("real_kill_limits")
def test_kill_during_the_start_cancels_by_one_short_request(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    mosaic.configure(hold_runs=True)
    mosaic.inject("hang", method="POST", path=CANCEL, times=2)
    task = run_task(StateStore())
    with (
        killed_during("POST", START, task, monkeypatch),
        pytest.raises(MosaicRunCancelledError, match="could not be cancelled"),
    ):
        task.execute()
    # A busy machine may send it after the limit.
    until(lambda: sent(mosaic, f"POST {CANCEL}"))
    assert sent(mosaic, f"POST {CANCEL}") == 1


@pytest.mark.parametrize(("make", "path"), [(run_task, "/agent/{agent_id}/runs"), (post_task, "/social/posts")])
def test_kill_before_the_request_sends_nothing(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, make: Callable[..., TaskRunner], path: str
) -> None:
    task = make(StateStore())
    with killed_during("GET", path, task, monkeypatch), pytest.raises(MosaicError, match="the task was killed"):
        task.execute()
    assert effects(mosaic) == {}


@pytest.mark.parametrize(("make", "path"), [(run_task, START), (post_task, "/social/post")])
def test_kill_while_the_request_is_rate_limited_sends_it_no_more(
    mosaic: Emulator, make: Callable[..., TaskRunner], path: str
) -> None:
    # The kill ends the pause.
    mosaic.inject("rate_limit", method="POST", path=path, retry_after=60)
    task = make(StateStore())
    with killed_once(received(mosaic, "POST", path), task), pytest.raises(MosaicError, match="the task was killed"):
        task.execute()
    assert sent(mosaic, f"POST {path}") == 1
    assert effects(mosaic) == {}


@pytest.mark.parametrize(("make", "path"), [(run_task, START), (post_task, "/social/post")])
def test_a_task_whose_supervisor_died_sends_a_rate_limited_request_no_more(
    mosaic: Emulator, supervisor: socket.socket, make: Callable[..., TaskRunner], path: str
) -> None:
    # The death of the supervisor ends the pause.
    mosaic.inject("rate_limit", method="POST", path=path, retry_after=60)
    is_time = received(mosaic, "POST", path)
    dying = InBackground(lambda: (until(is_time), supervisor.close()))
    with dying, pytest.raises(MosaicError, match="Airflow's supervisor of this process died"):
        make(StateStore()).execute()
    assert sent(mosaic, f"POST {path}") == 1
    assert effects(mosaic) == {}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_wait_ends_without_a_cancel_when_its_supervisor_is_killed(
    mosaic: Emulator, supervisor: socket.socket
) -> None:
    mosaic.configure(hold_runs=True)
    is_time = received(mosaic, "GET", GET_RUN)
    process, output = fork_supervisor(run_task(StateStore()).execute, supervisor)
    try:
        until(is_time)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    with os.fdopen(output) as lines:
        assert "Airflow's supervisor of this process died" in lines.read()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "not saved"])
@pytest.mark.parametrize("end", ["kill", "timeout"])
def test_an_end_after_the_death_of_the_supervisor_keeps_the_run_of_the_next_attempt(
    mosaic: Emulator, supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch, end: str, saved: bool
) -> None:
    """Without saved state, no other attempt can continue with the run."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore() if saved else None, timeout=60)

    def sleep(self: RunWait, _: float) -> None:
        supervisor.close()
        if end == "kill":
            task.operator.on_kill()
        else:
            monkeypatch.setattr(PollState, "expired", True)

    monkeypatch.setattr(RunWait, "sleep", sleep)
    reason = "keeps running: Airflow's supervisor of this process died" if saved else "cancel"
    if end == "kill":
        with pytest.raises(MosaicRunCancelledError, match=reason):
            task.execute()
    else:
        assert reason in fails_with(task.execute, MosaicTimeoutError)
    assert effects(mosaic) == {"runs_started": 1} | ({} if saved else {"runs_cancelled": 1})


def killed_while_waiting(task: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kill the task in its wait. Return its error."""
    monkeypatch.setattr(RunWait, "sleep", lambda *_: task.operator.on_kill())
    with pytest.raises(MosaicRunCancelledError) as killed:
        task.execute()
    return str(killed.value)


@pytest.mark.usefixtures("supervisor")
@pytest.mark.parametrize("map_index", [-1, 1])
@pytest.mark.parametrize(
    ("state", "replaced", "kept"),
    [
        ("running", True, True),
        ("deferred", True, True),
        ("up_for_retry", True, True),
        # A clear also replaces the id of the task instance.
        ("restarting", True, False),
        ("failed", False, False),
        # The worker is stopped.
        ("running", False, False),
    ],
)
def test_kill_of_an_attempt_that_another_one_has_replaced_keeps_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, state: str, replaced: bool, kept: bool, map_index: int
) -> None:
    """A worker that has stalled for minutes kills the attempt that Airflow has retried."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), map_index=map_index)
    assert task.store is not None
    task.dag_run.states = {"run" if map_index < 0 else f"run_{map_index}": state}
    if replaced:
        # Airflow finds nothing under the id that it has replaced.
        monkeypatch.setattr(task.store, "get", lambda key, default=None: default)
    reason = "another attempt has replaced this one" if kept else "accepted the cancel"
    assert reason in killed_while_waiting(task, monkeypatch)
    assert effects(mosaic) == {"runs_started": 1} | ({} if kept else {"runs_cancelled": 1})


@pytest.mark.usefixtures("supervisor")
@pytest.mark.parametrize("replaced", [True, False])
def test_timeout_of_an_attempt_that_another_one_has_replaced_keeps_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """A suspended machine is back after the timeout, and before the next heartbeat."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), timeout=0.5, poll_interval=0.1)
    assert task.store is not None
    task.dag_run.states = {"run": "running"}
    if replaced:
        # Airflow finds nothing under the id that it has replaced.
        monkeypatch.setattr(task.store, "get", lambda key, default=None: default)
    error = fails_with(task.execute, MosaicTimeoutError)
    assert ("another attempt has replaced this one" in error) is replaced
    assert effects(mosaic) == {"runs_started": 1} | ({} if replaced else {"runs_cancelled": 1})
    assert any(key == STATUS_KEY for _, _, key in task.dag_run.xcoms) is not replaced


@pytest.mark.usefixtures("supervisor")
@pytest.mark.parametrize("reason", ["interrupted request", "error", "not saved"])
def test_kill_cancels_the_run_if_it_is_unknown_whether_the_attempt_was_replaced(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), durable=reason != "not saved")
    task.dag_run.states = {"run": "running"}
    assert task.store is not None
    monkeypatch.setattr(task.store, "get", lambda key, default=None: default)
    task.states_broken = reason == "error"
    is_ended = threading.Event()

    def wait_for_lock() -> None:
        # Airflow's requests to its supervisor share a lock, which the interrupted one has.
        is_ended.wait()

    if reason == "interrupted request":
        task.dag_run.on_states_read = wait_for_lock
        monkeypatch.setattr(run_cancels, "_CHECK_TIMEOUT", 0.2)
        monkeypatch.setattr(run_cancels, "api_server_is_unreachable", lambda timeout: False)
    assert "accepted the cancel" in killed_while_waiting(task, monkeypatch)
    is_ended.set()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_kill_while_the_media_are_read_posts_nothing(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, hook: MosaicHook
) -> None:
    run_id, _ = rendered(mosaic, hook)
    task = post_task(StateStore(), run_id=run_id)
    with (
        killed_during("GET", GET_RUN, task, monkeypatch),
        pytest.raises(MosaicError, match="the task was killed"),
    ):
        task.execute()
    assert "posts_made" not in effects(mosaic)


def test_kill_before_the_start_does_nothing(mosaic: Emulator) -> None:
    MosaicRunAgentOperator(task_id="run", agent_id=AGENT).on_kill()
    assert mosaic.requests() == []


def kill_in(owner: type, function: str, task: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the task at each call of a function."""
    original = getattr(owner, function)

    def killed(self: Any, *args: Any) -> Any:
        task.operator.on_kill()
        return original(self, *args)

    monkeypatch.setattr(owner, function, killed)


def killed_before(task: TaskRunner) -> TaskRunner:
    """Kill the task before each execution, as a signal does while Airflow renders the templates."""
    make = task.make

    def make_killed() -> Any:
        operator = make()
        operator.on_kill()
        return operator

    task.make = make_killed
    return task


@pytest.mark.parametrize(("make", "kind"), [(run_task, RunTask), (post_task, PostTask)])
def test_kill_while_the_arguments_are_validated_sends_nothing(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, make: Callable[..., TaskRunner], kind: type
) -> None:
    task = make(StateStore())
    kill_in(kind, "prepare", task, monkeypatch)
    with pytest.raises(MosaicError, match="the task was killed"):
        task.execute()
    assert effects(mosaic) == {}


@pytest.mark.parametrize(
    "task",
    [
        run_task(StateStore()),
        post_task(StateStore()),
        other_task(MosaicCreateAvatarProfileOperator, name="Host", video_url="https://cdn.example.org/host.mp4"),
        other_task(MosaicApplyAgentOperator, definition=DEFINITION),
    ],
    ids=["run", "post", "avatar profile", "agent"],
)
def test_kill_before_the_execution_creates_nothing(mosaic: Emulator, task: TaskRunner) -> None:
    with pytest.raises(MosaicError, match="the task was killed"):
        killed_before(task).execute()
    assert effects(mosaic) == {}
    assert mosaic.counts().agents_created == 0


def test_kill_before_the_execution_resumes_nothing(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    with pytest.raises(MosaicError, match="the task was killed"):
        killed_before(other_task(MosaicResumeRunOperator, run_id=run_id, deferrable=True)).execute()
    assert effects(mosaic) == {"runs_started": 1}


def test_kill_while_an_agent_is_read_creates_nothing(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    task = other_task(MosaicApplyAgentOperator, definition=DEFINITION)
    with killed_during("GET", "/agents", task, monkeypatch), pytest.raises(MosaicError, match="the task was killed"):
        task.execute()
    assert mosaic.counts().agents_created == 0


def test_kill_before_a_retry_cancels_the_run_of_the_earlier_attempt(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore().killing_at("id"), deferrable=True)
    with pytest.raises(Killed):
        task.execute()
    with pytest.raises(MosaicRunCancelledError, match="accepted the cancel"):
        killed_before(task).execute()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("moment", ["before the execution", "while the arguments are validated"])
def test_kill_before_a_deferred_task_continues_cancels_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    if moment == "before the execution":
        killed_before(task)
    else:
        kill_in(MosaicRunAgentOperator, "_task", task, monkeypatch)
    with pytest.raises(MosaicRunCancelledError, match="accepted the cancel"):
        task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "completed"})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_kill_before_a_task_continues_after_the_timeout_of_its_trigger_cancels_the_run_without_a_read(
    mosaic: Emulator,
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    task.execute()
    reads = sent(mosaic, "GET " + GET_RUN)
    with pytest.raises(TaskDeferralTimeout):
        killed_before(task).on_timeout()
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}
    # For the status in XCom.
    assert sent(mosaic, "GET " + GET_RUN) == reads + 1


@pytest.mark.parametrize("is_answered", [False, True], ids=["cancelled", "running"])
def test_kill_after_a_deferral_cancels_the_run(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, is_answered: bool
) -> None:
    """The poll that the kill interrupts shows the run as cancelled, or as running."""
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True)
    deferred = task.execute()
    killed = killed_during("GET", GET_RUN, task, monkeypatch, is_answered=is_answered)
    with killed, pytest.raises(MosaicRunCancelledError, match="killed"):
        task.resume(deferred, {"outcome": "ended", "id": deferred.kwargs["run_id"], "status": "completed"})
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize(("moment", "cancel_on_kill"), [("before", True), ("during", True), ("during", False)])
def test_kill_during_the_lookup_of_the_connection_names_the_run_at_once_and_cancels_it_after_that(
    mosaic: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    moment: str,
    cancel_on_kill: bool,
) -> None:
    mosaic.configure(hold_runs=True)
    task = run_task(StateStore(), deferrable=True, cancel_on_kill=cancel_on_kill)
    deferred = task.execute()
    run_id, reads = deferred.kwargs["run_id"], sent(mosaic, "GET " + GET_RUN)
    look_up, is_looking_up = MosaicHook.get_connection, threading.Lock()
    logged: list[str] = []
    result = "is cancelled" if cancel_on_kill else "keeps running because cancel_on_kill=False"

    def look_up_and_be_killed(conn_id: str) -> Any:
        # Airflow's requests to its supervisor share a lock: a second one in a signal handler would wait forever.
        assert is_looking_up.acquire(blocking=False)
        if moment == "during":
            task.operator.on_kill()
        logged.append(caplog.text)
        is_looking_up.release()
        return look_up(conn_id)

    if moment == "before":
        killed_before(task)
    monkeypatch.setattr(MosaicHook, "get_connection", staticmethod(look_up_and_be_killed))
    with pytest.raises(MosaicRunCancelledError, match="accepted the cancel" if cancel_on_kill else result):
        task.resume(deferred, {"outcome": "ended", "id": run_id, "status": "completed"})
    assert f"Run {run_id!r} {result}" in logged[0]
    assert effects(mosaic) == {"runs_started": 1, **({"runs_cancelled": 1} if cancel_on_kill else {})}
    assert sent(mosaic, "GET " + GET_RUN) == reads
