"""
The page "Last night": what the tasks of this Airflow created in Mosaic. It reads Airflow's database only.

Two queries make a page. One counts the items in groups, for the numbers and the filters. The other reads 50 cards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, get_args
from urllib.parse import quote

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import String, and_, case, func, select, type_coerce
from sqlalchemy.orm import aliased

from airflow_provider_mosaic.api.endpoints.runs import RunStatus
from airflow_provider_mosaic.page_address import task_path
from airflow_provider_mosaic.plugins.items import UNFINISHED, TaskKey, same_task
from airflow_provider_mosaic.plugins.media import FIRST
from airflow_provider_mosaic.plugins.pages import Card, Choices, ItemKind, LastNight
from airflow_provider_mosaic.tasks.reporting import ITEM_KEY, NEEDS_CREDITS_KEY, OUTPUT_IDS_KEY, STATUS_KEY

PAGE_SIZE = 50
#: The most XComs of a page. The oldest are left out.
MAX_XCOMS = 10_000
#: The most choices of a filter.
_MAX_CHOICES = 500
_MAX_CONNECTIONS = 20


def last_night(
    readable_dags: Collection[str],
    *,
    days: Literal[1, 7],
    kind: ItemKind | Literal["all"] = "run",
    dag_id: str | None = None,
    agent_id: str | None = None,
    state: str | None = None,
    page: int = 1,
) -> LastNight:
    """
    Return one page of cards, the newest first. Blocks: call it on a thread.

    :param readable_dags: The DAGs that the user may read.
    :param kind: Only items of this kind.
    :param dag_id: Only items of tasks of this DAG.
    :param agent_id: Only runs of this agent.
    :param state: Only items in this state (:attr:`Card.state`).
    :param page: From 1. After the last page, the last one.
    """
    now = datetime.now(timezone.utc)
    items = _items(readable_dags, since=now - timedelta(days=days))
    given = {"kind": None if kind == "all" else kind, "dag_id": dag_id, "agent_id": agent_id, "state": state}
    filters = {name: value for name, value in given.items() if value}
    with create_session(scoped=False) as session:
        groups = session.execute(_count(items)).all()
        # The numbers of all states: of what the other filters leave.
        states = _sums((each for each in groups if _matches(each, filters, except_for="state")), "state")
        total = states[state] if state else states.total()
        pages = max(1, math.ceil(total / PAGE_SIZE))
        page = min(page, pages)
        rows = session.execute(_cards(items, filters, page=page)).all()
    return LastNight(
        days=days,
        kind=kind,
        page=page,
        pages=pages,
        total=total,
        truncated=sum(each.xcoms for each in groups) >= MAX_XCOMS,
        states={name: count for name, count in states.most_common() if name},
        cards=tuple(_card(row, now) for row in rows),
        choices=Choices(
            kinds=tuple(_sums(groups, "kind")),
            dag_ids=_choices(each.dag_id for each in groups),
            agent_ids=_choices(each.agent_id for each in groups),
            states=_choices(each.state for each in groups if kind in ("all", each.kind)),
        ),
    )


def used_agents(readable_dags: Collection[str]) -> dict[str, set[str]]:
    """Return the connections of the items of a week, at most twenty, each with its agents. Blocks, like the others."""
    items = _items(readable_dags, since=datetime.now(timezone.utc) - timedelta(days=7))
    query = select(items.c.conn_id, items.c.agent_id).distinct().order_by(items.c.conn_id)
    found: dict[str, set[str]] = {}
    with create_session(scoped=False) as session:
        for conn_id, agent_id in session.execute(query):
            if len(found) == _MAX_CONNECTIONS and conn_id not in found:
                break
            if conn_id.isprintable():
                found.setdefault(conn_id, set()).update([agent_id] if agent_id else [])
    return found


# Queries


def _items(dag_ids: Collection[str], *, since: datetime) -> Any:
    """
    Select the items of tasks since a time, each with its task instance.

    ``state`` is that of the run, or of the task instance. ``is_creator`` is true for one task of each item.
    """
    pushed = _pushed_items(dag_ids, since=since)
    status, same_status_task = _xcom_of(pushed, STATUS_KEY)
    return (
        select(
            pushed,
            _is_creator(pushed).label("is_creator"),
            _state(status).label("state"),
            TaskInstance.state.label("task_state"),
            type_coerce(TaskInstance.rendered_map_index, String).label("map_label"),
            TaskInstance.start_date,
            TaskInstance.end_date,
        )
        .join(TaskInstance, same_task(TaskInstance, pushed.c))
        .outerjoin(status, same_status_task)
        .subquery()
    )


def _pushed_items(dag_ids: Collection[str], *, since: datetime) -> Any:
    """Select the XComs with an item, the newest first, and the fields of the item. Users may write any JSON."""
    xcom = XComModel
    item = {name: xcom.value[name].as_string() for name in ("kind", "id", "conn_id", "agent_id", "asset_type")}
    return (
        select(
            *(xcom.dag_run_id, xcom.dag_id, xcom.run_id, xcom.task_id, xcom.map_index, xcom.timestamp),
            *(field.label(name) for name, field in item.items()),
        )
        .where(
            xcom.key == ITEM_KEY,
            xcom.timestamp >= since,
            xcom.dag_id.in_(dag_ids),
            item["kind"].in_(get_args(ItemKind)),
            item["id"].is_not(None),
            item["conn_id"].is_not(None),
        )
        .order_by(xcom.timestamp.desc())
        .limit(MAX_XCOMS)
        .subquery()
    )


def _is_creator(pushed: Any) -> Any:
    """Return whether a task was the first that had its item. Others waited for the item or downloaded it."""
    place = func.row_number().over(
        partition_by=(pushed.c.conn_id, pushed.c.kind, pushed.c.id),
        order_by=(pushed.c.timestamp, pushed.c.dag_run_id, pushed.c.task_id, pushed.c.map_index),
    )
    return place == 1


def _state(status: Any) -> Any:
    """Return the status of a run at its end, else the state of the task instance."""
    text = status.value[()].as_string()
    # With a custom XCom backend, the value is a reference instead of a status.
    return case((text.in_([each.value for each in RunStatus]), text), else_=TaskInstance.state)


def _xcom_of(items: Any, key: str) -> tuple[Any, Any]:
    """Return an alias for another XCom of the same task instances, and the condition of its join."""
    xcom = aliased(XComModel)
    # The primary key of XComs.
    columns = ("dag_run_id", "task_id", "map_index")
    return xcom, and_(xcom.key == key, *(getattr(xcom, name) == items.c[name] for name in columns))


def _count(items: Any) -> Any:
    """Count the items by all that the filters distinguish, and their XComs, which include those of later tasks."""
    groups = [items.c[name] for name in ("kind", "dag_id", "agent_id", "state")]
    created = func.sum(case((items.c.is_creator, 1), else_=0))
    return select(*groups, func.count().label("xcoms"), created.label("items")).group_by(*groups)


def _cards(items: Any, filters: Mapping[str, str], *, page: int) -> Any:
    """Select the cards of a page, with what only they need."""
    outputs, same_outputs_task = _xcom_of(items, OUTPUT_IDS_KEY)
    credits, same_credits_task = _xcom_of(items, NEEDS_CREDITS_KEY)
    return (
        select(items, outputs.value.label("output_ids"), credits.value.label("needs_credits"))
        .outerjoin(outputs, same_outputs_task)
        .outerjoin(credits, same_credits_task)
        .where(items.c.is_creator, *(items.c[name] == value for name, value in filters.items()))
        .order_by(items.c.timestamp.desc(), items.c.dag_run_id.desc(), items.c.map_index)
        .limit(PAGE_SIZE)
        .offset((page - 1) * PAGE_SIZE)
    )


# Cards


def _matches(group: Any, filters: Mapping[str, str], *, except_for: str) -> bool:
    return all(getattr(group, name) == value for name, value in filters.items() if name != except_for)


def _sums(groups: Iterable[Any], name: str) -> Counter[Any]:
    """Return the numbers of items by a column of the groups."""
    found: Counter[Any] = Counter()
    for each in groups:
        if each.items:
            found[getattr(each, name)] += int(each.items)
    return found


def _choices(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value is not None}))[:_MAX_CHOICES]


def _card(row: Any, now: datetime) -> Card:
    key = TaskKey(dag_id=row.dag_id, run_id=row.run_id, task_id=row.task_id, map_index=row.map_index)
    url = task_path(key)
    end = row.end_date or (now if row.task_state in UNFINISHED else None)
    # An item can be pushed late: a search finds a run long after its start.
    start = min(row.start_date or row.timestamp, row.timestamp)
    may_have_media = _may_have_media(row)
    return Card(
        **asdict(key),
        kind=row.kind,
        map_label=row.map_label if key.map_index >= 0 else None,
        item_id=row.id,
        agent_id=row.agent_id,
        state=row.state,
        task_state=row.task_state,
        needs_credits=row.needs_credits is True,
        started_at=row.timestamp,
        duration=None if end is None else max(0.0, (end - start).total_seconds()),
        page_url=url,
        airflow_url=_airflow_url(key),
        thumbnail_url=f"media/{url}/{FIRST}/thumbnail" if may_have_media and row.asset_type != "audio" else None,
        has_media=may_have_media,
    )


def _may_have_media(row: Any) -> bool:
    if row.kind == "run":
        # The value is a reference instead of a list with a custom XCom backend. Then only Mosaic knows.
        return row.task_state not in UNFINISHED and row.output_ids != []
    return bool(row.kind == "asset")


def _airflow_url(key: TaskKey) -> str:
    mapped = f"/mapped/{key.map_index}" if key.map_index >= 0 else ""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (key.dag_id, key.run_id, key.task_id))
    return f"../dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"
