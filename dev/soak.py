"""
Pipelines by the hundred through one real Airflow, while answers are faulty and processes are killed.

Each pipeline uploads a recording, has it edited, downloads the outputs and posts them. One answer in twenty is faulty,
and every minute a worker, the triggerer or the scheduler is killed. Where a task fails because only a person can tell
what happened, this program does what the docs tell a person to do. ``PIPELINES=`` says how many; it ends by itself.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.airflow_instance import AirflowFailedError, AirflowInstance
from dev.airflow_rest import RestError, TaskInstance
from dev.fast_airflow import FAST_INTERVALS
from dev.processes import living
from dev.soak_ledger import Findings, Pipeline, audit, runs_by_recording

ROOT = Path(__file__).resolve().parents[1]
DAG_ID = "soak_pipeline"
STEPS = ("upload", "edit", "download", "post")
#: The agents that take one video; one night at a time for each.
AGENTS = tuple(f"a0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 5))
NIGHT = 10
SHARE = 0.05
#: Faults that any answer can meet, and those of some answers only.
ANYWHERE: tuple[dict[str, Any], ...] = (
    {"kind": "answer_lost"},
    {"kind": "hang"},
    {"kind": "reset"},
    {"kind": "reset", "when": "after"},
    {"kind": "rate_limit", "retry_after": 2},
    {"kind": "server_error", "status": 500},
    {"kind": "server_error", "status": 502, "body": "html", "effect": True},
    {"kind": "server_error", "status": 503, "retry_after": 1},
    {"kind": "server_error", "status": 504, "body": "html", "effect_after": 3},
    {"kind": "truncated_json"},
    {"kind": "truncated_json", "how": "cut"},
    {"kind": "empty"},
    {"kind": "html"},
    {"kind": "html", "effect": True},
    {"kind": "unknown_status"},
    {"kind": "slow_body"},
)
SOMEWHERE: tuple[dict[str, Any], ...] = tuple(
    {"kind": kind}
    for kind in ("finalize_lag", "expired_form", "expired_link", "cut_body", "duplicate_page", "repeated_cursor")
)
#: Refusals that no retry mends, although they pass: a task ends with them at once, and a person clears it. So rarer.
REFUSALS: tuple[dict[str, Any], ...] = tuple(
    {"kind": kind} for kind in ("unauthorized", "forbidden", "not_found", "redirect")
)
REFUSED = SHARE / 25


def say(text: str) -> None:
    """Print a line at once."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


@dataclass(kw_only=True)
class Night:
    """One DAG run: some pipelines with one agent."""

    agent: str
    pipelines: list[Pipeline]
    run_id: str


@dataclass
class Soak:
    """Everything that is up."""

    folder: Path
    airflow: AirflowInstance
    mosaic: Emulator
    deadline: float
    kills: Counter[str] = field(default_factory=Counter)
    settled: set[str] = field(default_factory=set)
    asked_a_person: list[str] = field(default_factory=list)
    patience: int = 50

    @property
    def time_is_over(self) -> bool:
        """Whether it has to end."""
        return time.monotonic() > self.deadline

    def make_trouble(self) -> None:
        """Let one answer in twenty be faulty."""
        for fault in ANYWHERE:
            self.mosaic.inject(**fault, times=None, probability=(SHARE - REFUSED) / len(ANYWHERE))
        for fault in REFUSALS:
            self.mosaic.inject(**fault, times=None, probability=REFUSED / len(REFUSALS))
        for fault in SOMEWHERE:
            self.mosaic.inject(**fault, times=None, probability=SHARE)

    # Nights

    def play(self, nights: list[Night]) -> None:
        """Start the nights, one at a time for each agent, and wait for the end of all."""
        waiting = list(nights)
        going: dict[str, Night] = {}
        done = 0
        while (waiting or going) and not self.time_is_over:
            for night in [each for each in waiting if each.agent not in going]:
                if night.agent not in going:
                    self._start(night)
                    going[night.agent] = night
                    waiting.remove(night)
            for agent, night in list(going.items()):
                if self._has_ended(night) and not self._settle(night):
                    del going[agent]
                    done += len(night.pipelines)
                    self._read(night)
                    say(f"{done} pipelines are done; {self._troubles()}")
            time.sleep(1)
        for night in going.values():
            self._read(night)

    def _start(self, night: Night) -> None:
        recordings = [
            {
                "source": str(self.folder / "recordings" / f"{each.name}.mp4"),
                "name": each.name,
                "destination": str(each.folder),
            }
            for each in night.pipelines
        ]
        conf = {"agent": night.agent, "recordings": recordings}
        self._insist(lambda: self.airflow.trigger(DAG_ID, conf, run_id=night.run_id))

    def _insist(self, ask: Any) -> None:
        for again in range(20):
            try:
                ask()
                return
            except (OSError, RestError) as error:
                if again and isinstance(error, RestError) and error.status == 409:
                    return
                time.sleep(2)
        ask()

    def _has_ended(self, night: Night) -> bool:
        try:
            return self.airflow.rest.dag_run(DAG_ID, night.run_id).ended
        except (OSError, RestError):
            return False

    def _tasks(self, night: Night) -> list[TaskInstance]:
        while True:
            try:
                return self.airflow.rest.task_instances(DAG_ID, night.run_id)
            except (OSError, RestError):
                if self.time_is_over:
                    return []
                time.sleep(2)

    def _settle(self, night: Night) -> bool:
        """
        Do what the docs tell a person whose task has failed: look at what is there, cancel it, clear the task.

        :return: whether there was anything to do.
        """
        failed = [task for task in self._tasks(night) if task.state == "failed" and task.map_index >= 0]
        cleared: list[list[str | int]] = []
        for task in failed:
            pipeline = night.pipelines[task.map_index]
            step = task.task_id.rpartition(".")[2]
            reason = self._reason(night, task)
            self.asked_a_person.append(f"{pipeline.name}, {step}: {reason}")
            say(f"a person is asked: {self.asked_a_person[-1]}")
            if step == "post" and any(post["description"] == pipeline.name for post in self.mosaic.posts()):
                # It is out: nothing is cleared.
                continue
            if step == "edit":
                self.settled |= {run["run_id"] for run in runs_by_recording(self.mosaic).get(pipeline.name, [])}
                pipeline.orders += 1
            later = STEPS[STEPS.index(step) :]
            cleared += [[f"pipeline.{each}", task.map_index] for each in later]
        if not cleared or len(self.asked_a_person) > self.patience:
            return False
        body = {
            "dry_run": False,
            "dag_run_id": night.run_id,
            "task_ids": cleared,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._insist(lambda: self.airflow.rest.post(f"/api/v2/dags/{DAG_ID}/clearTaskInstances", body))
        return True

    def _reason(self, night: Night, task: TaskInstance) -> str:
        try:
            log = self.airflow.rest.task_log(
                DAG_ID, night.run_id, task.task_id, try_number=task.try_number, map_index=task.map_index
            )
        except (OSError, RestError) as error:
            return str(error)
        told = [line.strip() for line in log.splitlines() if "Exception:" in line or "Error:" in line]
        return told[0][:300] if told else f"no word of it in try {task.try_number}"

    def _read(self, night: Night) -> None:
        for index, pipeline in enumerate(night.pipelines):
            try:
                named = self.airflow.rest.xcom(DAG_ID, night.run_id, "pipeline.edit", "mosaic_run_id", index)
                pipeline.run_id = str(named)
            except (OSError, RestError):
                pipeline.run_id = None

    def _troubles(self) -> str:
        faults = sum(self.mosaic.counts().faults_used.values())
        return f"{faults} faulty answers, kills: {dict(self.kills)}"

    # Kills

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Kill a process every minute, from beside."""
        over = threading.Event()
        thread = threading.Thread(target=self._kill_on, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=180)

    def _kill_on(self, over: threading.Event) -> None:
        turn = 0
        while not over.wait(60):
            name = ("worker", "triggerer", "scheduler")[turn % 3]
            turn += 1
            try:
                if name == "worker":
                    self._kill_task(over)
                else:
                    self.airflow.kill(name)
                    self.kills[name] += 1
                    self.airflow.restart(name)
            except (OSError, RestError, AirflowFailedError) as error:
                say(f"after the kill of a {name}: {error}")

    def _kill_task(self, over: threading.Event) -> None:
        """SIGKILL a process that works on a task: a grandchild of our scheduler."""
        while not over.wait(0.2):
            table = living()
            workers = {pid for pid, each in table.items() if each.parent == self.airflow.services["scheduler"].pid}
            tasks = [pid for pid, each in table.items() if each.parent in workers]
            if tasks:
                os.kill(random.choice(tasks), signal.SIGKILL)
                self.kills["worker"] += 1
                return


def nights_of(folder: Path, number: int) -> list[Night]:
    """Recordings, each with a name of its own, in nights."""
    (folder / "recordings").mkdir()
    pipelines = []
    for count in range(number):
        name = f"recording-{count:04}"
        (folder / "recordings" / f"{name}.mp4").write_bytes(SAMPLE_VIDEO.read_bytes() + name.encode())
        pipelines.append(Pipeline(name=name, folder=folder / "edited" / name))
    return [
        Night(
            agent=AGENTS[start // NIGHT % len(AGENTS)],
            pipelines=pipelines[start : start + NIGHT],
            run_id=f"night_{start // NIGHT:03}",
        )
        for start in range(0, number, NIGHT)
    ]


def report(soak: Soak, findings: Findings, number: int, seconds: float) -> None:
    """Print what it came to."""
    counts = soak.mosaic.counts()
    print(f"\n{number} pipelines in {seconds:.0f} s")
    print(f"  faulty answers        {sum(counts.faults_used.values())} {dict(sorted(counts.faults_used.items()))}")
    print(f"  of requests           {sum(counts.requests.values())}")
    print(f"  keys sent elsewhere   {counts.key_leaks}")
    print(f"  kills                 {sum(soak.kills.values())} {dict(soak.kills)}")
    print(f"  runs started, resumed {counts.runs_started}, {counts.runs_resumed}")
    print(f"  posts made            {counts.posts_made}")
    print(f"  left to a person      {len(soak.asked_a_person)}")
    for name in ("duplicates", "orphans", "lost_outputs", "wrong_posts"):
        found = getattr(findings, name)
        print(f"  {name.replace('_', ' '):<22}{len(found)}")
        for line in found[:20]:
            print(f"      {line}")


def main() -> int:
    """Run the soak and say how it went."""
    number = int(os.environ.get("PIPELINES", "") or 300)
    folder = ROOT / ".local" / "soak" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    began = time.monotonic()
    with ExitStack() as stack:
        mosaic = stack.enter_context(
            Emulator(directory=folder / "mosaic", speed=2, render="tiny", seed=random.randrange(10**6))
        )
        airflow = stack.enter_context(
            AirflowInstance(
                folder / "airflow",
                dags=[ROOT / "tests" / "faults" / "soak"],
                parallelism=8,
                environment={**FAST_INTERVALS, "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection()},
            )
        )
        say(f"Airflow is up at {airflow.url}, Mosaic at {mosaic.url}")
        soak = Soak(folder, airflow, mosaic, deadline=time.monotonic() + 600 + 8 * number, patience=20 + number // 5)
        nights = nights_of(folder, number)
        soak.make_trouble()
        with soak.killing():
            soak.play(nights)
        mosaic.clear_faults()
        pipelines = [pipeline for night in nights for pipeline in night.pipelines]
        findings = audit(mosaic, pipelines, settled=frozenset(soak.settled))
        report(soak, findings, number, time.monotonic() - began)
        leaked = mosaic.counts().key_leaks > 0
        if soak.time_is_over:
            print("The time was over before all pipelines were done.")
    if not findings.clean or leaked:
        print(f"Logs: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
