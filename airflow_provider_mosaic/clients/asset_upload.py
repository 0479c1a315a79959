"""
A whole upload from the steps of :mod:`airflow_provider_mosaic.api.endpoints.assets`: store the bytes, then finalize.

The two are apart because a finalize that failed is sent again by itself: the bytes are there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from airflow_provider_mosaic.api.endpoints.assets import finalize_upload, get_view_url, start_upload
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import send_form

log = logging.getLogger(__name__)

#: Transfers of the bytes, each with a fresh form.
_MOST_TRANSFERS = 4
#: Pauses while the API does not see yet what the storage host has taken.
_LAG_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)


def store(
    client: SyncClient,
    source: Source,
    kind: AssetType,
    media_type: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """
    Reserve an asset and send its bytes, anew with a fresh form when a transfer breaks.

    :param client: The API.
    :param source: What is sent.
    :param kind: What it is.
    :param media_type: Its media type.
    :param sleep: Waits between two transfers.
    :returns: The id that the asset will have once it is finalized.
    :raises MosaicError: The kind that says what to do about it.
    """
    policy = RetryPolicy()
    transfer = 1
    while True:
        # A form serves one attempt; one that failed half way lapses by itself.
        form = client.send(start_upload(kind))
        try:
            send_form(
                form,
                source,
                media_type,
                policy=client.access.link_policy,
                progress=lambda progress: log.info("%s", progress),
            )
        except MosaicError as error:
            if not error.transient or transfer == _MOST_TRANSFERS:
                raise
            pause = policy.pause_within_budget(transfer, error)
            log.warning("%s Beginning the upload anew in %.0f s.", error, pause)
            sleep(pause)
            transfer += 1
        else:
            return form.asset_id


def finalize(client: SyncClient, kind: AssetType, asset_id: str, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """
    Finalize an upload whose bytes are stored.

    A 400 or a 404 may mean that the API does not see the bytes yet, and a 404 or 409 after a lost answer that it has
    registered them already: whether the asset can be viewed tells.

    :param client: The API.
    :param kind: What was uploaded.
    :param asset_id: The asset.
    :param sleep: Waits between two sendings.
    :returns: The asset's id.
    :raises MosaicError: The kind that says what to do about it.
    """
    for pause in (*_LAG_PAUSES, None):
        try:
            return client.send(finalize_upload(kind, asset_id))
        except (MosaicNotFoundError, MosaicConflictError, MosaicValidationError) as error:
            if error.status in (404, 409) and _can_be_viewed(client, kind, asset_id):
                log.info("The %s %r is registered already.", kind.value, asset_id)
                return asset_id
            # A 200 whose body says no gives no status that tells a lag from another cause.
            if error.status not in (200, 201, 202, 400, 404) or pause is None:
                raise
            log.info("The stored bytes of %s %r are not seen yet. %s", kind.value, asset_id, error.detail or "")
            sleep(pause)
    raise AssertionError("the last sending returns or raises")


def _can_be_viewed(client: SyncClient, kind: AssetType, asset_id: str) -> bool:
    try:
        client.send(get_view_url(kind, asset_id))
    except MosaicError:
        return False
    return True
