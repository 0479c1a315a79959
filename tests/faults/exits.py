"""Kill points at which a user or a timeout ends the task: clears, marks, cancels and timeouts."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .results import Outcome
from .scenario import CANCEL_RUN, GET_RUN, START_RUN
from .steps import (
    await_counts,
    await_deferral,
    await_end,
    await_new_polls,
    await_polling,
    await_requests,
    await_six_polls,
    await_state,
    clear,
    finish_run,
    hold_runs,
    inject,
    kill,
    mark,
    release_runs,
    start,
    start_with_hang,
)

RUN_RETRIED = Outcome(started=1, tries=2)
STARTED_TWICE = Outcome(started=2, tries=2, xcom=2)
CANCELLED_AND_RESTARTED = Outcome(started=2, cancelled=1, tries=2, xcom=2)
CANCELLED = Outcome(started=1, cancelled=1, state="failed")
CANCELLED_BY_FIRST_TRY = Outcome(started=1, cancelled=1, state="failed", tries=2)
NOT_CANCELLED = Outcome(started=1, running=1, state="failed")

# fmt: off
KILL_POINTS = (
    KillPoint("clear of a succeeded task", "run_without_retries", BOTH,
              (hold_runs, start, await_polling, await_six_polls, finish_run("completed"), await_end("success"),
               clear, await_counts(started=2), await_six_polls, release_runs), STARTED_TWICE),
    KillPoint("clear of a failed task", "run_without_retries", BOTH,
              (hold_runs, start, await_polling, await_six_polls, finish_run("failed"), await_end("failed"), clear,
               await_counts(started=2), await_six_polls, release_runs), STARTED_TWICE),
    KillPoint("clear of a waiting task: only the old run is cancelled", "run_with_retries", BOTH,
              (hold_runs, start, await_polling, clear, await_counts(started=2, cancelled=1), await_new_polls,
               release_runs), CANCELLED_AND_RESTARTED),
    # Airflow drops a trigger that it has not started, so the next try cancels the run. After a mark there is no next
    # try. Whether the run is cancelled then depends on timing, so there is no row for it.
    # The task's first poll hangs, so that the step can poll for the deferral.
    KillPoint("clear of a deferred task before its trigger starts", "run_with_retries", DEFERRED,
              (hold_runs, inject("hang", "GET", GET_RUN, when="after", seconds=2), start,
               await_requests("GET", GET_RUN), await_deferral, clear, await_counts(started=2),
               finish_run("completed", number=1)), CANCELLED_AND_RESTARTED),
    KillPoint("waiting task marked failed", "run_with_retries", BOTH,
              (hold_runs, start, await_polling, mark("failed")), CANCELLED),
    KillPoint("waiting task marked success", "run_with_retries", BOTH,
              (hold_runs, start, await_polling, mark("success")), Outcome(started=1, cancelled=1)),
    KillPoint("waiting task marked failed, and its first cancels get a 404", "run_with_retries", DEFERRED,
              (hold_runs, start, await_polling, inject("not_found", "POST", CANCEL_RUN, times=2), mark("failed")),
              CANCELLED),
    KillPoint("waiting task marked failed, cancel_on_kill=False", "run_not_cancelled", DEFERRED,
              (hold_runs, start, await_polling, mark("failed")), NOT_CANCELLED),
    # No process of the task is left that could cancel the run.
    KillPoint("task marked failed while it waits for its retry", "run_with_late_retries", WORKER,
              (hold_runs, start, await_polling, kill, await_state("up_for_retry"), mark("failed")), NOT_CANCELLED),
    KillPoint("run cancelled outside Airflow, with retries left", "run_with_retries", BOTH,
              (hold_runs, start, await_polling, await_six_polls, finish_run("cancelled")),
              Outcome(started=1, state="failed")),
    KillPoint("timeout of the operator", "run_with_timeout", BOTH,
              (hold_runs, start, await_counts(started=1)), CANCELLED),
    KillPoint("timeout of the operator, killed after the cancel", "run_with_timeout", BOTH,
              (hold_runs, start, await_counts(cancelled=1)), CANCELLED_BY_FIRST_TRY, ("die_after_cancel",)),
    KillPoint("timeout of the operator, cancel_on_kill=False", "run_with_timeout_not_cancelled", DEFERRED,
              (hold_runs, start, await_counts(started=1)), NOT_CANCELLED),
    KillPoint("execution_timeout", "run_with_execution_timeout", BOTH,
              (hold_runs, start, await_counts(started=1)), CANCELLED),
    # The run id is unknown, so the run cannot be cancelled. The retry finds it.
    KillPoint("execution_timeout while starting: run started, no response yet", "run_with_timeout_and_retries", WORKER,
              (*start_with_hang("POST", START_RUN, when="after"),), RUN_RETRIED),
    KillPoint("timeout of the trigger", "run_without_retries", DEFERRED,
              (hold_runs, start, await_counts(started=1)), CANCELLED, ("stalled_trigger",)),
    KillPoint("timeout of the trigger, cancel_on_kill=False", "run_not_cancelled", DEFERRED,
              (hold_runs, start, await_counts(started=1)), NOT_CANCELLED, ("stalled_trigger",)),
)
