"""The life of a task that uploads a file: what an earlier try stored already is not sent again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_mosaic.api.endpoints.assets import validate_asset_type
from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicNotFoundError, MosaicValidationError
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of
from airflow_provider_mosaic.clients.asset_upload import finalize, store
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.paths import get_source

log = logging.getLogger(__name__)


class UploadTask:
    """
    One slice of the task on a worker.

    :param hook: The connection.
    :param source: Where the file is.
    :param asset_type: What it is; None to take it from the suffix.
    """

    def __init__(self, hook: MosaicHook, *, source: Any, asset_type: Any) -> None:
        self._hook = hook
        self._place = source
        self._meant = None if asset_type is None else validate_asset_type(asset_type)

    def upload(self, context: Mapping[str, Any]) -> str:
        """
        Upload the file, or go on with what an earlier try stored.

        :param context: The task's context.
        :returns: The asset's id.
        """
        source = get_source(self._place, self._hook.access)
        kind, media_type = media_type_of(source.name, self._meant)
        # A file that changed between two tries has another stamp, and is another upload.
        memory = TaskState(context, kind="upload", request=[source.shown, source.stamp, kind.value])
        record = memory.load()
        memory.record_failure_reason()
        if record is not None and record.id is not None:
            if record.facts.get("finalized"):
                log.info("An earlier try has uploaded %s as %s %r.", source.shown, kind.value, record.id)
                return record.id
            log.info("An earlier try has stored %s already: only the finalize is left.", source.shown)
            try:
                return self._finalized(memory, record, kind)
            except MosaicConnectionError:
                raise
            except (MosaicNotFoundError, MosaicValidationError) as error:
                log.warning("What the earlier try stored can't be used any more: uploading anew. %s", error)
        record = StartRecord(started_at=time.time(), id=store(self._hook.client, source, kind, media_type))
        memory.save_best_effort(record)
        return self._finalized(memory, record, kind)

    def _finalized(self, memory: TaskState, record: StartRecord, kind: AssetType) -> str:
        asset_id = finalize(self._hook.client, kind, str(record.id))
        memory.save_best_effort(replace(record, id=asset_id, facts={"finalized": True}))
        log.info("Uploaded as %s %r.", kind.value, asset_id)
        return asset_id
