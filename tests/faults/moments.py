"""Tasks whose process is killed: nine moments between the first request and the end, and answers that are lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

from .cases import Case
from .ledger import Outcome
from .stage import FINALIZE, LIST, LOOK, POST, POST_LOOK, START, Stage

MODES = ("worker", "deferred")


def killed_at(method: str, path: str, *, when: str) -> Callable[[Stage], None]:
    """Hold the first request of a kind, before or after its effect, and kill the process that waits for its answer."""

    def script(stage: Stage) -> None:
        stage.mosaic.inject("hang", method=method, path=path, when=when)
        stage.begin()
        stage.until_request(method, path)
        if when == "after":
            stage.until_counted(**{{START: "started", POST: "posts", FINALIZE: "finalized"}[path]: 1})
        stage.kill()

    return script


def simply(stage: Stage) -> None:
    """Nothing from outside: the seams do it."""
    stage.begin()


def killed_while_polling(stage: Stage) -> None:
    """Kill a task that has looked at its run a few times."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", LOOK, 2)
    stage.kill()
    stage.until_state("running", tries=2)
    stage.until_request("GET", LOOK, 4)
    stage.let_go()


def killed_while_polling_post(stage: Stage) -> None:
    """Kill a task that has looked at its post a few times."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", POST_LOOK, 2)
    stage.kill()
    stage.until_state("running", tries=2)
    stage.let_go()


def machine_lost_while_polling(stage: Stage) -> None:
    """Kill a task and what watches over it: Airflow finds out when no heartbeat comes."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", LOOK, 2)
    stage.lose_machine()
    stage.until_state("running", tries=2)
    stage.let_go()


def killed_then_failed(stage: Stage) -> None:
    """Kill a task while it waits; its run fails before the retry looks."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", LOOK, 2)
    stage.mosaic.inject("hang", method="GET", path=LOOK, when="before")
    stage.until(lambda: stage.mosaic.counts().faults_used.get("hang", 0) == 1, "a look that is held")
    stage.mosaic.finish_run(stage.mosaic.runs()[0]["run_id"], "failed", message="No luck")
    stage.kill()
    stage.let_go()


def resumed_then_deferred_and_killed(stage: Stage) -> None:
    """A deferred run that ends by itself; the seam kills the process that reads its end."""
    stage.hold_runs()
    stage.begin()
    stage.until_state("deferred")
    stage.let_go()


def answered_with(kind: str, path: str, **options: Any) -> Callable[[Stage], None]:
    """Let the request that has the effect meet a fault."""

    def script(stage: Stage) -> None:
        stage.mosaic.inject(kind, method="POST", path=path, **options)
        stage.begin()

    return script


def terminated_while_starting(stage: Stage) -> None:
    """SIGTERM while the answer to the start is under way: there is no id yet that could be cancelled."""
    stage.hold_runs()
    stage.mosaic.inject("hang", method="POST", path=START, when="after", seconds=5)
    stage.begin()
    stage.until_counted(started=1)
    stage.signal(signal.SIGTERM, stage.process())


def terminated_while_polling(stage: Stage) -> None:
    """SIGTERM to a task that waits on its worker."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", LOOK, 2)
    stage.signal(signal.SIGTERM, stage.process())
    stage.until_state("failed", "up_for_retry", "running", "queued", "scheduled", "success")


def terminated_and_retried(stage: Stage) -> None:
    """SIGTERM to a task with retries: the next try resumes what the dying one cancelled."""
    terminated_while_polling(stage)
    stage.until_counted(cancelled=1, resumed=1)
    stage.let_go()


def cases() -> Iterator[Case]:
    """Every moment in every mode in which it exists."""
    one, again = Outcome(started=1), Outcome(started=1, tries=2)
    yield Case(
        moment="request sent, no effect, killed; two minutes for real",
        mode="deferred",
        dag_id="run_retried_deferred",
        expected=again,
        script=killed_at("POST", START, when="before"),
        seams=("patient",),
    )
    for mode in MODES:
        dag_id = f"run_retried_{mode}"
        yield Case(
            moment="1 before the request, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=killed_at("GET", LIST, when="before"),
        )
        yield Case(
            moment="1 intent noted, nothing sent, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=simply,
            seams=("die_after_keep",),
        )
        yield Case(
            moment="2 request sent, no effect, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=killed_at("POST", START, when="before"),
        )
        yield Case(
            moment="2 request sent, effect done, no answer yet, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=killed_at("POST", START, when="after"),
        )
        yield Case(
            moment="3 answer there, id not noted, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=simply,
            seams=("die_before_note",),
        )
        yield Case(
            moment="4 id noted, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=simply,
            seams=("die_after_note",),
        )
        yield Case(
            moment="7 end read, Airflow does not know it yet, killed",
            mode=mode,
            dag_id=dag_id,
            expected=again,
            script=simply if mode == "worker" else resumed_then_deferred_and_killed,
            seams=("die_at_end",),
        )
    yield Case(
        moment="7 at resume, killed",
        mode="deferred",
        dag_id="run_retried_deferred",
        expected=again,
        script=resumed_then_deferred_and_killed,
        seams=("die_at_resume",),
    )
    yield Case(
        moment="5 while polling, killed",
        mode="worker",
        dag_id="run_retried_worker",
        expected=again,
        script=killed_while_polling,
    )
    yield Case(
        moment="5 while polling, machine lost",
        mode="worker",
        dag_id="run_retried_worker",
        expected=again,
        script=machine_lost_while_polling,
    )
    yield Case(
        moment="5 while polling, killed; the run fails before the retry",
        mode="worker",
        dag_id="run_retried_worker",
        expected=Outcome(started=1, resumed=1, tries=2),
        script=killed_then_failed,
    )
    for when, what in (("before", "nothing finalized"), ("after", "finalized, no answer yet")):
        yield Case(
            moment=f"8 between upload and finalize: {what}, killed",
            mode="worker",
            dag_id="upload_retried",
            expected=Outcome(stored=1, finalized=1, tries=2),
            script=killed_at("POST", FINALIZE, when=when),
        )
    for mode in MODES:
        dag_id = f"post_retried_{mode}"
        posted = Outcome(posts=1, tries=2)
        yield Case(
            moment="9 while posting: no effect, killed",
            mode=mode,
            dag_id=dag_id,
            expected=posted,
            script=killed_at("POST", POST, when="before"),
        )
        yield Case(
            moment="9 while posting: effect done, no answer yet, killed",
            mode=mode,
            dag_id=dag_id,
            expected=posted,
            script=killed_at("POST", POST, when="after"),
        )
        yield Case(
            moment="9 while posting: answer there, id not noted, killed",
            mode=mode,
            dag_id=dag_id,
            expected=posted,
            script=simply,
            seams=("die_before_note",),
        )
    yield Case(
        moment="9 while waiting for a post, killed",
        mode="worker",
        dag_id="post_retried_worker",
        expected=Outcome(posts=1, tries=2),
        script=killed_while_polling_post,
    )
    for mode in MODES:
        yield Case(
            moment="lost answer: run",
            mode=mode,
            dag_id=f"run_retried_{mode}",
            expected=one,
            script=answered_with("answer_lost", START),
        )
        yield Case(
            moment="lost answer: post",
            mode=mode,
            dag_id=f"post_retried_{mode}",
            expected=Outcome(posts=1),
            script=answered_with("answer_lost", POST),
        )
    yield Case(
        moment="lost answer: finalize",
        mode="worker",
        dag_id="upload_retried",
        expected=Outcome(stored=1, finalized=1),
        script=answered_with("answer_lost", FINALIZE),
    )
    yield Case(
        moment="lost answer: run, 504 and the effect two seconds later",
        mode="worker",
        dag_id="run_retried_worker",
        expected=one,
        script=answered_with("server_error", START, status=504, body="html", effect_after=2),
    )
    yield Case(
        moment="lost answer: run, half of its JSON",
        mode="worker",
        dag_id="run_retried_worker",
        expected=one,
        script=answered_with("truncated_json", START, how="cut"),
    )
    yield Case(
        moment="500 without an effect: looked for, sent once more",
        mode="deferred",
        dag_id="run_retried_deferred",
        expected=one,
        script=answered_with("server_error", START, status=500),
    )
    yield Case(
        moment="SIGTERM while starting",
        mode="deferred",
        dag_id="run_once_deferred",
        expected=Outcome(started=1, cancelled=1, state="failed"),
        script=terminated_while_starting,
    )
    yield Case(
        moment="SIGTERM while polling",
        mode="worker",
        dag_id="run_once_worker",
        expected=Outcome(started=1, cancelled=1, state="failed"),
        script=terminated_while_polling,
    )
    yield Case(
        moment="SIGTERM while polling, cancel_on_kill=False",
        mode="worker",
        dag_id="run_kept_worker",
        expected=Outcome(started=1, running=1, state="failed"),
        script=terminated_while_polling,
    )
    yield Case(
        moment="SIGTERM while polling, and retried",
        mode="worker",
        dag_id="run_retried_worker",
        expected=Outcome(started=1, cancelled=1, resumed=1, tries=2),
        script=terminated_and_retried,
    )
