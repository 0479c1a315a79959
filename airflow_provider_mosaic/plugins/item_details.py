"""
What the page of a task shows of its run or its post, and the names of agents.

A run has progress, tiles, media and an agent; a post has its text, and a result and metrics at each destination.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import islice

from anyio.to_thread import run_sync

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.endpoints.agents import list_agents
from airflow_provider_mosaic.api.endpoints.engagement import PostAnalytics, get_post_analytics
from airflow_provider_mosaic.api.endpoints.posts import Destination, Post
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, get_run_nodes
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome, run_outcome
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.redaction import label, redact
from airflow_provider_mosaic.plugins.items import TaskKey
from airflow_provider_mosaic.plugins.media import input_media, output_media
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import (
    NodeProgress,
    PostDestination,
    PostDetails,
    RunDetails,
    Tile,
    message_of,
)
from airflow_provider_mosaic.tasks.reporting import TaskItem, agent_url

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
#: Tiles that a page shows.
_MAX_TILES = 1_000
#: Destinations of a post that its page shows, and metrics of each.
_MAX_DESTINATIONS, _MAX_METRICS = 1_000, 100
#: Seconds for which a page of the list of agents is used.
_NAMES_MAX_AGE = 600.0
#: A thousand agents. Those after them have no name.
_MAX_PAGES = 10
#: Seconds for which the metrics of a post are used.
_METRICS_MAX_AGE = 300.0
#: Characters of the text of a post.
_MAX_TEXT_LENGTH = 10_000


async def run_details(reads: MosaicReads, key: TaskKey, item: TaskItem, run: Run) -> RunDetails:
    """Return what the page shows of a run. What cannot be read beside the run is left out."""
    agent_id = run.agent_id or item.agent_id
    nodes, agent_name, editor_url = await asyncio.gather(
        _read_nodes(reads, item, run),
        _agent_name(reads, item, agent_id),
        _editor_url(reads, item, agent_id),
    )
    # On a thread: masking the messages of a thousand tiles takes seconds.
    return await run_sync(lambda: _run_details(key, agent_id, agent_name, editor_url, run, nodes))


def _run_details(
    key: TaskKey,
    agent_id: str | None,
    agent_name: str | None,
    editor_url: str | None,
    run: Run,
    nodes: tuple[RunNode, ...],
) -> RunDetails:
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
    nodes = tuple(sorted(nodes, key=lambda node: 0 if node.needs_credits else _ORDER.get(label(node.status), 5)))
    return tuple(
        Tile(
            name=label(node.node_type.node_type_name or "Tile"),
            status=label(node.status),
            message=message_of("\n".join(node.errors) or node.status_message),
            needs_credits=node.needs_credits,
        )
        for node in nodes[:_MAX_TILES]
    )


async def agent_names(reads: MosaicReads, agents: Mapping[str, Collection[str]]) -> dict[str, str]:
    """
    Return the names of agents by id. An agent that cannot be read is missing.

    :param agents: Ids of agents by connection.
    """
    found = await asyncio.gather(*(_names(reads, conn_id, ids) for conn_id, ids in agents.items()))
    return {agent_id: name for names in found for agent_id, name in names.items()}


async def _names(reads: MosaicReads, conn_id: str, agent_ids: Collection[str]) -> dict[str, str]:
    # By the key of the id: an agent may be spelled in several ways.
    names: dict[str, str] = {}
    keys = set(map(id_key, agent_ids))
    cursor = None
    for _ in range(_MAX_PAGES):
        if len(names) == len(keys):
            break
        call = list_agents().page(cursor)
        page = (await reads.read(conn_id, call, max_age=_NAMES_MAX_AGE)).value
        if page is None:
            break
        names |= {key: label(each.name) for each in page.items if each.name and (key := id_key(each.agent_id)) in keys}
        cursor = page.next_cursor
        if cursor is None:
            break
    return {agent_id: names[key] for agent_id in agent_ids if (key := id_key(agent_id)) in names}


async def post_details(reads: MosaicReads, item: TaskItem, post: Post) -> PostDetails:
    """Return what the page shows of a post."""
    metrics = await _metrics(reads, item, post)
    return await run_sync(lambda: _post_details(post, metrics))


def _post_details(post: Post, metrics: PostAnalytics | None) -> PostDetails:
    public = {place.url for place in public_urls(post)}
    platforms = metrics.platforms[:_MAX_DESTINATIONS] if metrics else ()
    rows = {row.platform: _metrics_shown(row.metrics) for row in platforms}
    destinations = [_destination(each, public, rows) for each in post.destination_results[:_MAX_DESTINATIONS]]
    return PostDetails(
        id=post.post_id,
        status=label(post.status),
        outcome=post_outcome(post).outcome.value,
        text=None if post.description is None else redact(post.description, longest=_MAX_TEXT_LENGTH),
        scheduled_at=post.scheduled_at,
        created_at=post.created_at,
        destinations=tuple(sorted(destinations, key=lambda each: each.status != "failed" and each.error is None)),
    )


def _metrics_shown(metrics: Mapping[str, int | float | None]) -> dict[str, int | float]:
    numbers = ((name, number) for name, number in metrics.items() if number is not None)
    return {label(name): number for name, number in islice(numbers, _MAX_METRICS)}


def _destination(
    destination: Destination, public: set[str], metrics: Mapping[str | None, dict[str, int | float]]
) -> PostDestination:
    account = destination.account_username or destination.account_name
    return PostDestination(
        platform=label(destination.platform) if destination.platform else None,
        account=label(account) if account else None,
        status=label(destination.status) if destination.status else None,
        url=destination.post_url if destination.post_url in public else None,
        error=message_of(destination.message),
        metrics=metrics.get(destination.platform, {}) if destination.platform else {},
    )


async def _metrics(reads: MosaicReads, item: TaskItem, post: Post) -> PostAnalytics | None:
    """Return the metrics of a published post; None if they can't be read."""
    if post_outcome(post).outcome not in (Outcome.SUCCESS, Outcome.PARTIAL):
        return None
    reading = await reads.read(item.conn_id, get_post_analytics(item.id), max_age=_METRICS_MAX_AGE)
    return reading.value
