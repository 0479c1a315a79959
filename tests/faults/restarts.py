"""What is restarted, dies or changes under tasks that wait: nothing is cancelled, nothing is started."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from dev.airflow_instance import AirflowInstance
from dev.processes import DeadlineExceededError, poll

from .cases import Case
from .ledger import Outcome
from .stage import LOOK, Stage


@dataclass(frozen=True, kw_only=True)
class Restart:
    """
    A case, and what is done to the Airflow that all cases of this kind wait in at the same time.

    :param case: The case; its script brings the task to where it waits.
    :param disturb: What is done.
    """

    case: Case
    disturb: Callable[[AirflowInstance], None]


def wait_deferred(stage: Stage) -> None:
    """Wait in the triggerer."""
    stage.hold_runs()
    stage.begin()
    stage.until_state("deferred")
    stage.until_request("GET", LOOK, 2)


def wait_on_worker(stage: Stage) -> None:
    """Wait on a worker."""
    stage.hold_runs()
    stage.begin()
    stage.until_request("GET", LOOK, 2)


def still_waited_for(stage: Stage) -> None:
    """Make sure that somebody looks at the run again, and let it go."""
    seen = stage.mosaic.counts().requests.get(f"GET {LOOK}", 0)
    stage.until_request("GET", LOOK, seen + 2)
    stage.let_go()


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


def under_deferred_tasks() -> Iterator[Restart]:
    """In the order in which they are done."""
    moments = (
        ("DAG file changed while deferred", touch),
        ("triggerer restarted while deferred", stop_gracefully("triggerer")),
        ("6 while deferred, triggerer killed", kill_hard("triggerer")),
        ("scheduler restarted while deferred", stop_gracefully("scheduler")),
        ("scheduler killed while deferred", kill_hard("scheduler")),
    )
    for moment, disturb in moments:
        yield Restart(
            case=Case(
                moment=moment,
                mode="deferred",
                dag_id="run_retried_deferred",
                expected=Outcome(started=1),
                script=wait_deferred,
            ),
            disturb=disturb,
        )


def under_tasks_on_workers() -> Iterator[Restart]:
    """A scheduler that is asked to end waits for its workers; so only its death is of interest."""
    yield Restart(
        case=Case(
            moment="5 while polling, scheduler and its workers killed",
            mode="worker",
            dag_id="run_retried_worker",
            expected=Outcome(started=1, tries=2),
            script=wait_on_worker,
        ),
        disturb=kill_hard("scheduler"),
    )
