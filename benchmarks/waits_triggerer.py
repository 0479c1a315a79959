"""
Ten thousand waits in one real triggerer process: does its heartbeat hold, and was its event loop ever blocked.

    python benchmarks/waits_triggerer.py [--waits 10000] [--seconds 120]

A real Airflow defers one sensor. Then everything but the database is ended, and the deferred task instance and its
trigger are copied as often as wished straight into the tables: deferring ten thousand tasks through workers would take
an hour, and the triggerer can't tell the difference. What follows is a triggerer alone, with its own settings but for
the capacity. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dev.airflow_instance import AirflowInstance
from dev.environment import LOCAL
from dev.processes import Service, end, poll

HERE = Path(__file__).resolve().parent
DAG = "one_of_many"
COPY = """
import sys, uuid
from sqlalchemy import insert, select
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session

with create_session() as session:
    ti = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == "one_of_many")).one()
    first = session.get(Trigger, ti.trigger_id)
    table = TaskInstance.__table__
    row = dict(session.execute(select(table).where(table.c.id == ti.id)).mappings().one())
    triggers = [
        Trigger(classpath=first.classpath, kwargs={**first.kwargs, "run_id": f"00000000-0000-4000-8000-{number:012d}"})
        for number in range(1, int(sys.argv[1]))
    ]
    session.add_all(triggers)
    session.flush()
    rows = [
        {**row, "id": type(row["id"])(str(uuid.uuid4())), "map_index": number, "trigger_id": trigger.id}
        for number, trigger in enumerate(triggers, 1)
    ]
    session.execute(insert(table), rows)
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
        self.log = service.log
        self.service = service

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

    def logs(self) -> int:
        """How many triggers have begun a log file of their own."""
        return sum(1 for _ in self._logs.rglob("*.trigger.*.log"))

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")


def measure(waits: int, seconds: float) -> None:
    """Bring it up, look, and print."""
    home = LOCAL / "benchmarks" / "triggerer"
    shutil.rmtree(home, ignore_errors=True)
    with stub_server() as server:
        connection = json.dumps({"conn_type": "mosaic", "host": server, "password": "mk_stub"})
        ask(server, f"_runs/{waits}")
        with AirflowInstance(
            home,
            dags=[HERE / "dags" / "waiting_in_the_triggerer.py"],
            environment={"AIRFLOW_CONN_MOSAIC_DEFAULT": connection, "AIRFLOW__TRIGGERER__CAPACITY": str(waits)},
        ) as airflow:
            run = airflow.trigger(DAG, {"run_id": "00000000-0000-4000-8000-000000000000"})
            airflow.wait_for_task(DAG, run, "wait", "deferred", timeout=120)
            end(list(airflow.services.values()))
            begun = time.monotonic()
            copied = subprocess.run(
                [airflow.python, "-c", COPY, str(waits)], env=airflow.environment, capture_output=True, text=True
            )
            if copied.returncode != 0:
                raise RuntimeError(copied.stderr[-2000:])
            print(f"{waits} waits put into the tables in {time.monotonic() - begun:.0f} s", flush=True)
            shutil.rmtree(airflow.home / "logs", ignore_errors=True)
            # It keeps the log file of each trigger open.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            service = airflow.services["triggerer"]
            service.log.unlink(missing_ok=True)
            service.start()
            look(Triggerer(airflow, service), server, waits, seconds)


def look(triggerer: Triggerer, server: str, waits: int, seconds: float) -> None:
    """Watch the triggerer come up and wait."""
    begun = time.monotonic()
    poll(lambda: triggerer.logs() or None, timeout=120, what="the first trigger starts")
    print(f"the first trigger after {time.monotonic() - begun:.0f} s", flush=True)
    worst, started = 0.0, None
    ask(server, "_count")
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and (started is None or time.monotonic() < started + seconds):
        time.sleep(1)
        age = triggerer.heartbeat_age()
        worst = max(worst, age or 0.0)
        if started is None and triggerer.logs() >= waits:
            started = time.monotonic()
            print(f"all of them after {started - begun:.0f} s, {ask(server, '_count')} requests", flush=True)
        if triggerer.service.exit_code() is not None:
            raise RuntimeError(f"the triggerer ended:\n{triggerer.text()[-2000:]}")
    requests = ask(server, "_count")
    blocked = [float(each) for each in re.findall(r"blocked for ([\d.]+) seconds", triggerer.text())]
    said = f"{len(blocked)} times" + (f", longest {max(blocked):.2f} s" if blocked else "")
    print(
        f"{seconds:.0f} s with all of them: {requests} requests, {30 * requests / seconds:.0f} in each 30 s "
        f"(one request a wait would be {waits})\n"
        f"oldest heartbeat seen: {worst:.1f} s; goal: below triggerer_health_check_threshold (30 s): "
        f"{'met' if worst < 30 else 'MISSED'}\n"
        f"'blocked' in its log: {said}; goal: never: {'met' if not blocked else 'MISSED'}",
        flush=True,
    )
    if started is None:
        print("  not all of the triggers were seen to start", flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Ten thousand waits in one real triggerer.")
    parser.add_argument("--waits", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    measure(arguments.waits, arguments.seconds)


if __name__ == "__main__":
    main()
