"""
The DAG runs of a DAG that are running now.

Airflow gives a task no list of them. It gives the states of a task in all DAG runs, and the number of running ones
among given DAG runs. So the DAG runs of a task are counted, and halved until each half is running or has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

# A task in one of these states has not ended. Most likely, its DAG run is running.
_ACTIVE = frozenset({"running", "restarting", "up_for_retry", "up_for_reschedule", "scheduled", "queued", "deferred"})
#: The caller reads each DAG run with one request for each task.
_MAX_RUNNING = 200
#: DAG runs in one request, whose URL contains their ids. The limit of URLs is 8 KB in some proxies.
_CHUNK = 50
#: The most chunks: 10,000 DAG runs.
_MAX_CHUNKS = 200


class RunningDagRuns:
    """
    The running DAG runs that have an instance of one of some tasks.

    :param ti: The running task instance.
    :param dag: Its DAG.
    :param tasks: The tasks.
    """

    def __init__(self, ti: Any, *, dag: Any, tasks: Iterable[Any]) -> None:
        self._ti = ti
        # One that is not mapped comes first: all DAG runs of the current version have an instance of it.
        unmapped = next((task for task in dag.tasks if not _is_mapped(task)), None)
        is_mapped = {task.task_id: _is_mapped(task) for task in (unmapped, *tasks) if task is not None}
        self._is_mapped = dict(sorted(is_mapped.items(), key=lambda item: (item[1], item[0] != ti.task_id, item[0])))

    def read(self) -> list[str]:
        """
        Return their ids. That of the task's own DAG run is missing if it is the only one.

        :raises ValueError: Too many DAG runs are running, or have ended.
        """
        running = self._count()
        if running <= 1:
            return []
        if running > _MAX_RUNNING + 1:
            raise ValueError(f"{running} DAG runs are running.")
        found: list[str] = []
        for number, chunk in enumerate(self._chunks()):
            if number == _MAX_CHUNKS:
                raise ValueError("The DAG has too many DAG runs.")
            found += self._running_among(chunk, self._count(chunk))
            if len(found) >= running:
                break
        return found

    def _chunks(self) -> Iterator[list[str]]:
        """Yield the DAG runs that have an instance of one of the tasks, those that are most likely running first."""
        yielded: set[str] = set()
        for task_id, is_mapped in self._is_mapped.items():
            # One of 100,000 instances is enough. Without an instance 0, a mapped task has created nothing. Airflow's
            # client does not send the index -1.
            one = {"map_index": 0} if is_mapped else {}
            states = self._ti.get_task_states(dag_id=self._ti.dag_id, task_ids=[task_id], **one)
            # The newest come first, after those with an active instance.
            new = [dag_run for dag_run in reversed(states) if dag_run not in yielded]
            new.sort(key=lambda dag_run: _ACTIVE.isdisjoint(states[dag_run].values()))
            yielded.update(new)
            for start in range(0, len(new), _CHUNK):
                yield new[start : start + _CHUNK]

    def _running_among(self, dag_runs: list[str], running: int) -> list[str]:
        """Return which of some DAG runs are running, given how many of them are."""
        # A DAG run may end between two counts.
        if running <= 0 or running >= len(dag_runs):
            return dag_runs if running > 0 else []
        middle = len(dag_runs) // 2
        first, second = dag_runs[:middle], dag_runs[middle:]
        in_first = self._count(first)
        return self._running_among(first, in_first) + self._running_among(second, running - in_first)

    def _count(self, dag_runs: list[str] | None = None) -> int:
        """Return how many of some DAG runs, or of all of the DAG, are running."""
        given = {} if dag_runs is None else {"run_ids": dag_runs}
        count: int = self._ti.get_dr_count(dag_id=self._ti.dag_id, states=["running"], **given)
        return count


def _is_mapped(task: Any) -> bool:
    return hasattr(task, "partial_kwargs") or task.get_closest_mapped_task_group() is not None
