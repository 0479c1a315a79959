"""The Airflow that all cases share, and a pool of emulators."""

from __future__ import annotations

import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance

from dev.fast_airflow import FAST_INTERVALS
from dev.postgres import Postgres

from .cases import Case, run_case
from .restarts import Restart
from .results import Result
from .scenario import Scenario
from .steps import await_new_polls, await_polling, hold_runs, release_runs, start

ROOT = Path(__file__).resolve().parents[2]

DATABASES = ("sqlite", "postgresql")

#: A worker retries requests to the API server for seconds instead of minutes.
SHORT_API_RETRIES = {
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.2",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1",
}

#: Called with each result at once.
OnResult = Callable[[Result], None]


def create_folder(name: str) -> Path:
    """Create a new folder for the files of one test run."""
    folder = ROOT / ".local" / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove the files of a test run."""
    shutil.rmtree(folder, ignore_errors=True)


def start_and_wait(scenario: Scenario) -> None:
    """Start a task, and wait until it waits for its run."""
    for step in (hold_runs, start, await_polling):
        step(scenario)


class FaultEnvironment:
    """
    One Airflow and several emulators.

    :param folder: The folder for logs.
    :param emulators: The emulators. Their connections are ``mosaic_0``, ``mosaic_1`` and so on.
    """

    def __init__(self, folder: Path, airflow: AirflowInstance, emulators: Sequence[Emulator]) -> None:
        self.folder = folder
        self.airflow = airflow
        self._emulators = emulators
        self._free: queue.Queue[int] = queue.Queue()
        for number in range(len(emulators)):
            self._free.put(number)

    @contextmanager
    def scenario(self, case: Case) -> Iterator[Scenario]:
        """Yield the scenario of a case, with a free emulator that is reset."""
        number = self._free.get()
        try:
            self._emulators[number].reset()
            yield Scenario(
                self.airflow,
                self._emulators[number],
                connection=f"mosaic_{number}",
                control=self.folder / "control",
                dag=case.kill_point.dag,
                mode=case.mode,
                failpoints=case.kill_point.failpoints,
            )
        finally:
            self._free.put(number)

    def run(self, case: Case) -> Result:
        """Run a case. If its outcome is wrong, write its logs to the folder."""
        with self.scenario(case) as scenario:
            return self._run(case, scenario)

    def _run(self, case: Case, scenario: Scenario) -> Result:
        result, log = run_case(case, scenario)
        if not result.as_expected:
            name = "".join(letter if letter.isalnum() else "-" for letter in case.name)
            (self.folder / f"wrong-{name}.log").write_text(f"{result}\n{result.expected}\n{result.observed}\n{log}")
            # A task that still runs must not count in the next case of this emulator.
            scenario.abort()
        return result

    def run_all(self, cases: Sequence[Case], on_result: OnResult) -> list[Result]:
        """Run cases, one at a time for each emulator."""
        results = []
        with ThreadPoolExecutor(len(self._emulators)) as pool:
            for future in as_completed([pool.submit(self.run, case) for case in cases]):
                on_result(future.result())
                results.append(future.result())
        return results

    def run_restarts(self, restarts: Sequence[Restart], on_result: OnResult) -> list[Result]:
        """
        Start the tasks of all cases, then disturb Airflow once for each case.

        A task ends after the disturbance of its own case. Until then, it also survives those of earlier cases.
        """
        results: list[Result] = []
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(len(restarts) or 1))
            waiting = []
            for restart in restarts:
                scenario = stack.enter_context(self.scenario(restart.case()))
                waiting.append((restart, scenario, pool.submit(start_and_wait, scenario)))
            futures.wait([future for *_, future in waiting])
            for restart, scenario, future in waiting:

                def disturb(scenario: Scenario, restart: Restart = restart, future: Future[None] = future) -> None:
                    future.result()
                    restart.disturb(self.airflow)

                result = self._run(restart.case(disturb, await_new_polls, release_runs), scenario)
                on_result(result)
                results.append(result)
        return results


@contextmanager
def _database(folder: Path, name: str) -> Iterator[str | None]:
    """Yield the URL of a new database, or None for a SQLite file in Airflow's home."""
    if name == "sqlite":
        yield None
    else:
        with Postgres(folder / "postgresql") as server:
            yield server.sql_connection


@contextmanager
def fault_environment(folder: Path, *, emulators: int, database: str = "sqlite") -> Iterator[FaultEnvironment]:
    """
    Start Airflow and the emulators, and stop them at the end.

    :param folder: The folder for all files.
    :param emulators: Number of emulators. As many cases run at a time.
    :param database: Airflow's database, one of ``DATABASES``.
    """
    with ExitStack() as stack:
        started = [
            stack.enter_context(Emulator(directory=folder / f"mosaic-{number}", speed=100, render="tiny"))
            for number in range(emulators)
        ]
        (folder / "control").mkdir()
        connections = {
            f"AIRFLOW_CONN_MOSAIC_{number}": emulator.airflow_connection() for number, emulator in enumerate(started)
        }
        airflow = stack.enter_context(
            AirflowInstance(
                folder / "airflow",
                dags=[Path(__file__).parent / "dags"],
                parallelism=emulators + 2,
                sql_connection=stack.enter_context(_database(folder, database)),
                environment={
                    **FAST_INTERVALS,
                    **SHORT_API_RETRIES,
                    **connections,
                    "MOSAIC_FAULTS_CONTROL": str(folder / "control"),
                    "PYTHONPATH": str(Path(__file__).parent / "backends"),
                    # Only for workers and triggerers. The API server would look each connection up once more.
                    "AIRFLOW__WORKERS__SECRETS_BACKEND": "faulty_secrets.FaultySecrets",
                },
            )
        )
        yield FaultEnvironment(folder, airflow, started)
