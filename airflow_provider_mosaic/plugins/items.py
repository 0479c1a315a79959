"""Read what tasks have in Mosaic from Airflow's metadata database. All functions block: call them on a thread."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select, tuple_

from airflow_provider_mosaic.tasks.items import ITEM_KEY, TaskItem, read_item

#: The most task instances of one request for "Last night".
MOST_TASKS = 10_000
#: The states of a task instance that has not ended.
UNFINISHED = frozenset(
    {None, "scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule"}
)


@dataclass(frozen=True, kw_only=True)
class TaskKey:
    """The key of a task instance. ``map_index`` is -1 if the task is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """
    A task instance with its item.

    :param operator: The class of the operator.
    :param item: None if the task has pushed none.
    """

    key: TaskKey
    state: str | None
    operator: str | None
    item: TaskItem | None


@dataclass(frozen=True, kw_only=True)
class StartedItem:
    """
    An item with its task instance.

    :param pushed_at: When the task pushed the item.
    :param ended_at: When the task instance ended; None while it is running.
    """

    key: TaskKey
    item: TaskItem
    state: str | None
    pushed_at: datetime
    ended_at: datetime | None


def find_task(key: TaskKey) -> TaskRecord | None:
    """Return a task instance; None if there is none."""
    query = (
        select(TaskInstance.state, TaskInstance.operator, XComModel.value)
        .outerjoin(XComModel, and_(_same_task(), XComModel.key == ITEM_KEY))
        .where(
            TaskInstance.dag_id == key.dag_id,
            TaskInstance.run_id == key.run_id,
            TaskInstance.task_id == key.task_id,
            TaskInstance.map_index == key.map_index,
        )
    )
    with create_session(scoped=False) as session:
        row = session.execute(query).first()
    if row is None:
        return None
    return TaskRecord(key=key, state=_text(row.state), operator=row.operator, item=read_item(_decoded(row.value)))


def find_started(dag_ids: Collection[str], *, since: datetime) -> list[StartedItem]:
    """
    Return the items that tasks pushed since a time, the newest first, at most :data:`MOST_TASKS` and one.

    :param dag_ids: The DAGs that the user may read.
    """
    query = (
        select(
            XComModel.dag_id,
            XComModel.run_id,
            XComModel.task_id,
            XComModel.map_index,
            XComModel.value,
            XComModel.timestamp,
            TaskInstance.state,
            TaskInstance.end_date,
        )
        .join(TaskInstance, _same_task())
        .where(XComModel.key == ITEM_KEY, XComModel.timestamp >= since, XComModel.dag_id.in_(dag_ids))
        .order_by(XComModel.timestamp.desc(), XComModel.dag_run_id.desc(), XComModel.map_index)
        .limit(MOST_TASKS + 1)
    )
    with create_session(scoped=False) as session:
        rows = session.execute(query).all()
    found = []
    for row in rows:
        item = read_item(_decoded(row.value))
        if item is not None:
            key = TaskKey(dag_id=row.dag_id, run_id=row.run_id, task_id=row.task_id, map_index=row.map_index)
            found.append(
                StartedItem(key=key, item=item, state=_text(row.state), pushed_at=row.timestamp, ended_at=row.end_date)
            )
    return found


def read_xcoms(keys: Iterable[TaskKey], names: Collection[str]) -> dict[TaskKey, dict[str, Any]]:
    """
    Return some XComs of task instances.

    With a custom XCom backend, a value can be a reference to another storage.
    """
    wanted = [(key.dag_id, key.task_id, key.run_id, key.map_index) for key in keys]
    columns = (XComModel.dag_id, XComModel.task_id, XComModel.run_id, XComModel.map_index)
    query = select(*columns, XComModel.key, XComModel.value).where(
        tuple_(*columns).in_(wanted), XComModel.key.in_(names)
    )
    found: dict[TaskKey, dict[str, Any]] = {}
    with create_session(scoped=False) as session:
        for row in session.execute(query):
            key = TaskKey(dag_id=row.dag_id, run_id=row.run_id, task_id=row.task_id, map_index=row.map_index)
            found.setdefault(key, {})[row.key] = _decoded(row.value)
    return found


def log_action(key: TaskKey, *, event: str, owner: str, facts: Mapping[str, str]) -> None:
    """
    Write an entry to Airflow's audit log.

    :param event: What the user does.
    :param owner: The user.
    """
    with create_session(scoped=False) as session:
        session.add(
            Log(
                event=event,
                owner=owner,
                owner_display_name=owner,
                extra=json.dumps(facts),
                dag_id=key.dag_id,
                task_id=key.task_id,
                run_id=key.run_id,
                map_index=key.map_index,
            )
        )


def _same_task() -> Any:
    return and_(
        XComModel.dag_id == TaskInstance.dag_id,
        XComModel.task_id == TaskInstance.task_id,
        XComModel.run_id == TaskInstance.run_id,
        XComModel.map_index == TaskInstance.map_index,
    )


def _text(state: Any) -> str | None:
    # An enum of text.
    return None if state is None else str(getattr(state, "value", state))


def _decoded(value: Any) -> Any:
    """Return an XCom's value. Airflow stores it as JSON, and in some cases as the text of JSON."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
