"""The page of a task instance: what Mosaic reports about its item, and how often the page asks again."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.endpoints.assets import ViewLink, get_view_url
from airflow_provider_mosaic.api.endpoints.engagement import PostAnalytics, get_post_analytics
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, get_run, get_run_nodes
from airflow_provider_mosaic.api.endpoints.social import Destination, Post, get_post
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome, run_outcome
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.redaction import label, one_line, redact
from airflow_provider_mosaic.links import agent_url
from airflow_provider_mosaic.plugins.actions import available_actions
from airflow_provider_mosaic.plugins.items import UNFINISHED, TaskRecord
from airflow_provider_mosaic.plugins.media import asset_media, input_media, output_media
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads, Reading
from airflow_provider_mosaic.plugins.pages import (
    NodeProgress,
    PostDestination,
    PostDetails,
    Problem,
    ProblemKind,
    RunDetails,
    TaskPage,
    Tile,
)
from airflow_provider_mosaic.tasks.items import TaskItem

log = logging.getLogger(__name__)

#: Seconds for which a response is used for other viewers.
SHARED = 3.0
#: Seconds until a page asks again about something that is running: young, older than 10 minutes, older than an hour.
_REFRESH = (5.0, 15.0, 30.0)
#: The same while only the task can change something: before it has created anything, and before a retry.
_REFRESH_TASK = 10.0
#: The same after an error.
_REFRESH_ERROR = 15.0
#: A page waits for this many times as long as the last response took.
_SLOWNESS = 5.0
_LONGEST_REFRESH = 120.0
#: Seconds for which the nodes are used while the counts of the run stay the same.
_NODES_MAX_AGE = 60.0
#: Seconds for which the metrics of a post are used.
_METRICS_MAX_AGE = 300.0
#: Characters of a message of Mosaic, and of a post.
_LONGEST_MESSAGE = 1_000
_LONGEST_POST = 10_000
_ORDER = {
    **dict.fromkeys(("failed", "partial_complete"), 0),
    **dict.fromkeys(("blocked", "cancelled"), 1),
    "running": 2,
    "queued": 3,
    "not_started": 4,
    "completed": 6,
}


async def task_page(reads: MosaicReads, task: TaskRecord, *, may_edit: bool, csrf_token: str | None) -> TaskPage:
    """
    Return the page of a task instance.

    :param may_edit: Whether the viewer may cancel and resume.
    :param csrf_token: The token of the actions.
    """
    facts: dict[str, Any] = {**asdict(task.key), "task_state": task.state}
    if task.item is None:
        unfinished = task.state in UNFINISHED
        return TaskPage(
            kind="none",
            problem=_without_item(task, unfinished=unfinished),
            refresh_after=_REFRESH_TASK if unfinished else None,
            **facts,
        )
    if task.item.kind == "run":
        reading, nodes = await read_run(reads, task.item)
        run = reading.value
        if run is None:
            return TaskPage(kind="run", **_status(task, reading), **facts)
        actions = available_actions(task, run) if may_edit else ()
        return TaskPage(
            kind="run",
            run=_run_details(task, run, nodes, editor_url=await _editor_url(reads, task.item, run)),
            actions=actions,
            csrf_token=csrf_token if actions else None,
            **_status(task, reading, ended=run_outcome(run).ended, started_at=run.started_at),
            **facts,
        )
    if task.item.kind == "post":
        post_reading = await reads.read(task.item.conn_id, get_post(task.item.id), max_age=SHARED)
        post = post_reading.value
        if post is None:
            return TaskPage(kind="post", **_status(task, post_reading), **facts)
        return TaskPage(
            kind="post",
            post=_post_details(post, await _metrics(reads, task.item, post)),
            **_status(task, post_reading, ended=post_outcome(post).ended, started_at=post.created_at),
            **facts,
        )
    asset_reading = await read_asset(reads, task.item)
    link = asset_reading.value
    return TaskPage(
        kind="asset",
        asset=None if link is None else asset_media(task.item, link, task.key),
        **_status(task, asset_reading, ended=True),
        **facts,
    )


async def read_run(reads: MosaicReads, item: TaskItem) -> tuple[Reading[Run], tuple[RunNode, ...]]:
    """Read a run and its nodes. The nodes are read again only if the counts of the run have changed."""
    reading = await reads.read(item.conn_id, get_run(item.id), max_age=SHARED, weigh=run_weight)
    run = reading.value
    if run is None:
        return reading, ()
    counts = run.node_status_counts
    nodes = await reads.read(
        item.conn_id,
        get_run_nodes(item.id),
        max_age=_NODES_MAX_AGE,
        weigh=lambda nodes: 1 + len(nodes),
        variant=f"{run.status} {counts.completed} {counts.in_progress} {counts.failed} {run.needs_credits}",
    )
    return reading, nodes.value or ()


async def read_asset(reads: MosaicReads, item: TaskItem, *, max_age: float = SHARED) -> Reading[ViewLink]:
    """Read the links of an asset."""
    call = get_view_url(item.asset_type or AssetType.VIDEO, item.id)
    return await reads.read(item.conn_id, call, max_age=max_age)


def run_weight(run: Run) -> int:
    """Return how much memory a run takes, in units of about a kilobyte."""
    return 1 + len(run.outputs) + len(run.inputs) + len(run.errors)


def _without_item(task: TaskRecord, *, unfinished: bool) -> Problem:
    if not (task.operator or "").startswith("Mosaic"):
        return Problem(kind="not_ours", message="This task has recorded nothing about Mosaic.")
    if unfinished:
        return Problem(kind="not_started", message="The task has not created anything in Mosaic yet.")
    return Problem(
        kind="not_started", message=f"The task is {task.state} and has recorded nothing that it created in Mosaic."
    )


def _status(
    task: TaskRecord, reading: Reading[Any], *, ended: bool = False, started_at: datetime | None = None
) -> dict[str, Any]:
    """Return what a page reports about a reading."""
    return {
        "problem": None if reading.error is None else _problem(reading.error),
        "read_at": reading.read_at,
        "refresh_after": _refresh_after(task, reading, ended=ended, started_at=started_at),
    }


def _refresh_after(
    task: TaskRecord, reading: Reading[Any], *, ended: bool, started_at: datetime | None
) -> float | None:
    if reading.error is not None:
        return round(min(max(_REFRESH_ERROR, reading.pause), _LONGEST_REFRESH), 1)
    if ended:
        return _REFRESH_TASK if task.state in UNFINISHED else None
    age = datetime.now(timezone.utc) - started_at if started_at else timedelta()
    usual = _REFRESH[(age > timedelta(minutes=10)) + (age > timedelta(hours=1))]
    return round(min(max(usual, _SLOWNESS * reading.seconds), _LONGEST_REFRESH), 1)


def _problem(error: MosaicError) -> Problem:
    kinds: dict[type[MosaicError], ProblemKind] = {
        MosaicNotFoundError: "not_found",
        MosaicAuthenticationError: "no_access",
        MosaicPermissionError: "no_access",
        MosaicConnectionError: "no_access",
    }
    kind = next((kind for each, kind in kinds.items() if isinstance(error, each)), "unreachable")
    return Problem(kind=kind, message=one_line(str(error), longest=_LONGEST_MESSAGE))


def _run_details(task: TaskRecord, run: Run, nodes: tuple[RunNode, ...], *, editor_url: str | None) -> RunDetails:
    outcome = run_outcome(run)
    counts = run.node_status_counts
    return RunDetails(
        id=run.run_id,
        agent_id=_agent_id(task.item, run),
        status=label(run.status),
        outcome=outcome.outcome.value,
        status_message=_message(run.status_message),
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
        inputs=input_media(run, task.key),
        outputs=output_media(run, nodes, task.key),
        editor_url=editor_url,
    )


def _ended_at(run: Run) -> datetime | None:
    """Return when a run ended. Mosaic reports only the last change, or when the outputs were completed."""
    completed = [output.completed_at for output in run.outputs if output.completed_at]
    return run.updated_at or max(completed, default=None)


def _agent_id(item: TaskItem | None, run: Run) -> str | None:
    return run.agent_id or (item.agent_id if item else None)


async def _editor_url(reads: MosaicReads, item: TaskItem, run: Run) -> str | None:
    try:
        access = await reads.access(item.conn_id)
    except MosaicError as error:
        log.info("Run %r has no link to its agent, because the connection could not be read: %s", run.run_id, error)
        return None
    return agent_url(_agent_id(item, run), access.base_url)


def _tiles(nodes: tuple[RunNode, ...]) -> tuple[Tile, ...]:
    tiles = [
        Tile(
            name=label(node.node_type.node_type_name or "Tile"),
            status=label(node.status),
            message=_message("\n".join(node.errors) or node.status_message),
            needs_credits=node.needs_credits,
        )
        for node in nodes
    ]
    return tuple(sorted(tiles, key=lambda tile: _ORDER.get(tile.status, 5) if not tile.needs_credits else 0))


def _post_details(post: Post, metrics: PostAnalytics | None) -> PostDetails:
    public = {place.url for place in public_urls(post)}
    rows = {row.platform: row.metrics for row in metrics.platforms} if metrics else {}
    destinations = [_destination(each, public, rows) for each in post.outcomes]
    return PostDetails(
        id=post.post_id,
        status=label(post.status),
        outcome=post_outcome(post).outcome.value,
        text=None if post.description is None else redact(post.description, longest=_LONGEST_POST),
        scheduled_at=post.scheduled_at,
        created_at=post.created_at,
        destinations=tuple(sorted(destinations, key=lambda each: each.status != "failed" and each.error is None)),
    )


def _destination(
    destination: Destination, public: set[str], metrics: dict[str | None, dict[str, int | float | None]]
) -> PostDestination:
    account = destination.account_username or destination.account_name
    numbers = metrics.get(destination.platform, {}) if destination.platform else {}
    return PostDestination(
        platform=label(destination.platform) if destination.platform else None,
        account=label(account) if account else None,
        status=label(destination.status) if destination.status else None,
        url=destination.post_url if destination.post_url in public else None,
        error=_message(destination.message),
        metrics={label(name): number for name, number in numbers.items() if number is not None},
    )


async def _metrics(reads: MosaicReads, item: TaskItem, post: Post) -> PostAnalytics | None:
    """Return the metrics of a published post; None if they can't be read."""
    if post_outcome(post).outcome not in (Outcome.SUCCESS, Outcome.PARTIAL):
        return None
    reading = await reads.read(item.conn_id, get_post_analytics(item.id), max_age=_METRICS_MAX_AGE)
    return reading.value


def _message(text: str | None) -> str | None:
    return redact(text, longest=_LONGEST_MESSAGE) if text else None
