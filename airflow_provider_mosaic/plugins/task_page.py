"""The page of a task instance: what Mosaic reports about its item, and how often the page asks again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.endpoints.assets import ViewLink, get_view_url
from airflow_provider_mosaic.api.endpoints.posts import get_post
from airflow_provider_mosaic.api.endpoints.runs import Run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.outcomes import post_outcome, run_outcome
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.plugins.actions import available_actions
from airflow_provider_mosaic.plugins.item_details import post_details, run_details
from airflow_provider_mosaic.plugins.items import UNFINISHED, TaskRecord
from airflow_provider_mosaic.plugins.media import asset_media
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads, Reading
from airflow_provider_mosaic.plugins.pages import MAX_MESSAGE_LENGTH, Problem, ProblemKind, TaskPage
from airflow_provider_mosaic.tasks.reporting import TaskItem

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
_MAX_REFRESH = 120.0


async def task_page(reads: MosaicReads, task: TaskRecord, *, csrf_token: str | None) -> TaskPage:
    """
    Return the page of a task instance.

    :param csrf_token: The token of the actions; None for a viewer who may only read.
    """
    item = task.item
    if item is None:
        parts = _parts_without_item(task)
    elif item.kind == "run":
        parts = await _run_parts(reads, task, item, csrf_token)
    elif item.kind == "post":
        parts = await _post_parts(reads, task, item)
    else:
        parts = await _asset_parts(reads, task, item)
    return TaskPage(kind=item.kind if item else "none", **asdict(task.key), task_state=task.state, **parts)


async def read_run(reads: MosaicReads, item: TaskItem, *, max_age: float = SHARED) -> Reading[Run]:
    """Read a run."""
    return await reads.read(item.conn_id, get_run(item.id), max_age=max_age)


async def read_asset(reads: MosaicReads, item: TaskItem, *, max_age: float = SHARED) -> Reading[ViewLink]:
    """Read the links of an asset."""
    call = get_view_url(item.asset_type or AssetType.VIDEO, item.id)
    return await reads.read(item.conn_id, call, max_age=max_age)


# The parts of a page, as fields of TaskPage


def _parts_without_item(task: TaskRecord) -> dict[str, Any]:
    unfinished = task.state in UNFINISHED
    if not (task.operator or "").startswith("Mosaic"):
        problem = Problem(kind="not_ours", message="This task has recorded nothing about Mosaic.")
    elif unfinished:
        problem = Problem(kind="not_started", message="The task has not created anything in Mosaic yet.")
    else:
        message = f"The task is {task.state} and has recorded nothing that it created in Mosaic."
        problem = Problem(kind="not_started", message=message)
    return {"problem": problem, "refresh_after": _REFRESH_TASK if unfinished else None}


async def _run_parts(reads: MosaicReads, task: TaskRecord, item: TaskItem, csrf_token: str | None) -> dict[str, Any]:
    reading = await read_run(reads, item)
    run = reading.value
    if run is None:
        return _status(task, reading)
    actions = available_actions(task, run) if csrf_token else ()
    return {
        "run": await run_details(reads, task.key, item, run),
        "actions": actions,
        "csrf_token": csrf_token if actions else None,
        **_status(task, reading, ended=run_outcome(run).ended, started_at=run.started_at),
    }


async def _post_parts(reads: MosaicReads, task: TaskRecord, item: TaskItem) -> dict[str, Any]:
    reading = await reads.read(item.conn_id, get_post(item.id), max_age=SHARED)
    post = reading.value
    if post is None:
        return _status(task, reading)
    return {
        "post": await post_details(reads, item, post),
        **_status(task, reading, ended=post_outcome(post).ended, started_at=post.created_at),
    }


async def _asset_parts(reads: MosaicReads, task: TaskRecord, item: TaskItem) -> dict[str, Any]:
    reading = await read_asset(reads, item)
    asset = None if reading.value is None else asset_media(item, reading.value, task.key)
    return {"asset": asset, **_status(task, reading, ended=True)}


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
        return round(min(max(_REFRESH_ERROR, reading.pause), _MAX_REFRESH), 1)
    if ended:
        return _REFRESH_TASK if task.state in UNFINISHED else None
    age = datetime.now(timezone.utc) - started_at if started_at else timedelta()
    usual = _REFRESH[(age > timedelta(minutes=10)) + (age > timedelta(hours=1))]
    return round(min(max(usual, _SLOWNESS * reading.seconds), _MAX_REFRESH), 1)


def _problem(error: MosaicError) -> Problem:
    kinds: dict[type[MosaicError], ProblemKind] = {
        MosaicNotFoundError: "not_found",
        MosaicAuthenticationError: "no_access",
        MosaicPermissionError: "no_access",
        MosaicConnectionError: "no_access",
    }
    kind = next((kind for each, kind in kinds.items() if isinstance(error, each)), "unreachable")
    return Problem(kind=kind, message=one_line(str(error), longest=MAX_MESSAGE_LENGTH))
