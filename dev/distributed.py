"""
Run pipelines on a distributed Airflow and kill a triggerer and a worker.

Starts PostgreSQL, Redis, and Airflow with CeleryExecutor, two workers and two triggerers. ``PIPELINES=`` is the number
of recordings to upload, edit and download (default: 200). SIGKILL ends the triggerer with more triggers, and a worker
that has started a run but does not know its id yet. Both stay down, like lost machines. Prints the counts, and stops
all processes at the end.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowFailedError
from mosaic_emulator.local_airflow.processes import DeadlineExceededError, descendants, living, poll
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.distributed_engine import TRIGGERERS, WORKERS, DistributedAirflow
from dev.interrupts import interrupt_on_signals
from dev.metadata_reader import MetadataReader, RunningTask
from dev.paths import LOCAL, ROOT
from dev.postgres import PostgresFailedError
from dev.redis import RedisFailedError
from dev.soak_ledger import Findings, Pipeline, audit

DAG_ID = "distributed_pipeline"
UPLOAD, EDIT, DOWNLOAD = (f"pipeline.{step}" for step in ("upload", "edit", "download"))
#: The emulator's agents with one input, and one DAG run for each. A single DAG run would slow the scheduler down: the
#: cost of its loop grows faster than the number of mapped tasks.
AGENTS = tuple(f"a0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 5))
#: Fraction of completed pipelines at which the triggerer is killed.
TRIGGERER_LOST_AT = 0.1
#: Seconds by which the response to one start is delayed. The client's timeout is two minutes.
RESPONSE_DELAY = 100.0
#: Seconds that each node runs, so that there are always deferred tasks.
NODE_SECONDS = 12.0
CLOCK = time.monotonic()


def print_line(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - CLOCK:6.1f} s  {text}", flush=True)


@dataclass(kw_only=True)
class Takeover:
    """The triggers of a killed triggerer, and the seconds until the other triggerer has the first and the last."""

    lost: str
    triggers: set[int]
    at: float
    first: float | None = None
    last: float | None = None

    def update(self, reader: MetadataReader, *, dead: int) -> None:
        """Read which triggerer has the triggers now."""
        held = list(reader.triggerers_of(self.triggers).values())
        left = held.count(dead)
        now = time.monotonic() - self.at
        if left < len(self.triggers) and self.first is None:
            self.first = now
        if left == 0:
            self.last = now
            print_line(
                f"the other triggerer has all {len(self.triggers)} triggers; it had the first after {self.first:.1f} s"
            )


@dataclass(kw_only=True)
class LostTasks:
    """The tasks of a killed worker, and the seconds until each runs again."""

    lost: str
    tasks: list[RunningTask]
    at: float
    restarted_after: dict[str, float] = field(default_factory=dict)

    def update(self, reader: MetadataReader) -> None:
        """Read which of the tasks run again or have ended."""
        for each in self.tasks:
            if each.name in self.restarted_after:
                continue
            state, number = reader.state_and_try(each)
            if number > each.try_number and state in ("running", "deferred", "success", "failed"):
                self.restarted_after[each.name] = time.monotonic() - self.at
                print_line(f"{each.name} of the killed worker is {state} in attempt {number}")


@dataclass(kw_only=True)
class Batch:
    """One DAG run: the recordings of a folder in the order of their map indexes."""

    run_id: str
    agent: str
    recordings: Path
    pipelines: list[Pipeline]


class DistributedRun:
    """Runs and monitors the DAG runs, and kills a triggerer and a worker."""

    def __init__(
        self, engine: DistributedAirflow, reader: MetadataReader, mosaic: Emulator, batches: list[Batch]
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._mosaic = mosaic
        self._batches = batches
        self._number = sum(len(batch.pipelines) for batch in batches)
        self._reported_at = 0.0
        self.takeover: Takeover | None = None
        self.lost_tasks: LostTasks | None = None
        self._dead_job = 0

    def run_pipelines(self, results: Path, *, timeout: float) -> set[str]:
        """Start the DAG runs, kill the processes, wait for the end, and return the final states."""
        self._delay_a_response()
        for batch in self._batches:
            conf = {"agent": batch.agent, "recordings": str(batch.recordings), "results": str(results)}
            self._engine.airflow.trigger(DAG_ID, conf, run_id=batch.run_id)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            states = self._reader.states()
            self._report_progress(states, force=False)
            if self.takeover is None:
                if states[DOWNLOAD, "success"] >= TRIGGERER_LOST_AT * self._number:
                    self._kill_triggerer()
            elif self.takeover.last is None:
                self.takeover.update(self._reader, dead=self._dead_job)
            if self.lost_tasks is None:
                self._kill_worker()
            else:
                self.lost_tasks.update(self._reader)
            ended = self._reader.final_states()
            if len(ended) == len(self._batches):
                self._report_progress(states, force=True)
                return set(ended)
            time.sleep(0.2)
        return {"timeout"}

    def _delay_a_response(self) -> None:
        """
        Delay the response to the last start of the first batch, whose run therefore has no known id.

        By then no other task of the DAG run starts a run with the same agent, so the search finds it.
        """
        first = self._batches[0]
        self._mosaic.inject(
            "hang",
            method="POST",
            path=f"/agent/{first.agent}/run",
            skip=len(first.pipelines) - 1,
            when="after",
            seconds=RESPONSE_DELAY,
        )

    def assign_run_ids(self) -> None:
        """Set the run id of each pipeline from the XCom of its task."""
        named = self._reader.xcoms(EDIT, "mosaic_run_id")
        for batch in self._batches:
            for index, pipeline in enumerate(batch.pipelines):
                pipeline.run_id = named.get((batch.run_id, index))

    def _report_progress(self, states: Counter[tuple[str, str]], *, force: bool) -> None:
        if not force and time.monotonic() - self._reported_at < 10:
            return
        self._reported_at = time.monotonic()
        holding = " and ".join(str(len(self._reader.triggers_of(job))) for job in self._reader.triggerers())
        running = sum(number for (_, state), number in states.items() if state == "running")
        print_line(
            f"{states[UPLOAD, 'success']:4} uploaded  {states[EDIT, 'deferred']:4} deferred  "
            f"{states[EDIT, 'success']:4} edited  {states[DOWNLOAD, 'success']:4} downloaded  of {self._number};  "
            f"{running} on workers, triggers by triggerer: {holding}"
        )

    def _kill_triggerer(self) -> None:
        jobs = self._reader.triggerers()
        held = {job: self._reader.triggers_of(job) for job in jobs}
        job = max(jobs, key=lambda each: len(held[each]))
        if len(held[job]) < min(10, self._number // 5):
            return
        name = TRIGGERERS[jobs.index(job)]
        self._engine.kill(name)
        # Without triggers that fired before the kill.
        triggers = {trigger for trigger, holder in self._reader.triggerers_of(held[job]).items() if holder == job}
        self.takeover = Takeover(lost=name, triggers=triggers, at=time.monotonic())
        self._dead_job = job
        print_line(f"{name} is killed, with {len(triggers)} triggers")

    def _kill_worker(self) -> None:
        """Kill the worker that waits for the response to a start, with its other tasks."""
        if not self._mosaic.counts().faults_used.get("hang"):
            return
        with_run_id = self._reader.xcoms(EDIT, "mosaic_run_id")
        running = self._reader.running()
        first = self._batches[0].run_id
        for waiting in running:
            if (waiting.task_id, waiting.run_id) != (EDIT, first) or (first, waiting.map_index) in with_run_id:
                continue
            for name in WORKERS:
                processes = self._engine.processes(name)
                if waiting.pid in processes:
                    self._engine.kill(name)
                    tasks = [each for each in running if each.pid in processes]
                    self.lost_tasks = LostTasks(lost=name, tasks=tasks, at=time.monotonic())
                    print_line(f"{name} is killed, with {', '.join(each.name for each in tasks)}")
                    print_line(f"{waiting.name} had started a run without knowing its id")
                    return


def make_batches(folder: Path, number: int) -> list[Batch]:
    """Create unique recordings in one folder per agent."""
    batches = []
    # The first batch is smaller: it has started all its runs while the others still start theirs.
    first = max(number // 5, 1)
    bounds = (0, first, (first + number) // 2, number)
    for index, agent in enumerate(AGENTS):
        run_id = f"night-{index + 1}"
        recordings = folder / "recordings" / run_id
        recordings.mkdir(parents=True)
        pipelines = []
        for count in range(*bounds[index : index + 2]):
            name = f"recording-{count:04}"
            (recordings / f"{name}.mp4").write_bytes(SAMPLE_VIDEO.read_bytes() + name.encode())
            pipelines.append(Pipeline(name=name, folder=folder / "edited" / name))
        batches.append(Batch(run_id=run_id, agent=agent, recordings=recordings, pipelines=pipelines))
    return batches


def seconds(value: float | None) -> str:
    """Format seconds."""
    return "never" if value is None else f"{value:.1f} s"


def report(batches: DistributedRun, reader: MetadataReader, mosaic: Emulator, findings: Findings, number: int) -> bool:
    """Print the results, and return whether they are as promised."""
    counts = mosaic.counts()
    lost = {line.partition(":")[0] for line in findings.lost_outputs}
    print(f"\n  pipelines                     {number}")
    print(f"  runs that Mosaic started      {counts.runs_started}")
    print(f"  runs started twice            {len(findings.duplicates)}")
    print(f"  runs without an owner         {len(findings.orphans)}")
    print(f"  pipelines with every output   {number - len(lost)}")
    print(f"  uploads                       {counts.uploads_finalized}")
    takeover, lost_tasks = batches.takeover, batches.lost_tasks
    complete = takeover is not None and takeover.last is not None and lost_tasks is not None
    if takeover is not None:
        print(f"  triggers of killed {takeover.lost:<12}{len(takeover.triggers)}")
        print(f"      taken over                after {seconds(takeover.first)} to {seconds(takeover.last)}")
    if lost_tasks is not None:
        print(f"  tasks of killed {lost_tasks.lost:<12}{len(lost_tasks.tasks)}")
        for each in lost_tasks.tasks:
            print(f"      {each.name:<26}restarted after {seconds(lost_tasks.restarted_after.get(each.name))}")
        complete = complete and len(lost_tasks.restarted_after) == len(lost_tasks.tasks)
    print(f"  tasks with retries            {reader.retried()}")
    for event, times in sorted(reader.events().items()):
        print(f"  Airflow logged                {times} x {event}")
    for line in [*findings.duplicates, *findings.orphans, *findings.lost_outputs][:40]:
        print(f"      {line}")
    if not complete:
        print("  Not all processes were killed, or not all of their work was recovered.")
    return complete and findings.clean and counts.runs_started == number


def run_pipelines(folder: Path, number: int, started: set[int]) -> bool:
    """Start all services, run the batches, and stop all services."""
    batches = make_batches(folder, number)
    with Emulator(directory=folder / "mosaic", render="tiny", node_seconds=NODE_SECONDS) as mosaic:
        engine = DistributedAirflow(
            folder,
            dags=[ROOT / "dev" / "dags" / "distributed_pipeline.py"],
            environment={"AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection()},
        )
        try:
            print_line("starting PostgreSQL, Redis, Airflow with CeleryExecutor, two workers and two triggerers ...")
            engine.start()
            print_line(f"all services are healthy; the UI is at {engine.airflow.url}")
            with closing(MetadataReader(engine.postgres.sql_connection, dag_id=DAG_ID)) as reader:
                distributed_run = DistributedRun(engine, reader, mosaic, batches)
                ended = distributed_run.run_pipelines(folder / "edited", timeout=300 + 6 * number)
                print_line(f"the {len(batches)} DAG runs: {', '.join(sorted(ended))}")
                distributed_run.assign_run_ids()
                pipelines = [pipeline for batch in batches for pipeline in batch.pipelines]
                succeeded = report(distributed_run, reader, mosaic, audit(mosaic, pipelines, posted=False), number)
            return succeeded and ended == {"success"}
        finally:
            started |= descendants(os.getpid())
            print_line("stopping all services ...")
            engine.stop()


def all_processes_ended(started: set[int]) -> bool:
    """Return whether all started processes have ended."""

    def ended() -> bool | None:
        return not (started & living().keys()) or None

    try:
        return bool(poll(ended, timeout=10, what="the end of all processes"))
    except DeadlineExceededError:
        return False


def main() -> int:
    """Run the command and return its exit status."""
    interrupt_on_signals()
    number = max(int(os.environ.get("PIPELINES", "") or 200), len(AGENTS))
    folder = LOCAL / "distributed" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    started: set[int] = set()
    succeeded, code = False, 1
    try:
        succeeded = run_pipelines(folder, number, started)
        code = 0 if succeeded else 1
    except (AirflowFailedError, DeadlineExceededError, PostgresFailedError, RedisFailedError) as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    if all_processes_ended(started):
        print(f"All {len(started)} started processes have ended.")
    else:
        print(f"Still running: {sorted(started & living().keys())}", file=sys.stderr)
        code = 1
    if not succeeded:
        print(f"Logs: {folder.relative_to(ROOT)}")
        return code
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{number} of {number} pipelines: each run started once, each output downloaded.")
    return code


if __name__ == "__main__":
    sys.exit(main())
