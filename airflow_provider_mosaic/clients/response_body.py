"""The limits on a response body, for both transports."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicResponseError

#: Bytes that are read of an error response.
_MAX_ERROR_BYTES = 64 * 1024
#: Chunks of one response. However little is in a chunk, it costs the event loop as much as 10 KiB of a large one.
_MAX_CHUNKS = 20_000


class ResponseBody:
    """
    Collects a response body up to a limit, without decompressing it.

    :param status: HTTP status. Only the beginning of an error response is kept.
    """

    def __init__(self, call: Call[Any], status: int) -> None:
        self._call = call
        self._status = status
        self._is_error = not 200 <= status < 300
        self._content = bytearray()
        self._max_bytes = _MAX_ERROR_BYTES if self._is_error else call.max_bytes
        self.chunks = 0

    @property
    def content(self) -> bytes:
        """The body, or its beginning."""
        return bytes(self._content[: self._max_bytes])

    def add(self, block: bytes) -> bool:
        """
        Add a block, and return whether to read more.

        :raises MosaicResponseError: The body is longer than any response to this call.
        """
        self._content += block
        self.chunks += 1
        if len(self._content) <= self._max_bytes and self.chunks <= _MAX_CHUNKS:
            return True
        if self._is_error:
            return False
        is_long = len(self._content) > self._max_bytes
        size = f"{self._max_bytes // 1024 // 1024} MiB" if is_long else f"{_MAX_CHUNKS:,} chunks"
        raise self._call.error(
            MosaicResponseError,
            f"returned {self._status} with more than {size}.",
            to_do="The API has no response of that size: check the connection's host.",
            status=self._status,
            accepted=True,
        )
