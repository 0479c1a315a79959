"""Assets whose events come from Mosaic, for DAGs that start by them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from airflow_provider_mosaic.api.options import EndStatus
#: Seconds from one poll to the next, where a DAG file says nothing else.
_POLL_INTERVAL = 60.0


def finished_runs(
    agent_id: str,
    *,
    status: Iterable[EndStatus] | EndStatus | None = None,
    mosaic_conn_id: str = "mosaic_default",
    poll_interval: float | timedelta = _POLL_INTERVAL,
    name: str | None = None,
) -> Asset:
    """
    Return the asset that has an event whenever runs of an agent have ended, whoever started them.

    Use it as a DAG's schedule. An event holds all runs that ended since the last poll, at most 200: its
    ``extra["payload"]`` is ``{"runs": [{"run_id": ..., "agent_id": ..., "status": ...}, ...]}``. One DAG run may get
    several events. The same arguments give the same asset, in any DAG, and are watched once. For what is kept over a
    restart of the triggerer see :class:`~airflow_provider_mosaic.triggers.finished_runs.MosaicRunFinishedTrigger`.

    :param agent_id: The agent.
    :param status: Only ends in these statuses: ``completed``, ``partial_complete``, ``failed``, ``cancelled``.
        Default: all.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. Two events are at least 30 seconds
        apart.
    :param name: The asset's name. Default: a name made from the other arguments. Give each set of arguments a name of
        its own: Airflow keeps the arguments of the DAG file that it read last.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_mosaic.api.arguments import optional_text
    from airflow_provider_mosaic.triggers.finished_runs import MosaicRunFinishedTrigger

    optional_text("name", name)
    trigger = MosaicRunFinishedTrigger(
        agent_id=agent_id, status=status, mosaic_conn_id=mosaic_conn_id, poll_interval=poll_interval, asset_name=name
    )
    if name is None:
        # A name for each watch: two DAG files that give one asset different triggers replace each other's.
        parts = ["mosaic_finished_runs", trigger.agent_id, *(trigger.status or ())]
        if mosaic_conn_id != "mosaic_default":
            parts.append(mosaic_conn_id)
        if trigger.poll_interval != _POLL_INTERVAL:
            parts.append(f"every_{trigger.poll_interval:g}s")
        name = ".".join(parts)
    return Asset(name=name, watchers=[AssetWatcher(name="mosaic", trigger=trigger)])
