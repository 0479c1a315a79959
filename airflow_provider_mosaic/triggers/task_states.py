"""Read the state of a task whose trigger is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import aread_task_states, state_in
from airflow_provider_mosaic.api.errors import MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line

#: Seconds in which the kills of a mapped task share a request. The triggerer answers one request in each of its loops,
#: and Airflow kills all triggers of a DAG run at once.
_BATCH = 0.1
#: Seconds in which kills that wait for a slot use a state that another kill has read.
_FRESH = 5.0

_Key = tuple[asyncio.AbstractEventLoop, str, str, str]
#: The latest requests, and the times before which they are not sent.
_batches: dict[_Key, tuple[float, asyncio.Task[Mapping[str, Any]]]] = {}


async def read_state(ti: Any, *, since: float) -> str | None:
    """
    Return the state of a trigger's task instance; None if it has none, or if the trigger belongs to no task.

    :param since: The state was read after this time of the event loop, and in the last seconds.
    :raises MosaicTransportError: It could not be read.
    """
    if ti is None:
        return None
    loop = asyncio.get_running_loop()
    now, key = loop.time(), (loop, ti.dag_id, ti.run_id, ti.task_id)
    _drop_stale(loop)
    if key not in _batches or _batches[key][0] < since:
        _batches[key] = now + _BATCH, asyncio.create_task(_read_states(key))
        # A mapped task can have thousands of states.
        loop.call_later(_BATCH + 2 * _FRESH, _drop_stale, loop)
    try:
        return state_in(await asyncio.shield(_batches[key][1]), ti)
    except Exception as error:
        raise MosaicTransportError(
            f"Airflow returned no state of task {ti.task_id!r} ({type(error).__name__}: {one_line(str(error))}).",
            means="Another triggerer may wait for its run, so nothing was cancelled.",
            to_do="If a user ended the task, cancel the run in the editor.",
            effect_unknown=False,
        ) from error


async def _read_states(key: _Key) -> Mapping[str, Any]:
    await asyncio.sleep(_BATCH)
    _, dag_id, run_id, task_id = key
    return await aread_task_states(dag_id, run_id, task_id)


def _drop_stale(loop: asyncio.AbstractEventLoop) -> None:
    for old in [each for each, (sent_at, _) in _batches.items() if sent_at < loop.time() - _FRESH]:
        del _batches[old]
