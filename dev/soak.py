"""
Run hundreds of pipelines on one Airflow, with faulty responses and killed processes.

Each pipeline uploads a recording, edits it, downloads the outputs and posts them. One response in twenty is faulty.
Every minute a worker, the triggerer or the scheduler is killed. Where a task needs manual review, this program does
what the documentation recommends. ``PIPELINES=`` is the number of pipelines (default: 300).
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
from mosaic_emulator.local_airflow.instance import AirflowFailedError, AirflowInstance
from mosaic_emulator.local_airflow.processes import living
from mosaic_emulator.local_airflow.rest import RestError, TaskInstance
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.fast_airflow import FAST_INTERVALS
from dev.interrupts import interrupt_on_signals
from dev.paths import LOCAL, ROOT
from dev.soak_ledger import Findings, Pipeline, audit, runs_by_recording

DAG_ID = "soak_pipeline"
STEPS = ("upload", "edit", "download", "post")
#: The emulator's agents with one input. Each has one active batch.
AGENTS = tuple(f"a0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 5))
BATCH_SIZE = 10
FAULT_SHARE = 0.05
#: Faults for all requests, and for some requests only.
GENERAL_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "response_lost"},
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
SPECIFIC_FAULTS: tuple[dict[str, Any], ...] = tuple(
    {"kind": kind}
    for kind in ("finalize_lag", "expired_form", "expired_link", "cut_body", "duplicate_page", "repeated_cursor")
)
#: Non-retryable errors, which need a manual clear. Rarer than the others.
REJECTIONS: tuple[dict[str, Any], ...] = tuple(
    {"kind": kind} for kind in ("unauthorized", "forbidden", "not_found", "redirect")
)
REJECTION_SHARE = FAULT_SHARE / 25


def print_line(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


@dataclass(kw_only=True)
class Batch:
    """One DAG run: pipelines with the same agent."""

    agent: str
    pipelines: list[Pipeline]
    run_id: str


@dataclass
class Soak:
    """The running services and the results."""

    folder: Path
    airflow: AirflowInstance
    mosaic: Emulator
    deadline: float
    kills: Counter[str] = field(default_factory=Counter)
    reviewed_runs: set[str] = field(default_factory=set)
    manual_reviews: list[str] = field(default_factory=list)
    max_reviews: int = 50

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline

    def inject_faults(self) -> None:
        """Make one response in twenty faulty."""
        for fault in GENERAL_FAULTS:
            self.mosaic.inject(**fault, times=None, probability=(FAULT_SHARE - REJECTION_SHARE) / len(GENERAL_FAULTS))
        for fault in REJECTIONS:
            self.mosaic.inject(**fault, times=None, probability=REJECTION_SHARE / len(REJECTIONS))
        for fault in SPECIFIC_FAULTS:
            self.mosaic.inject(**fault, times=None, probability=FAULT_SHARE)

    # Batches

    def run_pipelines(self, batches: list[Batch]) -> None:
        """Run the batches, one at a time per agent."""
        waiting = list(batches)
        active: dict[str, Batch] = {}
        done = 0
        while (waiting or active) and not self.is_over:
            for batch in [each for each in waiting if each.agent not in active]:
                if batch.agent not in active:
                    self._start(batch)
                    active[batch.agent] = batch
                    waiting.remove(batch)
            for agent, batch in list(active.items()):
                if self._has_ended(batch) and not self._review_failures(batch):
                    del active[agent]
                    done += len(batch.pipelines)
                    self._read_run_ids(batch)
                    print_line(f"{done} pipelines are done; {self._fault_summary()}")
            time.sleep(1)
        for batch in active.values():
            self._read_run_ids(batch)

    def _start(self, batch: Batch) -> None:
        recordings = [
            {
                "source": str(self.folder / "recordings" / f"{each.name}.mp4"),
                "name": each.name,
                "destination": str(each.folder),
            }
            for each in batch.pipelines
        ]
        conf = {"agent": batch.agent, "recordings": recordings}
        self._retry(lambda: self.airflow.trigger(DAG_ID, conf, run_id=batch.run_id))

    def _retry(self, send: Any) -> None:
        for attempt in range(20):
            try:
                send()
                return
            except (OSError, RestError) as error:
                if attempt and isinstance(error, RestError) and error.status == 409:
                    return
                time.sleep(2)
        send()

    def _has_ended(self, batch: Batch) -> bool:
        try:
            return self.airflow.rest.dag_run(DAG_ID, batch.run_id).ended
        except (OSError, RestError):
            return False

    def _tasks(self, batch: Batch) -> list[TaskInstance]:
        while True:
            try:
                return self.airflow.rest.task_instances(DAG_ID, batch.run_id)
            except (OSError, RestError):
                if self.is_over:
                    return []
                time.sleep(2)

    def _review_failures(self, batch: Batch) -> bool:
        """
        Handle failed tasks as the documentation recommends: check what exists, and clear the task.

        :returns: Whether any task was cleared.
        """
        failed = [task for task in self._tasks(batch) if task.state == "failed" and task.map_index >= 0]
        cleared: list[list[str | int]] = []
        for task in failed:
            pipeline = batch.pipelines[task.map_index]
            step = task.task_id.rpartition(".")[2]
            reason = self._reason(batch, task)
            self.manual_reviews.append(f"{pipeline.name}, {step}: {reason}")
            print_line(f"needs manual review: {self.manual_reviews[-1]}")
            if step == "post" and any(post["description"] == pipeline.name for post in self.mosaic.posts()):
                # Already published: clear nothing.
                continue
            if step == "edit":
                self.reviewed_runs |= {run["run_id"] for run in runs_by_recording(self.mosaic).get(pipeline.name, [])}
                pipeline.requested_runs += 1
            later = STEPS[STEPS.index(step) :]
            cleared += [[f"pipeline.{each}", task.map_index] for each in later]
        if not cleared or len(self.manual_reviews) > self.max_reviews:
            return False
        body = {
            "dry_run": False,
            "dag_run_id": batch.run_id,
            "task_ids": cleared,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._retry(lambda: self.airflow.rest.post(f"/api/v2/dags/{DAG_ID}/clearTaskInstances", body))
        return True

    def _reason(self, batch: Batch, task: TaskInstance) -> str:
        try:
            log = self.airflow.rest.task_log(
                DAG_ID, batch.run_id, task.task_id, try_number=task.try_number, map_index=task.map_index
            )
        except (OSError, RestError) as error:
            return str(error)
        errors = [line.strip() for line in log.splitlines() if "Exception:" in line or "Error:" in line]
        return errors[0][:300] if errors else f"no error in the log of attempt {task.try_number}"

    def _read_run_ids(self, batch: Batch) -> None:
        for index, pipeline in enumerate(batch.pipelines):
            try:
                named = self.airflow.rest.xcom(DAG_ID, batch.run_id, "pipeline.edit", "mosaic_run_id", index)
                pipeline.run_id = str(named)
            except (OSError, RestError):
                pipeline.run_id = None

    def _fault_summary(self) -> str:
        faults = sum(self.mosaic.counts().faults_used.values())
        return f"{faults} faulty responses, kills: {dict(self.kills)}"

    # Kills

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Kill a process every minute, in a thread."""
        stop = threading.Event()
        thread = threading.Thread(target=self._kill_periodically, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=180)

    def _kill_periodically(self, stop: threading.Event) -> None:
        turn = 0
        while not stop.wait(60):
            # A kill of the scheduler ends its tasks too. Without the second kill of a triggerer, the last task would
            # never have the two minutes that a search takes.
            name = ("worker", "scheduler", "triggerer", "triggerer")[turn % 4]
            turn += 1
            try:
                if name == "worker":
                    self._kill_task(stop)
                else:
                    self.airflow.kill(name)
                    self.kills[name] += 1
                    self.airflow.restart(name)
            except (OSError, RestError, AirflowFailedError) as error:
                print_line(f"after killing the {name}: {error}")

    def _kill_task(self, stop: threading.Event) -> None:
        """Kill a task process, which is a grandchild of the scheduler."""
        while not stop.wait(0.2):
            table = living()
            workers = {pid for pid, each in table.items() if each.parent == self.airflow.services["scheduler"].pid}
            tasks = [pid for pid, each in table.items() if each.parent in workers]
            if tasks:
                os.kill(random.choice(tasks), signal.SIGKILL)
                self.kills["worker"] += 1
                return


def make_batches(folder: Path, number: int) -> list[Batch]:
    """Create unique recordings and group them into batches."""
    (folder / "recordings").mkdir()
    pipelines = []
    for count in range(number):
        name = f"recording-{count:04}"
        (folder / "recordings" / f"{name}.mp4").write_bytes(SAMPLE_VIDEO.read_bytes() + name.encode())
        pipelines.append(Pipeline(name=name, folder=folder / "edited" / name))
    return [
        Batch(
            agent=AGENTS[start // BATCH_SIZE % len(AGENTS)],
            pipelines=pipelines[start : start + BATCH_SIZE],
            run_id=f"night_{start // BATCH_SIZE:03}",
        )
        for start in range(0, number, BATCH_SIZE)
    ]


def report(soak: Soak, findings: Findings, number: int, seconds: float) -> None:
    """Print the results."""
    counts = soak.mosaic.counts()
    print(f"\n{number} pipelines in {seconds:.0f} s")
    print(f"  faulty responses      {sum(counts.faults_used.values())} {dict(sorted(counts.faults_used.items()))}")
    print(f"  of requests           {sum(counts.requests.values())}")
    print(f"  keys sent elsewhere   {counts.key_leaks}")
    print(f"  kills                 {sum(soak.kills.values())} {dict(soak.kills)}")
    print(f"  runs started, resumed {counts.runs_started}, {counts.runs_resumed}")
    print(f"  posts created         {counts.posts_made}")
    print(f"  manual reviews        {len(soak.manual_reviews)}")
    for name in ("duplicates", "orphans", "lost_outputs", "wrong_posts"):
        found = getattr(findings, name)
        print(f"  {name.replace('_', ' '):<22}{len(found)}")
        for line in found[:20]:
            print(f"      {line}")


def main() -> int:
    """Run the soak test and return its exit status."""
    interrupt_on_signals()
    number = int(os.environ.get("PIPELINES", "") or 300)
    folder = LOCAL / "soak" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    started_at = time.monotonic()
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
        print_line(f"Airflow: {airflow.url}, emulator: {mosaic.url}")
        soak = Soak(folder, airflow, mosaic, deadline=time.monotonic() + 600 + 8 * number, max_reviews=20 + number // 5)
        batches = make_batches(folder, number)
        soak.inject_faults()
        with soak.killing():
            soak.run_pipelines(batches)
        mosaic.clear_faults()
        pipelines = [pipeline for batch in batches for pipeline in batch.pipelines]
        findings = audit(mosaic, pipelines, reviewed_runs=frozenset(soak.reviewed_runs))
        report(soak, findings, number, time.monotonic() - started_at)
        leaked = mosaic.counts().key_leaks > 0
        if soak.is_over:
            print("The deadline passed before all pipelines were done.")
    if not findings.clean or leaked:
        print(f"Logs: {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
