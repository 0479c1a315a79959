"""The hook's methods that only look: at runs, and at the storage watchers that start them."""

from __future__ import annotations

from airflow_provider_mosaic.api import observability, storage_watchers
from airflow_provider_mosaic.hooks.sending import Sender, sends, walks


class Observation(Sender):
    """What can be read about runs and storage watchers, over whatever sends calls."""

    # Runs
    list_trigger_runs = walks(observability.list_trigger_runs)
    list_workspace_runs = walks(observability.list_workspace_runs)
    list_pipeline_runs = walks(observability.list_pipeline_runs)
    get_run_progress = sends(observability.get_run_progress)
    list_run_tasks = walks(observability.list_run_tasks)
    list_run_notifications = walks(observability.list_run_notifications)
    list_notification_configurations = walks(observability.list_notification_configurations)

    # Storage watchers
    list_storage_triggers = walks(storage_watchers.list_storage_triggers)
    list_watched_folders = walks(storage_watchers.list_watched_folders)
    list_storage_events = walks(storage_watchers.list_storage_events)
    list_storage_batches = walks(storage_watchers.list_storage_batches)
    list_batch_items = walks(storage_watchers.list_batch_items)
    list_ingest_batches = walks(storage_watchers.list_ingest_batches)
