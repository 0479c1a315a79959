"""Task instances with their items, in Airflow's metadata database. All functions block: call them on a thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select

from airflow_provider_mosaic.tasks.reporting import ITEM_KEY, TaskItem, read_item

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


def same_task(table: Any, task: Any) -> Any:
    """Return the condition that the rows of a table belong to a task instance, given by its key or another table."""
    return and_(*(getattr(table, field.name) == getattr(task, field.name) for field in fields(TaskKey)))


def find_task(key: TaskKey) -> TaskRecord | None:
    """Return a task instance; None if there is none."""
    query = (
        select(TaskInstance.state, TaskInstance.operator, XComModel.value)
        .outerjoin(XComModel, and_(same_task(XComModel, TaskInstance), XComModel.key == ITEM_KEY))
        .where(same_task(TaskInstance, key))
    )
    with create_session(scoped=False) as session:
        row = session.execute(query).first()
    if row is None:
        return None
    return TaskRecord(key=key, state=_text(row.state), operator=row.operator, item=read_item(_decoded(row.value)))


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
