"""Destinations in object storage that shows a file only when it is committed: S3, Google Cloud Storage, Azure."""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.clients.destinations.base import Destination, PartialFile

log = logging.getLogger(__name__)

_AZURE = frozenset({"abfs", "abfss", "az"})
#: A rename in these would copy all bytes again, cost money, and leave a version in buckets that keep versions.
ATOMIC_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs"}) | _AZURE
# S3 takes at most 10,000 parts of 5 MiB or more (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
_MIN_PART_SIZE = 5 * 1024 * 1024
_MAX_PARTS = 9_000


class ObjectDestination(Destination):
    """An object that is written as a multipart upload."""

    def __init__(self, path: Any) -> None:
        super().__init__(name=path.name, shown=redact(str(path)))
        self._path = path

    def open(self, size: int | None) -> PartialFile:
        """Start the upload."""
        if self._path.protocol in _AZURE and _adlfs_deletes_first() and self._path.exists():
            raise MosaicValidationError(
                f"destination={self.shown!r}: a file is there, and this version of adlfs deletes it before the new one "
                "is complete. Nothing was fetched. Install adlfs>=2024.12.0, or delete the file."
            )
        return _MultipartUpload(self._path, self.shown, max(_MIN_PART_SIZE, (size or 0) // _MAX_PARTS))


def _adlfs_deletes_first() -> bool:
    try:
        year, month = version("adlfs").split(".")[:2]
        return (int(year), int(month)) < (2024, 12)
    except (PackageNotFoundError, ValueError):
        return False


class _MultipartUpload(PartialFile):
    def __init__(self, path: Any, shown: str, part_size: int) -> None:
        self._path = path
        self._shown = shown
        self._part_size = part_size
        self._stream = self._open()
        self._finished = False

    def _open(self) -> Any:
        # The file system's own stream: Airflow's wrapper commits when an exception leaves it.
        return self._path.fs.open(self._path.path, "wb", block_size=self._part_size)

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def restart(self) -> None:
        self._abort()
        self._stream = self._open()

    def commit(self) -> None:
        self._stream.close()
        self._finished = True

    def discard(self) -> None:
        if not self._finished:
            self._finished = True
            self._abort()

    def _abort(self) -> None:
        try:
            self._stream.discard()
        except Exception as error:
            log.warning(
                "Uploaded parts of %s could not be deleted (%s). They cost storage until the bucket's lifecycle rule "
                "for incomplete uploads removes them.",
                self._shown,
                type(error).__name__,
            )
        # fsspec commits a file when it is closed, and garbage collection closes an open file.
        self._stream.closed = True
