"""A client of Airflow's REST API, with the standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class RestError(Exception):
    """Airflow responded with an error status."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path} responded {status}: {text[:500]}")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class DagRun:
    """A DAG run."""

    dag_id: str
    run_id: str
    state: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether the DAG run has ended."""
        return self.state in ("success", "failed")


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """A task instance. ``map_index`` is -1 if the task is not mapped."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def row_label(self) -> str | None:
        """The label that the grid view shows instead of ``map_index``."""
        label: str | None = self.raw["rendered_map_index"]
        return label

    @property
    def name(self) -> str:
        """The task id, with the map index if mapped."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


class AirflowRest:
    """A client of Airflow's public API (``/api/v2``) and UI API (``/ui``), with the standard library only."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._token: str | None = None
        # Never use a proxy for loopback addresses.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None) -> Any:
        """Send a request and return the JSON response. Omit ``query`` values that are None."""
        try:
            return self._send(method, path, body, query or {})
        except RestError as error:
            if error.status != 401:
                raise
        # Airflow 3.1 requires a token even with `simple_auth_manager_all_admins`, and issues it without credentials.
        self._token = str(self._send("GET", "/auth/token", None, {})["access_token"])
        return self._send(method, path, body, query or {})

    def get(self, path: str, **query: object) -> Any:
        """Send a GET request."""
        return self._request_repeatedly("GET", path, query=query)

    def post(self, path: str, body: object) -> Any:
        """
        Send a POST request.

        Return None if Airflow rejects a repeated request as a duplicate: it processed the first one.
        """
        return self._request_repeatedly("POST", path, body=body)

    def patch(self, path: str, body: object) -> Any:
        """Send a PATCH request."""
        return self._request_repeatedly("PATCH", path, body=body)

    def _request_repeatedly(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """Send a request. Repeat it for 30 seconds while Airflow responds with 500, for example with SQLite locked."""
        deadline = time.monotonic() + 30
        repeated = False
        while True:
            try:
                return self.request(method, path, body=body, query=query)
            except RestError as error:
                if repeated and method == "POST" and error.status == 409:
                    return None
                if time.monotonic() > deadline or error.status != 500:
                    raise
            repeated = True
            time.sleep(0.5)

    def _send(self, method: str, path: str, body: object, query: Mapping[str, object]) -> Any:
        url = self.base_url + path
        params = {key: value for key, value in query.items() if value is not None}
        if params:
            url += "?" + urllib.parse.urlencode(params)
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RestError(method, path, error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    # DAG runs

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a DAG run."""
        raw = self.get(_run(dag_id, run_id))
        return DagRun(dag_id=dag_id, run_id=run_id, state=str(raw["state"]), raw=raw)

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all task instances of a DAG run."""
        found: list[TaskInstance] = []
        while True:
            page = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=100, offset=len(found))
            found += [
                TaskInstance(
                    task_id=raw["task_id"],
                    map_index=raw["map_index"],
                    state=raw["state"],
                    try_number=raw["try_number"],
                    raw=raw,
                )
                for raw in page["task_instances"]
            ]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return a task instance."""
        for found in self.task_instances(dag_id, run_id):
            if (found.task_id, found.map_index) == (task_id, map_index):
                return found
        raise LookupError(f"{dag_id} has no task instance {task_id}[{map_index}] in {run_id}")

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = False) -> None:
        """Clear tasks."""
        self.post(
            f"/api/v2/dags/{_quoted(dag_id)}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": task_ids,
                "only_failed": False,
                "include_downstream": downstream,
                "reset_dag_runs": True,
            },
        )

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task as ``success``, ``failed`` or ``skipped``."""
        place = "" if map_index < 0 else f"/{map_index}"
        path = f"{_task(dag_id, run_id, task_id)}{place}"
        self.patch(path, {"new_state": state})

    def set_variable(self, key: str, value: str) -> None:
        """Set an Airflow variable."""
        body = {"key": key, "value": value}
        try:
            self.patch(f"/api/v2/variables/{_quoted(key)}", body)
        except RestError as error:
            if error.status != 404:
                raise
            self.post("/api/v2/variables", body)

    # Results of tasks

    def xcoms(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return all XComs of a task instance by key."""
        path = f"{_task(dag_id, run_id, task_id)}/xcomEntries"
        entries = self.get(path, map_index=map_index, limit=100)["xcom_entries"]
        return {entry["key"]: self.xcom(dag_id, run_id, task_id, entry["key"], map_index) for entry in entries}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom of a task instance."""
        path = f"{_task(dag_id, run_id, task_id)}/xcomEntries/{_quoted(key)}"
        return self.get(path, map_index=map_index)["value"]

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task instance."""
        response = self.get(f"{_task(dag_id, run_id, task_id)}/links", map_index=map_index)
        return dict(response["extra_links"])

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of an attempt of a task."""
        path = f"{_task(dag_id, run_id, task_id)}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content="true")["content"]
        if isinstance(content, str):
            return content
        return "\n".join(_log_line(entry) for entry in content)


def _log_line(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    line = " ".join(str(entry[key]) for key in ("timestamp", "level", "event") if entry.get(key))
    for error in entry.get("error_detail") or []:
        line += f"\n    {error.get('exc_type')}: {error.get('exc_value')}"
    return line


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run(dag_id, run_id)}/taskInstances/{_quoted(task_id)}"
