"""The steps of cases: each does one thing to a task or to Mosaic, or waits for one thing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from mosaic_emulator.local_airflow.processes import poll

from .scenario import (
    CREATE_AGENT,
    CREATE_AVATAR,
    CREATE_POST,
    FINALIZE_UPLOAD,
    GET_RUN,
    RESUME_RUN,
    START_RUN,
    UPDATE_AGENT,
    Scenario,
)

Step = Callable[[Scenario], None]

#: The count of the emulator that shows the effect of a request.
EFFECTS = {
    START_RUN: "started",
    RESUME_RUN: "resumed",
    CREATE_POST: "posts",
    CREATE_AGENT: "agents",
    UPDATE_AGENT: "updated",
    CREATE_AVATAR: "avatars",
    FINALIZE_UPLOAD: "finalized",
}

start: Step = Scenario.start
clear: Step = Scenario.clear
hold_runs: Step = Scenario.hold_runs
release_runs: Step = Scenario.release_runs
create_run: Step = Scenario.create_run
create_failed_run: Step = Scenario.create_failed_run
kill_with_supervisor: Step = Scenario.kill_with_supervisor
stall_with_supervisor: Step = Scenario.stall_with_supervisor
await_failed_lookups: Step = Scenario.wait_for_failed_lookups


def inject(kind: str, method: str, path: str, **options: Any) -> Step:
    """Let the next request to an endpoint fail."""
    return lambda scenario: scenario.mosaic.inject(kind, method=method, path=path, **options)


def fail_lookups(times: int) -> Step:
    """Let the next lookups of the connection fail."""
    return lambda scenario: scenario.fail_lookups(times)


def finish_run(status: str, *, number: int = 0) -> Step:
    """End a run at Mosaic. The first run has the number 0."""

    def step(scenario: Scenario) -> None:
        scenario.mosaic.finish_run(scenario.mosaic.runs()[number]["run_id"], status, message="By hand")

    return step


def kill(scenario: Scenario) -> None:
    """Send SIGKILL to the task's process."""
    scenario.kill()


def kill_second_try(scenario: Scenario) -> None:
    """Send SIGKILL to the process of the second try."""
    scenario.kill(2)


def terminate(scenario: Scenario) -> None:
    """Send SIGTERM to the task's process."""
    scenario.signal(signal.SIGTERM, scenario.wait_for_process())


def mark(state: str) -> Step:
    """Mark the task as failed or success."""
    return lambda scenario: scenario.mark(state)


def start_with_hang(method: str, path: str, *, when: str, seconds: float | None = None) -> tuple[Step, ...]:
    """
    Start the task, and wait until its first request to an endpoint hangs.

    :param when: Whether the request hangs ``before`` or ``after`` its effect.
    :param seconds: How long it hangs. Default: forever.
    """
    options = {} if seconds is None else {"seconds": seconds}
    # A process that is killed between its request and the fault would leave the fault to the retry.
    hanging = await_counts(**{EFFECTS[path]: 1}) if when == "after" else await_fault("hang")
    return inject("hang", method, path, when=when, **options), start, hanging


def await_requests(method: str, path: str, times: int = 1) -> Step:
    """Wait until an endpoint has received a number of requests."""
    return lambda scenario: scenario.wait_for_requests(method, path, times)


def await_counts(**counts: int) -> Step:
    """Wait until the emulator's counts have reached these values."""
    return lambda scenario: scenario.wait_for_counts(**counts)


def await_fault(kind: str) -> Step:
    """Wait until a request has met an injected fault."""

    def step(scenario: Scenario) -> None:
        scenario.wait_until(lambda: kind in scenario.mosaic.counts().faults_used, f"a request that meets {kind}")

    return step


def await_polls(times: int, path: str = GET_RUN) -> Step:
    """Wait until a run or a post has been polled a number of times."""
    return await_requests("GET", path, times)


def await_new_polls(scenario: Scenario, times: int = 2) -> None:
    """Wait for further polls. Earlier ones may come from a process that no longer exists."""
    before = scenario.mosaic.counts().requests.get(f"GET {GET_RUN}", 0)
    scenario.wait_for_requests("GET", GET_RUN, before + times)


def await_six_polls(scenario: Scenario) -> None:
    """
    Wait for six further polls, one a second.

    If a task resumes too soon after its deferral, Airflow takes the late end of the first process for a failed try.
    Without retries, that fails the task.
    """
    await_new_polls(scenario, 6)


def await_polling(scenario: Scenario) -> None:
    """Wait until the task waits. Its trigger, or its loop on the worker, polls for the second time."""
    scenario.wait_for_state("deferred" if scenario.mode == "deferred" else "running")
    scenario.wait_for_requests("GET", GET_RUN, 2)


def await_deferral(scenario: Scenario) -> None:
    """Wait until the task is deferred, and return before the triggerer starts its trigger."""
    poll(lambda: scenario.task().state == "deferred" or None, timeout=60, pause=0.05, what="the task is deferred")


def await_state(*states: str, tries: int | None = None) -> Step:
    """Wait until the task is in one of the states, with a try number if given."""

    def step(scenario: Scenario) -> None:
        scenario.wait_for_state(*states, tries=tries)

    return step


def await_end(state: str) -> Step:
    """
    Wait until the task and the DAG run have ended.

    Airflow loses a clear that comes while the scheduler ends the DAG run.
    """

    def step(scenario: Scenario) -> None:
        scenario.wait_for_state(state)
        scenario.wait_for_dag_run()

    return step
