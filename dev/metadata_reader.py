"""Reads tasks and triggers from Airflow's metadata database, without load on the API server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2


@dataclass(frozen=True, kw_only=True)
class RunningTask:
    """A task instance that a worker runs, and the process that executes it."""

    run_id: str
    task_id: str
    map_index: int
    try_number: int
    pid: int

    @property
    def name(self) -> str:
        """The task, the DAG run and the map index, without the task group."""
        return f"{self.task_id.rpartition('.')[2]}[{self.run_id} {self.map_index}]"


class MetadataReader:
    """
    Reads the metadata database of an Airflow.

    :param sql_connection: URL for SQLAlchemy.
    :param dag_id: The DAG to read.
    """

    def __init__(self, sql_connection: str, *, dag_id: str) -> None:
        self._connection = psycopg2.connect(sql_connection.replace("+psycopg2", "", 1))
        self._connection.autocommit = True
        self._dag_id = dag_id

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, query: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def states(self) -> Counter[tuple[str, str]]:
        """Return the number of task instances by task and state."""
        rows = self._rows(
            "SELECT task_id, coalesce(state, 'none'), count(*) FROM task_instance WHERE dag_id = %s GROUP BY 1, 2",
            self._dag_id,
        )
        return Counter({(task_id, state): number for task_id, state, number in rows})

    def final_states(self) -> list[str]:
        """Return the states of the ended DAG runs."""
        rows = self._rows(
            "SELECT state FROM dag_run WHERE dag_id = %s AND state IN ('success', 'failed')", self._dag_id
        )
        return [row[0] for row in rows]

    def running(self) -> list[RunningTask]:
        """Return the running task instances."""
        rows = self._rows(
            "SELECT run_id, task_id, map_index, try_number, pid FROM task_instance "
            "WHERE dag_id = %s AND state = 'running' AND pid IS NOT NULL",
            self._dag_id,
        )
        return [
            RunningTask(run_id=run_id, task_id=task_id, map_index=map_index, try_number=try_number, pid=pid)
            for run_id, task_id, map_index, try_number, pid in rows
        ]

    def state_and_try(self, lost: RunningTask) -> tuple[str | None, int]:
        """Return the current state and attempt of a task instance."""
        ((state, number),) = self._rows(
            "SELECT state, try_number FROM task_instance "
            "WHERE dag_id = %s AND run_id = %s AND task_id = %s AND map_index = %s",
            *(self._dag_id, lost.run_id, lost.task_id, lost.map_index),
        )
        return state, number

    def triggerers(self) -> list[int]:
        """Return the job ids of the triggerers in the order of their start."""
        return [row[0] for row in self._rows("SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY id")]

    def triggers_of(self, triggerer: int) -> set[int]:
        """Return the ids of the triggers of a triggerer."""
        return {row[0] for row in self._rows("SELECT id FROM trigger WHERE triggerer_id = %s", triggerer)}

    def triggerers_of(self, triggers: Iterable[int]) -> dict[int, int | None]:
        """Return the triggerer of each of these triggers, without deleted ones."""
        return dict(self._rows("SELECT id, triggerer_id FROM trigger WHERE id = ANY(%s)", list(triggers)))

    def events(self) -> Counter[str]:
        """Return the numbers of logged events about lost task instances."""
        rows = self._rows(
            "SELECT event, count(*) FROM log WHERE dag_id = %s "
            "AND (event = 'heartbeat timeout' OR event LIKE 'stuck in queued%%') GROUP BY 1",
            self._dag_id,
        )
        return Counter(dict(rows))

    def retried(self) -> int:
        """Return the number of task instances with more than one attempt."""
        ((number,),) = self._rows(
            "SELECT count(*) FROM task_instance WHERE dag_id = %s AND try_number > 1", self._dag_id
        )
        return int(number)

    def xcoms(self, task_id: str, key: str) -> dict[tuple[str, int], Any]:
        """Return the XComs of a mapped task by DAG run and map index."""
        rows = self._rows(
            "SELECT run_id, map_index, value FROM xcom WHERE dag_id = %s AND task_id = %s AND key = %s",
            *(self._dag_id, task_id, key),
        )
        return {(run_id, index): _read(value) for run_id, index, value in rows}


def _read(value: Any) -> Any:
    """Return the value of an XCom, which may be JSON in a JSON column."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
