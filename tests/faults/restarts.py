"""Services of Airflow that are restarted, killed or changed while tasks wait."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import DeadlineExceededError, Service, poll

from .cases import Case, KillPoint
from .results import Outcome
from .steps import Step

STARTED = Outcome(started=1)


@dataclass(frozen=True)
class Restart:
    """
    A row of the table that changes the Airflow of all tasks.

    :param name: What happens.
    :param mode: Where the task waits.
    :param disturb: Restarts, kills or changes a service.
    :param expected: The expected outcome.
    :param dag: The DAG in ``dags/``, without its mode.
    """

    name: str
    mode: str
    disturb: Callable[[AirflowInstance], None]
    expected: Outcome = STARTED
    dag: str = "run_with_retries"

    def case(self, *steps: Step) -> Case:
        """Return the case with these steps."""
        kill_point = KillPoint(self.name, self.dag, (self.mode,), steps, self.expected)
        return Case(kill_point=kill_point, mode=self.mode)


def change_dag_file(airflow: AirflowInstance) -> None:
    """Change the DAG file, and wait until it is parsed again."""
    changed_at = datetime.now(timezone.utc)
    path = airflow.dags_folder / "fault_dags.py"
    # Only a changed DAG becomes a new DAG version.
    path.write_text(path.read_text().replace("max_active_runs=100", f"max_active_runs={101 + int(time.time()) % 50}"))

    def is_parsed() -> bool:
        parsed_at = airflow.rest.get("/api/v2/dags/run_with_retries_deferred")["last_parsed_time"]
        return parsed_at is not None and datetime.fromisoformat(parsed_at.replace("Z", "+00:00")) > changed_at

    poll(lambda: is_parsed() or None, timeout=60, what="the DAG file is parsed again")


def restart(name: str) -> Callable[[AirflowInstance], None]:
    """Return a function that restarts a service with SIGTERM, and with SIGKILL if it does not end."""

    def disturb(airflow: AirflowInstance) -> None:
        service = airflow.services[name]
        # An idle scheduler with a LocalExecutor may ignore the first SIGTERM.
        for _ in range(3):
            service.kill(signal.SIGTERM, whole_session=False)
            with contextlib.suppress(DeadlineExceededError):
                poll(lambda: service.exit_code() is not None or None, timeout=8, what=f"the end of the {name}")
                break
        airflow.restart(name)

    return disturb


def kill(name: str) -> Callable[[AirflowInstance], None]:
    """Return a function that kills a service and its child processes with SIGKILL, and starts it again."""

    def disturb(airflow: AirflowInstance) -> None:
        airflow.kill(name, signal.SIGKILL)
        airflow.restart(name)

    return disturb


def stop_api_server(airflow: AirflowInstance) -> None:
    """Kill the API server, and start it again after a worker has stopped its task for lack of a heartbeat."""
    log = airflow.services["scheduler"].log
    before = _count_failed_heartbeats(log)
    airflow.kill("api-server", signal.SIGKILL)
    poll(lambda: _count_failed_heartbeats(log) > before or None, timeout=120, what="a worker stops its task")
    # Airflow then gives the task's process five seconds.
    time.sleep(6)
    airflow.restart("api-server")


def stall_triggerer(airflow: AirflowInstance) -> None:
    """Stop the triggerer until another one has its triggers. It kills them when it continues."""
    stalled = airflow.services["triggerer"]
    other = replace(
        stalled,
        name="other-triggerer",
        command=[*stalled.command, "--skip-serve-logs"],
        environment={**stalled.environment, "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5"},
        log=airflow.logs / "other-triggerer.log",
        sessions=[],
        process=None,
    )
    airflow.services[other.name] = other
    starts, kills = (_trigger_logs_with(airflow, text) for text in ("starting", "invoking on_kill"))
    _stop_between_writes(stalled, airflow.home / "airflow.db")
    try:
        other.start()
        poll(lambda: _trigger_logs_with(airflow, "starting") > starts, timeout=120, what="the other has the triggers")
    finally:
        stalled.kill(signal.SIGCONT)
    poll(lambda: _trigger_logs_with(airflow, "invoking on_kill") > kills, timeout=60, what="a trigger is killed")
    # The kill takes a second.
    time.sleep(5)
    other.kill(signal.SIGTERM, whole_session=False)
    poll(lambda: other.exit_code() is not None or None, timeout=30, what="the end of the other triggerer")
    del airflow.services[other.name]


def _stop_between_writes(service: Service, database: Path) -> None:
    """Stop a service at a moment at which it does not lock SQLite: the scheduler would fail."""
    while True:
        service.kill(signal.SIGSTOP)
        if not database.exists() or not _is_locked(database):
            return
        service.kill(signal.SIGCONT)
        time.sleep(0.1)


def _is_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.rollback()
    return False


def _trigger_logs_with(airflow: AirflowInstance, text: str) -> int:
    """Return how many log files of triggers contain a text."""
    return sum(text in log.read_text(errors="replace") for log in (airflow.home / "logs").rglob("*.trigger.*"))


def _count_failed_heartbeats(log: Path) -> int:
    return log.read_text(errors="replace").count("Too many failed heartbeats")


#: In this order. A scheduler that receives SIGTERM waits for its workers, so tasks on workers only test SIGKILL.
GROUPS = (
    (
        Restart("DAG file changed while deferred", "deferred", change_dag_file),
        Restart("triggerer restarted while deferred", "deferred", restart("triggerer")),
        Restart("triggerer killed while deferred", "deferred", kill("triggerer")),
        Restart("triggerer stalled while deferred", "deferred", stall_triggerer),
        Restart("scheduler restarted while deferred", "deferred", restart("scheduler")),
        Restart("scheduler killed while deferred", "deferred", kill("scheduler")),
    ),
    (
        Restart(
            "scheduler and its workers killed while polling",
            "worker",
            kill("scheduler"),
            Outcome(started=1, tries=2),
        ),
    ),
    (
        Restart(
            "API server down until the heartbeat fails, while polling",
            "worker",
            stop_api_server,
            Outcome(started=1, tries=2),
            # Airflow uses up a try for each process that cannot reach its API server.
            "run_with_late_retries",
        ),
        Restart("API server restarted while deferred", "deferred", kill("api-server")),
    ),
)
