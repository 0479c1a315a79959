"""Storage triggers: watched folders, their events and batches. Read-only."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import WORKSPACE_ID
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.observability import filtered_page
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.triggers.storage_events import StorageRecord

router = APIRouter()


def _page(
    context: RequestContext,
    key: str,
    records: dict[str, StorageRecord],
    *,
    matches: Callable[[StorageRecord], bool],
    filters: tuple[str, ...] = (),
    changing: bool = True,
) -> Response:
    return filtered_page(
        context,
        key,
        records,
        number=lambda record: record.number,
        created=lambda record: record.created_at,
        updated=(lambda record: record.updated_at) if changing else None,
        # All storage triggers are in the primary workspace.
        matches=lambda record: context.is_listed(WORKSPACE_ID) and matches(record),
        to_json=context.state.storage_events.as_json,
        filters=filters,
    )


def _trigger(context: RequestContext, trigger_id: str) -> str:
    if trigger_id not in context.state.storage_events.triggers:
        raise ApiError(404, "Storage trigger could not be found")
    return trigger_id


@router.get("/storage_triggers")
async def list_storage_triggers(context: Context) -> Response:
    """List the storage triggers."""
    agent_id = context.query("agent_id")
    return _page(
        context,
        "storage_triggers",
        context.state.storage_events.triggers,
        matches=lambda record: agent_id in (None, record.data["agent_id"]),
        filters=("agent_id",),
    )


@router.get("/storage_trigger/{trigger_id}/folders")
async def list_watched_folders(trigger_id: str, context: Context) -> Response:
    """List the folders of a storage trigger, including those that it no longer watches."""
    owner = _trigger(context, trigger_id)
    active = context.query("is_active")
    if active not in (None, "true", "false"):
        raise context.invalid_request("is_active: must be true or false", "query", "is_active")
    return _page(
        context,
        "folders",
        context.state.storage_events.folders,
        matches=lambda record: record.owner == owner and active in (None, str(record.data["is_active"]).lower()),
        filters=("is_active",),
    )


@router.get("/storage_trigger/{trigger_id}/events")
async def list_storage_events(trigger_id: str, context: Context) -> Response:
    """List the events of a storage trigger, including failed ones."""
    owner = _trigger(context, trigger_id)
    events = context.state.storage_events.events
    return _page(context, "events", events, matches=lambda record: record.owner == owner)


@router.get("/storage_batches")
async def list_storage_batches(context: Context) -> Response:
    """List the batches with their runs."""
    names = ("trigger_id", "folder_id", "batch_key")
    return _page(
        context,
        "storage_batches",
        context.state.storage_events.batches,
        matches=lambda record: all(context.query(name) in (None, record.data[name]) for name in names),
        filters=names,
    )


@router.get("/storage_batch/{batch_id}/items")
async def list_batch_items(batch_id: str, context: Context) -> Response:
    """List the items of a batch. Items never change, so there is no ``updated_from``."""
    if batch_id not in context.state.storage_events.batches:
        raise ApiError(404, "Storage batch could not be found")
    items = context.state.storage_events.items
    return _page(context, "items", items, matches=lambda record: record.owner == batch_id, changing=False)
