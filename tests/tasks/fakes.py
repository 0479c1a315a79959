"""Fakes of Airflow for a running task: its task instance, the XComs of its DAG run, its state store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.bases.operator import BaseOperator as SdkOperator
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.triggers.base import BaseTrigger, TriggerEvent
from pydantic import JsonValue, TypeAdapter

from tasks.airflow_exceptions import TaskDeferred

#: Airflow's marker of an argument that is not set.
NOTSET: Any = object()
_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


class Killed(BaseException):
    """The process died."""


class StateStore:
    """The task state store of Airflow 3.3: JSON only, by the rule of its ``SetTaskStateStore``."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        #: All keys and values that were set, in order.
        self.history: list[tuple[str, Any]] = []
        self.broken_sets = 0
        self.broken_gets = 0
        self._lost: set[str] = set()
        self._raising = False
        #: Called with each value after it was saved.
        self.after_set: Callable[[dict[str, Any]], None] = lambda value: None

    def get(self, key: str, default: Any = None) -> Any:
        if self.broken_gets:
            self.broken_gets -= 1
            raise RuntimeError("the API server is away")
        if key in self._lost:
            if self._raising:
                raise FileNotFoundError(key)
            return None
        return json.loads(self._texts[key]) if key in self._texts else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if value is None:
            raise ValueError("Cannot set value as None")
        text = json.dumps(_JSON.validate_python(value), allow_nan=False)
        if self.broken_sets:
            self.broken_sets -= 1
            raise RuntimeError("the API server is away")
        self._texts[key] = text
        self._lost.discard(key)
        self.history.append((key, json.loads(text)))
        self.after_set(json.loads(text))

    def delete(self, key: str) -> None:
        self._texts.pop(key, None)

    def clear(self) -> None:
        self._texts.clear()

    def lose(self, *, raising: bool = False) -> None:
        """
        Lose the objects that a backend on object storage keeps the values in. Airflow's database keeps the entries.

        :param raising: Whether the backend raises for them. The backend of the common.io provider returns None.
        """
        self._lost, self._raising = set(self._texts), raising

    def killing_at(self, moment: str) -> StateStore:
        """
        Kill the task once.

        :param moment: ``intent`` (saved, nothing sent) or ``id`` (saved, nothing else done).
        """

        def kill(value: dict[str, Any]) -> None:
            if ("id" in value) == (moment == "id"):
                self.after_set = lambda value: None
                raise Killed(moment)

        self.after_set = kill
        return self


@dataclass
class DagRun:
    """The state that all tasks of one DAG run share."""

    run_id: str = "manual__2026-01-01"
    state: str = "running"
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    #: How often its tasks were cleared.
    clear_number: int = 0
    xcoms: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    #: States by ``task_id`` or ``task_id_<map index>``, as Airflow names them.
    states: dict[str, str] = field(default_factory=dict)
    #: The requests of tasks for states and XComs.
    requests: list[str] = field(default_factory=list)
    #: Called before each read of the states.
    on_states_read: Callable[[], None] = lambda: None

    def states_of(self, task_ids: list[str], map_index: int | None = None) -> dict[str, str]:
        self.requests += [f"states of {task_id}" for task_id in task_ids]
        self.on_states_read()
        return {
            name: state
            for name, state in self.states.items()
            for task_id in task_ids
            if (name == task_id and map_index is None)
            or (name.rpartition("_")[0] == task_id and map_index in (None, int(name.rpartition("_")[2])))
        }


def bare_context(
    store: StateStore | None = None,
    *,
    try_number: int = 1,
    max_tries: int = 2,
    retries: int = 2,
    map_index: int = -1,
    start_date: datetime | None = None,
    clear_number: int = 0,
) -> dict[str, Any]:
    """Return the part of a context that saving state needs."""
    task = SimpleNamespace(task_id="task", retries=retries)
    ti = SimpleNamespace(
        max_tries=max_tries,
        try_number=try_number,
        task=task,
        dag_id="dag",
        task_id="task",
        run_id="manual__1",
        map_index=map_index,
    )
    context: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(start_date=start_date, clear_number=clear_number)}
    if store is not None:
        context["task_state_store"] = store
    return context


@dataclass
class TaskInstance:
    """The running task instance."""

    task: Any
    dag_run: DagRun
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    dag_id: str = "dag"
    #: Whether reads of the states fail.
    states_broken: bool = False
    #: Other runs of the DAG.
    other_dag_runs: list[DagRun] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        return str(self.task.task_id)

    @property
    def run_id(self) -> str:
        return self.dag_run.run_id

    def xcom_push(self, key: str, value: Any) -> None:
        self.dag_run.xcoms[(self.task_id, self.map_index, key)] = json.loads(json.dumps(value, allow_nan=False))

    def xcom_pull(
        self,
        task_ids: str | list[str],
        key: str = "return_value",
        map_indexes: Any = NOTSET,
        run_id: str | None = None,
    ) -> Any:
        (dag_run,) = self._dag_runs([run_id or self.run_id])
        if isinstance(task_ids, str):
            assert isinstance(map_indexes, int), "Airflow then gives one value or a list, by how many there are"
            dag_run.requests.append(f"{key} of {task_ids}[{map_indexes}]")
            return dag_run.xcoms.get((task_ids, map_indexes, key))
        # One request a task: its values in the order of the map indexes. Airflow 3.1 returns a None if there are none.
        assert map_indexes is NOTSET
        values: list[Any] = []
        for task_id in task_ids:
            dag_run.requests.append(f"{key} of {task_id}")
            keys = sorted(xcom for xcom in dag_run.xcoms if (xcom[0], xcom[2]) == (task_id, key))
            values += [dag_run.xcoms[xcom] for xcom in keys] or [None]
        return values

    def _dag_runs(self, run_ids: list[str] | None) -> list[DagRun]:
        return [each for each in (self.dag_run, *self.other_dag_runs) if run_ids is None or each.run_id in run_ids]

    def get_dr_count(self, *, dag_id: str, states: list[str], run_ids: list[str] | None = None) -> int:
        assert dag_id == self.dag_id
        assert len(run_ids or ()) <= 50, "The ids are part of the URL"
        self.dag_run.requests.append("count of DAG runs")
        return sum(each.state in states for each in self._dag_runs(run_ids))

    def get_first_reschedule_date(self, context: Any) -> None:
        """Return None, as at the first poke."""

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str], run_ids: list[str] | None = None, map_index: int | None = None
    ) -> dict[str, dict[str, str]]:
        if self.states_broken:
            raise RuntimeError("the API server is away")
        assert dag_id == self.dag_id
        # Airflow's client does not send -1: the response then has all instances.
        assert map_index is None or map_index >= 0
        found = {dag_run.run_id: dag_run.states_of(task_ids, map_index) for dag_run in self._dag_runs(run_ids)}
        if run_ids is None:
            # The whole history of the DAG.
            assert all(len(states) <= 1 for states in found.values()), "Airflow reads too many instances"
        return {run_id: states for run_id, states in found.items() if states}


@dataclass(frozen=True)
class Deferred:
    """A deferred task, as Airflow's database has it."""

    classpath: str
    trigger_kwargs: dict[str, Any]
    method: str
    kwargs: dict[str, Any]
    timeout: Any

    @classmethod
    def of(cls, deferral: TaskDeferred) -> Deferred:
        classpath, trigger_kwargs = deferral.trigger.serialize()
        return cls(
            classpath=classpath,
            trigger_kwargs=through_airflow(trigger_kwargs),
            method=deferral.method_name,
            kwargs=through_airflow(deferral.kwargs or {}),
            timeout=deferral.timeout,
        )

    def trigger(self) -> BaseTrigger:
        module, _, name = self.classpath.rpartition(".")
        made: BaseTrigger = getattr(import_module(module), name)(**self.trigger_kwargs)
        return made

    def wait(self, seconds: float = 90.0) -> dict[str, Any]:
        """Run the trigger on its own event loop, and return its event as the database would."""
        return event_of(self.trigger(), seconds)


def event_of(trigger: BaseTrigger, seconds: float = 90.0) -> dict[str, Any]:
    async def first() -> TriggerEvent:
        events = trigger.run()
        try:
            return await asyncio.wait_for(anext(events), seconds)
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    payload = asyncio.run(first()).payload
    assert isinstance(payload, dict)
    return through_airflow(payload)


def through_airflow(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value after Airflow's serialization and a JSON column."""
    try:
        from airflow.sdk.serde import deserialize, serialize
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import BaseSerialization

        serialize, deserialize = BaseSerialization.serialize, BaseSerialization.deserialize
    result: Any = deserialize(json.loads(json.dumps(serialize(value), allow_nan=False)))
    assert result == value
    return dict(value)


class TaskRunner:
    """
    Runs one task instance over its attempts. As in Airflow, each execution has a new operator.

    :param make: Makes the operator inside a DAG. Replace it to change the DAG file between two executions.
    :param store: The state that survives an attempt; None for an Airflow without a store.
    """

    def __init__(
        self,
        make: Callable[[], BaseOperator],
        *,
        store: StateStore | None = None,
        dag_run: DagRun | None = None,
        map_index: int = -1,
        retries: int = 2,
        others: Callable[[], Any] = lambda: None,
    ) -> None:
        self.make = make
        self._others = others
        self.store = store
        self.dag_run = dag_run or DagRun()
        self.map_index = map_index
        self.retries = retries
        self.max_tries = retries
        self.try_number = 0
        self.start_date = datetime.now(timezone.utc)
        self.operator: Any = None
        self.states_broken = False
        #: Other runs of the DAG.
        self.other_dag_runs: list[DagRun] = []
        #: The asset events of the last execution.
        self.outlet_events: Any = None

    def execute(self) -> Any:
        """Run the next attempt: return its result or a :class:`Deferred`, or raise its error."""
        self.try_number += 1
        self.start_date = datetime.now(timezone.utc)
        for key in [key for key in self.dag_run.xcoms if key[:2] == (self._new().task_id, self.map_index)]:
            del self.dag_run.xcoms[key]
        return self._execute(lambda operator, context: operator.execute(context))

    def resume(self, deferred: Deferred, event: Mapping[str, Any] | None) -> Any:
        """Continue after a deferral."""
        kwargs = {**deferred.kwargs, "event": event}
        return self._execute(lambda operator, context: operator.resume_execution(deferred.method, kwargs, context))

    def on_timeout(self) -> Any:
        """Do what Airflow does after the timeout of a trigger."""
        kwargs = {"error": "Trigger timeout"}
        return self._execute(lambda operator, context: operator.resume_execution("__fail__", kwargs, context))

    def run_to_end(self) -> Any:
        """Run a whole attempt with its deferrals."""
        result = self.execute()
        while isinstance(result, Deferred):
            result = self.resume(result, result.wait())
        return result

    def clear(self, *, retries: int | None = None) -> None:
        """
        Change the counters as a user's clear does.

        :param retries: The value of ``retries`` in the DAG file by then.
        """
        if retries is not None:
            self.retries = retries
        self.max_tries = self.try_number + self.retries
        self.dag_run.clear_number += 1

    def xcom(self, key: str) -> Any:
        return self.dag_run.xcoms.get((self._new().task_id, self.map_index, key))

    def _new(self) -> Any:
        with DAG("dag", schedule=None):
            self._others()
            operator = self.make()
        assert isinstance(operator, SdkOperator)
        operator.retries = self.retries
        return operator

    def _execute(self, call: Callable[[Any, Any], Any]) -> Any:
        operator = self.operator = self._new()
        ti = TaskInstance(
            task=operator,
            dag_run=self.dag_run,
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.max_tries,
            start_date=self.start_date,
            states_broken=self.states_broken,
            other_dag_runs=self.other_dag_runs,
        )
        context: dict[str, Any] = {
            "ti": ti,
            "task_instance": ti,
            "task": operator,
            "dag": operator.dag,
            "dag_run": SimpleNamespace(
                start_date=self.dag_run.start_date,
                run_id=self.dag_run.run_id,
                clear_number=self.dag_run.clear_number,
            ),
            "run_id": self.dag_run.run_id,
            "outlet_events": OutletEventAccessors(),
        }
        self.outlet_events = context["outlet_events"]
        if self.store is not None:
            context["task_state_store"] = self.store
        try:
            return call(operator, context)
        except TaskDeferred as deferral:
            return Deferred.of(deferral)


class NativeTaskRunner(TaskRunner):
    """Renders the templates of each new operator as in a DAG with ``render_template_as_native_obj=True``."""

    def _new(self) -> Any:
        written = super()._new()
        written.dag.render_template_as_native_obj = True
        operator = written.prepare_for_execution()
        operator.render_template_fields({})
        return operator
