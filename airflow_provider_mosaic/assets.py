"""Assets that Mosaic updates, to schedule DAGs with, and the URIs ``mosaic://...`` of Airflow's lineage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset

    from airflow_provider_mosaic.api.options import EndStatus


def finished_runs(
    agent_id: str,
    *,
    status: Iterable[EndStatus] | EndStatus | None = None,
    mosaic_conn_id: str = "mosaic_default",
    poll_interval: float | timedelta | None = None,
    webhook: bool = False,
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
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. Default: one minute; ten minutes
        with ``webhook=True``. Two events are at least 30 seconds apart.
    :param webhook: Whether to poll within seconds when Mosaic reports the end of a run to the webhook receiver in
        Airflow. Runs whose webhooks are lost are found by the polls in between.
    :param name: The asset's name. Default: a name made from the other arguments. Use one name for one set of arguments:
        for two sets, Airflow keeps those of the DAG file that it parsed last.
    :raises MosaicValidationError: An argument is wrong.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_mosaic.api.arguments import optional, validate_filled_text
    from airflow_provider_mosaic.triggers.finished_runs import (
        POLL_INTERVAL,
        WEBHOOK_POLL_INTERVAL,
        MosaicRunFinishedTrigger,
    )

    optional(validate_filled_text)("name", name)
    trigger = MosaicRunFinishedTrigger(
        agent_id=agent_id,
        status=status,
        mosaic_conn_id=mosaic_conn_id,
        poll_interval=poll_interval,
        webhook=webhook,
        asset_name=name,
    )
    if name is None:
        # Two DAG files that give one asset different triggers would replace each other's.
        parts = ["mosaic_finished_runs", trigger.agent_id, *(trigger.status or ())]
        if mosaic_conn_id != "mosaic_default":
            parts.append(mosaic_conn_id)
        if trigger.webhook:
            parts.append("webhook")
        if trigger.poll_interval != (WEBHOOK_POLL_INTERVAL if trigger.webhook else POLL_INTERVAL):
            parts.append(f"every_{trigger.poll_interval:g}s")
        name = ".".join(parts)
    return Asset(name=name, watchers=[AssetWatcher(name="mosaic", trigger=trigger)])


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """
    Return the OpenLineage dataset of a URI ``mosaic://<host>/<kind>/<id>``: its namespace is the scheme and the host.

    Airflow's OpenLineage provider calls it.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"{uri.scheme}://{uri.netloc}", name=uri.path.lstrip("/"))
