"""The page "Last night": what the tasks of this Airflow created in Mosaic. It reads Airflow's database only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_mosaic.page_address import task_path
from airflow_provider_mosaic.plugins.items import MOST_TASKS, UNFINISHED, StartedItem, TaskKey, find_started, read_xcoms
from airflow_provider_mosaic.plugins.media import FIRST
from airflow_provider_mosaic.plugins.pages import Card, Choices, LastNight

PAGE_SIZE = 50
#: The most choices of a filter.
_MOST_CHOICES = 500
_MOST_CONNECTIONS = 20
_STATUS_KEY = "status"
_OUTPUTS_KEY = "output_ids"


def last_night(
    readable_dags: Collection[str],
    *,
    days: Literal[1, 7],
    dag_id: str | None = None,
    agent_id: str | None = None,
    state: str | None = None,
    page: int = 1,
) -> LastNight:
    """
    Return one page of cards, the newest first. Blocks: call it on a thread.

    :param readable_dags: The DAGs that the user may read.
    :param dag_id: Only tasks of this DAG.
    :param agent_id: Only runs of this agent.
    :param state: Only task instances in this state.
    :param page: From 1. After the last page, the last one.
    """
    now = datetime.now(timezone.utc)
    found = find_started(readable_dags, since=now - timedelta(days=days))
    truncated = len(found) > MOST_TASKS
    started = found[:MOST_TASKS]
    chosen = [
        each
        for each in started
        if (dag_id is None or each.key.dag_id == dag_id)
        and (agent_id is None or each.item.agent_id == agent_id)
        and (state is None or each.state == state)
    ]
    pages = max(1, -(-len(chosen) // PAGE_SIZE))
    page = min(page, pages)
    shown = chosen[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    xcoms = read_xcoms((each.key for each in shown if each.item.kind == "run"), (_STATUS_KEY, _OUTPUTS_KEY))
    return LastNight(
        days=days,
        page=page,
        pages=pages,
        total=len(chosen),
        truncated=truncated,
        cards=tuple(_card(each, xcoms.get(each.key, {}), now) for each in shown),
        choices=Choices(
            dag_ids=_choices({each.key.dag_id for each in started}),
            agent_ids=_choices({each.item.agent_id for each in started}),
            states=_choices({each.state for each in started}),
        ),
    )


def used_connections(readable_dags: Collection[str]) -> list[str]:
    """Return the connections of the items of a week, at most twenty. Blocks: call it on a thread."""
    week_ago = datetime.now(timezone.utc) - timedelta(days=7)
    found = dict.fromkeys(each.item.conn_id for each in find_started(readable_dags, since=week_ago))
    return list(found)[:_MOST_CONNECTIONS]


def _choices(values: set[str] | set[str | None]) -> tuple[str, ...]:
    return tuple(sorted(value for value in values if value is not None))[:_MOST_CHOICES]


def _card(started: StartedItem, xcoms: dict[str, Any], now: datetime) -> Card:
    key, item = started.key, started.item
    status = xcoms.get(_STATUS_KEY)
    end = started.ended_at or (now if started.state in UNFINISHED else None)
    url = task_path(key)
    return Card(
        kind=item.kind,
        dag_id=key.dag_id,
        run_id=key.run_id,
        task_id=key.task_id,
        map_index=key.map_index,
        item_id=item.id,
        agent_id=item.agent_id,
        task_state=started.state,
        status=status if isinstance(status, str) and len(status) < 100 else None,
        started_at=started.pushed_at,
        duration=None if end is None else max(0.0, (end - started.pushed_at).total_seconds()),
        page_url=url,
        airflow_url=_airflow_url(key),
        thumbnail_url=f"media/{url}/{FIRST}/thumbnail" if _may_have_thumbnail(started, xcoms) else None,
    )


def _may_have_thumbnail(started: StartedItem, xcoms: dict[str, Any]) -> bool:
    if started.item.kind == "run":
        # The value is a reference instead of a list with a custom XCom backend. Then only Mosaic knows.
        return started.state not in UNFINISHED and xcoms.get(_OUTPUTS_KEY) != []
    return started.item.kind == "asset" and started.item.asset_type in ("video", "image")


def _airflow_url(key: TaskKey) -> str:
    mapped = f"/mapped/{key.map_index}" if key.map_index >= 0 else ""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (key.dag_id, key.run_id, key.task_id))
    return f"../dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"
