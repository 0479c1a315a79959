"""A real Airflow with its four processes on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from mosaic_emulator.local_airflow.processes import DeadlineExceededError, Service, end, free_port, poll, tail
from mosaic_emulator.local_airflow.rest import AirflowRest, DagRun, RestError, TaskInstance

_TIME_SCHEDULE = re.compile(r'\bschedule="[^"]*"')
PROCESSES = ("api-server", "scheduler", "dag-processor", "triggerer")

# Names of the processes in the health endpoint.
HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


class AirflowFailedError(Exception):
    """Airflow did not start, exited, or reached a timeout."""


def new_sqlite(path: Path) -> str:
    """Create a SQLite database in WAL mode and return its URL for Airflow."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{path}"


class AirflowInstance:
    """
    An Airflow with its home, database, processes and REST API.

    :param home: ``AIRFLOW_HOME``. Contains all files.
    :param python: Interpreter of the environment with Airflow. By default the current one.
    :param dags: DAG files or folders, which are copied into the home.
    :param environment: Further environment variables of the processes, like ``AIRFLOW_CONN_...``.
    :param sql_connection: URL of the database. By default a SQLite file in the home.
    """

    def __init__(
        self,
        home: Path,
        *,
        python: Path | str = sys.executable,
        dags: Iterable[Path] = (),
        environment: Mapping[str, str] | None = None,
        sql_connection: str | None = None,
        parallelism: int = 8,
    ) -> None:
        self.home = home.resolve()
        self.python = str(python)
        self.dags_folder = self.home / "dags"
        self.logs = self.home / "process-logs"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.rest = AirflowRest(self.url)
        for folder in (self.dags_folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.sql_connection = sql_connection or new_sqlite(self.home / "airflow.db")
        for source in dags:
            self.add_dag(source)
        self.environment = self._environment(parallelism) | dict(environment or {})
        self.services = {name: self._service(name) for name in PROCESSES}

    def _environment(self, parallelism: int) -> dict[str, str]:
        ours = ("AIRFLOW", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTEST")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        no_proxy = [inherited.get("no_proxy") or inherited.get("NO_PROXY") or "", "127.0.0.1", "localhost"]
        settings = {
            "CORE__DAGS_FOLDER": self.dags_folder,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__EXECUTOR": "LocalExecutor",
            # The default starts 32 workers.
            "CORE__PARALLELISM": parallelism,
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 0,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": self.sql_connection,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.port,
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "LOGGING__BASE_LOG_FOLDER": self.home / "logs",
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            # Shorter intervals than the defaults.
            "CORE__DEFAULT_TASK_RETRY_DELAY": 3,
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.3,
            "TRIGGERER__JOB_HEARTBEAT_SEC": 1,
            # A supervisor may report only after this interval that its task has deferred. If the trigger has fired and
            # the task runs again by then, the scheduler treats the late report as a failure.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 2,
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": 1,
            # Changed files are parsed immediately. Parsing all others would take a third of a core.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 300,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "PATH": os.pathsep.join([str(Path(self.python).parent), inherited.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "no_proxy": ",".join(filter(None, no_proxy)),
            "NO_PROXY": ",".join(filter(None, no_proxy)),
            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        }

    def _service(self, name: str) -> Service:
        return Service(
            name=name,
            command=[self.python, "-m", "airflow", name],
            environment=self.environment,
            log=self.logs / f"{name}.log",
            directory=self.home,
        )

    # Start and stop

    def __enter__(self) -> AirflowInstance:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, timeout: float = 240) -> None:
        """Create the database, start the processes, and wait until they are healthy."""
        result = subprocess.run(
            [self.python, "-m", "airflow", "db", "migrate"],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        (self.logs / "db-migrate.log").write_text(result.stdout)
        if result.returncode != 0:
            raise AirflowFailedError(f"airflow db migrate failed:\n{tail(self.logs / 'db-migrate.log')}")
        for service in self.services.values():
            service.start()
        self._wait(lambda: self._is_healthy() or None, timeout=timeout, what="Airflow is healthy", log="api-server")

    def stop(self) -> None:
        """Stop all processes. Raise if a process is still running."""
        running = end(list(self.services.values()))
        if running:
            raise AirflowFailedError(f"still running after SIGKILL: {sorted(running)}")

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, with_children: bool = True) -> None:
        """Send a signal to a process."""
        self.services[name].kill(number, whole_session=with_children)

    def restart(self, name: str, *, timeout: float = 120) -> None:
        """Kill a process if it is running, start it, and wait until it is healthy."""
        service = self.services[name]
        if service.exit_code() is None:
            service.kill()
        started = datetime.now(timezone.utc)
        service.start()
        self._wait(
            lambda: self._is_healthy(name, since=started) or None,
            timeout=timeout,
            what=f"{name} is healthy after a restart",
            log=name,
        )

    def health(self) -> dict[str, Any]:
        """Return the response of the health endpoint."""
        return dict(self.rest.get("/api/v2/monitor/health"))

    def _is_healthy(self, only: str | None = None, *, since: datetime | None = None) -> bool:
        try:
            health = self.health()
        except (OSError, RestError):
            return False
        for process, name in HEALTH_NAMES.items():
            if only not in (None, process):
                continue
            if health[name]["status"] != "healthy":
                return False
            # A killed process counts as healthy for 30 seconds.
            beat = health[name].get(f"latest_{name}_heartbeat")
            if since is not None and (beat is None or datetime.fromisoformat(beat.replace("Z", "+00:00")) < since):
                return False
        return True

    def _wait(self, check: Callable[[], Any], *, timeout: float, what: str, log: str) -> Any:
        def alive_and_done() -> Any:
            for service in self.services.values():
                code = service.exit_code()
                # A negative code is a signal: tests kill processes on purpose.
                if service.process is not None and code is not None and code >= 0:
                    raise AirflowFailedError(f"{service.name} exited with {code}:\n{tail(service.log)}")
            return check()

        try:
            return poll(alive_and_done, timeout=timeout, what=what)
        except DeadlineExceededError as error:
            raise AirflowFailedError(f"{error}. End of the log of {log}:\n{tail(self.services[log].log)}") from None

    # DAGs

    def add_dag(self, source: Path, name: str | None = None) -> None:
        """
        Copy a DAG file, or the files of a folder, to the DAGs folder.

        A DAG with a schedule in time runs only when it is triggered: Airflow would create a DAG run at once if the last
        time of the schedule is less than a tenth of its interval ago.
        """
        if source.is_dir():
            for path in sorted(source.iterdir()):
                if path.suffix in (".py", ".yaml"):
                    self.add_dag(path)
            return
        text = _TIME_SCHEDULE.sub("schedule=None", source.read_text(encoding="utf-8"))
        (self.dags_folder / (name or source.name)).write_text(text, encoding="utf-8")

    def import_errors(self) -> dict[str, str]:
        """Return the tracebacks of DAG files with import errors."""
        found = self.rest.get("/api/v2/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """Wait until the DAG processor has parsed a DAG. Raise if a DAG file has an import error."""

        def known() -> bool | None:
            errors = self.import_errors()
            if errors:
                raise AirflowFailedError(
                    "\n".join(f"{name} has an import error:\n{text}" for name, text in errors.items())
                )
            try:
                self.rest.get(f"/api/v2/dags/{dag_id}")
            except RestError as error:
                if error.status != 404:
                    raise
                return None
            return True

        self._wait(known, timeout=timeout, what=f"DAG {dag_id} is known", log="dag-processor")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Trigger a DAG run and return its id."""
        self.wait_for_dag(dag_id)
        # With an id, a repeated request cannot start a second DAG run.
        run_id = run_id or f"manual__{datetime.now(timezone.utc).isoformat()}"
        self.rest.post(
            f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        )
        return run_id

    def wait_for_dag_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 180,
        on_change: Callable[[TaskInstance], None] | None = None,
    ) -> DagRun:
        """Wait until a DAG run has ended. Call ``on_change`` for each new state of a task."""
        seen: dict[str, tuple[str | None, int]] = {}

        def ended() -> DagRun | None:
            run = self.rest.dag_run(dag_id, run_id)
            if on_change is not None:
                for task in self.rest.task_instances(dag_id, run_id):
                    now = (task.state, task.try_number)
                    if seen.get(task.name) != now and task.state is not None:
                        seen[task.name] = now
                        on_change(task)
            return run if run.ended else None

        found = self._wait(ended, timeout=timeout, what=f"the end of {dag_id}'s run {run_id}", log="scheduler")
        assert isinstance(found, DagRun)
        return found

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 90
    ) -> TaskInstance:
        """Wait until a task instance is in one of the states."""

        def reached() -> TaskInstance | None:
            for task in self.rest.task_instances(dag_id, run_id):
                if (task.task_id, task.map_index) == (task_id, map_index) and task.state in states:
                    return task
            return None

        wanted = " or ".join(states)
        found = self._wait(reached, timeout=timeout, what=f"{task_id} of {dag_id} is {wanted}", log="scheduler")
        assert isinstance(found, TaskInstance)
        return found
