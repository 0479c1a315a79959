"""Observability of runs: summaries, progress, tasks, notifications."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import WORKSPACE_ID
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.routes.runs import find_run
from mosaic_emulator.runs.models import NodeTask, Run, RunNode

router = APIRouter()

Item = TypeVar("Item")
#: Query parameters of all observability lists.
COMMON: Final = ("limit", "cursor", "from", "to", "workspace_id")
RECENT_TASKS: Final = 5
TWO_WEEKS: Final = timedelta(days=14)


def filtered_page(
    context: RequestContext,
    key: str,
    items: dict[str, Item],
    *,
    number: Callable[[Item], int],
    created: Callable[[Item], datetime],
    updated: Callable[[Item], datetime] | None,
    to_json: Callable[[Item], Any],
    matches: Callable[[Item], bool] = lambda item: True,
    filters: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
) -> Response:
    """
    Return one page of an observability list.

    :param updated: Returns when an item was last changed. Without it the list has no filter ``updated_from``.
    :param filters: Names of further query parameters.
    """
    names = (*COMMON, *filters, *(() if updated is None else ("updated_from",)))
    context.allow_query(*names)
    context.workspace(context.query("workspace_id"))
    since, until = context.query_time("from"), context.query_time("to")
    changed = context.query_time("updated_from") if updated is not None else None

    def passes_filters(item: Item) -> bool:
        return (
            matches(item)
            and (since is None or created(item) >= since)
            and (until is None or created(item) <= until)
            and (changed is None or updated is None or updated(item) >= changed)
        )

    return context.page(
        key if context.settings.observability_lists == "named" else "items",
        items,
        number=number,
        to_json=to_json,
        matches=passes_filters,
        filters=tuple(name for name in names if name not in ("limit", "cursor")),
        extra=extra,
    )


# Workspace


@router.get("/pipeline_runs")
async def list_pipeline_runs(context: Context) -> Response:
    """List runs without their nodes, inputs and outputs."""
    status = context.query("status")
    if status is not None and "," in status:
        raise context.invalid_request("status: one exact status", "query", "status")
    listed_until = time.monotonic() - context.settings.list_lag
    hidden = {
        name: context.query(name)
        for name in ("folder_id", "batch_id", "batch_key", "storage_trigger_id")
        if context.query(name) is not None
    }

    def matches(run: Run) -> bool:
        return (
            run.created_monotonic <= listed_until
            and context.is_listed(run.agent.workspace_id)
            and context.query("agent_id") in (None, run.agent.id)
            and status in (None, run.status)
            and all(run.origin.get(name) == value for name, value in hidden.items())
        )

    return filtered_page(
        context,
        "pipeline_runs",
        context.state.runs,
        number=lambda run: run.number,
        created=lambda run: run.created_at,
        updated=lambda run: run.updated_at,
        matches=matches,
        to_json=lambda run: {context.settings.pipeline_run_id: run.id, **_summary(context, run)},
        filters=("agent_id", "status", "folder_id", "batch_id", "batch_key", "storage_trigger_id"),
    )


def _summary(context: RequestContext, run: Run) -> dict[str, Any]:
    text = context.state.clock.text
    origin = run.origin
    return {
        "agent_id": run.agent.id,
        "status": run.status,
        "status_message": run.status_message,
        "created_at": text(run.created_at),
        "started_at": text(run.started_at),
        "updated_at": text(run.updated_at),
        "trigger_info": {
            "source_folder_id": origin.get("folder_id"),
            "batch_window_id": origin.get("batch_id"),
        }
        if origin
        else None,
        "batch_key": origin.get("batch_key"),
    }


@router.get("/automations/runs")
async def list_automation_runs(context: Context) -> Response:
    """List the runs of a workspace with their failed nodes."""
    statuses = _statuses(context)
    since = context.query_time("since") or context.state.clock.now() - TWO_WEEKS
    listed_until = time.monotonic() - context.settings.list_lag
    items = [
        run
        for run in context.state.runs.values()
        if run.created_monotonic <= listed_until
        and context.is_listed(run.agent.workspace_id)
        and run.created_at >= since
        and (statuses is None or run.status in statuses)
        and context.query("agent_id") in (None, run.agent.id)
        and context.query("production_id") in (None, run.origin.get("production_id"))
        and context.query("batch_key") in (None, run.origin.get("batch_key"))
    ]

    def to_json(run: Run) -> dict[str, Any]:
        failed = [node.as_json() for node in run.nodes.values() if node.status == "failed"]
        return {"id": run.id, **_summary(context, run), "failed_nodes": failed}

    return offset_page(context, "runs", items, to_json)


@router.get("/automations/ingest-batches")
async def list_ingest_batches(context: Context) -> Response:
    """List the ingest batches of a workspace."""
    statuses = _statuses(context)
    since = context.query_time("since") or context.state.clock.now() - TWO_WEEKS
    storage_events = context.state.storage_events
    items = [
        each
        for each in storage_events.batches.values()
        # All storage triggers are in the primary workspace.
        if context.is_listed(WORKSPACE_ID)
        and each.created_at >= since
        and (statuses is None or each.data["stage"] in statuses)
        and context.query("agent_id") in (None, each.data["agent_id"])
        and context.query("production_id") in (None, each.hidden.get("production_id"))
        and context.query("batch_key") in (None, each.data["batch_key"])
    ]
    return offset_page(
        context,
        "ingest_batches",
        items,
        lambda each: {"id": each.id, "status": each.data["stage"], **storage_events.as_json(each), **each.hidden},
    )


def _statuses(context: RequestContext) -> set[str] | None:
    context.allow_query("since", "status", "agent_id", "production_id", "batch_key", "limit", "offset")
    if context.settings.workspace_header_required and "x-workspace-id" not in context.request.headers:
        raise ApiError(400, "X-Workspace-Id is required", location=("header", "x-workspace-id"))
    text = context.query("status")
    return None if text is None else {each.strip() for each in text.split(",")}


def offset_page(context: RequestContext, key: str, items: list[Item], to_json: Callable[[Item], Any]) -> Response:
    """
    Return one page by offset.

    :param items: All items, oldest first.
    """
    limit, offset = context.query_int("limit", 200, 1, 500), context.query_int("offset", 0, 0, 1 << 31)
    if context.settings.list_order == "newest":
        items = items[::-1]
    body: dict[str, Any] = {key: [to_json(each) for each in items[offset : offset + limit]]}
    if context.settings.automations_total:
        body["total"] = len(items)
    return context.respond(body)


# One run


@router.get("/agent_run/{run_id}/progress")
async def get_run_progress(run_id: str, context: Context) -> Response:
    """Return the progress of a run, and one page of its tiles."""
    run = find_run(context, run_id)
    numbers = {each: place for place, each in enumerate(run.nodes, 1)}
    statuses = [node.status for node in run.nodes.values()]
    done = statuses.count("completed")

    def to_json(node: RunNode) -> dict[str, Any]:
        recent = [_task(context, node, task) for task in node.tasks[-RECENT_TASKS:]]
        return {**node.as_json(), "updated_at": context.state.clock.text(node.updated_at), "recent_tasks": recent}

    return filtered_page(
        context,
        "tiles",
        run.nodes,
        number=lambda node: numbers[node.template.id],
        created=lambda node: run.created_at,
        updated=lambda node: node.updated_at,
        to_json=to_json,
        extra={
            context.settings.pipeline_run_id: run.id,
            "status": run.status,
            "node_status_counts": context.state.counts_json(run),
            "total_nodes": len(statuses),
            # Of the whole run, not of the page.
            "completed_node_percent": round(100 * done / len(statuses), 1) if statuses else 100.0,
        },
    )


@router.get("/agent_run/{run_id}/tasks")
async def list_run_tasks(run_id: str, context: Context) -> Response:
    """List the current tasks of a run, without detached ones of earlier attempts."""
    run = find_run(context, run_id)
    pairs = [(node, task) for node in run.nodes.values() for task in node.tasks]
    return filtered_page(
        context,
        "tasks",
        {task.id: (node, task) for node, task in sorted(pairs, key=lambda pair: pair[1].number)},
        number=lambda pair: pair[1].number,
        created=lambda pair: pair[1].created_at,
        updated=lambda pair: pair[1].heartbeat,
        to_json=lambda pair: _task(context, *pair),
    )


def _task(context: RequestContext, node: RunNode, task: NodeTask) -> dict[str, Any]:
    text = context.state.clock.text
    return {
        "id": task.id,
        "agent_node_id": node.id,
        "original_node_id": node.template.id,
        "status": task.status,
        "progress": task.progress,
        "error_message": task.message,
        "created_at": text(task.created_at),
        "heartbeat_timestamp": text(task.heartbeat),
    }


@dataclass(frozen=True)
class Receipt:
    """A delivered notification."""

    number: int
    id: str
    channel: str
    at: datetime


@router.get("/agent_run/{run_id}/notifications")
async def list_notifications(run_id: str, context: Context) -> Response:
    """List the notifications of a run's completions. Webhooks are not included."""
    run = find_run(context, run_id)
    channels = context.settings.notification_channels
    receipts = [
        Receipt(place, str(uuid.uuid5(uuid.UUID(WORKSPACE_ID), f"{run.id} {place}")), channel, run.updated_at)
        for place, channel in enumerate([each for _ in range(run.ended) for each in channels], 1)
    ]
    text = context.state.clock.text
    return filtered_page(
        context,
        "notifications",
        {each.id: each for each in receipts},
        number=lambda each: each.number,
        created=lambda each: each.at,
        updated=lambda each: each.at,
        to_json=lambda each: {
            "id": each.id,
            "channel": each.channel,
            "status": "delivered",
            "created_at": text(each.at),
        },
    )


@router.get("/agent_run/{run_id}/notification_configurations")
async def list_notification_configurations(run_id: str, context: Context) -> Response:
    """List the notification settings of each tile of a run."""
    run = find_run(context, run_id)
    numbers = {each: place for place, each in enumerate(run.nodes, 1)}
    return filtered_page(
        context,
        "notification_configurations",
        run.nodes,
        number=lambda node: numbers[node.template.id],
        created=lambda node: run.created_at,
        updated=lambda node: node.updated_at,
        to_json=lambda node: {
            "agent_node_id": node.id,
            "original_node_id": node.template.id,
            "channels": list(context.settings.notification_channels),
            "source": "agent",
            "opted_out": False,
        },
    )
