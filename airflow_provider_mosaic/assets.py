"""Assets whose events come from Mosaic, for DAGs that start by them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from airflow_provider_mosaic.api.options import EndStatus


def finished_runs(
    agent_id: str,
    *,
    status: Iterable[EndStatus] | EndStatus | None = None,
    mosaic_conn_id: str = "mosaic_default",
    poll_interval: float | timedelta = 60.0,
) -> Asset:
    """
    The asset that has an event for each run of an agent that ends, whoever started it.

    Use it as a DAG's schedule. Several events may come together in one DAG run; each one's ``extra["payload"]`` is
    ``{"run_id": ..., "agent_id": ..., "status": ...}``. The same arguments give the same asset, in any DAG, and are
    watched once. For what is kept over a restart of the triggerer see
    :class:`~airflow_provider_mosaic.triggers.finished_runs.MosaicRunFinishedTrigger`.

    :param agent_id: The agent.
    :param status: Only ends in these statuses: ``completed``, ``partial_complete``, ``failed``, ``cancelled``.
        Default: all.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_mosaic.triggers.finished_runs import MosaicRunFinishedTrigger

    trigger = MosaicRunFinishedTrigger(
        agent_id=agent_id, status=status, mosaic_conn_id=mosaic_conn_id, poll_interval=poll_interval
    )
    # A name for each watch: what it keeps over a restart is kept for the asset, and can't be kept for several.
    parts = ["mosaic_finished_runs", trigger.agent_id, *(trigger.status or ())]
    if mosaic_conn_id != "mosaic_default":
        parts.append(mosaic_conn_id)
    return Asset(name=".".join(parts), watchers=[AssetWatcher(name="mosaic", trigger=trigger)])
