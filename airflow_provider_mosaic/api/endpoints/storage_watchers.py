"""
Storage watchers: folders and buckets whose new files start runs (https://docs.mosaic.so/api/observability/overview).

They are created in Mosaic's editor; the API only reads them. Most fields are not documented. An item is a
:class:`~airflow_provider_mosaic.api.rows.Row`: its id if one is known, and all fields unchanged. Times have a time
zone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from airflow_provider_mosaic.api.models import Words
from airflow_provider_mosaic.api.paging import Listing, filters
from airflow_provider_mosaic.api.rows import Row, by_cursor, by_offset


class BatchRow(Row):
    """A batch of a storage watcher. ``agent_state_id`` is the id of the run that it started."""

    agent_state_id: Words = None
    stage: Words = None
    last_error: Words = None
    error_message: Words = None


def list_storage_triggers(
    *,
    agent_id: str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    List the storage watchers.

    API page: https://docs.mosaic.so/api/observability/list-storage-triggers

    :param agent_id: Only those of this agent.
    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(agent_id=agent_id, created_from=created_from, created_to=created_to, updated_from=updated_from)
    return by_cursor("list the storage triggers", "/storage_triggers", Row, query=query)


def list_watched_folders(
    trigger_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    List the folders that a storage watcher watches or has watched.

    API page: https://docs.mosaic.so/api/observability/list-watched-folders

    :param trigger_id: Id of the storage watcher.
    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(created_from=created_from, created_to=created_to, updated_from=updated_from)
    description = f"list the folders of storage trigger {trigger_id!r}"
    return by_cursor(
        description, "/storage_trigger/{trigger_id}/folders", Row, ids={"trigger_id": trigger_id}, query=query
    )


def list_storage_events(
    trigger_id: str,
    *,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[Row]:
    """
    List the storage events that a storage watcher received.

    API page: https://docs.mosaic.so/api/observability/list-storage-events

    :param trigger_id: Id of the storage watcher.
    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(created_from=created_from, created_to=created_to, updated_from=updated_from)
    description = f"list the events of storage trigger {trigger_id!r}"
    return by_cursor(
        description, "/storage_trigger/{trigger_id}/events", Row, ids={"trigger_id": trigger_id}, query=query
    )


def list_storage_batches(
    *,
    trigger_id: str | None = None,
    folder_id: str | None = None,
    batch_key: str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
    updated_from: datetime | str | None = None,
) -> Listing[BatchRow]:
    """
    List the batches of storage watchers.

    API page: https://docs.mosaic.so/api/observability/list-storage-batches

    :param trigger_id: Only those of this storage watcher.
    :param folder_id: Only those of this folder (Google Drive, Dropbox).
    :param batch_key: Only those with this key (S3).
    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    :param updated_from: Only those changed at this time or later.
    """
    query = filters(
        trigger_id=trigger_id,
        folder_id=folder_id,
        batch_key=batch_key,
        created_from=created_from,
        created_to=created_to,
        updated_from=updated_from,
    )
    return by_cursor("list the storage batches", "/storage_batches", BatchRow, query=query)


def list_batch_items(
    batch_id: str, *, created_from: datetime | str | None = None, created_to: datetime | str | None = None
) -> Listing[Row]:
    """
    List the items of a batch. They never change.

    API page: https://docs.mosaic.so/api/observability/list-batch-items

    :param created_from: Only those created at this time or later.
    :param created_to: Only those created at this time or earlier.
    """
    query = filters(created_from=created_from, created_to=created_to)
    description = f"list the items of batch {batch_id!r}"
    return by_cursor(description, "/storage_batch/{batch_id}/items", Row, ids={"batch_id": batch_id}, query=query)


def list_ingest_batches(
    *,
    since: datetime | str | None = None,
    status: Iterable[str] | str | None = None,
    agent_id: str | None = None,
    production_id: str | None = None,
    batch_key: str | None = None,
) -> Listing[Row]:
    """
    List the upload batches of a workspace that are waiting or failed.

    API page: https://docs.mosaic.so/api/automations/get-ingest-batches

    :param since: Only batches created at this time or later. Default: 14 days ago.
    :param status: Only batches with one of these statuses, for example ``open,failed``.
    :param agent_id: Only batches for this agent.
    :param production_id: Only batches of this production.
    :param batch_key: Only batches with this key.
    """
    query = filters(since=since, status=status, agent_id=agent_id, production_id=production_id, batch_key=batch_key)
    return by_offset("list the ingest batches", "/automations/ingest-batches", Row, query=query)
