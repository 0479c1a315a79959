"""
Details of runs, read-only (https://docs.mosaic.so/api/observability/overview).

Most fields are not documented. An item is a :class:`~airflow_provider_mosaic.api.rows.Row`: its id if one is known,
and all fields unchanged. Times have a time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, cast

from airflow_provider_mosaic.api.arguments import optional, validate_filled_text
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.endpoints.runs import ListedRun, Run
from airflow_provider_mosaic.api.models import Many, Model, Words, object_in
from airflow_provider_mosaic.api.paging import (
    MAX_SECONDS,
    PAGE_LIMIT,
    Listing,
    Page,
    filters,
    iterate,
    paged,
    read_page,
)
from airflow_provider_mosaic.api.rows import Row, by_cursor, by_offset, row_key, rows_reader


class RunRow(Row):
    """A summary of a run. The name of its id differs between lists."""

    id_fields = ("run_id", "agent_state_id", "id")

    agent_id: Words = None


class TaskRow(Row):
    """A task of a run."""

    id_fields = ("id", "task_id")


class TileRow(Row):
    """A tile of a run."""

    id_fields = ("id", "agent_node_id", "tile_id")


class RunProgress(Model):
    """
    Progress of a run. ``completed_node_percent`` counts nodes of the whole run; it does not estimate the remaining
    time.

    ``tiles`` are those of one page, each with its last tasks if the response has them. ``MosaicHook.get_run_progress``
    reads all pages.
    """

    completed_node_percent: float | None = None
    next_cursor: Words = None
    tiles: Many[Row] = ()


def list_trigger_runs(
    trigger_id: str,
    *,
    status: Iterable[str] | str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
) -> Listing[Run]:
    """
    List the runs that a trigger started.

    API page: https://docs.mosaic.so/api/agent-runs/get-trigger-runs

    :param status: Only runs with one of these statuses.
    :param created_from: Only runs created at this time or later.
    :param created_to: Only runs created at this time or earlier.
    """
    return paged(
        f"list the runs of trigger {trigger_id!r}",
        "/trigger/{trigger_id}/runs",
        ids={"trigger_id": trigger_id},
        query=filters(status=status, created_from=created_from, created_to=created_to),
        read=read_page("runs", ListedRun.from_row),
        key=lambda run: run.run_id,
    )


def list_workspace_runs(
    *,
    since: datetime | str | None = None,
    status: Iterable[str] | str | None = None,
    agent_id: str | None = None,
    production_id: str | None = None,
    batch_key: str | None = None,
) -> Listing[RunRow]:
    """
    List the runs of a workspace, each with its failed nodes.

    API page: https://docs.mosaic.so/api/automations/get-runs

    :param since: Only runs created at this time or later. Default: 14 days ago.
    :param status: Only runs with one of these statuses.
    :param agent_id: Only runs of this agent.
    :param production_id: Only runs of this production.
    :param batch_key: Only runs of batches with this key.
    """
    query = filters(since=since, status=status, agent_id=agent_id, production_id=production_id, batch_key=batch_key)
    return by_offset("list the runs of the workspace", "/automations/runs", RunRow, query=query)


def list_pipeline_runs(
    *,
    agent_id: str | None = None,
    status: str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
    folder_id: str | None = None,
    batch_id: str | None = None,
    batch_key: str | None = None,
    storage_trigger_id: str | None = None,
) -> Listing[RunRow]:
    """
    List summaries of runs, without their graph and outputs.

    API page: https://docs.mosaic.so/api/observability/list-pipeline-runs

    :param agent_id: Only runs of this agent.
    :param status: Only runs with exactly this status.
    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    :param folder_id: Only runs of files from this folder.
    :param batch_id: Only the run of this batch.
    :param batch_key: Only runs of batches with this key.
    :param storage_trigger_id: Only runs that this storage watcher started.
    """
    query = filters(
        agent_id=agent_id,
        status=optional(validate_filled_text)("status", status),
        created_from=created_from,
        created_to=created_to,
        updated_from=updated_from,
        folder_id=folder_id,
        batch_id=batch_id,
        batch_key=batch_key,
        storage_trigger_id=storage_trigger_id,
    )
    return by_cursor("list the pipeline runs", "/pipeline_runs", RunRow, query=query)


def get_run_progress(run_id: str) -> Call[RunProgress]:
    """
    Return the progress of a run with its tiles.

    The method of the hook reads the tiles of all pages; this call reads the first page.
    API page: https://docs.mosaic.so/api/observability/get-run-progress
    """
    return _progress_page(run_id, None)


def read_run_progress(send: Callable[[Call[RunProgress]], RunProgress], run_id: str) -> RunProgress:
    """Read the progress of a run with the tiles of all pages."""
    pages: list[RunProgress] = []

    def send_page(call: Call[Any]) -> Page[Row]:
        pages.append(send(call))
        return Page(pages[-1].tiles, pages[-1].next_cursor or None)

    listing: Listing[Row] = Listing(
        lambda cursor: cast("Any", _progress_page(run_id, cursor)), key=row_key, most_seconds=MAX_SECONDS
    )
    tiles = tuple(iterate(send_page, listing))
    # Each page has the counts of the whole run. Those of the last page are the newest.
    return pages[-1].model_copy(update={"tiles": tiles, "next_cursor": None})


def _progress_page(run_id: str, cursor: str | None) -> Call[RunProgress]:
    read_tiles = rows_reader(TileRow, "/tiles")

    def read(data: Any) -> RunProgress:
        body = object_in(data)
        try:
            page: Page[TileRow] = read_tiles(body)
        except InvalidResponse:
            # The name of the field with the tiles is not documented. The progress is complete without them.
            page = Page(())
        return RunProgress.model_validate({**body, "tiles": page.items, "next_cursor": page.next_cursor})

    return Call(
        description=f"read the progress of run {run_id!r}",
        path="/agent_run/{run_id}/progress",
        ids={"run_id": run_id},
        query={"limit": PAGE_LIMIT, "cursor": cursor},
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def list_run_tasks(
    run_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[TaskRow]:
    """
    List the tasks of a run.

    API page: https://docs.mosaic.so/api/observability/list-run-tasks

    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(created_from=created_from, created_to=created_to, updated_from=updated_from)
    description = f"list the tasks of run {run_id!r}"
    return by_cursor(description, "/agent_run/{run_id}/tasks", TaskRow, ids={"run_id": run_id}, query=query)


def list_run_notifications(
    run_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    List the delivered notifications of a run.

    API page: https://docs.mosaic.so/api/observability/list-notification-deliveries

    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(created_from=created_from, created_to=created_to, updated_from=updated_from)
    description = f"list the notifications of run {run_id!r}"
    return by_cursor(description, "/agent_run/{run_id}/notifications", Row, ids={"run_id": run_id}, query=query)


def list_notification_configurations(
    run_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    List the notification settings of a run.

    API page: https://docs.mosaic.so/api/observability/list-notification-configurations

    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(created_from=created_from, created_to=created_to, updated_from=updated_from)
    description = f"list the notification settings of run {run_id!r}"
    return by_cursor(
        description, "/agent_run/{run_id}/notification_configurations", Row, ids={"run_id": run_id}, query=query
    )
