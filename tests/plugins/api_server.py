"""Airflow's API server with users of several roles, and a database with task instances that no scheduler ran."""

from __future__ import annotations

import http.client
import json
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll
from mosaic_emulator.local_airflow.rest import RestError
from sqlalchemy import create_engine, text

from plugins.seed import seed

HERE = Path(__file__).parent
#: Users by name, with their role. Their password is their name.
USERS = {"admin": "admin", "editor": "user", "viewer": "viewer"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class ApiServer:
    """
    An API server without the other processes of Airflow.

    :param home: A folder for its files.
    :param connections: Airflow connections, as JSON by id.
    :param environment: Further environment variables.
    :param sql_connection: URL of the database. By default a SQLite file.
    """

    def __init__(
        self,
        home: Path,
        *,
        connections: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        sql_connection: str | None = None,
    ) -> None:
        self._connections = connections
        self._instance = AirflowInstance(
            home,
            sql_connection=sql_connection,
            environment={
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
                "AIRFLOW__CORE__AUTH_MANAGER": "page_auth_manager.PerDagAuthManager",
                "PYTHONPATH": str(HERE),
                **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
                **(environment or {}),
            },
        )
        self._instance.services = {"api-server": self._instance.services["api-server"]}
        self.url = self._instance.url
        self._tokens: dict[str, str] = {}

    def another(self, home: Path) -> ApiServer:
        """Return another API server with the same database and secrets."""
        shared = ("DATABASE__SQL_ALCHEMY_CONN", "API__SECRET_KEY", "API_AUTH__JWT_SECRET")
        environment = {name: self._instance.environment[name] for name in (f"AIRFLOW__{each}" for each in shared)}
        return ApiServer(home, connections=self._connections, environment=environment)

    def __enter__(self) -> ApiServer:
        instance = self._instance
        (instance.home / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
        done = subprocess.run(
            [instance.python, "-m", "airflow", "db", "migrate"],
            env=instance.environment,
            cwd=instance.home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        instance.services["api-server"].start()
        poll(self._is_up, timeout=120, what="the API server responds")
        return self

    def __exit__(self, *error: object) -> None:
        self._instance.stop()

    @property
    def log(self) -> str:
        """The log of the API server."""
        return (self._instance.logs / "api-server.log").read_text(errors="replace")

    def seed(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Insert task instances: see ``seed.py``."""
        seed(self._instance.sql_connection, tasks)

    def get(self, path: str, *, user: str | None = "admin", **headers: str) -> Answer:
        """Send a GET request, without following redirects."""
        return self.request("GET", path, user=user, headers=headers)

    def post(self, path: str, *, user: str | None = "admin", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a POST request without a body."""
        return self.request("POST", path, user=user, headers=headers or {})

    def add_connection(self, conn_id: str, host: str, password: str) -> None:
        """Save a connection in Airflow's database, as its UI does."""
        body = {"connection_id": conn_id, "conn_type": "mosaic", "host": host, "password": password}
        response = self.request(
            "POST",
            "/api/v2/connections",
            user="admin",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
        )
        assert response.status == 201, response.body

    def add_variable(self, key: str, value: str) -> None:
        """Save a Variable in Airflow's database."""
        insert = text("INSERT INTO variable (key, val, is_encrypted) VALUES (:key, :val, FALSE)")
        engine = create_engine(self._instance.sql_connection)
        with engine.begin() as connection:
            connection.execute(insert, {"key": key, "val": value})
        engine.dispose()

    def request(
        self, method: str, path: str, *, user: str | None, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Send a request as a browser does, with the user's cookie."""
        cookie = {} if user is None else {"Cookie": f"_token={self._token(user)}"}
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(method, path, body=body, headers={**cookie, **headers})
            response = connection.getresponse()
            return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        finally:
            connection.close()

    def _token(self, user: str) -> str:
        if user not in self._tokens:
            request = urllib.request.Request(
                f"{self.url}/auth/token",
                data=json.dumps({"username": user, "password": user}).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                self._tokens[user] = str(json.load(response)["access_token"])
        return self._tokens[user]

    def _is_up(self) -> bool | None:
        service = self._instance.services["api-server"]
        code = service.exit_code()
        assert code is None, f"the API server exited with {code}: {self.log}"
        try:
            self._instance.health()
        except (OSError, RestError):
            return None
        return True


def task_row(
    task_id: str,
    *,
    dag_id: str = "nightly",
    run_id: str = "manual__2026-11-28T01:00:00+00:00",
    map_index: int = -1,
    state: str | None = "success",
    operator: str = "MosaicRunAgentOperator",
    age: float = 60.0,
    rendered_map_index: str | None = None,
    **xcoms: Any,
) -> dict[str, Any]:
    """Return a task instance for :meth:`ApiServer.seed`."""
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "state": state,
        "operator": operator,
        "age": age,
        "rendered_map_index": rendered_map_index,
        "xcoms": xcoms,
    }


def path_of(row: Mapping[str, Any]) -> str:
    """Return the path of a task instance below ``/mosaic/``."""
    return "tasks/" + "/".join(quote(str(row[name]), safe="") for name in ("dag_id", "run_id", "task_id", "map_index"))
