"""What is restarted, dies or changes under tasks that wait: nothing is cancelled, nothing is started."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dev.airflow_instance import AirflowInstance
from dev.processes import DeadlineExceededError, poll

from .cases import Case, KillPoint
from .ledger import Outcome
from .steps import Step

ONCE = Outcome(started=1)


@dataclass(frozen=True)
class Restart:
    """
    A row of the table whose tasks all wait in the same Airflow, and what is done to that Airflow.

    :param what: What happens.
    :param mode: Where the task waits.
    :param disturb: What is done.
    :param expected: What it must come to.
    :param shape: How the task is set up.
    """

    what: str
    mode: str
    disturb: Callable[[AirflowInstance], None]
    expected: Outcome = ONCE
    shape: str = "run_retried"

    def case(self, *steps: Step) -> Case:
        """Its case, with these steps."""
        moment = KillPoint(self.what, self.shape, (self.mode,), steps, self.expected)
        return Case(moment=moment, mode=self.mode)

    @property
    def name(self) -> str:
        """A name for tests and files."""
        return self.case().name


def touch(airflow: AirflowInstance) -> None:
    """Change the DAG file, and wait until it is parsed again."""
    began = datetime.now(timezone.utc)
    path = airflow.dags_folder / "fault_shapes.py"
    # A changed shape is a new version of the DAG, not only another time of parsing.
    path.write_text(path.read_text().replace("max_active_runs=100", f"max_active_runs={101 + int(time.time()) % 50}"))

    def parsed() -> bool:
        told = airflow.rest.get("/api/v2/dags/run_retried_deferred")["last_parsed_time"]
        return told is not None and datetime.fromisoformat(told.replace("Z", "+00:00")) > began

    poll(lambda: parsed() or None, timeout=60, what="the DAG file is parsed again")


def stop_gracefully(name: str) -> Callable[[AirflowInstance], None]:
    """SIGTERM to a process, and again to one that does not go; what is left after that is killed; and a new one."""

    def disturb(airflow: AirflowInstance) -> None:
        service = airflow.services[name]
        # A scheduler with a LocalExecutor that is idle does not always go at the first one.
        for _ in range(3):
            service.kill(signal.SIGTERM, whole_session=False)
            with contextlib.suppress(DeadlineExceededError):
                poll(lambda: service.exit_code() is not None or None, timeout=8, what=f"the end of the {name}")
                break
        airflow.restart(name)

    return disturb


def kill_hard(name: str) -> Callable[[AirflowInstance], None]:
    """SIGKILL to a process and all that it started, and a new one."""

    def disturb(airflow: AirflowInstance) -> None:
        airflow.kill(name, signal.SIGKILL)
        airflow.restart(name)

    return disturb


def stay_away(airflow: AirflowInstance) -> None:
    """End the API server until workers have lost their heartbeat, and start a new one."""
    log = airflow.services["scheduler"].log
    before = _given_up(log)
    airflow.kill("api-server", signal.SIGKILL)
    poll(lambda: _given_up(log) > before or None, timeout=120, what="a worker gives its task up")
    # The task's process has five seconds after that.
    time.sleep(6)
    airflow.restart("api-server")


def _given_up(log: Path) -> int:
    return log.read_text(errors="replace").count("Too many failed heartbeats")


#: In the order in which they are done. A scheduler that is asked to end waits for its workers, so for tasks on workers
#: only its death is of interest.
GROUPS = (
    (
        Restart("DAG file changed while deferred", "deferred", touch),
        Restart("triggerer restarted while deferred", "deferred", stop_gracefully("triggerer")),
        Restart("6 while deferred, triggerer killed", "deferred", kill_hard("triggerer")),
        Restart("scheduler restarted while deferred", "deferred", stop_gracefully("scheduler")),
        Restart("scheduler killed while deferred", "deferred", kill_hard("scheduler")),
    ),
    (
        Restart(
            "5 while polling, scheduler and its workers killed",
            "worker",
            kill_hard("scheduler"),
            Outcome(started=1, tries=2),
        ),
    ),
    (
        Restart(
            "5 while polling, API server away until the heartbeat is lost",
            "worker",
            stay_away,
            Outcome(started=1, tries=2),
            # Airflow uses up a try for each start of a process that can't reach its API server.
            "run_retried_later",
        ),
        Restart("API server restarted while deferred", "deferred", kill_hard("api-server")),
    ),
)
