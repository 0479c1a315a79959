"""Watch for runs that end, whoever started them, for DAGs that start by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, get_args

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_mosaic.airflow_compat import asset_state_store
from airflow_provider_mosaic.api.arguments import (
    optional_text,
    validate_id,
    validate_list,
    validate_name,
    validate_seconds,
)
from airflow_provider_mosaic.api.options import EndStatus, validate_end_status

# A DAG file makes this trigger where it is read: what watches is loaded in the triggerer.

#: How a run can end, in the API's words.
STATUSES: tuple[str, ...] = get_args(EndStatus)


class MosaicRunFinishedTrigger(BaseEventTrigger):
    """
    Fire whenever runs of an agent have ended, whoever started them: a user, a trigger, the API, another DAG.

    It is made for Airflow's ``AssetWatcher``; :func:`airflow_provider_mosaic.assets.finished_runs` puts both together.
    It only reads, never ends by itself, and needs two requests a poll and one for each run that has ended. An event
    holds all runs that ended since the last poll, at most 200; its payload is
    ``{"runs": [{"run_id": ..., "agent_id": ..., "status": ...}, ...]}``. Two events are at least 30 seconds apart, so
    that Airflow can create the DAG run of one before the next arrives. A run that is resumed ends again.

    It begins with the runs that are going on when it is first looked: what had ended before is not told. Where Airflow
    keeps an asset's state (3.3 and newer), it goes on after a restart of the triggerer where it stopped, and tells
    what ended meanwhile; only when the triggerer dies within seconds of an event, that event may come twice. Without
    it (3.1 and 3.2), each start of the triggerer begins anew, and what ended in between is not told.

    :param agent_id: The agent.
    :param status: Only ends in these statuses: ``completed``, ``partial_complete``, ``failed``, ``cancelled``.
        Default: all.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta.
    :param asset_name: The name of the asset that is watched, where two assets would otherwise have triggers with the
        same arguments: Airflow makes one trigger of these, and keeps no state for it.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        status: Iterable[EndStatus] | EndStatus | None = None,
        mosaic_conn_id: str = "mosaic_default",
        poll_interval: float | timedelta = 60.0,
        asset_name: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.agent_id = validate_id("agent_id", agent_id)
        # In one order, so that the same watch is the same trigger for Airflow, which compares these arguments.
        self.status = (
            None if status is None else sorted({validate_end_status("status", each) for each in _listed(status)})
        )
        self.mosaic_conn_id = validate_name("mosaic_conn_id", mosaic_conn_id)
        self.poll_interval = validate_seconds("poll_interval", poll_interval)
        self.asset_name = optional_text("asset_name", asset_name)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments, as Airflow keeps them."""
        return (
            "airflow_provider_mosaic.triggers.finished_runs.MosaicRunFinishedTrigger",
            {
                "agent_id": self.agent_id,
                "status": self.status,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "asset_name": self.asset_name,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever, and yield an event for the runs that have ended since the last poll."""
        from airflow_provider_mosaic.triggers.run_watcher import RunWatcher

        watch = RunWatcher(
            agent_id=self.agent_id,
            status=self.status,
            mosaic_conn_id=self.mosaic_conn_id,
            poll_interval=self.poll_interval,
            store=asset_state_store(self),
        )
        async with aclosing(watch.completions()) as ends:
            async for ended in ends:
                yield TriggerEvent(
                    {"runs": [{"run_id": end.run_id, "agent_id": end.agent_id, "status": end.status} for end in ended]}
                )


def _listed(status: Iterable[str] | str) -> list[Any]:
    return validate_list("status", [status] if isinstance(status, str) else status)
