"""Upload a file. Bytes that an earlier attempt stored are not sent again."""

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
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.paths import get_source
from airflow_provider_mosaic.tasks.asset_events import add_to_outlet_events, report_lineage
from airflow_provider_mosaic.tasks.items import push_asset_item

log = logging.getLogger(__name__)


class UploadTask:
    """
    The task of ``MosaicUploadOperator``, in one execution.

    :param hook: The connection.
    :param source: The path or URI of the file.
    :param asset_type: The type of the asset; None to take it from the suffix.
    """

    def __init__(self, hook: MosaicHook, *, source: Any, asset_type: Any) -> None:
        self._hook = hook
        self._location = source
        self._asset_type = None if asset_type is None else validate_asset_type(asset_type)

    def upload(self, context: Mapping[str, Any]) -> str:
        """Upload the file, or continue with what an earlier attempt stored. Return the asset's id."""
        source = get_source(self._location, self._hook.access)
        asset_type, media_type = media_type_of(source.name, self._asset_type)
        asset_id = self._upload(context, source, asset_type, media_type)
        add_to_outlet_events(
            context, asset_id=asset_id, asset_type=asset_type.value, source=source.shown, size=source.size
        )
        report_lineage(self._hook, inputs=[source.shown])
        push_asset_item(context, self._hook, asset_id, asset_type)
        return asset_id

    def _upload(self, context: Mapping[str, Any], source: Source, asset_type: AssetType, media_type: str) -> str:
        # The stamp changes with the file: a file that changed between two attempts is uploaded again.
        state = TaskState(context, kind="upload", request=[source.shown, source.stamp, asset_type.value])
        record = state.load()
        state.log_discarded()
        if record is not None and record.id is not None:
            if record.facts.get("finalized"):
                log.info("An earlier attempt uploaded %s as %s %r.", source.shown, asset_type.value, record.id)
                return record.id
            log.info("An earlier attempt stored %s. Only the finalizing request is left.", source.shown)
            try:
                return self._finalize(state, record, asset_type)
            except MosaicConnectionError:
                # A subclass of MosaicValidationError. It is no reason to upload again.
                raise
            except (MosaicNotFoundError, MosaicValidationError) as error:
                log.warning("The upload of an earlier attempt is not usable any more. Uploading again. %s", error)
        record = StartRecord(started_at=time.time(), id=store(self._hook.client, source, asset_type, media_type))
        state.save_best_effort(record)
        return self._finalize(state, record, asset_type)

    def _finalize(self, state: TaskState, record: StartRecord, asset_type: AssetType) -> str:
        asset_id = finalize(self._hook.client, asset_type, str(record.id))
        state.save_best_effort(replace(record, id=asset_id, facts={"finalized": True}))
        log.info("Uploaded as %s %r.", asset_type.value, asset_id)
        return asset_id
