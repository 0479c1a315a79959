"""What other tasks of the same DAG created, so that a search does not adopt an item of theirs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.search import Siblings
from airflow_provider_mosaic.base import is_constant, template_markers
from airflow_provider_mosaic.durable.failures import save_best_effort
from airflow_provider_mosaic.durable.running_dag_runs import RunningDagRuns
from airflow_provider_mosaic.durable.task_state import NOT_STARTED_KEY

log = logging.getLogger(__name__)

# A task in one of these states may have created an item, and not pushed its id.
_CAN_START = frozenset({"running", "restarting", "up_for_retry", "up_for_reschedule", "failed"})
# In one of these states too if it is a retry. Airflow does not show the try number of other tasks.
_WAITING = frozenset({"scheduled", "queued"})


class SiblingTasks:
    """
    The other tasks of the DAG that create such items, with the mapped siblings of the running task.

    Each task pushes its id right after the start, and a running task may read the XComs of others. A read costs three
    requests per task, for any number of mapped instances: the states, all ids, and the instances that started nothing.
    The list of ids does not show who pushed which. A single instance is read only if it may have created an item, and
    may have pushed one of the ids.

    :param kind: The kind of item, as ``_creates`` of their operators names it.
    :param key: XCom key of the ids.
    :param same_argument: Name and value of an argument that all tasks with such items share. A task whose argument is
        another constant is ignored.
    """

    def __init__(
        self,
        context: Mapping[str, Any],
        *,
        kind: str,
        key: str,
        same_argument: tuple[str, str] | None = None,
    ) -> None:
        self._ti = context["ti"]
        self._key = key
        starting = [
            task
            for task in context["dag"].tasks
            if getattr(getattr(task, "operator_class", type(task)), "_creates", None) == kind
            and not (same_argument is not None and _differs(task, *same_argument, template_markers(context["dag"])))
        ]
        self._task_ids = [task.task_id for task in starting]
        self._dag_runs = RunningDagRuns(self._ti, dag=context["dag"], tasks=starting)
        self._tasks = [_SiblingTask(self._ti, task_id, key) for task_id in self._task_ids]

    def read(self, include_waiting: bool) -> Siblings:
        """
        Read which items the siblings own, and which siblings may own one without an id.

        :param include_waiting: Whether waiting siblings may own an item. Otherwise their ids are not read.
        """
        try:
            found = [task.read(include_waiting) for task in self._tasks]
        except Exception:
            _log_unreadable()
            return Siblings(possible_owners=None)
        return Siblings(
            owned_ids=frozenset().union(*(each.owned_ids for each in found)),
            possible_owners=frozenset().union(*(each.possible_owners or () for each in found)),
            waiting=frozenset().union(*(each.waiting for each in found)),
        )

    def ids_of_other_dag_runs(self) -> frozenset[str] | None:
        """
        Return the ids that the same tasks pushed in the DAG's other running DAG runs. None if they can't be read.

        This costs a request for each of these DAG runs. Call it therefore only before an item is adopted.
        """
        try:
            return frozenset(id for id, _ in self._in_other_dag_runs())
        except Exception:
            _log_unreadable()
            return None

    def push_id(self, id: str) -> None:
        """Push the id of an item that was found, so that no other task adopts the item."""
        save_best_effort(
            lambda: self._ti.xcom_push(key=self._key, value=id),
            what=f"the XCom {self._key!r} of {id!r}",
            consequence=f"The task continues with {id!r}. Tasks that read the XCom find nothing.",
        )

    def other_dag_run_with(self, id: str) -> str | None:
        """
        Return another running DAG run of the DAG whose tasks pushed an id that the task has pushed; None if none did.

        Of two tasks that push the same id, at least the one that reads later finds the other.
        """
        try:
            return next((run_id for other, run_id in self._in_other_dag_runs() if id_key(other) == id_key(id)), None)
        except Exception:
            log.warning("Whether another DAG run has %r too could not be read. The task continues.", id, exc_info=True)
            return None

    def _in_other_dag_runs(self) -> Iterator[tuple[str, str]]:
        """Yield each id that the same tasks pushed in other running DAG runs, with the DAG run."""
        ti = self._ti
        for run_id in self._dag_runs.read():
            if run_id != ti.run_id:
                for task_id in self._task_ids:
                    yield from ((id, run_id) for id in _pushed(ti, task_id, self._key, run_id))


def _log_unreadable() -> None:
    log.warning(
        "The other tasks that may have created the item could not be read. The search adopts nothing while their items "
        "are unknown.",
        exc_info=True,
    )


def _pushed(ti: Any, task_id: str, key: str, run_id: str) -> list[Any]:
    """Return the values of all instances, in one request. They do not show which instance pushed which."""
    values = ti.xcom_pull(task_ids=[task_id], key=key, run_id=run_id)
    return [value for value in values or () if value is not None]


class _SiblingTask:
    """The instances of one task, by their map indexes; -1 if it is not mapped."""

    def __init__(self, ti: Any, task_id: str, key: str) -> None:
        self._ti = ti
        self._task_id = task_id
        self._key = key
        # All ids at the last read.
        self._pushed: Counter[str] = Counter()
        # What single reads found: the ids of instances, and the states of those that had none.
        self._ids: dict[int, str] = {}
        self._without_id: dict[int, str] = {}

    def read(self, include_waiting: bool) -> Siblings:
        """Read the instances: see :meth:`SiblingTasks.read`."""
        # States first: an instance that has started by then has pushed its id when the ids are read.
        states = self._read_states()
        pushed = Counter(self._read_all(self._key))
        self._drop_outdated(pushed)
        may_own = _CAN_START | _WAITING if include_waiting else _CAN_START
        self._read_single({index: state for index, state in states.items() if state in may_own}, pushed.total())
        without_id = {index: state for index, state in states.items() if index not in self._ids}
        possible_owners = {index for index, state in without_id.items() if state in _CAN_START}
        waiting = {index for index, state in without_id.items() if state in _WAITING}
        if possible_owners or (waiting and include_waiting):
            # An instance that started nothing owns nothing until its next attempt, when Airflow deletes this XCom.
            not_started = set(self._read_all(NOT_STARTED_KEY))
            possible_owners -= not_started
            waiting -= not_started
        return Siblings(
            owned_ids=frozenset(pushed) | frozenset(self._ids.values()),
            possible_owners=self._names(possible_owners),
            waiting=self._names(waiting),
        )

    def _read_single(self, states: Mapping[int, str], pushed: int) -> None:
        """
        Read the ids of single instances, as long as it is unknown who pushed some of the ids.

        :param states: The instances that may own an item.
        :param pushed: How many ids all instances pushed.
        """
        unassigned = pushed - len(self._ids)
        for index, state in states.items():
            if unassigned <= 0:
                return
            if index in self._ids or self._without_id.get(index) == state:
                continue
            id = self._read_one(index)
            if id is None:
                self._without_id[index] = state
            else:
                self._ids[index] = id
                unassigned -= 1

    def _drop_outdated(self, pushed: Counter[str]) -> None:
        """Drop what single reads found and what the ids of all instances have made doubtful since."""
        gone = self._pushed - pushed
        # The next attempt of an instance deletes its id, and may create another item.
        self._ids = {index: id for index, id in self._ids.items() if id in pushed and id not in gone}
        if pushed - self._pushed:
            # An instance without an id may have pushed one. A waiting one pushes nothing, and thousands may wait: one
            # that ran between two reads counts as a possible owner for longer than necessary.
            self._without_id = {index: state for index, state in self._without_id.items() if state in _WAITING}
        self._pushed = pushed

    def _read_states(self) -> dict[int, str]:
        """Return the state of each other instance, by its map index."""
        ti, found = self._ti, {}
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self._task_id], run_ids=[ti.run_id])
        for name, state in states.get(ti.run_id, {}).items():
            # Airflow names a mapped task instance task_id_<map index>.
            index = -1 if name == self._task_id else int(name.rpartition("_")[2])
            if (self._task_id, index) != (ti.task_id, ti.map_index) and state is not None:
                found[index] = state
        return found

    def _read_all(self, key: str) -> list[Any]:
        return _pushed(self._ti, self._task_id, key, self._ti.run_id)

    def _read_one(self, index: int) -> str | None:
        id: str | None = self._ti.xcom_pull(task_ids=self._task_id, key=self._key, map_indexes=index)
        return id

    def _names(self, indexes: set[int]) -> frozenset[str]:
        return frozenset(self._task_id if index < 0 else f"{self._task_id}[{index}]" for index in indexes)


def _differs(task: Any, argument: str, value: str, markers: Collection[str]) -> bool:
    """Return whether an argument of a task is a constant, and another id than a value."""
    # A mapped task has its constant arguments in partial_kwargs. Mapped arguments are unknown here.
    partial = getattr(task, "partial_kwargs", None)
    given = partial.get(argument) if partial is not None else getattr(task, argument, None)
    return isinstance(given, str) and is_constant(given, markers) and id_key(given) != id_key(value)
