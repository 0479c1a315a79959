"""The hook's methods that only look: at runs, and at the storage watchers that start them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from airflow_provider_mosaic.api import observability, runs, storage_watchers
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.paging import Listing
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.api.rows import Row

T = TypeVar("T")


class Observation(ABC):
    """What can be read about runs and storage watchers, over whatever sends calls."""

    @abstractmethod
    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """Send a call."""

    @abstractmethod
    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Walk through a list."""

    # Runs

    def list_trigger_runs(
        self,
        trigger_id: str,
        *,
        status: Iterable[str] | str | None = None,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
    ) -> Iterator[runs.Run]:
        """:func:`airflow_provider_mosaic.api.observability.list_trigger_runs`."""
        return self.iterate(
            observability.list_trigger_runs(trigger_id, status=status, created_from=created_from, created_to=created_to)
        )

    def list_workspace_runs(
        self,
        *,
        since: datetime | str | None = None,
        status: Iterable[str] | str | None = None,
        agent_id: str | None = None,
        production_id: str | None = None,
        batch_key: str | None = None,
    ) -> Iterator[observability.RunRow]:
        """:func:`airflow_provider_mosaic.api.observability.list_workspace_runs`."""
        return self.iterate(
            observability.list_workspace_runs(
                since=since, status=status, agent_id=agent_id, production_id=production_id, batch_key=batch_key
            )
        )

    def list_pipeline_runs(
        self,
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
    ) -> Iterator[observability.RunRow]:
        """:func:`airflow_provider_mosaic.api.observability.list_pipeline_runs`."""
        return self.iterate(
            observability.list_pipeline_runs(
                agent_id=agent_id,
                status=status,
                created_from=created_from,
                created_to=created_to,
                updated_from=updated_from,
                folder_id=folder_id,
                batch_id=batch_id,
                batch_key=batch_key,
                storage_trigger_id=storage_trigger_id,
            )
        )

    def get_run_progress(self, run_id: str) -> observability.RunProgress:
        """:func:`airflow_provider_mosaic.api.observability.get_run_progress`."""
        return self.send(observability.get_run_progress(run_id))

    def list_run_tasks(
        self,
        run_id: str,
        *,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.observability.list_run_tasks`."""
        return self.iterate(
            observability.list_run_tasks(
                run_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    def list_run_notifications(
        self,
        run_id: str,
        *,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.observability.list_run_notifications`."""
        return self.iterate(
            observability.list_run_notifications(
                run_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    def list_notification_configurations(
        self,
        run_id: str,
        *,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.observability.list_notification_configurations`."""
        return self.iterate(
            observability.list_notification_configurations(
                run_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    # Storage watchers

    def list_storage_triggers(
        self,
        *,
        agent_id: str | None = None,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_storage_triggers`."""
        return self.iterate(
            storage_watchers.list_storage_triggers(
                agent_id=agent_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    def list_watched_folders(
        self,
        trigger_id: str,
        *,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_watched_folders`."""
        return self.iterate(
            storage_watchers.list_watched_folders(
                trigger_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    def list_storage_events(
        self,
        trigger_id: str,
        *,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_storage_events`."""
        return self.iterate(
            storage_watchers.list_storage_events(
                trigger_id, created_from=created_from, created_to=created_to, updated_from=updated_from
            )
        )

    def list_storage_batches(
        self,
        *,
        trigger_id: str | None = None,
        folder_id: str | None = None,
        batch_key: str | None = None,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
        updated_from: datetime | str | None = None,
    ) -> Iterator[storage_watchers.BatchRow]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_storage_batches`."""
        return self.iterate(
            storage_watchers.list_storage_batches(
                trigger_id=trigger_id,
                folder_id=folder_id,
                batch_key=batch_key,
                created_from=created_from,
                created_to=created_to,
                updated_from=updated_from,
            )
        )

    def list_batch_items(
        self, batch_id: str, *, created_from: datetime | str | None = None, created_to: datetime | str | None = None
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_batch_items`."""
        return self.iterate(
            storage_watchers.list_batch_items(batch_id, created_from=created_from, created_to=created_to)
        )

    def list_ingest_batches(
        self,
        *,
        since: datetime | str | None = None,
        status: Iterable[str] | str | None = None,
        agent_id: str | None = None,
        production_id: str | None = None,
        batch_key: str | None = None,
    ) -> Iterator[Row]:
        """:func:`airflow_provider_mosaic.api.storage_watchers.list_ingest_batches`."""
        return self.iterate(
            storage_watchers.list_ingest_batches(
                since=since, status=status, agent_id=agent_id, production_id=production_id, batch_key=batch_key
            )
        )
