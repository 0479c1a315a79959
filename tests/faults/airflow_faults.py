"""Airflow's own services fail under a task: lookups of the connection, XComs, the task state store."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .ledger import Outcome
from .scenario import LOOK
from .steps import (
    begin,
    begun_before,
    fault,
    hold,
    in_state,
    killed,
    let_go,
    looked,
    lookups_fail,
    lookups_failed,
    requested,
    waits,
)

ONCE = Outcome(started=1)
AGAIN = Outcome(started=1, tries=2)
#: Nothing is in XCom, which is what fails; the run is the task's all the same.
UNNAMED = Outcome(started=1, names=0)

# fmt: off
KILL_POINTS = (
    KillPoint("lookup of the connection fails at the start", "run_retried", BOTH,
           (lookups_fail(2), begin), AGAIN, ("faulty_lookups",)),
    KillPoint("lookup of the connection fails at a post's start", "post_retried", WORKER,
           (lookups_fail(2), begin), Outcome(posts=1, tries=2), ("faulty_lookups",)),
    KillPoint("lookup of the connection fails at the triggerer's first look", "run_once", DEFERRED,
           # The task's first look is held, so that the triggerer's lookup is the next one.
           (hold, fault("hang", "GET", LOOK, when="after", seconds=2), begin, requested("GET", LOOK), lookups_fail(3),
            lookups_failed, let_go), ONCE, ("faulty_lookups",)),
    KillPoint("lookup of the connection fails when the task goes on", "run_once", DEFERRED,
           (hold, begin, waits, lookups_fail(1), let_go, lookups_failed), ONCE, ("faulty_lookups",)),
    KillPoint("lookup of the connection fails at a retry", "run_retried", WORKER,
           (hold, begin, looked(2), lookups_fail(3), killed, lookups_failed, let_go), AGAIN, ("faulty_lookups",)),
    KillPoint("lookup of the connection fails under a sensor with soft_fail", "run_sensed", BOTH,
           (hold, begun_before, lookups_fail(2), begin, lookups_failed, looked(1), let_go), UNNAMED,
           ("faulty_lookups",)),
    KillPoint("lookup of the connection fails in a poking sensor", "run_sensed", WORKER,
           (hold, begun_before, begin, looked(2), lookups_fail(3), lookups_failed, let_go), UNNAMED,
           ("faulty_lookups",)),

    KillPoint("XCom can't be written after the start", "run_retried", BOTH, (begin,), UNNAMED, ("xcom_away",)),
    KillPoint("XCom can't be written after the start, killed", "run_retried", WORKER,
           (hold, begin, looked(2), killed, in_state("running", tries=2), looked(4), let_go),
           Outcome(started=1, tries=2, names=0), ("xcom_away",)),
    KillPoint("XCom can't be written after a post", "post_retried", BOTH,
           (begin,), Outcome(posts=1, names=0), ("xcom_away",)),
    KillPoint("XCom can't be written after a profile was made", "avatar_retried", WORKER,
           (begin,), Outcome(avatars=1, names=0), ("xcom_away",)),
    KillPoint("XCom can't be written after an agent was made", "agent_retried", WORKER,
           (begin,), Outcome(agents=1, updated=1, names=0), ("xcom_away",)),

    KillPoint("state store can't record the intent", "run_retried", BOTH, (begin,), AGAIN, ("store_away_at_intent",)),
    KillPoint("state store can't record a post's intent", "post_retried", WORKER,
           (begin,), Outcome(posts=1, tries=2), ("store_away_at_intent",)),
    KillPoint("state store can't record the id", "run_retried", BOTH, (begin,), ONCE, ("store_away_at_id",)),
    KillPoint("state store can't record the id, killed", "run_retried", WORKER,
           (hold, begin, looked(2), killed, in_state("running", tries=2), let_go), AGAIN, ("store_away_at_id",)),
    KillPoint("state store can't record a post's id", "post_retried", WORKER,
           (begin,), Outcome(posts=1), ("store_away_at_id",)),
    KillPoint("state store can't be read at a retry", "run_retried", BOTH,
           (begin,), Outcome(started=1, tries=3), ("die_after_note", "store_away_at_retry")),
    KillPoint("state store has lost the entry by the retry", "run_retried", WORKER,
           (begin,), Outcome(started=1, state="failed", tries=2, names=0), ("die_after_note", "object_gone")),
    KillPoint("state store has lost a post's entry by the retry", "post_retried", WORKER,
           (begin,), Outcome(posts=1, state="failed", tries=2, names=0), ("die_after_note", "object_gone")),
)
