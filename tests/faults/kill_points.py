"""Tasks whose process is killed: nine kill_points between the first request and the end, and answers that are lost."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .ledger import Outcome
from .scenario import AGENT, AGENT_UPDATE, AVATAR, FINALIZE, LIST, LOOK, POST, POST_LOOK, RESUME, START
from .steps import (
    begin,
    counted,
    failed_before,
    fault,
    fault_met,
    held,
    hold,
    in_state,
    killed,
    killed_again,
    let_go,
    looked,
    lose_machine,
    requested,
    run_ends,
    terminated,
    waits,
)

ONCE = Outcome(started=1)
AGAIN = Outcome(started=1, tries=2)
RESUMED = Outcome(started=1, resumed=1, tries=2)
CANCELLED = Outcome(started=1, cancelled=1, state="failed")
UPLOADED = Outcome(stored=1, finalized=1)
UPLOADED_AGAIN = Outcome(stored=1, finalized=1, tries=2)
POSTED = Outcome(posts=1)
POSTED_AGAIN = Outcome(posts=1, tries=2)
MADE = Outcome(agents=1, updated=1)
MADE_AGAIN = Outcome(agents=1, updated=1, tries=2)
AVATAR_MADE = Outcome(avatars=1)
AVATAR_MADE_AGAIN = Outcome(avatars=1, tries=2)
RESUMED_LATE = Outcome(started=1, resumed=1, tries=3)

#: Up to where the second try resumes a run that has failed meanwhile, and what then holds its request.
ABOUT_TO_RESUME = (
    hold, begin, looked(2), fault("hang", "GET", LOOK, when="before"), fault_met("hang"), run_ends("failed"),
)  # fmt: skip

# fmt: off
KILL_POINTS = (
    # The longest is begun first.
    KillPoint("request sent, no effect, killed; two minutes for real", "run_retried", DEFERRED,
           (*held("POST", START, when="before"), killed), AGAIN, ("patient",)),
    KillPoint("1 before the request, killed", "run_retried", BOTH,
           (*held("GET", LIST, when="before"), killed), AGAIN),
    KillPoint("1 intent noted, nothing sent, killed", "run_retried", BOTH,
           (begin,), AGAIN, ("die_after_keep",)),
    KillPoint("2 request sent, no effect, killed", "run_retried", BOTH,
           (*held("POST", START, when="before"), killed), AGAIN),
    KillPoint("2 request sent, effect done, no answer yet, killed", "run_retried", BOTH,
           (*held("POST", START, when="after"), killed), AGAIN),
    KillPoint("3 answer there, id not noted, killed", "run_retried", BOTH,
           (begin,), AGAIN, ("die_before_note",)),
    KillPoint("4 id noted, killed", "run_retried", BOTH,
           (begin,), AGAIN, ("die_after_note",)),
    KillPoint("5 while polling, killed", "run_retried", WORKER,
           (hold, begin, looked(2), killed, in_state("running", tries=2), looked(4), let_go), AGAIN),
    KillPoint("5 while polling, machine lost", "run_retried", WORKER,
           (hold, begin, looked(2), lose_machine, in_state("running", tries=2), let_go), AGAIN),
    KillPoint("5 while polling, killed; the run fails before the retry", "run_retried", WORKER,
           (hold, begin, looked(2), fault("hang", "GET", LOOK, when="before"), fault_met("hang"),
            run_ends("failed"), killed, let_go), RESUMED),
    KillPoint("5 while a retry resumes: no effect, killed", "run_retried", WORKER,
           (*ABOUT_TO_RESUME, fault("hang", "POST", RESUME, when="before"), killed, requested("POST", RESUME),
            killed_again, let_go), RESUMED_LATE),
    KillPoint("5 while a retry resumes: effect done, no answer yet, killed", "run_retried", WORKER,
           (*ABOUT_TO_RESUME, fault("hang", "POST", RESUME, when="after"), killed, counted(resumed=1),
            killed_again, let_go), RESUMED_LATE),
    KillPoint("5 while resuming: no effect, killed", "run_resumed", WORKER,
           (hold, failed_before, *held("POST", RESUME, when="before"), killed, counted(resumed=1), let_go), RESUMED),
    KillPoint("5 while resuming: effect done, no answer yet, killed", "run_resumed", WORKER,
           (hold, failed_before, *held("POST", RESUME, when="after"), killed, in_state("running", tries=2), let_go),
           RESUMED),
    # 6, while deferred, is the triggerer's: see `restarts`.
    KillPoint("7 at resume, killed", "run_retried", DEFERRED,
           (hold, begin, waits, let_go), AGAIN, ("die_at_resume",)),
    KillPoint("7 end read, Airflow does not know it yet, killed", "run_retried", BOTH,
           (hold, begin, waits, let_go), AGAIN, ("die_at_end",)),
    KillPoint("8 between upload and finalize: nothing finalized, killed", "upload_retried", WORKER,
           (*held("POST", FINALIZE, when="before"), killed), UPLOADED_AGAIN),
    KillPoint("8 between upload and finalize: finalized, no answer yet, killed", "upload_retried", WORKER,
           (*held("POST", FINALIZE, when="after"), killed), UPLOADED_AGAIN),
    KillPoint("8 while uploading: bytes stored, not noted, killed", "upload_retried", WORKER,
           (begin,), Outcome(stored=2, finalized=1, tries=2, names=2), ("die_before_note",)),
    KillPoint("8 while uploading: bytes stored and noted, killed", "upload_retried", WORKER,
           (begin,), UPLOADED_AGAIN, ("die_after_note",)),
    KillPoint("9 while posting: intent noted, nothing sent, killed", "post_retried", WORKER,
           (begin,), POSTED_AGAIN, ("die_after_keep",)),
    KillPoint("9 while posting: id noted, killed", "post_retried", WORKER,
           (begin,), POSTED_AGAIN, ("die_after_note",)),
    KillPoint("9 while posting: no effect, killed", "post_retried", BOTH,
           (*held("POST", POST, when="before"), killed), POSTED_AGAIN),
    KillPoint("9 while posting: effect done, no answer yet, killed", "post_retried", BOTH,
           (*held("POST", POST, when="after"), killed), POSTED_AGAIN),
    KillPoint("9 while posting: answer there, id not noted, killed", "post_retried", BOTH,
           (begin,), POSTED_AGAIN, ("die_before_note",)),
    KillPoint("9 while waiting for a post, killed", "post_retried", WORKER,
           (hold, begin, looked(2, POST_LOOK), killed, in_state("running", tries=2), let_go), POSTED_AGAIN),
    KillPoint("10 while making an agent: no effect, killed", "agent_retried", WORKER,
           (*held("POST", AGENT, when="before"), killed), MADE_AGAIN),
    KillPoint("10 while making an agent: effect done, no answer yet, killed", "agent_retried", WORKER,
           (*held("POST", AGENT, when="after"), killed), MADE_AGAIN),
    KillPoint("10 while making an agent: answer there, id not noted, killed", "agent_retried", WORKER,
           (begin,), MADE_AGAIN, ("die_before_note",)),
    KillPoint("10 while making an agent: intent noted, nothing sent, killed", "agent_retried", WORKER,
           (begin,), MADE_AGAIN, ("die_after_keep",)),
    KillPoint("10 while making an agent: id noted, killed", "agent_retried", WORKER,
           (begin,), MADE_AGAIN, ("die_after_note",)),
    KillPoint("10 while filling an agent: no effect, killed", "agent_retried", WORKER,
           (*held("POST", AGENT_UPDATE, when="before"), killed), MADE_AGAIN),
    KillPoint("10 while filling an agent: effect done, no answer yet, killed", "agent_retried", WORKER,
           (*held("POST", AGENT_UPDATE, when="after"), killed), MADE_AGAIN),
    KillPoint("11 while making a profile: no effect, killed", "avatar_retried", WORKER,
           (*held("POST", AVATAR, when="before"), killed), AVATAR_MADE_AGAIN),
    KillPoint("11 while making a profile: effect done, no answer yet, killed", "avatar_retried", WORKER,
           (*held("POST", AVATAR, when="after"), killed), AVATAR_MADE_AGAIN),
    KillPoint("11 while making a profile: answer there, id not noted, killed", "avatar_retried", WORKER,
           (begin,), AVATAR_MADE_AGAIN, ("die_before_note",)),
    KillPoint("11 while making a profile: id noted, killed", "avatar_retried", WORKER,
           (begin,), AVATAR_MADE_AGAIN, ("die_after_note",)),

    KillPoint("lost answer: run", "run_retried", BOTH,
           (fault("answer_lost", "POST", START), begin), ONCE),
    KillPoint("lost answer: run, 504 and the effect two seconds later", "run_retried", WORKER,
           (fault("server_error", "POST", START, status=504, body="html", effect_after=2), begin), ONCE),
    KillPoint("lost answer: run, half of its JSON", "run_retried", WORKER,
           (fault("truncated_json", "POST", START, how="cut"), begin), ONCE),
    KillPoint("500 without an effect: looked for, sent once more", "run_retried", DEFERRED,
           (fault("server_error", "POST", START, status=500), begin), ONCE),
    KillPoint("lost answer: post", "post_retried", BOTH,
           (fault("answer_lost", "POST", POST), begin), POSTED),
    KillPoint("lost answer: agent create", "agent_retried", WORKER,
           (fault("answer_lost", "POST", AGENT), begin), MADE),
    KillPoint("lost answer: agent create, half of its JSON", "agent_retried", WORKER,
           (fault("truncated_json", "POST", AGENT, how="cut"), begin), MADE),
    KillPoint("lost answer: profile", "avatar_retried", WORKER,
           (fault("answer_lost", "POST", AVATAR), begin), AVATAR_MADE),
    KillPoint("lost answer: agent update", "agent_retried", WORKER,
           (fault("answer_lost", "POST", AGENT_UPDATE), begin), MADE),
    KillPoint("lost answer: run, beside mapped siblings that were refused", "run_beside_refused", WORKER,
           (fault("answer_lost", "POST", START), begin), ONCE),
    # The sibling's own run, if there is one, could be what is found.
    KillPoint("lost answer: run, beside one that died with its intent", "run_beside_lost", WORKER,
           (fault("answer_lost", "POST", START), begin),
           Outcome(started=1, state="failed", names=0), ("die_after_keep",)),
    KillPoint("lost answer: finalize", "upload_retried", WORKER,
           (fault("answer_lost", "POST", FINALIZE), begin), UPLOADED),

    KillPoint("SIGTERM while starting", "run_once", DEFERRED,
           (hold, *held("POST", START, when="after", seconds=5), terminated), CANCELLED),
    KillPoint("SIGTERM while polling", "run_once", WORKER,
           (hold, begin, looked(2), terminated), CANCELLED),
    KillPoint("SIGTERM while polling, cancel_on_kill=False", "run_kept", WORKER,
           (hold, begin, looked(2), terminated), Outcome(started=1, running=1, state="failed")),
    KillPoint("SIGTERM while polling, and retried", "run_retried", WORKER,
           (hold, begin, looked(2), terminated, counted(cancelled=1, resumed=1), let_go),
           Outcome(started=1, cancelled=1, resumed=1, tries=2)),
)
