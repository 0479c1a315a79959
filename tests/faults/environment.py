"""The Airflow that all cases share, and the local Mosaics that they take in turns."""

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

from dev.airflow_instance import AirflowInstance
from dev.fast_airflow import FAST_INTERVALS
from dev.postgres import Postgres

from .cases import Case, play
from .ledger import Line
from .restarts import Restart
from .scenario import Scenario
from .steps import begin, hold, let_go, looked_again, waits

ROOT = Path(__file__).resolve().parents[2]

DATABASES = ("sqlite", "postgresql")

#: A worker asks an API server that is away as often as by default, but for seconds and not for minutes.
QUICK_TO_GIVE_UP = {
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.2",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1",
}

#: Told of each line as soon as it is there.
Tell = Callable[[Line], None]


def new_folder(name: str) -> Path:
    """A folder of this run alone."""
    folder = ROOT / ".local" / name / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def wait(scenario: Scenario) -> None:
    """Bring a task to where it waits."""
    for step in (hold, begin, waits):
        step(scenario)


class FaultEnvironment:
    """
    One Airflow and several local Mosaics.

    :param folder: Everything is written there.
    :param airflow: The Airflow.
    :param mosaics: The local Mosaics; Airflow knows them as ``mosaic_0``, ``mosaic_1`` and so on.
    """

    def __init__(self, folder: Path, airflow: AirflowInstance, mosaics: Sequence[Emulator]) -> None:
        self.folder = folder
        self.airflow = airflow
        self._mosaics = mosaics
        self._free: queue.Queue[int] = queue.Queue()
        for number in range(len(mosaics)):
            self._free.put(number)

    @contextmanager
    def scenario(self, case: Case) -> Iterator[Scenario]:
        """A scenario for a case, with a local Mosaic as new."""
        number = self._free.get()
        try:
            self._mosaics[number].reset()
            yield Scenario(
                self.airflow,
                self._mosaics[number],
                connection=f"mosaic_{number}",
                control=self.folder / "control",
                shape=case.moment.shape,
                mode=case.mode,
                seams=case.moment.seams,
            )
        finally:
            self._free.put(number)

    def play(self, case: Case) -> Line:
        """Play one case; the logs of one that is wrong are kept in the folder."""
        with self.scenario(case) as scenario:
            line, log = play(case, scenario)
            self._keep(line, log)
            if not line.exact:
                # What it has left going on must not be counted in the next case.
                scenario.give_up()
        return line

    def play_all(self, cases: Sequence[Case], tell: Tell) -> list[Line]:
        """Play cases, as many at a time as there are local Mosaics."""
        lines = []
        with ThreadPoolExecutor(len(self._mosaics)) as pool:
            for done in as_completed([pool.submit(self.play, case) for case in cases]):
                tell(done.result())
                lines.append(done.result())
        return lines

    def play_restarts(self, restarts: Sequence[Restart], tell: Tell) -> list[Line]:
        """
        Bring all tasks to where they wait, then do one thing after the other to Airflow.

        Each case ends after its own; until then it has lived through those before it.
        """
        lines: list[Line] = []
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(len(restarts) or 1))
            waiting = []
            for restart in restarts:
                scenario = stack.enter_context(self.scenario(restart.case()))
                waiting.append((restart, scenario, pool.submit(wait, scenario)))
            futures.wait([there for *_, there in waiting])
            for restart, scenario, there in waiting:

                def go_on(scenario: Scenario, restart: Restart = restart, there: Future[None] = there) -> None:
                    there.result()
                    restart.disturb(self.airflow)

                line, log = play(restart.case(go_on, looked_again, let_go), scenario)
                self._keep(line, log)
                if not line.exact:
                    scenario.give_up()
                tell(line)
                lines.append(line)
        return lines

    def _keep(self, line: Line, log: str) -> None:
        if not line.exact:
            name = "".join(letter if letter.isalnum() else "-" for letter in f"{line.moment} {line.mode}")
            (self.folder / f"wrong-{name}.log").write_text(f"{line}\n{line.expected}\n{line.seen}\n{log}")


@contextmanager
def database(folder: Path, kind: str) -> Iterator[str | None]:
    """Yield the address of a new database for Airflow; None for a SQLite file in its home."""
    if kind == "sqlite":
        yield None
    else:
        with Postgres(folder / "postgresql") as server:
            yield server.sql_connection


@contextmanager
def fault_environment(folder: Path, *, mosaics: int, kind: str = "sqlite") -> Iterator[FaultEnvironment]:
    """
    Bring everything up, and end it.

    :param folder: Everything is written there.
    :param mosaics: How many cases can be played at a time.
    :param kind: Airflow's database, one of ``DATABASES``.
    """
    with ExitStack() as stack:
        made = [
            stack.enter_context(Emulator(directory=folder / f"mosaic-{number}", speed=100, render="tiny"))
            for number in range(mosaics)
        ]
        (folder / "control").mkdir()
        airflow = stack.enter_context(
            AirflowInstance(
                folder / "airflow",
                dags=[Path(__file__).parent / "dags"],
                parallelism=mosaics + 2,
                sql_connection=stack.enter_context(database(folder, kind)),
                environment={
                    **FAST_INTERVALS,
                    **QUICK_TO_GIVE_UP,
                    "MOSAIC_FAULTS_CONTROL": str(folder / "control"),
                    "PYTHONPATH": str(Path(__file__).parent / "backends"),
                    # Not of the API server, which would ask it once more for each lookup.
                    "AIRFLOW__WORKERS__SECRETS_BACKEND": "faulty_secrets.FaultySecrets",
                    **{
                        f"AIRFLOW_CONN_MOSAIC_{number}": mosaic.airflow_connection()
                        for number, mosaic in enumerate(made)
                    },
                },
            )
        )
        yield FaultEnvironment(folder, airflow, made)


def forget(folder: Path) -> None:
    """Remove what a run has written, when nothing is left to read in it."""
    shutil.rmtree(folder, ignore_errors=True)
