"""
Measure how late a task notices the end of a run, and what waiting costs workers, in a real Airflow.

    python benchmarks/latency.py [--waits 24]

**From the end of a run to the success of its task**: many runs end one after the other, at random times. Beside them,
Airflow's deferrable sensor waits for as many random times. Its delay is Airflow's own: the event of the trigger, the
scheduler, a new worker process, the end of the task. **Worker processes and their seconds** of one wait, as the
supervisors log them: poking, rescheduling, deferring, a run that has ended already, and Airflow's deferrable sensor.
Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

from goals import Row, report
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll
from mosaic_emulator.local_airflow.rest import TaskInstance

ROOT = Path(__file__).resolve().parents[1]
#: As in the DAG file.
POLL_INTERVAL = 10.0
#: Mean seconds between two ends: the load of two cores must not be what is measured.
PACE = 4.0
#: Seconds of the single wait.
LONG_WAIT = 45.0
MANY, ONE = "waiting_for_many", "waiting_for_one"
MODES = {
    "poking": "poking",
    "rescheduling": "rescheduling",
    "deferring": "deferrable",
    "already_ended": "run has ended",
    "starting_there": "start_from_trigger",
}
#: Goals for the number of worker processes of one wait.
MAX_PROCESSES = {"deferring": 2, "already_ended": 1, "starting_there": 1}
FINISHED = re.compile(r"Workload finished .*?duration=([\d.]+).*?workload_id=([0-9a-f-]+)")


def say(text: str) -> None:
    """Print without buffering."""
    print(text, flush=True)


def start_run(mosaic: Emulator) -> str:
    """Start a run that ends only on request."""
    request = urllib.request.Request(
        f"{mosaic.url}/agent/{mosaic.agent_id}/run",
        data=json.dumps({"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}).encode(),
        headers={"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return str(json.load(response)["run_id"])


def time_from_now(seconds: float) -> str:
    """Return a time in the format of the sensor."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def ended_at(task: TaskInstance) -> float:
    """Return when a task ended, in seconds since the epoch."""
    return datetime.fromisoformat(str(task.raw["end_date"]).replace("Z", "+00:00")).timestamp()


def percentile(values: list[float], share: float) -> float:
    """Return a percentile; of few values the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * len(ordered)))]


def many(airflow: AirflowInstance, mosaic: Emulator, waits: int) -> tuple[list[float], list[float]]:
    """Return the delays of many waits for runs, and of as many waits for times."""
    runs = [start_run(mosaic) for _ in range(waits)]
    deferring = 20 + 2.0 * waits
    span = PACE * waits
    moments = [time_from_now(deferring + random.uniform(0, span)) for _ in range(waits)]
    started_at = time.monotonic()
    run_id = airflow.trigger(MANY, {"runs": runs, "moments": moments})

    def all_wait() -> bool | None:
        states = [task.state for task in airflow.rest.task_instances(MANY, run_id) if task.task_id == "run"]
        return (len(states) == waits and set(states) == {"deferred"}) or None

    poll(all_wait, timeout=deferring + 120, pause=3, what="all sensors are deferred")
    left = started_at + deferring - time.monotonic()
    if left < 0:
        say(f"  (the deferrals took {-left:.0f} s longer than planned; some times have passed already)")
    time.sleep(max(0.0, left))
    ends: dict[str, float] = {}
    start, ready = time.monotonic(), time.time()
    for offset, run in sorted((random.uniform(0, span), run) for run in runs):
        time.sleep(max(0.0, start + offset - time.monotonic()))
        mosaic.finish_run(run)
        ends[run] = time.time()
    airflow.wait_for_dag_run(MANY, run_id, timeout=span + 300)
    tasks = {(task.task_id, task.map_index): task for task in airflow.rest.task_instances(MANY, run_id)}
    late = [ended_at(tasks["run", index]) - ends[run] for index, run in enumerate(runs)]
    due = [datetime.fromisoformat(each).timestamp() for each in moments]
    # Ignore the times that passed before all tasks were deferred.
    own = [ended_at(tasks["moment", index]) - when for index, when in enumerate(due) if when >= ready]
    return late, own


def one(airflow: AirflowInstance, mosaic: Emulator) -> dict[str, list[float]]:
    """Return the seconds of each worker process of one wait, by task."""
    waited, ended = start_run(mosaic), start_run(mosaic)
    mosaic.finish_run(ended)
    run_id = airflow.trigger(ONE, {"run": waited, "ended": ended, "moment": time_from_now(LONG_WAIT)})
    airflow.wait_for_task(ONE, run_id, "deferring", "deferred", timeout=120)
    time.sleep(LONG_WAIT)
    mosaic.finish_run(waited)
    airflow.wait_for_dag_run(ONE, run_id, timeout=180)
    names = {str(task.raw["id"]): task.task_id for task in airflow.rest.task_instances(ONE, run_id)}
    found: dict[str, list[float]] = defaultdict(list)

    def logged() -> bool | None:
        found.clear()
        for seconds, workload in FINISHED.findall((airflow.logs / "scheduler.log").read_text(errors="replace")):
            if workload in names:
                found[names[workload]].append(float(seconds))
        return set(found) >= set(names.values()) or None

    poll(logged, timeout=60, what="the log lines of the supervisors of all tasks")
    # A supervisor may end after its task.
    time.sleep(5)
    logged()
    return found


def rows(late: list[float], own: list[float], processes: dict[str, list[float]]) -> Iterator[Row]:
    """Yield all figures beside those of Airflow's sensor."""
    theirs = f"DateTimeSensorAsync, {len(own)} x"
    limit = POLL_INTERVAL + percentile(own, 0.99)
    yield Row(
        figure=f"from a run's end to success, p50 of {len(late)}, s",
        ours=statistics.median(late),
        theirs={theirs: statistics.median(own)},
    )
    yield Row(
        figure="the same, p99, s",
        ours=percentile(late, 0.99),
        theirs={theirs: percentile(own, 0.99)},
        goal=f"at most poll_interval ({POLL_INTERVAL:.0f} s) and Airflow's own time: {limit:.1f}",
        met=percentile(late, 0.99) <= limit,
    )
    usual = processes["airflows_own"]
    for task_id, name in MODES.items():
        seconds = processes[task_id]
        most = MAX_PROCESSES.get(task_id)
        yield Row(
            figure=f"worker processes of one wait: {name}",
            ours=len(seconds),
            theirs={"DateTimeSensorAsync": len(usual)},
            goal=None if most is None else f"at most {most}",
            met=most is None or len(seconds) <= most,
        )
        yield Row(figure="  and their seconds", ours=sum(seconds), theirs={"DateTimeSensorAsync": sum(usual)})


def main() -> None:
    """Set up Airflow, measure, and print the table."""
    parser = argparse.ArgumentParser(
        description="Measure how late a task notices the end of a run, and what waiting costs workers."
    )
    parser.add_argument("--waits", type=int, default=24)
    waits: int = parser.parse_args().waits
    # SIGTERM must stop the services too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    folder = ROOT / ".local" / "benchmarks" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    say(
        f"airflow-provider-mosaic {version('airflow-provider-mosaic')}, Airflow {version('apache-airflow-core')}, "
        f"Python {platform.python_version()}, LocalExecutor, SQLite, {os.cpu_count()} cores"
    )
    with (
        Emulator(directory=folder / "mosaic", render="tiny", hold_runs=True) as mosaic,
        AirflowInstance(
            folder / "airflow",
            dags=[ROOT / "benchmarks" / "dags"],
            environment={"AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection()},
        ) as airflow,
    ):
        late, own = many(airflow, mosaic, waits)
        # After the many: all modules are compiled and in the page cache.
        processes = one(airflow, mosaic)
        report(rows(late, own, processes))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
