"""A distributed Airflow on one machine: PostgreSQL, Redis, CeleryExecutor, two workers and two triggerers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from mosaic_emulator.local_airflow.instance import AirflowFailedError, AirflowInstance
from mosaic_emulator.local_airflow.processes import Service, members, poll, tail

from dev.postgres import Postgres
from dev.redis import Redis

WORKERS = ("worker-1", "worker-2")
#: The first is the triggerer of AirflowInstance.
TRIGGERERS = ("triggerer", "triggerer-2")
#: Concurrent tasks of a worker. The broker queues as many again, so that workers stay busy between scheduler loops.
WORKER_CONCURRENCY = 4
#: Detect within a minute what Airflow detects after five or ten minutes by default. docs/distributed.md describes the
#: settings for deployments.
SETTINGS = {
    "CORE__EXECUTOR": "CeleryExecutor",
    "CELERY__WORKER_CONCURRENCY": WORKER_CONCURRENCY,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 45,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    # For tasks that a lost worker had received but not started. The broker would redeliver them after a day.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": 90,
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 5,
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": 5,
    "SCHEDULER__MAX_TIS_PER_QUERY": 32,
    # Airflow's default. It determines how long a takeover takes.
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 30,
    "DATABASE__SQL_ALCHEMY_POOL_SIZE": 5,
}


def _is_ready(worker: Service) -> bool | None:
    if worker.exit_code() is not None:
        raise AirflowFailedError(f"{worker.name} exited:\n{tail(worker.log)}")
    return " ready." in tail(worker.log, 400) or None


class DistributedAirflow:
    """
    A distributed Airflow.

    :param folder: Contains all files.
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
        """The Airflow. Available after start()."""
        if self._airflow is None:
            raise RuntimeError("Airflow was not started")
        return self._airflow

    def start(self) -> None:
        """Start all services. The second triggerer is last, so that the job ids identify both."""
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

    def _service(self, airflow: AirflowInstance, name: str, *arguments: str) -> Service:
        return Service(
            name=name,
            command=[airflow.python, "-m", "airflow", *arguments],
            environment=airflow.environment,
            log=airflow.logs / f"{name}.log",
            directory=airflow.home,
        )

    def stop(self) -> None:
        """Stop all services, the databases last. Raise if a process is still running."""
        try:
            if self._airflow is not None:
                self._airflow.stop()
        finally:
            try:
                self.redis.stop()
            finally:
                self.postgres.stop()

    def processes(self, name: str) -> set[int]:
        """Return the running processes of a service."""
        return members([self.airflow.services[name].pid])

    def kill(self, name: str) -> None:
        """Kill a service with all its processes. It is not restarted."""
        self.airflow.kill(name)
