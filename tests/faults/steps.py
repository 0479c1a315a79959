"""What the cases are played with: each step does one thing to a task or to its Mosaic, or waits for one thing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from dev.processes import poll

from .stage import AGENT, AGENT_UPDATE, AVATAR, FINALIZE, LOOK, POST, RESUME, START, Stage

#: One thing that is done or waited for.
Step = Callable[[Stage], None]

#: What the local Mosaic counts when a request has had its effect.
EFFECTS = {
    START: "started",
    RESUME: "resumed",
    POST: "posts",
    AGENT: "agents",
    AGENT_UPDATE: "updated",
    AVATAR: "avatars",
    FINALIZE: "finalized",
}

begin: Step = Stage.begin
clear: Step = Stage.clear
hold: Step = Stage.hold_runs
let_go: Step = Stage.let_go
lose_machine: Step = Stage.lose_machine
failed_before: Step = Stage.begin_and_fail_a_run
begun_before: Step = Stage.begin_a_run
lookups_failed: Step = Stage.until_lookups_failed


def fault(kind: str, method: str, path: str, **options: Any) -> Step:
    """The next request of a kind meets a fault."""
    return lambda stage: stage.mosaic.inject(kind, method=method, path=path, **options)


def lookups_fail(times: int) -> Step:
    """The next lookups of the connection fail."""
    return lambda stage: stage.lookups_fail(times)


def requested(method: str, path: str, times: int = 1) -> Step:
    """Wait until a request has come in so many times."""
    return lambda stage: stage.until_request(method, path, times)


def held(method: str, path: str, *, when: str, seconds: float | None = None) -> tuple[Step, ...]:
    """Begin, and hold the first request of a kind before or after its effect, for good or for some seconds."""
    options = {} if seconds is None else {"seconds": seconds}
    there = counted(**{EFFECTS[path]: 1}) if when == "after" else requested(method, path)
    return fault("hang", method, path, when=when, **options), begin, there


def counted(**wanted: int) -> Step:
    """Wait until the local Mosaic has counted so much."""
    return lambda stage: stage.until_counted(**wanted)


def looked(times: int, path: str = LOOK) -> Step:
    """Wait until a run or a post has been looked at so many times."""
    return requested("GET", path, times)


def looked_again(stage: Stage, times: int = 2) -> None:
    """Wait until somebody looks at a run anew: whatever was asked before may have been asked by who is gone."""
    seen = stage.mosaic.counts().requests.get(f"GET {LOOK}", 0)
    stage.until_request("GET", LOOK, seen + times)


def looked_on(stage: Stage) -> None:
    """
    Wait for some more looks, one a second.

    When a task goes on too soon after its deferral, Airflow takes the late news of its first part's end for a failure
    of the try: fatal where there is no retry.
    """
    looked_again(stage, 6)


def waits(stage: Stage) -> None:
    """Wait until the task waits, with a look of the trigger's or the loop's besides the task's first one."""
    stage.until_state("deferred" if stage.mode == "deferred" else "running")
    stage.until_request("GET", LOOK, 2)


def deferred_just_now(stage: Stage) -> None:
    """Wait until the task is deferred, and be there before the triggerer is."""
    poll(lambda: stage.task().state == "deferred" or None, timeout=60, pause=0.05, what="the task is deferred")


def in_state(*states: str, tries: int | None = None) -> Step:
    """Wait until the task is in one of the states, in a certain try if that matters."""

    def step(stage: Stage) -> None:
        stage.until_state(*states, tries=tries)

    return step


def over(state: str) -> Step:
    """
    Wait until the task has ended so, and the DAG run with it.

    A clear in the moment in which the scheduler ends the DAG run is lost in Airflow: the task is cleared, and the DAG
    run ended all the same, so that nobody begins the task anew.
    """

    def step(stage: Stage) -> None:
        stage.until_state(state)
        stage.until_over()

    return step


def killed(stage: Stage) -> None:
    """SIGKILL the task's process."""
    stage.kill()


def killed_again(stage: Stage) -> None:
    """SIGKILL the process of the second try."""
    stage.kill(2)


def terminated(stage: Stage) -> None:
    """SIGTERM the task's process."""
    stage.signal(signal.SIGTERM, stage.process())


def marked(state: str) -> Step:
    """Mark the task, as a person does."""
    return lambda stage: stage.mark(state)


def run_ends(status: str, *, number: int = 0) -> Step:
    """End one of the runs, counted from the first."""

    def step(stage: Stage) -> None:
        stage.mosaic.finish_run(stage.mosaic.runs()[number]["run_id"], status, message="By hand")

    return step


def fault_met(kind: str) -> Step:
    """Wait until a request has met the fault."""

    def step(stage: Stage) -> None:
        stage.until(lambda: kind in stage.mosaic.counts().faults_used, f"a {kind} that is met")

    return step
