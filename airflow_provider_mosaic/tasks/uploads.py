"""Upload a file. Bytes that an earlier attempt stored are not sent again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_mosaic.api.endpoints.assets import validate_asset_type
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.clients.upload import finalize, store
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.paths import get_source
from airflow_provider_mosaic.tasks.reporting import add_to_outlet_events, mosaic_uris, push_item, report_lineage

log = logging.getLogger(__name__)


def upload(hook: MosaicHook, context: Mapping[str, Any], *, source: Any, asset_type: Any) -> str:
    """
    Upload the file, or continue with what an earlier attempt stored. Return the asset's id.

    :param asset_type: The type of the asset; None to take it from the suffix.
    """
    requested = None if asset_type is None else validate_asset_type(asset_type)
    file = get_source(source, hook.access)
    kind, media_type = media_type_of(file.name, requested)
    asset_id = _upload(hook, context, file, kind, media_type)
    add_to_outlet_events(context, asset_id=asset_id, asset_type=kind.value, source=file.shown, size=file.size)
    report_lineage(hook, inputs=[file.shown], outputs=mosaic_uris(hook, "assets", [asset_id]))
    push_item(context, hook, "asset", asset_id, asset_type=kind)
    return asset_id


def _upload(hook: MosaicHook, context: Mapping[str, Any], file: Source, kind: AssetType, media_type: str) -> str:
    # The stamp changes with the file: a file that changed between two attempts is uploaded again.
    state = TaskState(context, kind="upload", request=[file.shown, file.stamp, kind.value])
    record = state.load()
    if record is not None and record.id is not None:
        if record.facts.get("finalized"):
            log.info("An earlier attempt uploaded %r as %s %r.", file.shown, kind.value, record.id)
            return record.id
        log.info("An earlier attempt stored %r. Only the finalizing request is left.", file.shown)
        try:
            return _finalize(hook, state, record, kind)
        except MosaicConnectionError:
            # A subclass of MosaicValidationError. It is no reason to upload again.
            raise
        except (MosaicConflictError, MosaicNotFoundError, MosaicValidationError) as error:
            log.warning("The upload of an earlier attempt is not usable any more. Uploading again. %s", error)
        except MosaicServerError as error:
            if not error.effect_unknown:
                # The server is busy. Another upload would not help.
                raise
            log.warning("Finalizing the upload of an earlier attempt still fails. Uploading again. %s", error)
    asset_id = hook.retry_with_new_key(lambda: store(hook.client, file, kind, media_type))
    record = StartRecord(started_at=time.time(), id=asset_id)
    state.save_best_effort(record)
    return _finalize(hook, state, record, kind)


def _finalize(hook: MosaicHook, state: TaskState, record: StartRecord, kind: AssetType) -> str:
    may_be_finalized = bool(record.facts.get("finalizing"))
    if not may_be_finalized:
        # If the task dies now, it is unknown whether the request had an effect.
        state.save_best_effort(replace(record, facts={"finalizing": True}))
    errors: list[MosaicError] = []
    try:
        asset_id = hook.retry_with_new_key(
            lambda: finalize(hook.client, kind, str(record.id), may_be_finalized=may_be_finalized, resent_after=errors)
        )
    except MosaicError as error:
        if not may_be_finalized and not any(each.effect_unknown for each in (*errors, error)):
            state.save_best_effort(record)
        raise
    state.save_best_effort(replace(record, id=asset_id, facts={"finalized": True}))
    log.info("Uploaded as %s %r.", kind.value, asset_id)
    return asset_id
