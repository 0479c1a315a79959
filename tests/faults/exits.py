"""Clears, marks and clocks: what cancels a run, and what begins a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dev.processes import poll

from .cases import Case
from .ledger import Outcome
from .stage import LOOK, Stage


def cleared_after(state: str) -> Callable[[Stage], None]:
    """Clear a task that has ended."""

    def script(stage: Stage) -> None:
        stage.hold_runs()
        stage.begin()
        stage.until_counted(started=1)
        if state == "failed":
            stage.mosaic.finish_run(stage.mosaic.runs()[0]["run_id"], "failed", message="No luck")
        stage.let_go()
        stage.until_state(state)
        stage.clear()
        stage.until_counted(started=2)

    return script


def cleared_while(state: str) -> Callable[[Stage], None]:
    """Clear a task while its run is going on."""

    def script(stage: Stage) -> None:
        stage.hold_runs()
        stage.begin()
        stage.until_state(state)
        # A look of the trigger's or the loop's, besides the task's first one.
        stage.until_request("GET", LOOK, 2)
        stage.clear()
        stage.until_counted(started=2, cancelled=1)
        seen = stage.mosaic.counts().requests[f"GET {LOOK}"]
        stage.until_request("GET", LOOK, seen + 2)
        stage.let_go()

    return script


def marked(state: str, *, while_: str) -> Callable[[Stage], None]:
    """Mark a task while its run is going on."""

    def script(stage: Stage) -> None:
        stage.hold_runs()
        stage.begin()
        stage.until_state(while_)
        # A look of the trigger's or the loop's, besides the task's first one.
        stage.until_request("GET", LOOK, 2)
        stage.mark(state)

    return script


def cleared_before_the_triggerer_has_it(stage: Stage) -> None:
    """
    Clear a deferred task at once: Airflow forgets a trigger that it has not started, and the next try has to cancel.

    For a mark there is no next try: whether the run is cancelled then depends on who comes first, so no case says it.
    """
    stage.hold_runs()
    # The task's first look is held, so that its deferral can be waited for closely.
    stage.mosaic.inject("hang", method="GET", path=LOOK, when="after", seconds=2)
    stage.begin()
    stage.until_request("GET", LOOK)
    poll(lambda: stage.task().state == "deferred" or None, timeout=60, pause=0.05, what="the task is deferred")
    stage.clear()
    stage.until_counted(started=2)
    stage.mosaic.finish_run(stage.mosaic.runs()[1]["run_id"])


def out_of_time(stage: Stage) -> None:
    """Let a clock run out while the run is going on."""
    stage.hold_runs()
    stage.begin()
    stage.until_counted(started=1)


def cases() -> Iterator[Case]:
    """Every exit."""
    for mode in ("worker", "deferred"):
        yield Case(
            moment="clear of a succeeded task",
            mode=mode,
            dag_id=f"run_once_{mode}",
            expected=Outcome(started=2, tries=2, names=2),
            script=cleared_after("success"),
        )
        yield Case(
            moment="clear of a failed task",
            mode=mode,
            dag_id=f"run_once_{mode}",
            expected=Outcome(started=2, tries=2, names=2),
            script=cleared_after("failed"),
        )
        state = "running" if mode == "worker" else "deferred"
        yield Case(
            moment=f"clear of a {state} task: the old run alone is cancelled",
            mode=mode,
            dag_id=f"run_retried_{mode}",
            expected=Outcome(started=2, cancelled=1, tries=2, names=2),
            script=cleared_while(state),
        )
        for wanted in ("failed", "success"):
            yield Case(
                moment=f"{state} task marked {wanted}",
                mode=mode,
                dag_id=f"run_retried_{mode}",
                expected=Outcome(started=1, cancelled=1, state=wanted),
                script=marked(wanted, while_=state),
            )
        yield Case(
            moment="the operator's timeout",
            mode=mode,
            dag_id=f"run_timeout_{mode}",
            expected=Outcome(started=1, cancelled=1, state="failed"),
            script=out_of_time,
        )
        yield Case(
            moment="execution_timeout",
            mode=mode,
            dag_id=f"run_execution_timeout_{mode}",
            expected=Outcome(started=1, cancelled=1, state="failed"),
            script=out_of_time,
        )
    yield Case(
        moment="deferred task cleared before the triggerer has it",
        mode="deferred",
        dag_id="run_retried_deferred",
        expected=Outcome(started=2, cancelled=1, tries=2, names=2),
        script=cleared_before_the_triggerer_has_it,
    )
    yield Case(
        moment="Airflow's own limit on the trigger",
        mode="deferred",
        dag_id="run_once_deferred",
        expected=Outcome(started=1, cancelled=1, state="failed"),
        script=out_of_time,
        seams=("deaf_trigger",),
    )
    yield Case(
        moment="Airflow's own limit, cancel_on_kill=False",
        mode="deferred",
        dag_id="run_kept_deferred",
        expected=Outcome(started=1, running=1, state="failed"),
        script=out_of_time,
        seams=("deaf_trigger",),
    )
    yield Case(
        moment="deferred task marked failed, cancel_on_kill=False",
        mode="deferred",
        dag_id="run_kept_deferred",
        expected=Outcome(started=1, running=1, state="failed"),
        script=marked("failed", while_="deferred"),
    )
    yield Case(
        moment="the operator's timeout, cancel_on_kill=False",
        mode="deferred",
        dag_id="run_timeout_kept_deferred",
        expected=Outcome(started=1, running=1, state="failed"),
        script=out_of_time,
    )
