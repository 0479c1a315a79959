"""
What else can be read about runs; nothing here changes anything
(https://docs.mosaic.so/api/observability/overview).

Most of the fields are not documented. An item is a :class:`~airflow_provider_mosaic.api.rows.Row`: its id where one is
known, and every field as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from airflow_provider_mosaic.api.arguments import joined_statuses, optional_id, optional_moment, optional_text
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.models import Many, Model, Words, object_in
from airflow_provider_mosaic.api.paging import PAGE_LIMIT, Listing, Page, iterate, paged, read_page
from airflow_provider_mosaic.api.rows import Row, by_cursor, by_offset, row_key, rows_reader, times


class RunRow(Row):
    """A run in short. What its id is called differs between lists."""

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
    How far a run is. ``completed_node_percent`` is of the whole run, and no estimate of the time that is left;
    ``tiles`` are those of one page. ``MosaicHook.get_run_progress`` reads
    all pages. Each tile has its last tasks, where the answer has them.
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
    Runs that a trigger started (https://docs.mosaic.so/api/agent-runs/get-trigger-runs).

    :param trigger_id: The trigger.
    :param status: Only runs in these statuses.
    :param created_from: Only runs created since.
    :param created_to: Only runs created until.
    """
    return paged(
        f"list the runs of trigger {trigger_id!r}",
        "/trigger/{trigger_id}/runs",
        ids={"trigger_id": trigger_id},
        query={"status": joined_statuses(status), **times(created_from, created_to)},
        read=read_page("runs", Run.model_validate),
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
    Runs of a workspace with the nodes that failed (https://docs.mosaic.so/api/automations/get-runs).

    :param since: Created since. Default: 14 days ago.
    :param status: Only runs in these statuses.
    :param agent_id: Only runs of this agent.
    :param production_id: Only runs of this production.
    :param batch_key: Only runs of batches with this key.
    """
    query = {
        "since": optional_moment("since", since),
        "status": joined_statuses(status),
        "agent_id": optional_id("agent_id", agent_id),
        "production_id": optional_id("production_id", production_id),
        "batch_key": optional_text("batch_key", batch_key),
    }
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
    Runs in short, without their graph and outputs (https://docs.mosaic.so/api/observability/list-pipeline-runs).

    :param agent_id: Only runs of this agent.
    :param status: Only runs in exactly this status.
    :param created_from: Created since, inclusive.
    :param created_to: Created until, inclusive.
    :param updated_from: Changed since, inclusive.
    :param folder_id: Only runs of files from this folder.
    :param batch_id: Only the run of this batch.
    :param batch_key: Only runs of batches with this key.
    :param storage_trigger_id: Only runs that this storage watcher started.
    """
    query = {
        "agent_id": optional_id("agent_id", agent_id),
        "status": optional_text("status", status),
        "folder_id": optional_text("folder_id", folder_id),
        "batch_id": optional_id("batch_id", batch_id),
        "batch_key": optional_text("batch_key", batch_key),
        "storage_trigger_id": optional_id("storage_trigger_id", storage_trigger_id),
        **times(created_from, created_to, updated_from),
    }
    return by_cursor("list the pipeline runs", "/pipeline_runs", RunRow, query=query)


def get_run_progress(run_id: str) -> Call[RunProgress]:
    """
    How far a run is (https://docs.mosaic.so/api/observability/get-run-progress). The hook's method reads all tiles, the
    call itself one page of them.

    :param run_id: The run.
    """
    return _progress_page(run_id, None)


def read_run_progress(send: Callable[[Call[Page[Row]]], Page[Row]], run_id: str) -> RunProgress:
    """
    Read how far a run is, with the tiles of all pages.

    :param send: Sends a call.
    :param run_id: The run.
    """
    pages: list[RunProgress] = []

    def page(cursor: str | None) -> Call[Page[Row]]:
        call = _progress_page(run_id, cursor)

        def read(data: Any) -> Page[Row]:
            pages.append(call.read(data))
            return Page(pages[-1].tiles, pages[-1].next_cursor or None)

        return Call(
            description=call.description,
            method=call.method,
            path=call.path,
            ids=call.ids,
            query=call.query,
            read=read,
            max_bytes=call.max_bytes,
        )

    tiles = tuple(iterate(send, Listing(page, key=row_key)))
    # The counts are of the whole run on each page; the last one is the newest.
    return pages[-1].model_copy(update={"tiles": tiles, "next_cursor": None})


def _progress_page(run_id: str, cursor: str | None) -> Call[RunProgress]:
    path = "/agent_run/{run_id}/progress"
    read_tiles = rows_reader(TileRow, "/tiles")

    def read(data: Any) -> RunProgress:
        answer = object_in(data)
        try:
            page: Page[TileRow] = read_tiles(answer)
        except InvalidResponse:
            # Where they stand is not documented; how far the whole run is can be told without them.
            page = Page(())
        return RunProgress.model_validate({**answer, "tiles": page.items, "next_cursor": page.next_cursor})

    return Call(
        description=f"read the progress of run {run_id!r}",
        method="GET",
        path=path,
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
) -> Listing[Row]:
    """
    The tasks of a run (https://docs.mosaic.so/api/observability/list-run-tasks).

    :param run_id: The run.
    :param created_from: Created since, inclusive.
    :param created_to: Created until, inclusive.
    :param updated_from: Changed since, inclusive.
    """
    query = times(created_from, created_to, updated_from)
    what = f"list the tasks of run {run_id!r}"
    model: type[Row] = TaskRow
    return by_cursor(what, "/agent_run/{run_id}/tasks", model, ids={"run_id": run_id}, query=query)


def list_run_notifications(
    run_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    Deliveries of a run's notifications (https://docs.mosaic.so/api/observability/list-notification-deliveries).

    :param run_id: The run.
    :param created_from: Created since, inclusive.
    :param created_to: Created until, inclusive.
    :param updated_from: Changed since, inclusive.
    """
    query = times(created_from, created_to, updated_from)
    what = f"list the notifications of run {run_id!r}"
    return by_cursor(what, "/agent_run/{run_id}/notifications", Row, ids={"run_id": run_id}, query=query)


def list_notification_configurations(
    run_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    Settings of a run's notifications (https://docs.mosaic.so/api/observability/list-notification-configurations).

    :param run_id: The run.
    :param created_from: Created since, inclusive.
    :param created_to: Created until, inclusive.
    :param updated_from: Changed since, inclusive.
    """
    query = times(created_from, created_to, updated_from)
    what = f"list the notification settings of run {run_id!r}"
    return by_cursor(what, "/agent_run/{run_id}/notification_configurations", Row, ids={"run_id": run_id}, query=query)
