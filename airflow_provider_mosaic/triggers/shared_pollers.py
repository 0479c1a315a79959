"""The waits of a triggerer and their pollers: one for each connection on an event loop. They only read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.polled_waits import BatchedRunWait, Wait
from airflow_provider_mosaic.triggers.poller import Poller
from airflow_provider_mosaic.triggers.shared_client import SharedClient

S = TypeVar("S")

#: To be awaited: how the wait ended, as the payload of a trigger's event.
Event = Coroutine[Any, Any, dict[str, Any]]

#: By process and connection: a child that was forked has the parent's memory, but not its sockets.
_Pollers = dict[tuple[int, str], Poller]
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pollers] = WeakKeyDictionary()
#: Those that are being closed: a loop alone would let them go before they are done.
_closing: set[asyncio.Task[None]] = set()


def poll_until_done(mosaic_conn_id: str, call: Call[S], watch: PollState[S], *, subject_id: str) -> Event:
    """
    Wait for the end of something and say how the wait ended, as the payload of a trigger's event.

    :param mosaic_conn_id: The connection.
    :param call: Reads what is waited for.
    :param watch: The course of the wait.
    :param subject_id: The id of what is waited for.
    """
    return _waited(mosaic_conn_id, Wait(call, watch, subject_id))


def poll_run_until_done(mosaic_conn_id: str, run_id: str, watch: PollState[Run]) -> Event:
    """
    Wait for the end of a run, like :func:`poll_until_done`; many runs are looked after together.

    :param mosaic_conn_id: The connection.
    :param run_id: The run.
    :param watch: The course of the wait.
    """
    return _waited(mosaic_conn_id, BatchedRunWait(run_id, watch))


async def _waited(mosaic_conn_id: str, wait: Wait[Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    pollers = _pollers_on(loop)
    key = (os.getpid(), str(mosaic_conn_id))
    poller = pollers.get(key)
    if poller is None:
        poller = pollers[key] = Poller(SharedClient(MosaicHook(mosaic_conn_id).look_up_access))
    began = loop.time()
    poller.add(wait)
    try:
        event = await wait.outcome
    finally:
        poller.remove(wait)
        if poller.is_empty:
            # Whoever comes now begins with another one.
            del pollers[key]
            closing = loop.create_task(poller.aclose())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
            # It goes on when this one is cancelled once more.
            await asyncio.shield(closing)
    await asyncio.sleep(began + shortest_deferral() - loop.time())
    return event


def shortest_deferral() -> float:
    """
    For how many seconds a task should be deferred at the least.

    A worker's supervisor may notice only at its next heartbeat that its task has deferred. When the task has gone on by
    then, the scheduler takes the late news for a failure (https://github.com/apache/airflow/issues/71580).
    """
    return float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)) + 1.0


def _pollers_on(loop: asyncio.AbstractEventLoop) -> _Pollers:
    for old in [old for old in _pollers if old.is_closed()]:
        # A poller holds its loop, so that one that was closed under it would never be forgotten.
        del _pollers[old]
    return _pollers.setdefault(loop, {})
