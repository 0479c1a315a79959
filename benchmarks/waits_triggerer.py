"""
Ten thousand waits in one real triggerer process: does its heartbeat hold, and was its event loop ever blocked.

    python benchmarks/waits_triggerer.py [--waits 10000] [--seconds 150]

A real Airflow defers one sensor. Then everything but the database is ended, and the deferred task instance and its
trigger are copied as often as wished straight into the tables: deferring ten thousand tasks through workers would take
an hour, and the triggerer can't tell the difference. What follows is a triggerer alone, three times:

- waits come by and by, forty a second, many times what the workers of this machine defer, and the garbage
  collector is set as `docs/performance.md` says (``airflow_local_settings.py`` beside this file);
- it takes all of them up at once, as after a restart, with its own settings but for the capacity;
- the same with Airflow's own ``DateTimeTrigger`` in the place of ours, which asks nobody for anything: what it shows is
  the triggerer's own work.

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
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from goals import Row, report

from dev.airflow_instance import AirflowInstance
from dev.paths import LOCAL
from dev.processes import Service, end, members, poll, tail

HERE = Path(__file__).resolve().parent
DAG = "one_of_many"
BY_AND_BY, OURS, PLAIN = "MosaicRunTrigger, by and by", "MosaicRunTrigger", "DateTimeTrigger"
#: How many waits come in a second when they come by and by.
RATE = 40
#: Seconds without a heartbeat after which the waits go to another triggerer: `triggerer_health_check_threshold`.
STALE = 30.0
#: Seconds between two looks of a wait, and those at the end in which requests are counted.
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
for begin in range(1, waits, rate):
    numbers = range(begin, min(begin + rate, waits))
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


@contextmanager
def stub_server() -> Iterator[str]:
    """The stub, and its address."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "port"
        process = subprocess.Popen([sys.executable, HERE / "waits_server.py", ready])
        try:
            poll(lambda: ready.exists() or None, timeout=30, what="the stub server serves")
            yield f"http://127.0.0.1:{ready.read_text()}"
        finally:
            process.terminate()
            process.wait()


def ask(server: str, what: str) -> Any:
    """Ask the stub server."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server}/{what}", timeout=30) as answer:
        return json.load(answer)


class Triggerer:
    """The triggerer's own traces: its heartbeats, its log, its processor time."""

    def __init__(self, airflow: AirflowInstance, service: Service) -> None:
        self._database = airflow.home / "airflow.db"
        self._logs = airflow.home / "logs"
        self._service = service

    def start(self) -> None:
        """Start it, with logs that are its own."""
        shutil.rmtree(self._logs, ignore_errors=True)
        self._service.log.unlink(missing_ok=True)
        self._service.start()

    def heartbeat_age(self) -> float | None:
        """Seconds since the last heartbeat of the newest triggerer; None before its first."""
        with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10) as database:
            row = database.execute(
                "select latest_heartbeat from job where job_type = 'TriggererJob' order by id desc limit 1"
            ).fetchone()
        if row is None or row[0] is None:
            return None
        beat = datetime.fromisoformat(row[0]).replace(tzinfo=timezone.utc)
        return (datetime.now(timezone.utc) - beat).total_seconds()

    def begun(self) -> int:
        """How many triggers have begun: each has a log file of its own."""
        return sum(1 for _ in self._logs.rglob("*.trigger.*.log"))

    def blocked(self) -> list[float]:
        """Each time that its log says "blocked": for how many seconds."""
        text = self._service.log.read_text(errors="replace")
        return [float(each) for each in re.findall(r"blocked for ([\d.]+) seconds", text)]

    def processor(self) -> float:
        """Processor seconds of all its processes so far."""
        ticks = 0
        for pid in members([self._service.pid]):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        """Fail if it has ended."""
        if self._service.exit_code() is not None:
            raise RuntimeError(f"the triggerer ended:\n{tail(self._service.log)}")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    What was seen of one triggerer.

    :param taken_up: Seconds until all of them had begun.
    :param heartbeat: The oldest heartbeat, in seconds.
    :param blocked_at_first: What its log said of being blocked while they began.
    :param blocked: The same, afterwards.
    :param processor: Processor seconds afterwards.
    :param requests: Requests in a cycle, in the last minute.
    """

    taken_up: float
    heartbeat: float
    blocked_at_first: list[float]
    blocked: list[float]
    processor: float
    requests: float


def look(triggerer: Triggerer, server: str, waits: int, seconds: float) -> Seen:
    """Watch a triggerer take up the waits, and wait."""
    worst = 0.0

    def watch(enough: Callable[[], bool], timeout: float) -> None:
        nonlocal worst
        deadline = time.monotonic() + timeout
        while not enough():
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {triggerer.begun()} of {waits} triggers have begun")
            triggerer.check()
            worst = max(worst, triggerer.heartbeat_age() or 0.0)
            time.sleep(1)

    poll(lambda: triggerer.begun() or None, timeout=120, what="the first trigger begins")
    began = time.monotonic()
    watch(lambda: triggerer.begun() >= waits, 600)
    taken_up = time.monotonic() - began
    at_first = triggerer.blocked()
    processor, over = triggerer.processor(), time.monotonic() + seconds
    # Those that began last still look in short pauses.
    watch(lambda: time.monotonic() >= over - STEADY, 2 * seconds)
    ask(server, "_begin")
    watch(lambda: time.monotonic() >= over, 2 * seconds)
    return Seen(
        taken_up=taken_up,
        heartbeat=worst,
        blocked_at_first=at_first,
        blocked=triggerer.blocked()[len(at_first) :],
        processor=triggerer.processor() - processor,
        requests=ask(server, f"_cycle/{POLL_INTERVAL}"),
    )


@contextmanager
def running(airflow: AirflowInstance, script: str, *arguments: object) -> Iterator[None]:
    """Run a script on Airflow's tables meanwhile, and see that it ended well."""
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


def measure(waits: int, seconds: float) -> dict[str, Seen]:
    """Bring it up, and look at each of the three."""
    home = LOCAL / "benchmarks" / "triggerer"
    shutil.rmtree(home, ignore_errors=True)
    with stub_server() as server:
        environment = {
            "AIRFLOW_CONN_MOSAIC_DEFAULT": json.dumps({"conn_type": "mosaic", "host": server, "password": "mk_stub"}),
            "AIRFLOW__TRIGGERER__CAPACITY": str(waits),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
        }
        ask(server, f"_runs/{waits}")
        dag = HERE / "dags" / "waiting_in_the_triggerer.py"
        with AirflowInstance(home, dags=[dag], environment=environment) as airflow:
            run = airflow.trigger(DAG, {"run_id": "00000000-0000-4000-8000-000000000000"})
            airflow.wait_for_task(DAG, run, "wait", "deferred", timeout=120)
            end(list(airflow.services.values()))
            # It keeps the log file of each trigger open.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            service = airflow.services["triggerer"]
            found: dict[str, Seen] = {}

            def looked() -> Seen:
                triggerer = Triggerer(airflow, service)
                triggerer.start()
                try:
                    return look(triggerer, server, waits, seconds)
                finally:
                    end([service])

            config = airflow.home / "config"
            config.mkdir(exist_ok=True)
            settings = config / "airflow_local_settings.py"
            shutil.copy(HERE / settings.name, settings)
            with running(airflow, COPY, waits, RATE):
                found[BY_AND_BY] = looked()
            settings.unlink()
            found[OURS] = looked()
            with running(airflow, CHANGE):
                pass
            found[PLAIN] = looked()
            return found


def rows(found: dict[str, Seen], waits: int, seconds: float) -> Iterator[Row]:
    """Those that come by and by alone, and those that are taken up at once beside Airflow's own."""
    plain = {PLAIN: found[PLAIN]}
    yield from _rows(f"{waits:,} in one triggerer, {RATE} a second", found[BY_AND_BY], {}, waits, seconds)
    yield from _rows(f"{waits:,} in one triggerer, at once", found[OURS], plain, waits, seconds)


def _rows(title: str, ours: Seen, theirs: dict[str, Seen], waits: int, seconds: float) -> Iterator[Row]:
    def row(figure: str, measured: Callable[[Seen], float], goal: str | None = None, met: bool = True) -> Row:
        others = {name: measured(seen) for name, seen in theirs.items()}
        return Row(figure=figure, ours=measured(ours), theirs=others, goal=goal, met=met)

    yield row(f"{title}: s to begin", lambda seen: seen.taken_up)
    yield row("  oldest heartbeat, s", lambda seen: seen.heartbeat, f"below {STALE:.0f}", ours.heartbeat < STALE)
    yield row(
        "  'blocked' in its log while they begin",
        lambda seen: len(seen.blocked_at_first),
        "never",
        not ours.blocked_at_first,
    )
    yield row("    the longest, s", lambda seen: max(seen.blocked_at_first, default=0.0))
    yield row(
        f"  'blocked' in its log in {seconds:.0f} s afterwards",
        lambda seen: len(seen.blocked),
        "never",
        not ours.blocked,
    )
    yield row("    the longest, s", lambda seen: max(seen.blocked, default=0.0))
    yield row(f"  CPU s in {seconds:.0f} s afterwards", lambda seen: seen.processor)
    most = -(-waits // 100) + 2
    yield Row(
        figure="  requests in a cycle of 30 s, in the last minute",
        ours=ours.requests,
        goal=f"at most {most}",
        met=ours.requests <= most,
    )


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description="Ten thousand waits in one real triggerer.")
    parser.add_argument("--waits", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=150)
    arguments = parser.parse_args()
    report(rows(measure(arguments.waits, arguments.seconds), arguments.waits, arguments.seconds))


if __name__ == "__main__":
    main()
