"""
Tell the watchers in triggerers that a run has ended: an Airflow Variable for each connection.

The webhook receiver in the API server writes the time of a webhook to it. In each triggerer, one reader for each
connection reads it every few seconds, and wakes the watchers if it has changed. A Variable is the only store that API
servers can write and triggers can read on all supported versions of Airflow.

A hint can be lost, for example if two API servers write at the same moment. It only makes a poll earlier.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from weakref import WeakKeyDictionary

import anyio

from airflow_provider_mosaic.airflow_compat import aread_variable, awrite_variable, uncancelled
from airflow_provider_mosaic.api.redaction import one_line

log = logging.getLogger(__name__)

#: Seconds between two reads of a Variable. Each asks the secrets backends of the triggerer first.
_READ_INTERVAL = 5.0
_DESCRIPTION = "When Mosaic last reported by a webhook that a run has ended. The Mosaic provider writes and reads it."

#: Readers by process and connection, as the pollers of :mod:`airflow_provider_mosaic.triggers.shared_pollers`.
_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, str], _HintReader]] = WeakKeyDictionary()


def hint_variable(conn_id: str) -> str:
    """Return the key of a connection's Variable."""
    return f"mosaic_webhook.{conn_id}"


def write_hint(conn_id: str, now: datetime) -> None:
    """Write a hint to Airflow's database, from a thread of the API server."""
    from airflow.models import Variable

    Variable.set(hint_variable(conn_id), now.isoformat(), description=_DESCRIPTION)


class Hints:
    """The hints for one watcher. Without a reader there are none: see :func:`webhook_hints`."""

    def __init__(self) -> None:
        self.received = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait for a hint, with a timeout. Return whether there was one since the last call."""
        with anyio.move_on_after(seconds):
            await self.received.wait()
        received = self.received.is_set()
        self.received.clear()
        return received


@asynccontextmanager
async def webhook_hints(conn_id: str) -> AsyncIterator[Hints]:
    """
    Read the hints of a connection.

    There may be a hint at the beginning, since an earlier one may have been missed.

    :param conn_id: The connection. All watchers of a connection in a triggerer share one reader.
    """
    readers = _readers.setdefault(asyncio.get_running_loop(), {})
    key = (os.getpid(), conn_id)
    if key not in readers:
        readers[key] = _HintReader(conn_id)
    reader, hints = readers[key], Hints()
    reader.watchers.add(hints)
    try:
        yield hints
    finally:
        reader.watchers.discard(hints)
        if not reader.watchers:
            del readers[key]
            reader.stop()


class _HintReader:
    """Reads the Variable of a connection while there are watchers."""

    def __init__(self, conn_id: str) -> None:
        self.watchers: set[Hints] = set()
        self._key = hint_variable(conn_id)
        # An empty context: the reader belongs to no trigger.
        self._task = contextvars.Context().run(asyncio.ensure_future, self._read_without_end())

    def stop(self) -> None:
        """End the reads."""
        self._task.cancel()

    async def _read_without_end(self) -> None:
        last, failed = "", False
        while True:
            try:
                value = await uncancelled(_read_or_create(self._key))
            except Exception as error:
                if not failed:
                    log.warning(
                        "Variable %s could not be read. Until it can be, webhooks make no poll earlier. %s",
                        self._key,
                        one_line(str(error), longest=300),
                    )
                failed = True
            else:
                failed = False
                if value != last:
                    last = value
                    for hints in self.watchers:
                        hints.received.set()
            await asyncio.sleep(_READ_INTERVAL)


async def _read_or_create(key: str) -> str:
    value = await aread_variable(key)
    if value is None:
        # Airflow 3.1 logs an error for each read of a Variable that does not exist.
        value = "none"
        await awrite_variable(key, value, _DESCRIPTION)
    return value
