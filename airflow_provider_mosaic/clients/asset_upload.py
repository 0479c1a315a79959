"""
Upload an asset with the endpoints of :mod:`airflow_provider_mosaic.api.endpoints.assets`.

Storing and finalizing are two steps: after a failed finalize, a retry does not send the file again.
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
from airflow_provider_mosaic.api.metrics import BYTES_UPLOADED, count
from airflow_provider_mosaic.api.retries import DEFAULT_RETRIES
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import send_form

log = logging.getLogger(__name__)

#: Transfers of the file, each with a new form.
_MAX_TRANSFERS = 4
#: Delays while the API does not see the stored file yet.
_LAG_DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0)


def store(
    client: SyncClient,
    source: Source,
    kind: AssetType,
    media_type: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """
    Reserve an asset and send its file, again with a new form if the transfer fails.

    :returns: The id that the asset has once it is finalized.
    """
    transfer = 1
    while True:
        # A form serves one transfer. An incomplete one expires by itself.
        form = client.send(start_upload(kind))
        try:
            send_form(form, source, media_type, policy=client.access.link_policy)
        except MosaicError as error:
            # The size is fixed here: another transfer of a file that changed would fail too.
            changed = isinstance(error, MosaicValidationError)
            if changed or not error.transient or transfer == _MAX_TRANSFERS:
                raise
            delay = DEFAULT_RETRIES.pause_within_budget(transfer, error)
            log.warning("%s Restarting the upload in %.0f s.", error, delay)
            sleep(delay)
            transfer += 1
        else:
            count(BYTES_UPLOADED, by=source.size)
            return form.asset_id


def finalize(client: SyncClient, kind: AssetType, asset_id: str, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """
    Finalize an asset whose file is stored.

    A 400 or a 404 can mean that the API does not see the file yet. A 404 or 409 after a lost response can mean that the
    asset is finalized already, in which case it can be viewed.
    """
    for delay in (*_LAG_DELAYS, None):
        try:
            return client.send(finalize_upload(kind, asset_id))
        except (MosaicNotFoundError, MosaicConflictError, MosaicValidationError) as error:
            if error.status in (404, 409) and _can_be_viewed(client, kind, asset_id):
                log.info("The %s %r is finalized already.", kind.value, asset_id)
                return asset_id
            # A 2xx whose body reports a failure has no status that would tell a lag from another cause.
            if error.status not in (200, 201, 202, 400, 404) or delay is None:
                raise
            log.info(
                "Mosaic does not see the file of %s %r yet. Retrying in %.0f s. %s",
                kind.value,
                asset_id,
                delay,
                error.detail or "",
            )
            sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def _can_be_viewed(client: SyncClient, kind: AssetType, asset_id: str) -> bool:
    try:
        client.send(get_view_url(kind, asset_id))
    except MosaicError:
        return False
    return True
