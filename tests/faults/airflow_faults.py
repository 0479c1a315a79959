"""Kill points at which Airflow's own services fail: connection lookups, XCom, the task state store."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .results import Outcome
from .scenario import GET_RUN
from .steps import (
    await_failed_lookups,
    await_polling,
    await_polls,
    await_requests,
    await_state,
    create_run,
    fail_lookups,
    hold_runs,
    inject,
    kill,
    release_runs,
    start,
)

RUN_STARTED = Outcome(started=1)
RUN_RETRIED = Outcome(started=1, tries=2)
#: Writing XCom fails, or the task is a sensor.
NO_XCOM = Outcome(started=1, xcom=0)

# fmt: off
KILL_POINTS = (
    KillPoint("connection lookup fails at the start", "run_with_retries", BOTH,
              (fail_lookups(2), start), RUN_RETRIED, ("failing_lookups",)),
    KillPoint("connection lookup fails before a post", "post_with_retries", WORKER,
              (fail_lookups(1), start), Outcome(posts=1, tries=2), ("failing_lookups",)),
    # The task's first poll hangs, so that the next lookup is that of the triggerer.
    KillPoint("connection lookup fails at the trigger's first poll", "run_without_retries", DEFERRED,
              (hold_runs, inject("hang", "GET", GET_RUN, when="after", seconds=2), start,
               await_requests("GET", GET_RUN), fail_lookups(3), await_failed_lookups, release_runs),
              RUN_STARTED, ("failing_lookups",)),
    KillPoint("connection lookup fails after the deferral", "run_without_retries", DEFERRED,
              (hold_runs, start, await_polling, fail_lookups(1), release_runs, await_failed_lookups),
              RUN_STARTED, ("failing_lookups",)),
    KillPoint("connection lookup fails at a retry", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), fail_lookups(3), kill, await_failed_lookups, release_runs),
              RUN_RETRIED, ("failing_lookups",)),
    KillPoint("connection lookup fails in a sensor with soft_fail", "run_sensor", BOTH,
              (hold_runs, create_run, fail_lookups(2), start, await_failed_lookups, await_polls(1), release_runs),
              NO_XCOM, ("failing_lookups",)),
    KillPoint("connection lookup fails in a poking sensor", "run_sensor", WORKER,
              (hold_runs, create_run, start, await_polls(2), fail_lookups(3), await_failed_lookups, release_runs),
              NO_XCOM, ("failing_lookups",)),

    KillPoint("XCom cannot be written after the start", "run_with_retries", BOTH,
              (start,), NO_XCOM, ("xcom_fails",)),
    KillPoint("XCom cannot be written after the start, killed", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), kill, await_state("running", tries=2), await_polls(4),
               release_runs), Outcome(started=1, tries=2, xcom=0), ("xcom_fails",)),
    KillPoint("XCom cannot be written after a post", "post_with_retries", BOTH,
              (start,), Outcome(posts=1, xcom=0), ("xcom_fails",)),
    KillPoint("XCom cannot be written after a profile", "avatar_with_retries", WORKER,
              (start,), Outcome(avatars=1, xcom=0), ("xcom_fails",)),
    KillPoint("XCom cannot be written after an agent", "agent_with_retries", WORKER,
              (start,), Outcome(agents=1, updated=1, xcom=0), ("xcom_fails",)),

    KillPoint("state store cannot save the intent", "run_with_retries", BOTH,
              (start,), RUN_RETRIED, ("store_fails_at_intent",)),
    KillPoint("state store cannot save the intent of a post", "post_with_retries", WORKER,
              (start,), Outcome(posts=1, tries=2), ("store_fails_at_intent",)),
    KillPoint("state store cannot save the id", "run_with_retries", BOTH,
              (start,), RUN_STARTED, ("store_fails_at_id",)),
    KillPoint("state store cannot save the id, killed", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), kill, await_state("running", tries=2), release_runs),
              RUN_RETRIED, ("store_fails_at_id",)),
    KillPoint("state store cannot save the id of a post", "post_with_retries", WORKER,
              (start,), Outcome(posts=1), ("store_fails_at_id",)),
    KillPoint("state store cannot be read at a retry", "run_with_retries", BOTH,
              (start,), Outcome(started=1, tries=3), ("die_after_id", "store_fails_at_retry")),
    KillPoint("state store has lost the entry before the retry", "run_with_retries", WORKER,
              (start,), Outcome(started=1, state="failed", tries=2, xcom=0), ("die_after_id", "store_loses_value")),
    KillPoint("state store has lost the entry of a post before the retry", "post_with_retries", WORKER,
              (start,), Outcome(posts=1, state="failed", tries=2, xcom=0), ("die_after_id", "store_loses_value")),
)
