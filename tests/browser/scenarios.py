"""Task instances in all states that the pages show."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.processes import poll

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.agents import create_agent, update_agent
from airflow_provider_mosaic.clients.sync_client import SyncClient

SHORTS_MAKER = "a0000000-0000-4000-8000-000000000001"
TWO_VERSIONS = "a0000000-0000-4000-8000-000000000002"
#: Parameters of the tiles that generate an image and audio, by node type.
GENERATION = {
    "18b998a0-2ea7-4676-a5d3-3ae6c8ac0b72": {"prompt": "A lighthouse at night"},
    "14687f30-5fd0-468f-8239-2784d83df95b": {"mode": "music"},
}


#: Mapped task instances of the DAG edit_many.
MAPPED = 6


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task instance, and the run that it started."""

    dag_id: str
    run_id: str
    task_id: str
    mosaic_run_id: str = ""


class Scenarios:
    """Starts each task when it is first asked for."""

    def __init__(self, airflow: AirflowInstance, mosaic: Emulator, recording: Path) -> None:
        self._airflow = airflow
        self._mosaic = mosaic
        self._recording = str(recording)

    @cached_property
    def finished(self) -> Task:
        """A run whose video is rendered by ffmpeg."""
        return self._edited(SHORTS_MAKER, "success")

    @cached_property
    def upload(self) -> Task:
        """The upload before the finished run."""
        return Task(dag_id=self.finished.dag_id, run_id=self.finished.run_id, task_id="upload")

    @cached_property
    def failed(self) -> Task:
        """A run that failed for lack of credits."""
        return self._edited(
            SHORTS_MAKER,
            "failed",
            lambda run_id: self._mosaic.finish_run(
                run_id, "failed", message="Not enough credits", needs_credits=True, failed=["Captions"]
            ),
        )

    @cached_property
    def partial(self) -> Task:
        """A run whose second output failed."""
        self._mosaic.configure(failing_nodes={"AI Music": "The music service did not respond"})
        try:
            return self._edited(TWO_VERSIONS, "success")
        finally:
            self._mosaic.configure(failing_nodes={})

    @cached_property
    def generated(self) -> Task:
        """A run that generated an image and a sound."""
        with SyncClient(Access(api_key=self._mosaic.api_key, base_url=self._mosaic.url)) as client:
            agent_id = client.send(create_agent(name="Picture and sound")).agent_id
            operations = [
                {"op": "create_node", "temp_ref_id": str(number), "node_type_id": type_id, "params_used": params}
                for number, (type_id, params) in enumerate(GENERATION.items())
            ]
            client.send(update_agent(agent_id, operations=operations))
        self._mosaic.configure(hold_runs=False)
        run_id = self._airflow.trigger("generate", {"agent": agent_id})
        self._airflow.wait_for_task("generate", run_id, "edit", "success", timeout=120)
        return Task(dag_id="generate", run_id=run_id, task_id="edit")

    def running(self) -> Task:
        """Start another run that stays at its first tile until a test ends it."""
        return self._edited(SHORTS_MAKER, "deferred", lambda run_id: None)

    @cached_property
    def post(self) -> Task:
        """A post that is out on two destinations, and failed on the third."""
        self._mosaic.configure(failing_platforms={"tiktok": "The account's permission has expired"})
        run_id = self._airflow.trigger("publish", {"run": self.finished.mosaic_run_id})
        self._airflow.wait_for_task("publish", run_id, "post", "success", timeout=120)
        return Task(dag_id="publish", run_id=run_id, task_id="post")

    def _edited(self, agent_id: str, state: str, end: Callable[[str], object] | None = None) -> Task:
        """Run `edit_recording` until the task is in a state. With ``end``, the run is held until it is called."""
        self._mosaic.configure(hold_runs=end is not None)
        run_id = self._airflow.trigger("edit_recording", {"recording": self._recording, "agent": agent_id})
        mosaic_run_id = poll(lambda: self._started(run_id), timeout=120, what="the run is started")
        if end is not None:
            self._airflow.wait_for_task("edit_recording", run_id, "edit", "deferred")
            end(mosaic_run_id)
        self._airflow.wait_for_task("edit_recording", run_id, "edit", state, timeout=120)
        return Task(dag_id="edit_recording", run_id=run_id, task_id="edit", mosaic_run_id=mosaic_run_id)

    def _started(self, run_id: str) -> str | None:
        found: str | None = self._airflow.rest.xcoms("edit_recording", run_id, "edit").get("mosaic_run_id")
        return found

    def many(self, number: int) -> str:
        """
        Return the id of a DAG whose task has this number of finished mapped instances.

        Airflow runs a few of them. The others are copies of rows, with runs that do not exist.
        """
        self._mosaic.configure(hold_runs=False)
        run_id = self._airflow.trigger("edit_many")
        self._airflow.wait_for_dag_run("edit_many", run_id)
        copy_task_instance(self._airflow.home / "airflow.db", run_id, number)
        return "edit_many"


def copy_task_instance(database: Path, run_id: str, number: int) -> None:
    """Copy the rows of a mapped task instance, until there are ``number``, each with a run of its own."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute("PRAGMA busy_timeout = 60000")
        for table in ("task_instance", "xcom"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            names = ", ".join(f'"{name}"' for name in columns)
            rows = connection.execute(f"SELECT {names} FROM {table} WHERE run_id = ? AND map_index = 0", [run_id])
            for row in rows.fetchall():
                for index in range(MAPPED, number):
                    values = dict(zip(columns, row, strict=True)) | {"map_index": index}
                    if "rendered_map_index" in values:
                        values["rendered_map_index"] = str(index)
                    if values.get("key") == "mosaic_item":
                        values["value"] = json.dumps(json.loads(values["value"]) | {"id": f"run-{index}"})
                    if values.get("key") == "output_ids":
                        values["value"] = "[]"
                    if "id" in values:
                        values["id"] = uuid.uuid4().hex
                    marks = ", ".join("?" * len(values))
                    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))
