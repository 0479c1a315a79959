"""What the cases are played with: each step does one thing to a task or to its Mosaic, or waits for one thing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from dev.processes import poll

from .scenario import AGENT, AGENT_UPDATE, AVATAR, FINALIZE, LOOK, POST, RESUME, START, Scenario

#: One thing that is done or waited for.
Step = Callable[[Scenario], None]

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

begin: Step = Scenario.start
clear: Step = Scenario.clear
hold: Step = Scenario.hold_runs
let_go: Step = Scenario.let_go
lose_machine: Step = Scenario.lose_machine
failed_before: Step = Scenario.start_and_fail_run
begun_before: Step = Scenario.start_run
lookups_failed: Step = Scenario.until_lookups_failed


def fault(kind: str, method: str, path: str, **options: Any) -> Step:
    """The next request of a kind meets a fault."""
    return lambda scenario: scenario.mosaic.inject(kind, method=method, path=path, **options)


def lookups_fail(times: int) -> Step:
    """The next lookups of the connection fail."""
    return lambda scenario: scenario.lookups_fail(times)


def requested(method: str, path: str, times: int = 1) -> Step:
    """Wait until a request has come in so many times."""
    return lambda scenario: scenario.until_request(method, path, times)


def held(method: str, path: str, *, when: str, seconds: float | None = None) -> tuple[Step, ...]:
    """Begin, and hold the first request of a kind before or after its effect, for good or for some seconds."""
    options = {} if seconds is None else {"seconds": seconds}
    there = counted(**{EFFECTS[path]: 1}) if when == "after" else requested(method, path)
    return fault("hang", method, path, when=when, **options), begin, there


def counted(**wanted: int) -> Step:
    """Wait until the local Mosaic has counted so much."""
    return lambda scenario: scenario.until_counted(**wanted)


def looked(times: int, path: str = LOOK) -> Step:
    """Wait until a run or a post has been looked at so many times."""
    return requested("GET", path, times)


def looked_again(scenario: Scenario, times: int = 2) -> None:
    """Wait until somebody looks at a run anew: whatever was asked before may have been asked by who is gone."""
    seen = scenario.mosaic.counts().requests.get(f"GET {LOOK}", 0)
    scenario.until_request("GET", LOOK, seen + times)


def looked_on(scenario: Scenario) -> None:
    """
    Wait for some more looks, one a second.

    When a task goes on too soon after its deferral, Airflow takes the late news of its first part's end for a failure
    of the try: fatal where there is no retry.
    """
    looked_again(scenario, 6)


def waits(scenario: Scenario) -> None:
    """Wait until the task waits, with a look of the trigger's or the loop's besides the task's first one."""
    scenario.until_state("deferred" if scenario.mode == "deferred" else "running")
    scenario.until_request("GET", LOOK, 2)


def deferred_just_now(scenario: Scenario) -> None:
    """Wait until the task is deferred, and be there before the triggerer is."""
    poll(lambda: scenario.task().state == "deferred" or None, timeout=60, pause=0.05, what="the task is deferred")


def in_state(*states: str, tries: int | None = None) -> Step:
    """Wait until the task is in one of the states, in a certain try if that matters."""

    def step(scenario: Scenario) -> None:
        scenario.until_state(*states, tries=tries)

    return step


def over(state: str) -> Step:
    """
    Wait until the task has ended so, and the DAG run with it.

    A clear in the moment in which the scheduler ends the DAG run is lost in Airflow: the task is cleared, and the DAG
    run ended all the same, so that nobody begins the task anew.
    """

    def step(scenario: Scenario) -> None:
        scenario.until_state(state)
        scenario.until_done()

    return step


def killed(scenario: Scenario) -> None:
    """SIGKILL the task's process."""
    scenario.kill()


def killed_again(scenario: Scenario) -> None:
    """SIGKILL the process of the second try."""
    scenario.kill(2)


def terminated(scenario: Scenario) -> None:
    """SIGTERM the task's process."""
    scenario.signal(signal.SIGTERM, scenario.process())


def marked(state: str) -> Step:
    """Mark the task, as a person does."""
    return lambda scenario: scenario.mark(state)


def run_ends(status: str, *, number: int = 0) -> Step:
    """End one of the runs, counted from the first."""

    def step(scenario: Scenario) -> None:
        scenario.mosaic.finish_run(scenario.mosaic.runs()[number]["run_id"], status, message="By hand")

    return step


def fault_met(kind: str) -> Step:
    """Wait until a request has met the fault."""

    def step(scenario: Scenario) -> None:
        scenario.until(lambda: kind in scenario.mosaic.counts().faults_used, f"a {kind} that is met")

    return step
