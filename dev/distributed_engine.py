"""Airflow's distributed parts on one machine: PostgreSQL, Redis, CeleryExecutor, two workers and two triggerers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from dev.airflow_instance import AirflowFailedError, AirflowInstance
from dev.postgres import Postgres, PostgresMissingError
from dev.postgres import programs as postgres_programs
from dev.processes import Service, members, poll, tail
from dev.redis import Redis, RedisMissingError
from dev.redis import program as redis_program

WORKERS = ("worker-1", "worker-2")
#: The first has the name under which every Airflow instance knows its triggerer.
TRIGGERERS = ("triggerer", "triggerer-2")
#: Tasks that a worker runs at once. As many again may wait in the broker: the scheduler's loops are long on a small
#: machine, and a worker should not stand still that long.
WORKER_CONCURRENCY = 4
#: What an Airflow with its defaults notices after five or ten minutes, noticed within one. The page about fleets says
#: which of these a deployment should set, and to what.
SETTINGS = {
    "CORE__EXECUTOR": "CeleryExecutor",
    "CELERY__WORKER_CONCURRENCY": WORKER_CONCURRENCY,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 45,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    # What a lost worker had taken from the broker and not begun; the broker itself would hand it out after a day.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": 90,
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 5,
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": 5,
    "SCHEDULER__MAX_TIS_PER_QUERY": 32,
    # Airflow's default, said here because the time that a take-over needs follows from it.
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 30,
    "DATABASE__SQL_ALCHEMY_POOL_SIZE": 5,
}


def missing_programs() -> list[str]:
    """What the system lacks, each with how to get it."""
    missing = []
    for look in (postgres_programs, redis_program):
        try:
            look()
        except (PostgresMissingError, RedisMissingError) as error:
            missing.append(str(error))
    return missing


def main() -> int:
    """Say what the system lacks, before anything is made or started; any Python can run this."""
    missing = missing_programs()
    if missing:
        print("\n".join(["Nothing was started or installed. This is missing:", *missing]), file=sys.stderr)
    return 2 if missing else 0


def _is_ready(worker: Service) -> bool | None:
    if worker.exit_code() is not None:
        raise AirflowFailedError(f"{worker.name} ended by itself:\n{tail(worker.log)}")
    return " ready." in tail(worker.log, 400) or None


class DistributedAirflow:
    """
    All of it, up and down.

    :param folder: Everything is written there.
    :param dags: DAG files.
    :param environment: Further environment variables of Airflow's processes.
    """

    def __init__(self, folder: Path, *, dags: Iterable[Path], environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._dags = list(dags)
        self._environment = dict(environment)
        self.postgres = Postgres(folder / "postgresql")
        self.redis = Redis(folder / "redis")
        self._airflow: AirflowInstance | None = None

    @property
    def airflow(self) -> AirflowInstance:
        """The Airflow, once it was made."""
        if self._airflow is None:
            raise RuntimeError("it was not started")
        return self._airflow

    def start(self) -> None:
        """Bring up everything; the second triggerer last, so that both can be told apart by their jobs' numbers."""
        self.postgres.start()
        self.redis.start()
        settings = {
            **SETTINGS,
            "CELERY__BROKER_URL": self.redis.url,
            "CELERY__RESULT_BACKEND": f"db+{self.postgres.sql_connection}",
        }
        airflow = self._airflow = AirflowInstance(
            self._folder / "airflow",
            dags=self._dags,
            parallelism=2 * WORKER_CONCURRENCY * len(WORKERS),
            sql_connection=self.postgres.sql_connection,
            environment={**{f"AIRFLOW__{name}": str(value) for name, value in settings.items()}, **self._environment},
        )
        second = self._service(airflow, TRIGGERERS[1], "triggerer", "--skip-serve-logs")
        workers = [
            self._service(airflow, name, "celery", "worker", "--celery-hostname", name, "--skip-serve-logs")
            for name in WORKERS
        ]
        airflow.services |= {service.name: service for service in workers}
        airflow.start()
        airflow.services[second.name] = second
        second.start()
        for worker in workers:
            poll(partial(_is_ready, worker), timeout=120, what=f"{worker.name} is ready")

    def _service(self, airflow: AirflowInstance, name: str, *words: str) -> Service:
        return Service(
            name=name,
            command=[airflow.python, "-m", "airflow", *words],
            environment=airflow.environment,
            log=airflow.logs / f"{name}.log",
            directory=airflow.home,
        )

    def stop(self) -> None:
        """End everything, the databases last; raise when something is still alive."""
        try:
            if self._airflow is not None:
                self._airflow.stop()
        finally:
            try:
                self.redis.stop()
            finally:
                self.postgres.stop()

    def processes(self, name: str) -> set[int]:
        """The living processes of one service."""
        return members([self.airflow.services[name].pid])

    def lose(self, name: str) -> None:
        """SIGKILL a service with all its processes at once, as a lost machine ends; it is not started again."""
        self.airflow.kill(name)


if __name__ == "__main__":
    sys.exit(main())
