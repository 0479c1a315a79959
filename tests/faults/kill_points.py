"""Kill points between the first request of a task and its end, and lost responses."""

from __future__ import annotations

from .cases import BOTH, DEFERRED, WORKER, KillPoint
from .results import Outcome
from .scenario import (
    CREATE_AGENT,
    CREATE_AVATAR,
    CREATE_POST,
    FINALIZE_UPLOAD,
    GET_POST,
    GET_RUN,
    LIST_RUNS,
    RESUME_RUN,
    START_RUN,
    UPDATE_AGENT,
)
from .steps import (
    await_counts,
    await_fault,
    await_new_polls,
    await_polling,
    await_polls,
    await_requests,
    await_state,
    create_failed_run,
    finish_run,
    hold_runs,
    inject,
    kill,
    kill_second_try,
    kill_with_supervisor,
    release_runs,
    stall_with_supervisor,
    start,
    start_with_hang,
    terminate,
)

RUN_STARTED = Outcome(started=1)
RUN_RETRIED = Outcome(started=1, tries=2)
RESUMED = Outcome(started=1, resumed=1, tries=2)
CANCELLED = Outcome(started=1, cancelled=1, state="failed")
UPLOADED = Outcome(stored=1, finalized=1)
UPLOAD_RETRIED = Outcome(stored=1, finalized=1, tries=2)
POSTED = Outcome(posts=1)
POST_RETRIED = Outcome(posts=1, tries=2)
AGENT_CREATED = Outcome(agents=1, updated=1)
AGENT_RETRIED = Outcome(agents=1, updated=1, tries=2)
AVATAR_CREATED = Outcome(avatars=1)
AVATAR_RETRIED = Outcome(avatars=1, tries=2)
RESUMED_AT_THIRD_TRY = Outcome(started=1, resumed=1, tries=3)

#: The first try has polled its run, and the run has failed. The second try will resume it.
BEFORE_RESUME = (
    hold_runs, start, await_polls(2),
    inject("hang", "GET", GET_RUN, when="before"), await_fault("hang"), finish_run("failed"),
)  # fmt: skip

# fmt: off
KILL_POINTS = (
    # First, because it takes longest.
    KillPoint("start run: request sent, no effect, killed; two-minute search", "run_with_retries", DEFERRED,
              (*start_with_hang("POST", START_RUN, when="before"), kill), RUN_RETRIED, ("real_search",)),
    KillPoint("start run: before the request, killed", "run_with_retries", BOTH,
              (*start_with_hang("GET", LIST_RUNS, when="before"), kill), RUN_RETRIED),
    KillPoint("start run: intent saved, request not sent, killed", "run_with_retries", BOTH,
              (start,), RUN_RETRIED, ("die_after_intent",)),
    KillPoint("start run: request sent, no effect, killed", "run_with_retries", BOTH,
              (*start_with_hang("POST", START_RUN, when="before"), kill), RUN_RETRIED),
    KillPoint("start run: run started, no response yet, killed", "run_with_retries", BOTH,
              (*start_with_hang("POST", START_RUN, when="after"), kill), RUN_RETRIED),
    KillPoint("start run: response received, id not saved, killed", "run_with_retries", BOTH,
              (start,), RUN_RETRIED, ("die_before_id",)),
    KillPoint("start run: id saved, killed", "run_with_retries", BOTH,
              (start,), RUN_RETRIED, ("die_after_id",)),
    KillPoint("poll run: killed", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), kill, await_state("running", tries=2), await_polls(4),
               release_runs), RUN_RETRIED),
    KillPoint("poll run: machine lost", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), kill_with_supervisor, await_state("running", tries=2),
               release_runs), RUN_RETRIED),
    KillPoint("poll run: machine stalled until the retry polls", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), stall_with_supervisor, await_new_polls, release_runs), RUN_RETRIED),
    KillPoint("poll run: killed, and the run fails before the retry", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), inject("hang", "GET", GET_RUN, when="before"), await_fault("hang"),
               finish_run("failed"), kill, release_runs), RESUMED),
    KillPoint("retry resumes run: no effect, killed", "run_with_retries", WORKER,
              (*BEFORE_RESUME, inject("hang", "POST", RESUME_RUN, when="before"), kill,
               await_requests("POST", RESUME_RUN), kill_second_try, release_runs), RESUMED_AT_THIRD_TRY),
    KillPoint("retry resumes run: run resumed, no response yet, killed", "run_with_retries", WORKER,
              (*BEFORE_RESUME, inject("hang", "POST", RESUME_RUN, when="after"), kill, await_counts(resumed=1),
               kill_second_try, release_runs), RESUMED_AT_THIRD_TRY),
    KillPoint("resume run: no effect, killed", "run_resumed", WORKER,
              (hold_runs, create_failed_run, *start_with_hang("POST", RESUME_RUN, when="before"), kill,
               await_counts(resumed=1), release_runs), RESUMED),
    KillPoint("resume run: run resumed, no response yet, killed", "run_resumed", WORKER,
              (hold_runs, create_failed_run, *start_with_hang("POST", RESUME_RUN, when="after"), kill,
               await_state("running", tries=2), release_runs), RESUMED),
    # For kills while the task is deferred, see `restarts`.
    KillPoint("after the deferral: before the first poll, killed", "run_with_retries", DEFERRED,
              (hold_runs, start, await_polling, release_runs), RUN_RETRIED, ("die_after_deferral",)),
    KillPoint("after the end: run read, state not reported, killed", "run_with_retries", BOTH,
              (hold_runs, start, await_polling, release_runs), RUN_RETRIED, ("die_at_end",)),
    KillPoint("finalize upload: no effect, killed", "upload_with_retries", WORKER,
              (*start_with_hang("POST", FINALIZE_UPLOAD, when="before"), kill), UPLOAD_RETRIED),
    KillPoint("finalize upload: finalized, no response yet, killed", "upload_with_retries", WORKER,
              (*start_with_hang("POST", FINALIZE_UPLOAD, when="after"), kill), UPLOAD_RETRIED),
    KillPoint("upload: bytes stored, not saved, killed", "upload_with_retries", WORKER,
              (start,), Outcome(stored=2, finalized=1, tries=2, xcom=2), ("die_before_id",)),
    KillPoint("upload: bytes stored and saved, killed", "upload_with_retries", WORKER,
              (start,), UPLOAD_RETRIED, ("die_after_id",)),
    KillPoint("create post: intent saved, request not sent, killed", "post_with_retries", WORKER,
              (start,), POST_RETRIED, ("die_after_intent",)),
    KillPoint("create post: id saved, killed", "post_with_retries", WORKER,
              (start,), POST_RETRIED, ("die_after_id",)),
    KillPoint("create post: request sent, no effect, killed", "post_with_retries", BOTH,
              (*start_with_hang("POST", CREATE_POST, when="before"), kill), POST_RETRIED),
    KillPoint("create post: post created, no response yet, killed", "post_with_retries", BOTH,
              (*start_with_hang("POST", CREATE_POST, when="after"), kill), POST_RETRIED),
    KillPoint("create post: response received, id not saved, killed", "post_with_retries", BOTH,
              (start,), POST_RETRIED, ("die_before_id",)),
    KillPoint("poll post: killed", "post_with_retries", WORKER,
              (hold_runs, start, await_polls(2, GET_POST), kill, await_state("running", tries=2), release_runs),
              POST_RETRIED),
    KillPoint("create agent: request sent, no effect, killed", "agent_with_retries", WORKER,
              (*start_with_hang("POST", CREATE_AGENT, when="before"), kill), AGENT_RETRIED),
    KillPoint("create agent: agent created, no response yet, killed", "agent_with_retries", WORKER,
              (*start_with_hang("POST", CREATE_AGENT, when="after"), kill), AGENT_RETRIED),
    KillPoint("create agent: response received, id not saved, killed", "agent_with_retries", WORKER,
              (start,), AGENT_RETRIED, ("die_before_id",)),
    KillPoint("create agent: intent saved, request not sent, killed", "agent_with_retries", WORKER,
              (start,), AGENT_RETRIED, ("die_after_intent",)),
    KillPoint("create agent: id saved, killed", "agent_with_retries", WORKER,
              (start,), AGENT_RETRIED, ("die_after_id",)),
    KillPoint("update agent: request sent, no effect, killed", "agent_with_retries", WORKER,
              (*start_with_hang("POST", UPDATE_AGENT, when="before"), kill), AGENT_RETRIED),
    KillPoint("update agent: agent updated, no response yet, killed", "agent_with_retries", WORKER,
              (*start_with_hang("POST", UPDATE_AGENT, when="after"), kill), AGENT_RETRIED),
    KillPoint("create profile: request sent, no effect, killed", "avatar_with_retries", WORKER,
              (*start_with_hang("POST", CREATE_AVATAR, when="before"), kill), AVATAR_RETRIED),
    KillPoint("create profile: profile created, no response yet, killed", "avatar_with_retries", WORKER,
              (*start_with_hang("POST", CREATE_AVATAR, when="after"), kill), AVATAR_RETRIED),
    KillPoint("create profile: response received, id not saved, killed", "avatar_with_retries", WORKER,
              (start,), AVATAR_RETRIED, ("die_before_id",)),
    KillPoint("create profile: id saved, killed", "avatar_with_retries", WORKER,
              (start,), AVATAR_RETRIED, ("die_after_id",)),

    KillPoint("lost response: start run", "run_with_retries", BOTH,
              (inject("response_lost", "POST", START_RUN), start), RUN_STARTED),
    KillPoint("lost response: start run, 504 and an effect two seconds later", "run_with_retries", WORKER,
              (inject("server_error", "POST", START_RUN, status=504, body="html", effect_after=2), start),
              RUN_STARTED),
    KillPoint("lost response: start run, truncated JSON", "run_with_retries", WORKER,
              (inject("truncated_json", "POST", START_RUN, how="cut"), start), RUN_STARTED),
    KillPoint("500 without effect: searched for, sent again", "run_with_retries", DEFERRED,
              (inject("server_error", "POST", START_RUN, status=500), start), RUN_STARTED),
    KillPoint("lost response: create post", "post_with_retries", BOTH,
              (inject("response_lost", "POST", CREATE_POST), start), POSTED),
    KillPoint("lost response: create agent", "agent_with_retries", WORKER,
              (inject("response_lost", "POST", CREATE_AGENT), start), AGENT_CREATED),
    KillPoint("lost response: create agent, truncated JSON", "agent_with_retries", WORKER,
              (inject("truncated_json", "POST", CREATE_AGENT, how="cut"), start), AGENT_CREATED),
    KillPoint("lost response: create profile", "avatar_with_retries", WORKER,
              (inject("response_lost", "POST", CREATE_AVATAR), start), AVATAR_CREATED),
    KillPoint("lost response: update agent", "agent_with_retries", WORKER,
              (inject("response_lost", "POST", UPDATE_AGENT), start), AGENT_CREATED),
    KillPoint("lost response: start run, mapped siblings were rejected", "run_after_rejected_siblings", WORKER,
              (inject("response_lost", "POST", START_RUN), start), RUN_STARTED),
    # The run that is found could be the sibling's.
    KillPoint("lost response: start run, a sibling died with its intent", "run_after_lost_sibling", WORKER,
              (inject("response_lost", "POST", START_RUN), start),
              Outcome(started=1, state="failed", xcom=0), ("die_after_intent",)),
    KillPoint("lost response: finalize upload", "upload_with_retries", WORKER,
              (inject("response_lost", "POST", FINALIZE_UPLOAD), start), UPLOADED),

    KillPoint("SIGTERM while starting", "run_without_retries", DEFERRED,
              (hold_runs, *start_with_hang("POST", START_RUN, when="after", seconds=5), terminate), CANCELLED),
    KillPoint("SIGTERM while polling", "run_without_retries", WORKER,
              (hold_runs, start, await_polls(2), terminate), CANCELLED),
    KillPoint("SIGTERM while polling, cancel_on_kill=False", "run_not_cancelled", WORKER,
              (hold_runs, start, await_polls(2), terminate), Outcome(started=1, running=1, state="failed")),
    KillPoint("SIGTERM while polling, with a retry", "run_with_retries", WORKER,
              (hold_runs, start, await_polls(2), terminate, await_counts(cancelled=1, resumed=1), release_runs),
              Outcome(started=1, cancelled=1, resumed=1, tries=2)),
)
