"""Runs as a pipeline sees them: light lists, progress, tasks, and who was told."""

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
from mosaic_emulator.routes.request_context import Asked, RequestContext
from mosaic_emulator.routes.runs import find_run
from mosaic_emulator.runs.models import NodeTask, Run, RunNode

router = APIRouter()

Item = TypeVar("Item")
#: Parameters that every list of observability takes.
COMMON: Final = ("limit", "cursor", "from", "to", "workspace_id")
RECENT_TASKS: Final = 5
TWO_WEEKS: Final = timedelta(days=14)


def evidence_page(
    exchange: RequestContext,
    key: str,
    items: dict[str, Item],
    *,
    number: Callable[[Item], int],
    created: Callable[[Item], datetime],
    updated: Callable[[Item], datetime] | None,
    write: Callable[[Item], Any],
    wanted: Callable[[Item], bool] = lambda item: True,
    filters: tuple[str, ...] = (),
    beside: dict[str, Any] | None = None,
) -> Response:
    """
    Answer one page of a list of observability.

    :param updated: when an item was last changed; without, the list has no ``updated_from``.
    :param filters: the parameters that this list has beside the common ones.
    """
    names = (*COMMON, *filters, *(() if updated is None else ("updated_from",)))
    exchange.known_query(*names)
    exchange.workspace(exchange.query("workspace_id"))
    since, until = exchange.time("from"), exchange.time("to")
    changed = exchange.time("updated_from") if updated is not None else None

    def fits(item: Item) -> bool:
        return (
            wanted(item)
            and (since is None or created(item) >= since)
            and (until is None or created(item) <= until)
            and (changed is None or updated is None or updated(item) >= changed)
        )

    return exchange.page(
        key if exchange.settings.observability_lists == "named" else "items",
        items,
        number=number,
        write=write,
        wanted=fits,
        filters=tuple(name for name in names if name not in ("limit", "cursor")),
        beside=beside,
    )


# Of a whole workspace


@router.get("/pipeline_runs")
async def list_pipeline_runs(exchange: Asked) -> Response:
    """List runs without graphs, inputs and outputs."""
    status = exchange.query("status")
    if status is not None and "," in status:
        raise exchange.refuse("status: one exact status", "query", "status")
    known_until = time.monotonic() - exchange.settings.list_lag
    hidden = {
        name: exchange.query(name)
        for name in ("folder_id", "batch_id", "batch_key", "storage_trigger_id")
        if exchange.query(name) is not None
    }

    def wanted(run: Run) -> bool:
        return (
            run.born <= known_until
            and exchange.is_listed(run.agent.workspace_id)
            and exchange.query("agent_id") in (None, run.agent.id)
            and status in (None, run.status)
            and all(run.origin.get(name) == value for name, value in hidden.items())
        )

    return evidence_page(
        exchange,
        "pipeline_runs",
        exchange.world.runs,
        number=lambda run: run.number,
        created=lambda run: run.created_at,
        updated=lambda run: run.updated_at,
        wanted=wanted,
        write=lambda run: {exchange.settings.pipeline_run_id: run.id, **_light(exchange, run)},
        filters=("agent_id", "status", "folder_id", "batch_id", "batch_key", "storage_trigger_id"),
    )


def _light(exchange: RequestContext, run: Run) -> dict[str, Any]:
    text = exchange.world.clock.text
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
async def list_automation_runs(exchange: Asked) -> Response:
    """List the runs of a workspace with the nodes that failed; here a run's id is called ``id``."""
    statuses = _statuses(exchange)
    since = exchange.time("since") or exchange.world.clock.now() - TWO_WEEKS
    known_until = time.monotonic() - exchange.settings.list_lag
    found = [
        run
        for run in exchange.world.runs.values()
        if run.born <= known_until
        and exchange.is_listed(run.agent.workspace_id)
        and run.created_at >= since
        and (statuses is None or run.status in statuses)
        and exchange.query("agent_id") in (None, run.agent.id)
        and exchange.query("production_id") in (None, run.origin.get("production_id"))
        and exchange.query("batch_key") in (None, run.origin.get("batch_key"))
    ]

    def write(run: Run) -> dict[str, Any]:
        failed = [node.as_json() for node in run.nodes.values() if node.status == "failed"]
        return {"id": run.id, **_light(exchange, run), "failed_nodes": failed}

    return offset_page(exchange, "runs", found, write)


@router.get("/automations/ingest-batches")
async def list_ingest_batches(exchange: Asked) -> Response:
    """List the uploads of a workspace that wait or failed."""
    statuses = _statuses(exchange)
    since = exchange.time("since") or exchange.world.clock.now() - TWO_WEEKS
    evidence = exchange.world.evidence
    found = [
        each
        for each in evidence.batches.values()
        # All that watches a folder is in the primary workspace.
        if exchange.is_listed(WORKSPACE_ID)
        and each.created_at >= since
        and (statuses is None or each.data["stage"] in statuses)
        and exchange.query("agent_id") in (None, each.data["agent_id"])
        and exchange.query("production_id") in (None, each.hidden.get("production_id"))
        and exchange.query("batch_key") in (None, each.data["batch_key"])
    ]
    return offset_page(
        exchange,
        "ingest_batches",
        found,
        lambda each: {"id": each.id, "status": each.data["stage"], **evidence.as_json(each), **each.hidden},
    )


def _statuses(exchange: RequestContext) -> set[str] | None:
    exchange.known_query("since", "status", "agent_id", "production_id", "batch_key", "limit", "offset")
    if exchange.settings.workspace_header_required and "x-workspace-id" not in exchange.request.headers:
        raise ApiError(400, "X-Workspace-Id is required", location=("header", "x-workspace-id"))
    text = exchange.query("status")
    return None if text is None else {each.strip() for each in text.split(",")}


def offset_page(exchange: RequestContext, key: str, found: list[Item], write: Callable[[Item], Any]) -> Response:
    """Answer one page by offset; the items come oldest first."""
    limit, offset = exchange.number("limit", 200, 1, 500), exchange.number("offset", 0, 0, 1 << 31)
    if exchange.settings.list_order == "newest":
        found = found[::-1]
    body: dict[str, Any] = {key: [write(each) for each in found[offset : offset + limit]]}
    if exchange.settings.automations_total:
        body["total"] = len(found)
    return exchange.answer(body)


# Of one run


@router.get("/agent_run/{run_id}/progress")
async def get_run_progress(run_id: str, exchange: Asked) -> Response:
    """Tell how far a whole run is, and one page of its tiles."""
    run = find_run(exchange, run_id)
    numbers = {each: place for place, each in enumerate(run.nodes, 1)}
    statuses = [node.status for node in run.nodes.values()]
    done = statuses.count("completed")

    def write(node: RunNode) -> dict[str, Any]:
        recent = [_task(exchange, node, task) for task in node.tasks[-RECENT_TASKS:]]
        return {**node.as_json(), "updated_at": exchange.world.clock.text(node.updated_at), "recent_tasks": recent}

    return evidence_page(
        exchange,
        "tiles",
        run.nodes,
        number=lambda node: numbers[node.template.id],
        created=lambda node: run.created_at,
        updated=lambda node: node.updated_at,
        write=write,
        beside={
            exchange.settings.pipeline_run_id: run.id,
            "status": run.status,
            "node_status_counts": exchange.world.counts_json(run),
            "total_nodes": len(statuses),
            # Of the whole run, not of the page; and no promise of when it ends.
            "completed_node_percent": round(100 * done / len(statuses), 1) if statuses else 100.0,
        },
    )


@router.get("/agent_run/{run_id}/tasks")
async def list_run_tasks(run_id: str, exchange: Asked) -> Response:
    """List the tasks that are attached to a run; earlier attempts that were detached are not."""
    run = find_run(exchange, run_id)
    pairs = [(node, task) for node in run.nodes.values() for task in node.tasks]
    return evidence_page(
        exchange,
        "tasks",
        {task.id: (node, task) for node, task in sorted(pairs, key=lambda pair: pair[1].number)},
        number=lambda pair: pair[1].number,
        created=lambda pair: pair[1].created_at,
        updated=lambda pair: pair[1].heartbeat,
        write=lambda pair: _task(exchange, *pair),
    )


def _task(exchange: RequestContext, node: RunNode, task: NodeTask) -> dict[str, Any]:
    text = exchange.world.clock.text
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
    """A delivery that is on record."""

    number: int
    id: str
    channel: str
    at: datetime


@router.get("/agent_run/{run_id}/notifications")
async def list_notifications(run_id: str, exchange: Asked) -> Response:
    """List on which channels the ends of a run were told. Webhooks are not among them."""
    run = find_run(exchange, run_id)
    channels = exchange.settings.notification_channels
    receipts = [
        Receipt(place, str(uuid.uuid5(uuid.UUID(WORKSPACE_ID), f"{run.id} {place}")), channel, run.updated_at)
        for place, channel in enumerate([each for _ in range(run.ended) for each in channels], 1)
    ]
    text = exchange.world.clock.text
    return evidence_page(
        exchange,
        "notifications",
        {each.id: each for each in receipts},
        number=lambda each: each.number,
        created=lambda each: each.at,
        updated=lambda each: each.at,
        write=lambda each: {"id": each.id, "channel": each.channel, "status": "delivered", "created_at": text(each.at)},
    )


@router.get("/agent_run/{run_id}/notification_configurations")
async def list_notification_configurations(run_id: str, exchange: Asked) -> Response:
    """List the settings that hold for each tile of a run; here they all come from the agent."""
    run = find_run(exchange, run_id)
    numbers = {each: place for place, each in enumerate(run.nodes, 1)}
    return evidence_page(
        exchange,
        "notification_configurations",
        run.nodes,
        number=lambda node: numbers[node.template.id],
        created=lambda node: run.created_at,
        updated=lambda node: node.updated_at,
        write=lambda node: {
            "agent_node_id": node.id,
            "original_node_id": node.template.id,
            "channels": list(exchange.settings.notification_channels),
            "source": "agent",
            "opted_out": False,
        },
    )
