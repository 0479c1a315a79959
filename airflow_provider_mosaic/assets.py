"""Assets that Mosaic updates, to schedule DAGs with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from airflow_provider_mosaic.api.options import EndStatus

#: Seconds.
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
    Return an asset with an event whenever runs of an agent have ended, including runs started outside Airflow.

    Use it as the schedule of a DAG. An event contains the runs that ended since the last poll, at most 200: its
    ``extra["payload"]`` is ``{"runs": [{"run_id": ..., "agent_id": ..., "status": ...}, ...]}``. A DAG run may get
    several events. The same arguments give the same asset in any DAG, and one watcher polls for it.
    :class:`~airflow_provider_mosaic.triggers.finished_runs.MosaicRunFinishedTrigger` describes what a restart of the
    triggerer keeps.

    :param agent_id: The agent.
    :param status: Report only runs with these final statuses: ``completed``, ``partial_complete``, ``failed``,
        ``cancelled``. Default: all.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. Two events are at least 30 seconds
        apart.
    :param name: The asset's name. Default: a name made from the other arguments. Use one name for one set of arguments:
        for two sets, Airflow keeps those of the DAG file that it parsed last.
    :raises MosaicValidationError: An argument is wrong.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_mosaic.api.arguments import optional_text
    from airflow_provider_mosaic.triggers.finished_runs import MosaicRunFinishedTrigger

    optional_text("name", name)
    trigger = MosaicRunFinishedTrigger(
        agent_id=agent_id, status=status, mosaic_conn_id=mosaic_conn_id, poll_interval=poll_interval, asset_name=name
    )
    if name is None:
        # Two DAG files that give one asset different triggers would replace each other's.
        parts = ["mosaic_finished_runs", trigger.agent_id, *(trigger.status or ())]
        if mosaic_conn_id != "mosaic_default":
            parts.append(mosaic_conn_id)
        if trigger.poll_interval != _POLL_INTERVAL:
            parts.append(f"every_{trigger.poll_interval:g}s")
        name = ".".join(parts)
    return Asset(name=name, watchers=[AssetWatcher(name="mosaic", trigger=trigger)])
