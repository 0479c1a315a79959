"""Watched folders, as far as they can be read: nothing of them is changed by the API."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import WORKSPACE_ID
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.observability import evidence_page
from mosaic_emulator.routes.request_context import Asked, RequestContext
from mosaic_emulator.triggers.storage_events import Record

router = APIRouter()


def _page(
    exchange: RequestContext,
    key: str,
    records: dict[str, Record],
    *,
    wanted: Callable[[Record], bool],
    filters: tuple[str, ...] = (),
    changing: bool = True,
) -> Response:
    return evidence_page(
        exchange,
        key,
        records,
        number=lambda record: record.number,
        created=lambda record: record.created_at,
        updated=(lambda record: record.updated_at) if changing else None,
        # All that watches a folder is in the primary workspace.
        wanted=lambda record: exchange.is_listed(WORKSPACE_ID) and wanted(record),
        write=exchange.world.evidence.as_json,
        filters=filters,
    )


def _trigger(exchange: RequestContext, trigger_id: str) -> str:
    if trigger_id not in exchange.world.evidence.triggers:
        raise ApiError(404, "Storage trigger could not be found")
    return trigger_id


@router.get("/storage_triggers")
async def list_storage_triggers(exchange: Asked) -> Response:
    """List the watchers of folders and buckets."""
    agent_id = exchange.query("agent_id")
    return _page(
        exchange,
        "storage_triggers",
        exchange.world.evidence.triggers,
        wanted=lambda record: agent_id in (None, record.data["agent_id"]),
        filters=("agent_id",),
    )


@router.get("/storage_trigger/{trigger_id}/folders")
async def list_watched_folders(trigger_id: str, exchange: Asked) -> Response:
    """List the folders of a watcher, also those that it no longer watches."""
    owner = _trigger(exchange, trigger_id)
    active = exchange.query("is_active")
    if active not in (None, "true", "false"):
        raise exchange.refuse("is_active: must be true or false", "query", "is_active")
    return _page(
        exchange,
        "folders",
        exchange.world.evidence.folders,
        wanted=lambda record: record.owner == owner and active in (None, str(record.data["is_active"]).lower()),
        filters=("is_active",),
    )


@router.get("/storage_trigger/{trigger_id}/events")
async def list_storage_events(trigger_id: str, exchange: Asked) -> Response:
    """List what a watcher saw, also what came to nothing."""
    owner = _trigger(exchange, trigger_id)
    events = exchange.world.evidence.events
    return _page(exchange, "events", events, wanted=lambda record: record.owner == owner)


@router.get("/storage_batches")
async def list_storage_batches(exchange: Asked) -> Response:
    """List the batches, with the runs that came of them."""
    names = ("trigger_id", "folder_id", "batch_key")
    return _page(
        exchange,
        "storage_batches",
        exchange.world.evidence.batches,
        wanted=lambda record: all(exchange.query(name) in (None, record.data[name]) for name in names),
        filters=names,
    )


@router.get("/storage_batch/{batch_id}/items")
async def list_batch_items(batch_id: str, exchange: Asked) -> Response:
    """List what is in a batch; that never changes, so there is no ``updated_from``."""
    if batch_id not in exchange.world.evidence.batches:
        raise ApiError(404, "Storage batch could not be found")
    items = exchange.world.evidence.items
    return _page(exchange, "items", items, wanted=lambda record: record.owner == batch_id, changing=False)
