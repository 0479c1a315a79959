"""A run on the page of its task: progress, tiles, media, and its agent."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, get_run_nodes
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.links import agent_url
from airflow_provider_mosaic.plugins.agent_names import agent_names
from airflow_provider_mosaic.plugins.items import TaskKey
from airflow_provider_mosaic.plugins.media import input_media, output_media
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import NodeProgress, RunDetails, Tile, message_of
from airflow_provider_mosaic.tasks.items import TaskItem

log = logging.getLogger(__name__)

#: Seconds for which the nodes are used while the counts of the run stay the same.
_NODES_MAX_AGE = 60.0
#: The order of the tiles by status. Any other status comes before ``completed``.
_ORDER = {
    **dict.fromkeys(("failed", "partial_complete"), 0),
    **dict.fromkeys(("blocked", "cancelled"), 1),
    "running": 2,
    "queued": 3,
    "not_started": 4,
    "completed": 6,
}


async def run_details(reads: MosaicReads, key: TaskKey, item: TaskItem, run: Run) -> RunDetails:
    """Return what the page shows of a run. What cannot be read beside the run is left out."""
    agent_id = run.agent_id or item.agent_id
    nodes, agent_name, editor_url = await asyncio.gather(
        _read_nodes(reads, item, run),
        _agent_name(reads, item, agent_id),
        _editor_url(reads, item, agent_id),
    )
    outcome = run_outcome(run)
    counts = run.node_status_counts
    return RunDetails(
        id=run.run_id,
        agent_id=agent_id,
        agent_name=agent_name,
        status=label(run.status),
        outcome=outcome.outcome.value,
        status_message=message_of(run.status_message),
        started_at=run.started_at,
        ended_at=_ended_at(run) if outcome.ended else None,
        needs_credits=run.needs_credits or any(node.needs_credits for node in nodes),
        nodes=NodeProgress(
            completed=counts.completed,
            in_progress=counts.in_progress,
            failed=counts.failed,
            total=max(len(nodes), counts.completed + counts.in_progress + counts.failed),
        ),
        tiles=_tiles(nodes),
        inputs=input_media(run, key),
        outputs=output_media(run, nodes, key),
        editor_url=editor_url,
    )


async def _read_nodes(reads: MosaicReads, item: TaskItem, run: Run) -> tuple[RunNode, ...]:
    """Return the nodes of a run. They are read again only if the counts of the run have changed."""
    counts = run.node_status_counts
    nodes = await reads.read(
        item.conn_id,
        get_run_nodes(item.id),
        max_age=_NODES_MAX_AGE,
        weigh=lambda nodes: 1 + len(nodes),
        variant=f"{run.status} {counts.completed} {counts.in_progress} {counts.failed} {run.needs_credits}",
    )
    return nodes.value or ()


async def _agent_name(reads: MosaicReads, item: TaskItem, agent_id: str | None) -> str | None:
    return (await agent_names(reads, {item.conn_id: {agent_id}})).get(agent_id) if agent_id else None


async def _editor_url(reads: MosaicReads, item: TaskItem, agent_id: str | None) -> str | None:
    try:
        access = await reads.access(item.conn_id)
    except MosaicError as error:
        log.info("Run %r has no link to its agent, because the connection could not be read: %s", item.id, error)
        return None
    return agent_url(agent_id, access.base_url)


def _ended_at(run: Run) -> datetime | None:
    """Return when a run ended. Mosaic reports only the last change, or when the outputs were completed."""
    completed = [output.completed_at for output in run.outputs if output.completed_at]
    return run.updated_at or max(completed, default=None)


def _tiles(nodes: tuple[RunNode, ...]) -> tuple[Tile, ...]:
    tiles = [
        Tile(
            name=label(node.node_type.node_type_name or "Tile"),
            status=label(node.status),
            message=message_of("\n".join(node.errors) or node.status_message),
            needs_credits=node.needs_credits,
        )
        for node in nodes
    ]
    return tuple(sorted(tiles, key=lambda tile: _ORDER.get(tile.status, 5) if not tile.needs_credits else 0))
