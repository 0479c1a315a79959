"""What Airflow's database says of tasks and waits, read from beside: the API server has enough to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A task instance that a worker runs now: its process is the one that does the task's work."""

    run_id: str
    task_id: str
    map_index: int
    try_number: int
    pid: int

    @property
    def name(self) -> str:
        """The task and its place in the night, without the group's name."""
        return f"{self.task_id.rpartition('.')[2]}[{self.run_id} {self.map_index}]"


class Watch:
    """
    A reader of one Airflow's metadata database.

    :param sql_connection: Its address, as SQLAlchemy writes it.
    :param dag_id: The DAG that is looked at.
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
        """How many task instances of each task are in each state."""
        rows = self._rows(
            "SELECT task_id, coalesce(state, 'none'), count(*) FROM task_instance WHERE dag_id = %s GROUP BY 1, 2",
            self._dag_id,
        )
        return Counter({(task_id, state): number for task_id, state, number in rows})

    def ended_as(self) -> list[str]:
        """The states of the DAG runs that have ended."""
        rows = self._rows(
            "SELECT state FROM dag_run WHERE dag_id = %s AND state IN ('success', 'failed')", self._dag_id
        )
        return [row[0] for row in rows]

    def running(self) -> list[Slice]:
        """What the workers run now."""
        rows = self._rows(
            "SELECT run_id, task_id, map_index, try_number, pid FROM task_instance "
            "WHERE dag_id = %s AND state = 'running' AND pid IS NOT NULL",
            self._dag_id,
        )
        return [
            Slice(run_id=run_id, task_id=task_id, map_index=map_index, try_number=try_number, pid=pid)
            for run_id, task_id, map_index, try_number, pid in rows
        ]

    def state_and_try(self, lost: Slice) -> tuple[str | None, int]:
        """How a task instance stands now, and in which try."""
        ((state, number),) = self._rows(
            "SELECT state, try_number FROM task_instance "
            "WHERE dag_id = %s AND run_id = %s AND task_id = %s AND map_index = %s",
            *(self._dag_id, lost.run_id, lost.task_id, lost.map_index),
        )
        return state, number

    def triggerers(self) -> list[int]:
        """The numbers of the triggerers' jobs, in the order in which they were started."""
        return [row[0] for row in self._rows("SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY id")]

    def waits_of(self, triggerer: int) -> set[int]:
        """The numbers of the waits that a triggerer holds."""
        return {row[0] for row in self._rows("SELECT id FROM trigger WHERE triggerer_id = %s", triggerer)}

    def holders(self, waits: Iterable[int]) -> dict[int, int | None]:
        """Who holds each of these waits; those that have ended are not there any more."""
        return dict(self._rows("SELECT id, triggerer_id FROM trigger WHERE id = ANY(%s)", list(waits)))

    def events(self) -> Counter[str]:
        """What Airflow has noted about task instances that got lost on the way."""
        rows = self._rows(
            "SELECT event, count(*) FROM log WHERE dag_id = %s "
            "AND (event = 'heartbeat timeout' OR event LIKE 'stuck in queued%%') GROUP BY 1",
            self._dag_id,
        )
        return Counter(dict(rows))

    def retried(self) -> int:
        """How many task instances needed more than one try."""
        ((number,),) = self._rows(
            "SELECT count(*) FROM task_instance WHERE dag_id = %s AND try_number > 1", self._dag_id
        )
        return int(number)

    def xcoms(self, task_id: str, key: str) -> dict[tuple[str, int], Any]:
        """What the mapped instances of a task have pushed under a key, by the DAG run and the place in the mapping."""
        rows = self._rows(
            "SELECT run_id, map_index, value FROM xcom WHERE dag_id = %s AND task_id = %s AND key = %s",
            *(self._dag_id, task_id, key),
        )
        return {(run_id, index): _read(value) for run_id, index, value in rows}


def _read(value: Any) -> Any:
    """An XCom's value: JSON in a JSON column, as Airflow writes it."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
