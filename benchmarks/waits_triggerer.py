"""
Measure ten thousand waits in one real triggerer: the age of its heartbeat, and how often its event loop was blocked.

    python benchmarks/waits_triggerer.py [--waits 10000] [--seconds 150]

A real Airflow defers one sensor. Then all services are stopped, and the deferred task instance and its trigger are
copied in the database: deferring ten thousand tasks through workers would take an hour, and the triggerer can't tell
the difference. Then a triggerer runs alone, three times:

- waits arrive gradually, forty a second, many times what the workers of this machine defer; the garbage collector is
  set as `docs/performance.md` recommends (``airflow_local_settings.py`` beside this file);
- all waits are there at once, as after a restart, with Airflow's default settings but for the capacity;
- the same with Airflow's ``DateTimeTrigger`` instead of ours. It sends no requests: this is the triggerer's own work.

Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from goals import Row, report
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import Service, end, members, poll, tail
from waits import stub_server

from dev.paths import LOCAL

HERE = Path(__file__).resolve().parent
DAG = "one_of_many"
GRADUAL, OURS, PLAIN = "MosaicRunTrigger, gradually", "MosaicRunTrigger", "DateTimeTrigger"
#: Waits per second when they arrive gradually.
RATE = 40
#: Seconds without a heartbeat after which another triggerer gets the waits: `triggerer_health_check_threshold`.
STALE = 30.0
#: Seconds between two polls of a wait, and the seconds at the end in which requests are counted.
POLL_INTERVAL, STEADY = 30.0, 60.0
COPY = """
import sys, time, uuid
from sqlalchemy import insert, select
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

waits, rate = int(sys.argv[1]), int(sys.argv[2])
table = TaskInstance.__table__
with create_session() as session:
    ti = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == "one_of_many")).one()
    first = session.get(Trigger, ti.trigger_id)
    classpath, kwargs = first.classpath, first.kwargs
    row = dict(session.execute(select(table).where(table.c.id == ti.id)).mappings().one())
due = time.monotonic()
for start in range(1, waits, rate):
    numbers = range(start, min(start + rate, waits))
    with create_session() as session:
        triggers = [
            Trigger(classpath=classpath, kwargs={**kwargs, "run_id": f"00000000-0000-4000-8000-{number:012d}"})
            for number in numbers
        ]
        session.add_all(triggers)
        session.flush()
        rows = [
            {**row, "id": type(row["id"])(str(uuid.uuid4())), "map_index": number, "trigger_id": trigger.id}
            for number, trigger in zip(numbers, triggers)
        ]
        session.execute(insert(table), rows)
    due += 1
    time.sleep(max(0, due - time.monotonic()))
"""
CHANGE = """
from datetime import datetime, timedelta, timezone
from sqlalchemy import update
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

other = Trigger(
    classpath="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
    kwargs={"moment": datetime.now(timezone.utc) + timedelta(days=7)},
)
new = {"classpath": other.classpath, "encrypted_kwargs": other.encrypted_kwargs, "triggerer_id": None}
with create_session() as session:
    session.execute(update(Trigger).values(**new))
"""


def get(server: str, path: str) -> Any:
    """Send a request to the stub server."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server}/{path}", timeout=30) as response:
        return json.load(response)


class Triggerer:
    """Read a triggerer's heartbeats, log and CPU time."""

    def __init__(self, airflow: AirflowInstance, service: Service) -> None:
        self._database = airflow.home / "airflow.db"
        self._logs = airflow.home / "logs"
        self._service = service

    def start(self) -> None:
        """Start the triggerer with empty logs."""
        shutil.rmtree(self._logs, ignore_errors=True)
        self._service.log.unlink(missing_ok=True)
        self._service.start()

    def heartbeat_age(self) -> float | None:
        """Return the seconds since the last heartbeat of the newest triggerer; None before its first."""
        with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10) as database:
            row = database.execute(
                "select latest_heartbeat from job where job_type = 'TriggererJob' order by id desc limit 1"
            ).fetchone()
        if row is None or row[0] is None:
            return None
        beat = datetime.fromisoformat(row[0]).replace(tzinfo=timezone.utc)
        return (datetime.now(timezone.utc) - beat).total_seconds()

    def started(self) -> int:
        """Return how many triggers have started: each has a log file."""
        return sum(1 for _ in self._logs.rglob("*.trigger.*.log"))

    def blocked(self) -> list[float]:
        """Return for how many seconds the event loop was blocked, each time that the log reports it."""
        text = self._service.log.read_text(errors="replace")
        return [float(seconds) for seconds in re.findall(r"blocked for ([\d.]+) seconds", text)]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all its processes so far."""
        ticks = 0
        for pid in members([self._service.pid]):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        """Raise if the triggerer has exited."""
        if self._service.exit_code() is not None:
            raise RuntimeError(f"the triggerer exited:\n{tail(self._service.log)}")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """
    The figures of one triggerer.

    :param start: Seconds until all triggers had started.
    :param heartbeat: Oldest heartbeat, in seconds.
    :param blocked_at_start: For how long the loop was blocked, each time, until then.
    :param blocked: The same afterwards.
    :param cpu: CPU seconds afterwards.
    :param requests: Requests in a cycle, in the last minute.
    """

    start: float
    heartbeat: float
    blocked_at_start: list[float]
    blocked: list[float]
    cpu: float
    requests: float


def measure_triggerer(triggerer: Triggerer, server: str, waits: int, seconds: float) -> Figures:
    """Measure a triggerer while the waits start, and afterwards."""
    worst = 0.0

    def run_until(condition: Callable[[], bool], timeout: float) -> None:
        nonlocal worst
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {triggerer.started()} of {waits} triggers have started")
            triggerer.check()
            worst = max(worst, triggerer.heartbeat_age() or 0.0)
            time.sleep(1)

    poll(lambda: triggerer.started() or None, timeout=120, what="the first trigger starts")
    started_at = time.monotonic()
    run_until(lambda: triggerer.started() >= waits, 600)
    start = time.monotonic() - started_at
    at_start = triggerer.blocked()
    cpu, end_at = triggerer.cpu_seconds(), time.monotonic() + seconds
    # The waits that started last still have short pauses.
    run_until(lambda: time.monotonic() >= end_at - STEADY, 2 * seconds)
    get(server, "_start")
    run_until(lambda: time.monotonic() >= end_at, 2 * seconds)
    return Figures(
        start=start,
        heartbeat=worst,
        blocked_at_start=at_start,
        blocked=triggerer.blocked()[len(at_start) :],
        cpu=triggerer.cpu_seconds() - cpu,
        requests=get(server, f"_cycle/{POLL_INTERVAL}"),
    )


@contextmanager
def running(airflow: AirflowInstance, script: str, *arguments: object) -> Iterator[None]:
    """Run a script on Airflow's database in the background, and raise if it fails."""
    command = [airflow.python, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, env=airflow.environment, stderr=subprocess.PIPE, text=True)
    try:
        yield
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise RuntimeError(errors[-2000:])


def measure(waits: int, seconds: float) -> dict[str, Figures]:
    """Set up Airflow, and measure the three triggerers."""
    home = LOCAL / "benchmarks" / "triggerer"
    shutil.rmtree(home, ignore_errors=True)
    with stub_server() as server:
        environment = {
            "AIRFLOW_CONN_MOSAIC_DEFAULT": json.dumps({"conn_type": "mosaic", "host": server, "password": "mk_stub"}),
            "AIRFLOW__TRIGGERER__CAPACITY": str(waits),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
        }
        get(server, f"_runs/{waits}")
        dag = HERE / "dags" / "waiting_in_the_triggerer.py"
        with AirflowInstance(home, dags=[dag], environment=environment) as airflow:
            run = airflow.trigger(DAG, {"run_id": "00000000-0000-4000-8000-000000000000"})
            airflow.wait_for_task(DAG, run, "wait", "deferred", timeout=120)
            end(list(airflow.services.values()))
            # The triggerer keeps a log file open for each trigger.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            service = airflow.services["triggerer"]
            found: dict[str, Figures] = {}

            def measured() -> Figures:
                triggerer = Triggerer(airflow, service)
                triggerer.start()
                try:
                    return measure_triggerer(triggerer, server, waits, seconds)
                finally:
                    end([service])

            config = airflow.home / "config"
            config.mkdir(exist_ok=True)
            settings = config / "airflow_local_settings.py"
            shutil.copy(HERE / settings.name, settings)
            with running(airflow, COPY, waits, RATE):
                found[GRADUAL] = measured()
            settings.unlink()
            found[OURS] = measured()
            with running(airflow, CHANGE):
                pass
            found[PLAIN] = measured()
            return found


def rows(found: dict[str, Figures], waits: int, seconds: float) -> Iterator[Row]:
    """Yield the figures of the gradual waits, and those of the waits at once beside Airflow's trigger."""
    plain = {PLAIN: found[PLAIN]}
    yield from _rows(f"{waits:,} in one triggerer, {RATE} a second", found[GRADUAL], {}, waits, seconds)
    yield from _rows(f"{waits:,} in one triggerer, at once", found[OURS], plain, waits, seconds)


def _rows(title: str, ours: Figures, theirs: dict[str, Figures], waits: int, seconds: float) -> Iterator[Row]:
    def row(figure: str, measured: Callable[[Figures], float], goal: str | None = None, met: bool = True) -> Row:
        others = {name: measured(figures) for name, figures in theirs.items()}
        return Row(figure=figure, ours=measured(ours), theirs=others, goal=goal, met=met)

    yield row(f"{title}: s to start", lambda figures: figures.start)
    yield row("  oldest heartbeat, s", lambda figures: figures.heartbeat, f"below {STALE:.0f}", ours.heartbeat < STALE)
    yield row(
        "  'blocked' in its log while they start",
        lambda figures: len(figures.blocked_at_start),
        "never",
        not ours.blocked_at_start,
    )
    yield row("    the longest, s", lambda figures: max(figures.blocked_at_start, default=0.0))
    yield row(
        f"  'blocked' in its log in {seconds:.0f} s afterwards",
        lambda figures: len(figures.blocked),
        "never",
        not ours.blocked,
    )
    yield row("    the longest, s", lambda figures: max(figures.blocked, default=0.0))
    yield row(f"  CPU s in {seconds:.0f} s afterwards", lambda figures: figures.cpu)
    most = -(-waits // 100) + 2
    yield Row(
        figure="  requests in a cycle of 30 s, in the last minute",
        ours=ours.requests,
        goal=f"at most {most}",
        met=ours.requests <= most,
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure ten thousand waits in one real triggerer.")
    parser.add_argument("--waits", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=150)
    arguments = parser.parse_args()
    report(rows(measure(arguments.waits, arguments.seconds), arguments.waits, arguments.seconds))


if __name__ == "__main__":
    main()
