"""Where a download is written. A file gets its name only when it is complete, and a failed download leaves nothing."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.clients.destinations.base import Destination, PartialFile, destination_error
from airflow_provider_mosaic.clients.destinations.local import check_free_space, local_destination
from airflow_provider_mosaic.clients.destinations.object_storage import ATOMIC_PROTOCOLS, ObjectDestination
from airflow_provider_mosaic.clients.destinations.renaming_storage import RenamingDestination

__all__ = [
    "Destination",
    "PartialFile",
    "check_free_space",
    "destination_error",
    "local_destination",
    "storage_destination",
]


def storage_destination(path: Any) -> Destination:
    """
    Return the destination for a path of fsspec.

    :param path: An ``ObjectStoragePath`` or another path of universal_pathlib; ``file://`` is a local file.
    """
    protocol = getattr(path, "protocol", "") or "file"
    if protocol in ("file", "local"):
        return local_destination(getattr(path, "path", path))
    return ObjectDestination(path) if protocol in ATOMIC_PROTOCOLS else RenamingDestination(path)
