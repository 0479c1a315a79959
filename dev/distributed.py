"""
Nights of pipelines on Airflow's distributed parts, with a triggerer and a worker lost on the way.

PostgreSQL, Redis, CeleryExecutor with two workers and two triggerers come up from the system's packages and PyPI's;
``PIPELINES=`` says how many recordings are uploaded, edited and fetched (200). The triggerer that holds more waits, and
a worker that has just started a run and does not know its id yet, are killed by SIGKILL with all their processes, as a
lost machine ends, and stay away. It ends by itself with the counts, and leaves nothing running.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO

from dev.airflow_instance import AirflowFailedError
from dev.distributed_engine import TRIGGERERS, WORKERS, DistributedAirflow
from dev.distributed_watch import Slice, Watch
from dev.postgres import PostgresFailedError
from dev.processes import DeadlineExceededError, descendants, living, poll
from dev.redis import RedisFailedError
from dev.soak_ledger import Findings, Pipeline, audit

ROOT = Path(__file__).resolve().parents[1]
DAG_ID = "distributed_pipeline"
UPLOAD, EDIT, DOWNLOAD = (f"pipeline.{step}" for step in ("upload", "edit", "download"))
#: One DAG run for each, with an agent of its own: what the scheduler does in each loop grows faster than the mapped
#: tasks of a DAG run. They are the agents of the local Mosaic that take one video.
AGENTS = tuple(f"a0000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 5))
#: The triggerer is lost when this share of the pipelines has come to its end.
TRIGGERER_LOST_AT = 0.1
#: Seconds for which the answer to one start is held back; the client waits for two minutes.
HELD_BACK = 100.0
#: Seconds that each of a run's nodes works, so that there are always waits to lose.
NODE_SECONDS = 12.0
CLOCK = time.monotonic()


def say(text: str) -> None:
    """Print a line at once, with the seconds since the beginning."""
    print(f"{time.monotonic() - CLOCK:6.1f} s  {text}", flush=True)


@dataclass(kw_only=True)
class TakeOver:
    """A lost triggerer's waits, and when the other one had them, in seconds after the loss."""

    lost: str
    waits: set[int]
    at: float
    first: float | None = None
    last: float | None = None

    def look(self, watch: Watch, *, dead: int) -> None:
        """See who holds the waits now."""
        held = list(watch.holders(self.waits).values())
        left = held.count(dead)
        now = time.monotonic() - self.at
        if left < len(self.waits) and self.first is None:
            self.first = now
        if left == 0:
            self.last = now
            say(
                f"the other triggerer has all {len(self.waits)} waits: the first after {self.first:.1f} s, the last now"
            )


@dataclass(kw_only=True)
class LostWork:
    """What a lost worker ran, and when each task went on elsewhere, in seconds after the loss."""

    lost: str
    slices: list[Slice]
    at: float
    went_on: dict[str, float] = field(default_factory=dict)

    def look(self, watch: Watch) -> None:
        """See which of the tasks run again, or have ended."""
        for each in self.slices:
            if each.name in self.went_on:
                continue
            state, number = watch.state_and_try(each)
            if number > each.try_number and state in ("running", "deferred", "success", "failed"):
                self.went_on[each.name] = time.monotonic() - self.at
                say(f"{each.name} of the lost worker is {state} in try {number}")


@dataclass(kw_only=True)
class Night:
    """One DAG run: recordings of a folder, in the order in which they are mapped."""

    run_id: str
    agent: str
    recordings: Path
    pipelines: list[Pipeline]


class Nights:
    """The DAG runs on the distributed parts, watched; what is to be lost is lost on the way."""

    def __init__(self, engine: DistributedAirflow, watch: Watch, mosaic: Emulator, nights: list[Night]) -> None:
        self._engine = engine
        self._watch = watch
        self._mosaic = mosaic
        self._nights = nights
        self._number = sum(len(night.pipelines) for night in nights)
        self._told = 0.0
        self.take_over: TakeOver | None = None
        self.lost_work: LostWork | None = None
        self._dead_job = 0

    def play(self, results: Path, *, timeout: float) -> set[str]:
        """Start the DAG runs, lose what is to be lost, and wait for the end; return how they ended."""
        self._hold_back_an_answer()
        for night in self._nights:
            conf = {"agent": night.agent, "recordings": str(night.recordings), "results": str(results)}
            self._engine.airflow.trigger(DAG_ID, conf, run_id=night.run_id)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            states = self._watch.states()
            self._tell(states, force=False)
            if self.take_over is None:
                if states[DOWNLOAD, "success"] >= TRIGGERER_LOST_AT * self._number:
                    self._lose_triggerer()
            elif self.take_over.last is None:
                self.take_over.look(self._watch, dead=self._dead_job)
            if self.lost_work is None:
                self._lose_worker()
            else:
                self.lost_work.look(self._watch)
            ended = self._watch.ended_as()
            if len(ended) == len(self._nights):
                self._tell(states, force=True)
                return set(ended)
            time.sleep(0.2)
        return {"not ended in time"}

    def _hold_back_an_answer(self) -> None:
        """
        Let Mosaic start a run and say nothing: the last of the first night, while the others go on.

        While a DAG run starts many others with the same agent, a run that nobody knows may be any of theirs.
        """
        first = self._nights[0]
        self._mosaic.inject(
            "hang",
            method="POST",
            path=f"/agent/{first.agent}/run",
            skip=len(first.pipelines) - 1,
            when="after",
            seconds=HELD_BACK,
        )

    def name_runs(self) -> None:
        """Let each pipeline know the run that its task has named."""
        named = self._watch.xcoms(EDIT, "mosaic_run_id")
        for night in self._nights:
            for index, pipeline in enumerate(night.pipelines):
                pipeline.run_id = named.get((night.run_id, index))

    def _tell(self, states: Counter[tuple[str, str]], *, force: bool) -> None:
        if not force and time.monotonic() - self._told < 10:
            return
        self._told = time.monotonic()
        holding = " and ".join(str(len(self._watch.waits_of(job))) for job in self._watch.triggerers())
        running = sum(number for (_, state), number in states.items() if state == "running")
        say(
            f"{states[UPLOAD, 'success']:4} uploaded  {states[EDIT, 'deferred']:4} waiting  "
            f"{states[EDIT, 'success']:4} edited  {states[DOWNLOAD, 'success']:4} fetched  of {self._number};  "
            f"{running} on workers, the triggerers hold {holding}"
        )

    def _lose_triggerer(self) -> None:
        jobs = self._watch.triggerers()
        held = {job: self._watch.waits_of(job) for job in jobs}
        job = max(jobs, key=lambda each: len(held[each]))
        if len(held[job]) < min(10, self._number // 5):
            return
        name = TRIGGERERS[jobs.index(job)]
        self._engine.lose(name)
        # What fired in the last moment before the loss is nobody's any more.
        waits = {wait for wait, holder in self._watch.holders(held[job]).items() if holder == job}
        self.take_over = TakeOver(lost=name, waits=waits, at=time.monotonic())
        self._dead_job = job
        say(f"{name} is lost, with {len(waits)} waits")

    def _lose_worker(self) -> None:
        """Lose the worker that waits for the answer to a start, the dearest moment, and its other tasks with it."""
        if not self._mosaic.counts().faults_used.get("hang"):
            return
        begun = self._watch.xcoms(EDIT, "mosaic_run_id")
        running = self._watch.running()
        first = self._nights[0].run_id
        for waiting in running:
            if (waiting.task_id, waiting.run_id) != (EDIT, first) or (first, waiting.map_index) in begun:
                continue
            for name in WORKERS:
                processes = self._engine.processes(name)
                if waiting.pid in processes:
                    self._engine.lose(name)
                    slices = [each for each in running if each.pid in processes]
                    self.lost_work = LostWork(lost=name, slices=slices, at=time.monotonic())
                    say(f"{name} is lost, with {', '.join(each.name for each in slices)}")
                    say(f"{waiting.name} had started a run, and knew no id yet")
                    return


def make_nights(folder: Path, number: int) -> list[Night]:
    """Recordings, each with bytes of its own, in a folder for each agent."""
    nights = []
    # The first is a short one: it has begun all of its runs while the others still begin theirs.
    first = max(number // 5, 1)
    bounds = (0, first, (first + number) // 2, number)
    for place, agent in enumerate(AGENTS):
        run_id = f"night-{place + 1}"
        recordings = folder / "recordings" / run_id
        recordings.mkdir(parents=True)
        pipelines = []
        for count in range(*bounds[place : place + 2]):
            name = f"recording-{count:04}"
            (recordings / f"{name}.mp4").write_bytes(SAMPLE_VIDEO.read_bytes() + name.encode())
            pipelines.append(Pipeline(name=name, folder=folder / "edited" / name))
        nights.append(Night(run_id=run_id, agent=agent, recordings=recordings, pipelines=pipelines))
    return nights


def seconds(value: float | None) -> str:
    """Seconds as they are printed."""
    return "never" if value is None else f"{value:.1f} s"


def report(nights: Nights, watch: Watch, mosaic: Emulator, findings: Findings, number: int) -> bool:
    """Print what it came to, and return whether it is what was promised."""
    counts = mosaic.counts()
    lost = {line.partition(":")[0] for line in findings.lost_outputs}
    print(f"\n  pipelines                     {number}")
    print(f"  runs that Mosaic started      {counts.runs_started}")
    print(f"  runs started twice            {len(findings.duplicates)}")
    print(f"  runs that nobody has          {len(findings.orphans)}")
    print(f"  pipelines with every output   {number - len(lost)}")
    print(f"  uploads                       {counts.uploads_finalized}")
    take_over, work = nights.take_over, nights.lost_work
    complete = take_over is not None and take_over.last is not None and work is not None
    if take_over is not None:
        print(f"  waits of the lost {take_over.lost:<12}{len(take_over.waits)}")
        print(f"      taken over by the other   after {seconds(take_over.first)} to {seconds(take_over.last)}")
    if work is not None:
        print(f"  tasks of the lost {work.lost:<12}{len(work.slices)}")
        for each in work.slices:
            print(f"      {each.name:<26}went on after {seconds(work.went_on.get(each.name))}")
        complete = complete and len(work.went_on) == len(work.slices)
    print(f"  tasks with more than one try  {watch.retried()}")
    for event, times in sorted(watch.events().items()):
        print(f"  Airflow noted                 {times} x {event}")
    for line in [*findings.duplicates, *findings.orphans, *findings.lost_outputs][:40]:
        print(f"      {line}")
    if not complete:
        print("  Not everything that was to be lost was lost and came back.")
    return complete and findings.clean and counts.runs_started == number


def play(folder: Path, number: int, started: set[int]) -> bool:
    """Bring everything up, run the nights, and end everything."""
    nights = make_nights(folder, number)
    with Emulator(directory=folder / "mosaic", render="tiny", node_seconds=NODE_SECONDS) as mosaic:
        engine = DistributedAirflow(
            folder,
            dags=[ROOT / "dev" / "dags" / "distributed_pipeline.py"],
            environment={"AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection()},
        )
        try:
            say("starting PostgreSQL, Redis, Airflow with CeleryExecutor, two workers and two triggerers ...")
            engine.start()
            say(f"all are up; the UI is at {engine.airflow.url}")
            with closing(Watch(engine.postgres.sql_connection, dag_id=DAG_ID)) as watch:
                played = Nights(engine, watch, mosaic, nights)
                ended = played.play(folder / "edited", timeout=300 + 6 * number)
                say(f"the {len(nights)} DAG runs: {', '.join(sorted(ended))}")
                played.name_runs()
                pipelines = [pipeline for night in nights for pipeline in night.pipelines]
                good = report(played, watch, mosaic, audit(mosaic, pipelines, posted=False), number)
            return good and ended == {"success"}
        finally:
            started |= descendants(os.getpid())
            say("ending everything ...")
            engine.stop()


def interrupted(number: int, frame: FrameType | None) -> None:
    """End in good order, once: a second signal must not break off the ending."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def nothing_runs(started: set[int]) -> bool:
    """Whether all processes have ended that were started."""

    def ended() -> bool | None:
        return not (started & living().keys()) or None

    try:
        return bool(poll(ended, timeout=10, what="the end of all processes"))
    except DeadlineExceededError:
        return False


def main() -> int:
    """Run the nights and say how it went."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupted)
    number = max(int(os.environ.get("PIPELINES", "") or 200), len(AGENTS))
    folder = ROOT / ".local" / "distributed" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    started: set[int] = set()
    good, code = False, 1
    try:
        good = play(folder, number, started)
        code = 0 if good else 1
    except (AirflowFailedError, DeadlineExceededError, PostgresFailedError, RedisFailedError) as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    if nothing_runs(started):
        print(f"Nothing that was started is still running ({len(started)} processes).")
    else:
        print(f"Still running: {sorted(started & living().keys())}", file=sys.stderr)
        code = 1
    if not good:
        print(f"Logs: {folder.relative_to(ROOT)}")
        return code
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{number} of {number} pipelines: each run exactly once, each output fetched.")
    return code


if __name__ == "__main__":
    sys.exit(main())
