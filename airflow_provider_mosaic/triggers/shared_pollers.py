"""The pollers of a triggerer: one for each connection and event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.log_thread import wait_until_logged
from airflow_provider_mosaic.triggers.polled_waits import Wait
from airflow_provider_mosaic.triggers.poller import Poller
from airflow_provider_mosaic.triggers.shared_client import SharedClient

#: By process and connection: a forked child has the memory of its parent, but must not use its sockets.
_Pollers = dict[tuple[int, str], Poller]
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pollers] = WeakKeyDictionary()
#: Tasks that close a poller. An event loop holds only weak references to its tasks.
_closing: set[asyncio.Task[None]] = set()


async def poll_until_done(mosaic_conn_id: str, wait: Wait[Any]) -> dict[str, Any]:
    """
    Poll until the wait ends, and return the payload of the trigger's event.

    :param mosaic_conn_id: The connection. All waits of a connection share one poller.
    """
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    poller = _poller_of(mosaic_conn_id)
    poller.add(wait)
    try:
        event = await wait.event
    finally:
        poller.remove(wait)
        await _close_if_empty(poller, mosaic_conn_id)
    await wait_until_logged()
    await asyncio.sleep(started_at + shortest_deferral() - loop.time())
    return event


@asynccontextmanager
async def poller_of_killed(mosaic_conn_id: str) -> AsyncIterator[Poller]:
    """Return the poller of a connection, for a killed trigger that cancels its run."""
    poller = _poller_of(mosaic_conn_id)
    poller.killed += 1
    try:
        yield poller
    finally:
        poller.killed -= 1
        await _close_if_empty(poller, mosaic_conn_id)


def shortest_deferral() -> float:
    """
    Return how many seconds a task must stay deferred at least.

    A worker's supervisor may notice the deferral of its task only at the next heartbeat. If the task has resumed by
    then, the scheduler treats the late report as a failure (https://github.com/apache/airflow/issues/71580).
    """
    return float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)) + 1.0


def _poller_of(mosaic_conn_id: str) -> Poller:
    pollers, key = _pollers_of(asyncio.get_running_loop()), (os.getpid(), str(mosaic_conn_id))
    if key not in pollers:
        pollers[key] = Poller(SharedClient(MosaicHook(mosaic_conn_id).look_up_access))
    return pollers[key]


async def _close_if_empty(poller: Poller, mosaic_conn_id: str) -> None:
    if not poller.is_empty:
        return
    loop = asyncio.get_running_loop()
    del _pollers_of(loop)[os.getpid(), str(mosaic_conn_id)]
    closing = loop.create_task(poller.aclose())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
    # The shield lets the poller close although this task is cancelled a second time.
    await asyncio.shield(closing)


def _pollers_of(loop: asyncio.AbstractEventLoop) -> _Pollers:
    for closed in [each for each in _pollers if each.is_closed()]:
        # A poller references its loop, so the weak reference alone never removes a loop that was closed early.
        del _pollers[closed]
    return _pollers.setdefault(loop, {})
