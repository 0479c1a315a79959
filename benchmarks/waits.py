"""
Measure what waiting costs a triggerer: our run trigger beside those of dbt Cloud and Databricks, on one stub server.

    python benchmarks/waits.py [--rounds 3] [--most 1000]

Each measurement is a process with one event loop. It starts the triggers one after the other, as a triggerer does, and
measures the requests of a cycle (one poll interval), the CPU time of some cycles, the longest delay of the loop (of a
clock that ticks every 10 ms; while the waits start, and afterwards), and the resident memory of each wait. Log lines
below warnings are off. dbt Cloud's hook supports only https, so its URLs are patched to http. Nothing here passes or
fails.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goals import Row, report

HERE = Path(__file__).resolve().parent
OURS, DBT, DATABRICKS = "mosaic", "dbt-cloud", "databricks"
SUBJECTS = (OURS, DBT, DATABRICKS)
DISTRIBUTIONS = (
    "airflow-provider-mosaic",
    "apache-airflow-core",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-databricks",
    "httpx",
    "aiohttp",
)
MIN_CPU_RATIO, MAX_DELAY, MAX_MEMORY = 10.0, 100.0, 8.0


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """
    One measurement.

    :param waits: How many waits.
    :param interval: Seconds between two polls of each.
    :param cycles: Cycles that are measured.
    """

    waits: int
    interval: float
    cycles: int


MEASUREMENTS = (
    Measurement(waits=1, interval=1, cycles=10),
    Measurement(waits=10, interval=1, cycles=10),
    Measurement(waits=100, interval=1, cycles=10),
    Measurement(waits=1000, interval=4, cycles=10),
    Measurement(waits=10_000, interval=30, cycles=2),
)


# In the process that is measured


def make_triggers(subject: str, waits: int, interval: float) -> Iterator[Any]:
    """Yield the triggers of one provider."""
    if subject == OURS:
        from waits_server import run_name

        from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

        for number in range(waits):
            yield MosaicRunTrigger(run_id=run_name(number), poll_interval=interval, deadline=time.time() + 86_400)
    elif subject == DBT:
        from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
        from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

        secure = DbtCloudHook.get_request_url_params

        def plain(*args: Any, **kwargs: Any) -> Any:
            url, params = secure(*args, **kwargs)
            return url.replace("https://", "http://"), params

        DbtCloudHook.get_request_url_params = staticmethod(plain)  # type: ignore[method-assign]
        for number in range(waits):
            yield DbtCloudRunJobTrigger(
                conn_id="dbt", run_id=number, end_time=time.time() + 86_400, poll_interval=interval, account_id=1
            )
    else:
        from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

        for number in range(waits):
            yield DatabricksExecutionTrigger(number, "databricks", polling_period_seconds=int(interval))


def resident() -> float:
    """Return the resident memory in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


class Clock:
    """Measure how late the loop is."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def tick(self) -> None:
        """Sleep for 10 ms, again and again."""
        while True:
            started_at = time.perf_counter()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.perf_counter() - started_at - 0.01)


async def run_waits(subject: str, measurement: Measurement, server: str) -> dict[str, float]:
    """Start the waits, and measure."""

    async def wait(trigger: Any) -> None:
        async for _ in trigger.run():
            raise AssertionError("no run ends here")

    async def get(path: str) -> Any:
        return json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(f"{server}/{path}").read()))

    await get(f"_runs/{measurement.waits}")
    # The first wait loads modules.
    first = asyncio.create_task(wait(next(make_triggers(subject, 1, measurement.interval))))
    await asyncio.sleep(1.0)
    gc.collect()
    # A full collection of the objects that Airflow has loaded takes a fifth of a second, with or without waits.
    gc.freeze()
    before = resident()
    clock = Clock()
    ticking = asyncio.create_task(clock.tick())
    waits = []
    for trigger in make_triggers(subject, measurement.waits, measurement.interval):
        waits.append(asyncio.create_task(wait(trigger)))
        await asyncio.sleep(0)
    first.cancel()
    # The first polls are spread, and the first pauses are shorter.
    await asyncio.sleep(5.0 + 3.0 * measurement.interval)
    starting, clock.longest = clock.longest, 0.0
    # The clock takes as much CPU time as our waits.
    ticking.cancel()
    await get("_start")
    processor, started_at = time.process_time(), time.perf_counter()
    await asyncio.sleep(measurement.cycles * measurement.interval)
    seconds, processor = time.perf_counter() - started_at, time.process_time() - processor
    requests = await get(f"_cycle/{measurement.interval}")
    ticking = asyncio.create_task(clock.tick())
    await asyncio.sleep(1.2 * measurement.interval)
    ticking.cancel()
    gc.collect()
    memory = (resident() - before) / measurement.waits
    alive = sum(not task.done() for task in waits)
    for task in waits:
        task.cancel()
    await asyncio.wait([first, ticking, *waits])
    return {
        "requests": requests,
        "processor": processor * measurement.cycles * measurement.interval / seconds,
        "starting": 1000 * starting,
        "delay": 1000 * clock.longest,
        "memory": memory,
        "alive": alive,
    }


def child(subject: str, measurement: Measurement, server: str) -> None:
    """Measure in this process, and print the figures as JSON."""
    import logging

    import structlog

    logging.disable(logging.INFO)
    from airflow.sdk.log import configure_logging

    configure_logging(log_level="WARNING")
    structlog.get_logger()
    print(json.dumps(asyncio.run(run_waits(subject, measurement, server))))


# In the process that measures


@contextmanager
def stub_server() -> Iterator[str]:
    """Run the stub server, and yield its address."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "port"
        process = subprocess.Popen([sys.executable, HERE / "waits_server.py", ready])
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the stub server did not start")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{ready.read_text()}"
        finally:
            process.terminate()
            process.wait()


def measure(python: str, subject: str, measurement: Measurement) -> dict[str, float]:
    """Measure in a new process."""
    with stub_server() as server, tempfile.TemporaryDirectory() as home:
        host = server.removeprefix("http://")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        connections = {
            "MOSAIC_DEFAULT": {"conn_type": "mosaic", "host": server, "password": "mk_stub"},
            "DBT": {"conn_type": "dbt_cloud", "host": host, "login": "1", "password": "stub"},
            "DATABRICKS": {
                "conn_type": "databricks", "schema": "http", "host": "127.0.0.1",
                "port": int(host.rpartition(":")[2]), "password": "stub",
            },
        }  # fmt: skip
        connection_variables = {
            f"AIRFLOW_CONN_{name}": json.dumps(connection) for name, connection in connections.items()
        }
        ran = subprocess.run(
            [
                python,
                __file__,
                "--child",
                subject,
                str(measurement.waits),
                str(measurement.interval),
                str(measurement.cycles),
                server,
            ],
            env=clean | connection_variables | {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise RuntimeError(f"{subject} with {measurement.waits} waits:\n{ran.stderr[-2000:]}")
        figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
        if figures["alive"] != measurement.waits:
            raise RuntimeError(f"{subject}: only {figures['alive']:.0f} of {measurement.waits} still wait")
        return figures


def versions(python: str) -> str:
    """Return the versions of what is measured."""
    code = (
        "import platform\nfrom importlib.metadata import version\n"
        f"names = [f'{{name}} {{version(name)}}' for name in {DISTRIBUTIONS!r}]\n"
        "print('Python ' + platform.python_version(), *names, sep=', ')"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure all providers in turn, and print the table."""
    if sys.argv[1:2] == ["--child"]:
        _, _, subject, waits, interval, cycles, server = sys.argv
        child(subject, Measurement(waits=int(waits), interval=float(interval), cycles=int(cycles)), server)
        return
    parser = argparse.ArgumentParser(description="Measure what waiting costs a triggerer.")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds with 1,000 waits; other numbers are measured once"
    )
    parser.add_argument("--most", type=int, default=10_000, help="the most waits; default: %(default)s")
    arguments = parser.parse_args()
    from dev import environment

    python = str(environment.ensure(group="peers").python)
    print(
        f"{versions(python)}; {os.cpu_count()} cores; medians of {arguments.rounds} rounds at 1,000 waits\n", flush=True
    )
    table: list[Row] = []
    for measurement in (each for each in MEASUREMENTS if each.waits <= arguments.most):
        rounds = arguments.rounds if measurement.waits == 1000 else 1
        each: dict[str, list[dict[str, float]]] = {subject: [] for subject in SUBJECTS}
        for _ in range(rounds):
            for subject in SUBJECTS:
                each[subject].append(measure(python, subject, measurement))
        found = {
            subject: {name: statistics.median(one[name] for one in figures) for name in figures[0]}
            for subject, figures in each.items()
        }
        table += rows(measurement, found)
        print(f"{measurement.waits:,} waits: measured", flush=True)
    report(table)


def rows(measurement: Measurement, found: dict[str, dict[str, float]]) -> Iterator[Row]:
    """Yield our figures beside the goals and the others."""

    def row(name: str, figure: str, goal: str, most: float) -> Row:
        theirs = {subject: found[subject][name] for subject in SUBJECTS if subject != OURS}
        ours = found[OURS][name]
        return Row(
            figure=f"{figure}, {measurement.waits:,} waits", ours=ours, theirs=theirs, goal=goal, met=ours <= most
        )

    most = -(-measurement.waits // 100) + 2
    yield row("requests", "requests a cycle", f"at most {most}", most)
    if measurement.waits >= 1000:
        least = found[DATABRICKS]["processor"] / MIN_CPU_RATIO
        yield row("processor", f"CPU s of {measurement.cycles} cycles", f"a tenth of databricks': {least:.2f}", least)
        for name, when in {"starting": "while they start", "delay": "afterwards"}.items():
            yield row(name, f"loop delay {when}, ms", f"at most {MAX_DELAY:.0f}", MAX_DELAY)
        yield row("memory", "memory a wait, KiB", f"at most {MAX_MEMORY:.0f}", MAX_MEMORY)


if __name__ == "__main__":
    main()
