"""
What else can be read about runs, and about the storage watchers that start them; nothing here changes anything
(https://docs.mosaic.so/api/observability/overview).

Most of the fields are not documented. An item is a :class:`Row`: its id where one is known, and every field as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.arguments import checked_id, checked_moment
from airflow_provider_mosaic.api.call import Call, UnreadableAnswer
from airflow_provider_mosaic.api.models import Model, Words, object_in
from airflow_provider_mosaic.api.paging import PAGE_LIMIT, Listing, Page, read_page
from airflow_provider_mosaic.api.runs import Run, stamp

R = TypeVar("R", bound="Row")

#: The most that the lists under ``/automations`` give a page.
_AUTOMATIONS_LIMIT = 500


class Row(Model):
    """One item of a list whose fields are mostly not documented; they are there as they came, by ``model_extra``."""

    id: Words = Field(default=None, validation_alias=AliasChoices("id", "run_id", "task_id"))
    status: Words = None

    def as_row(self) -> dict[str, Any]:
        """All fields, for a warehouse."""
        return self.model_dump(mode="json", exclude_none=True)


class BatchRow(Row):
    """A batch of a storage watcher; ``agent_state_id`` is the run that it became."""

    agent_state_id: Words = None
    stage: Words = None
    last_error: Words = None
    error_message: Words = None


class RunProgress(Model):
    """How far a run is. ``completed_node_percent`` is no estimate of the time that is left."""

    completed_node_percent: float | None = None
    next_cursor: Words = None


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

    def page(cursor: str | None) -> Call[Page[Run]]:
        return Call(
            what=f"list the runs of trigger {trigger_id!r}",
            method="GET",
            path="/trigger/{trigger_id}/runs",
            ids={"trigger_id": trigger_id},
            query={
                "limit": PAGE_LIMIT,
                "cursor": cursor,
                "status": _joined(status),
                "from": _moment("created_from", created_from),
                "to": _moment("created_to", created_to),
            },
            read=read_page("runs", Run.model_validate),
        )

    return Listing(page, key=lambda run: run.run_id)


def list_workspace_runs(
    *, since: datetime | str | None = None, status: Iterable[str] | str | None = None, agent_id: str | None = None
) -> Listing[Row]:
    """
    Runs of a workspace with the nodes that failed (https://docs.mosaic.so/api/automations/get-runs).

    :param since: Created since. Default: 14 days ago.
    :param status: Only runs in these statuses.
    :param agent_id: Only runs of this agent.
    """
    return _by_offset("list the runs of the workspace", "/automations/runs", since, status, agent_id)


def list_ingest_batches(
    *, since: datetime | str | None = None, status: Iterable[str] | str | None = None, agent_id: str | None = None
) -> Listing[Row]:
    """
    Uploads of a workspace that wait or failed (https://docs.mosaic.so/api/automations/get-ingest-batches).

    :param since: Created since. Default: 14 days ago.
    :param status: Only batches in these statuses, for example ``open,failed``.
    :param agent_id: Only batches for this agent.
    """
    return _by_offset("list the ingest batches", "/automations/ingest-batches", since, status, agent_id)


def list_pipeline_runs(
    *,
    agent_id: str | None = None,
    status: str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    Runs in short, without their graph and outputs (https://docs.mosaic.so/api/observability/list-pipeline-runs).

    :param agent_id: Only runs of this agent.
    :param status: Only runs in exactly this status.
    :param created_from: Created since, inclusive.
    :param created_to: Created until, inclusive.
    :param updated_from: Changed since, inclusive.
    """
    query = {
        "agent_id": agent_id,
        "status": status,
        "from": _moment("created_from", created_from),
        "to": _moment("created_to", created_to),
        "updated_from": _moment("updated_from", updated_from),
    }
    return _by_cursor("list the pipeline runs", "/pipeline_runs", query=query)


def get_run_progress(run_id: str) -> Call[RunProgress]:
    """
    How far a run is (https://docs.mosaic.so/api/observability/get-run-progress).

    :param run_id: The run.
    """
    return Call(
        what=f"read the progress of run {run_id!r}",
        method="GET",
        path="/agent_run/{run_id}/progress",
        ids={"run_id": run_id},
        read=RunProgress.model_validate,
    )


def list_run_tasks(run_id: str) -> Listing[Row]:
    """
    The tasks of a run (https://docs.mosaic.so/api/observability/list-run-tasks).

    :param run_id: The run.
    """
    return _by_cursor(f"list the tasks of run {run_id!r}", "/agent_run/{run_id}/tasks", ids={"run_id": run_id})


def list_run_notifications(run_id: str) -> Listing[Row]:
    """
    Deliveries of a run's notifications (https://docs.mosaic.so/api/observability/list-notification-deliveries).

    :param run_id: The run.
    """
    what = f"list the notifications of run {run_id!r}"
    return _by_cursor(what, "/agent_run/{run_id}/notifications", ids={"run_id": run_id})


def list_notification_configurations(run_id: str) -> Listing[Row]:
    """
    Settings of a run's notifications (https://docs.mosaic.so/api/observability/list-notification-configurations).

    :param run_id: The run.
    """
    what = f"list the notification settings of run {run_id!r}"
    return _by_cursor(what, "/agent_run/{run_id}/notification_configurations", ids={"run_id": run_id})


def list_storage_triggers(*, agent_id: str | None = None) -> Listing[Row]:
    """
    Storage watchers (https://docs.mosaic.so/api/observability/list-storage-triggers).

    :param agent_id: Only those of this agent.
    """
    return _by_cursor("list the storage triggers", "/storage_triggers", query={"agent_id": agent_id})


def list_watched_folders(trigger_id: str) -> Listing[Row]:
    """
    Folders that a storage watcher watches (https://docs.mosaic.so/api/observability/list-watched-folders).

    :param trigger_id: The storage watcher.
    """
    what = f"list the folders of storage trigger {trigger_id!r}"
    return _by_cursor(what, "/storage_trigger/{trigger_id}/folders", ids={"trigger_id": trigger_id})


def list_storage_events(trigger_id: str) -> Listing[Row]:
    """
    What a storage watcher has seen (https://docs.mosaic.so/api/observability/list-storage-events).

    :param trigger_id: The storage watcher.
    """
    what = f"list the events of storage trigger {trigger_id!r}"
    return _by_cursor(what, "/storage_trigger/{trigger_id}/events", ids={"trigger_id": trigger_id})


def list_storage_batches(*, trigger_id: str | None = None, folder_id: str | None = None) -> Listing[BatchRow]:
    """
    Batches of storage watchers (https://docs.mosaic.so/api/observability/list-storage-batches).

    :param trigger_id: Only those of this storage watcher.
    :param folder_id: Only those of this folder.
    """
    query = {"trigger_id": trigger_id, "folder_id": folder_id}
    return _by_cursor("list the storage batches", "/storage_batches", query=query, model=BatchRow)


def list_batch_items(batch_id: str) -> Listing[Row]:
    """
    What is in a batch (https://docs.mosaic.so/api/observability/list-batch-items).

    :param batch_id: The batch.
    """
    what = f"list the items of batch {batch_id!r}"
    return _by_cursor(what, "/storage_batch/{batch_id}/items", ids={"batch_id": batch_id})


def _by_cursor(
    what: str,
    path: str,
    *,
    ids: dict[str, str] | None = None,
    query: dict[str, str | None] | None = None,
    model: type[R] = Row,  # type: ignore[assignment]
) -> Listing[R]:
    def page(cursor: str | None) -> Call[Page[R]]:
        return Call(
            what=what,
            method="GET",
            path=path,
            ids=ids or {},
            query={**(query or {}), "limit": PAGE_LIMIT, "cursor": cursor},
            read=_read_rows(model),
        )

    return Listing(page, key=_key)


def _by_offset(
    what: str,
    path: str,
    since: datetime | str | None,
    status: Iterable[str] | str | None,
    agent_id: str | None,
) -> Listing[Row]:
    """A list that is paged by offset: the offset of the next page is our cursor."""
    if agent_id is not None:
        checked_id("agent_id", agent_id)

    def page(cursor: str | None) -> Call[Page[Row]]:
        offset = int(cursor or 0)
        read = _read_rows(Row)

        def read_offset(data: Any) -> Page[Row]:
            items = read(data).items
            return Page(items, str(offset + len(items)) if len(items) >= _AUTOMATIONS_LIMIT else None)

        return Call(
            what=what,
            method="GET",
            path=path,
            query={
                "limit": _AUTOMATIONS_LIMIT,
                "offset": offset or None,
                "since": _moment("since", since),
                "status": _joined(status),
                "agent_id": agent_id,
            },
            read=read_offset,
        )

    return Listing(page, key=_key)


def _read_rows(model: type[R]) -> Callable[[Any], Page[R]]:
    """A reader of a page whose list stands under a name that is not documented: it is the only list there is."""

    def read(data: Any) -> Page[R]:
        answer = {"items": data} if isinstance(data, list) else object_in(data)
        lists = [name for name, value in answer.items() if isinstance(value, list)]
        if len(lists) != 1:
            raise UnreadableAnswer(f"it has {len(lists)} lists where one was expected")
        return read_page(lists[0], model.model_validate)(answer)

    return read


def _key(row: Row) -> str:
    return row.id if row.id else repr(sorted(row.as_row().items(), key=str))


def _joined(status: Iterable[str] | str | None) -> str | None:
    return status if isinstance(status, str) else ",".join(status or ()) or None


def _moment(name: str, value: datetime | str | None) -> str | None:
    return None if value is None else stamp(checked_moment(name, value))
