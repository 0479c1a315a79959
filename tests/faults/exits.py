"""Clears, marks and clocks: what cancels a run, and what begins a new one."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .ledger import Outcome
from .scenario import LOOK, START
from .steps import (
    begin,
    clear,
    counted,
    deferred_just_now,
    fault,
    held,
    hold,
    let_go,
    looked_again,
    looked_on,
    marked,
    over,
    requested,
    run_ends,
    waits,
)

AGAIN = Outcome(started=1, tries=2)
ANEW = Outcome(started=2, tries=2, names=2)
CANCELLED_AND_ANEW = Outcome(started=2, cancelled=1, tries=2, names=2)
CANCELLED = Outcome(started=1, cancelled=1, state="failed")
CANCELLED_BY_THE_FIRST = Outcome(started=1, cancelled=1, state="failed", tries=2)
KEPT = Outcome(started=1, running=1, state="failed")

# fmt: off
KILL_POINTS = (
    KillPoint("clear of a succeeded task", "run_once", BOTH,
           (hold, begin, waits, looked_on, run_ends("completed"), over("success"),
            clear, counted(started=2), looked_on, let_go), ANEW),
    KillPoint("clear of a failed task", "run_once", BOTH,
           (hold, begin, waits, looked_on, run_ends("failed"), over("failed"),
            clear, counted(started=2), looked_on, let_go), ANEW),
    KillPoint("clear of a waiting task: the old run alone is cancelled", "run_retried", BOTH,
           (hold, begin, waits, clear, counted(started=2, cancelled=1), looked_again, let_go), CANCELLED_AND_ANEW),
    # Airflow forgets a trigger that it has not started, and the next try has to cancel. For a mark there is no next
    # try: whether the run is cancelled then depends on who comes first, so no row says it.
    KillPoint("clear of a deferred task before the triggerer has it", "run_retried", DEFERRED,
           # The task's first look is held, so that its deferral can be waited for closely.
           (hold, fault("hang", "GET", LOOK, when="after", seconds=2), begin, requested("GET", LOOK),
            deferred_just_now, clear, counted(started=2), run_ends("completed", number=1)), CANCELLED_AND_ANEW),
    KillPoint("waiting task marked failed", "run_retried", BOTH,
           (hold, begin, waits, marked("failed")), CANCELLED),
    KillPoint("waiting task marked success", "run_retried", BOTH,
           (hold, begin, waits, marked("success")), Outcome(started=1, cancelled=1)),
    KillPoint("waiting task marked failed, cancel_on_kill=False", "run_kept", DEFERRED,
           (hold, begin, waits, marked("failed")), KEPT),
    KillPoint("a person cancels the run at Mosaic, with retries left", "run_retried", BOTH,
           (hold, begin, waits, looked_on, run_ends("cancelled")), Outcome(started=1, state="failed")),
    KillPoint("the operator's timeout", "run_timeout", BOTH,
           (hold, begin, counted(started=1)), CANCELLED),
    KillPoint("the operator's timeout, killed after the cancel", "run_timeout", BOTH,
           (hold, begin, counted(cancelled=1)), CANCELLED_BY_THE_FIRST, ("die_after_cancel",)),
    KillPoint("the operator's timeout, cancel_on_kill=False", "run_timeout_kept", DEFERRED,
           (hold, begin, counted(started=1)), KEPT),
    KillPoint("execution_timeout", "run_execution_timeout", BOTH,
           (hold, begin, counted(started=1)), CANCELLED),
    # Nobody is left to cancel it: a retry finds it, and where there is none it goes on, which the log says.
    KillPoint("execution_timeout while starting: effect done, no answer yet", "run_hurried", WORKER,
           (*held("POST", START, when="after"),), AGAIN),
    KillPoint("Airflow's own limit on the trigger", "run_once", DEFERRED,
           (hold, begin, counted(started=1)), CANCELLED, ("deaf_trigger",)),
    KillPoint("Airflow's own limit, cancel_on_kill=False", "run_kept", DEFERRED,
           (hold, begin, counted(started=1)), KEPT, ("deaf_trigger",)),
)
