"""Watch for runs of an agent that end, for DAGs that are scheduled by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_mosaic.airflow_compat import asset_state_store
from airflow_provider_mosaic.api.arguments import (
    optional,
    validate_filled_text,
    validate_flag,
    validate_id,
    validate_list,
    validate_name,
    validate_seconds,
)
from airflow_provider_mosaic.api.options import EndStatus, validate_end_status

#: Seconds between two polls, by default.
POLL_INTERVAL = 60.0
#: The same if webhooks cause polls: the polls in between find what was not reported.
WEBHOOK_POLL_INTERVAL = 600.0


class MosaicRunFinishedTrigger(BaseEventTrigger):
    """
    Fire an event when runs of an agent end, no matter who started them: a user, a trigger, the API or another DAG.

    The trigger is for Airflow's ``AssetWatcher``; :func:`airflow_provider_mosaic.assets.finished_runs` creates both. It
    only reads and never ends. A poll takes two requests, one for each run that has ended, and one for each listed run
    without a readable status. An event holds the runs that ended since the last poll, at most 200; its payload is
    ``{"runs": [{"run_id": ..., "agent_id": ..., "status": ...}, ...]}``. Two events are at least 30 seconds apart, so
    that Airflow can create the DAG run of one before the next arrives. A run that is resumed ends again.

    The first poll only records which runs are running: runs that had ended before are not reported. Since Airflow
    3.3.2, the trigger keeps its state in the asset's state store. After a restart of the triggerer it continues there,
    and reports the runs that ended during the restart. An event can come twice only if the triggerer dies within
    seconds of it. On older versions, each start of the triggerer is a first poll.

    :param agent_id: The agent.
    :param status: Report only these statuses: ``completed``, ``partial_complete``, ``failed``, ``cancelled``. Default:
        all.
    :param mosaic_conn_id: The connection.
    :param poll_interval: Pause between two polls, in seconds or as a timedelta. Default: one minute; ten minutes with
        ``webhook=True``.
    :param webhook: Whether to poll also when the webhook receiver in Airflow gets the end of a run of the connection:
        within seconds, but at most every ten seconds.
    :param asset_name: Name of the watched asset. Set it where two assets would otherwise have triggers with the same
        arguments: Airflow creates one trigger for both, and gives it no state store.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        status: Iterable[EndStatus] | EndStatus | None = None,
        mosaic_conn_id: str = "mosaic_default",
        poll_interval: float | timedelta | None = None,
        webhook: bool = False,
        asset_name: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.agent_id = validate_id("agent_id", agent_id)
        if status is not None:
            statuses: list[Any] = validate_list("status", [status] if isinstance(status, str) else status)
            # Sorted: Airflow compares the arguments to know a trigger again.
            status = sorted({validate_end_status("status", each) for each in statuses})
        self.status = status
        self.mosaic_conn_id = validate_name("mosaic_conn_id", mosaic_conn_id)
        self.webhook = validate_flag("webhook", webhook)
        if poll_interval is None:
            poll_interval = WEBHOOK_POLL_INTERVAL if webhook else POLL_INTERVAL
        self.poll_interval = validate_seconds("poll_interval", poll_interval)
        self.asset_name: str | None = optional(validate_filled_text)("asset_name", asset_name)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments for Airflow's database."""
        return (
            "airflow_provider_mosaic.triggers.finished_runs.MosaicRunFinishedTrigger",
            {
                "agent_id": self.agent_id,
                "status": self.status,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "asset_name": self.asset_name,
                # An older version of the provider does not know the argument.
                **({"webhook": True} if self.webhook else {}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch without end. Yield an event for the runs that have ended since the last poll."""
        # DAG files import this module. Only the triggerer needs the watcher.
        from airflow_provider_mosaic.triggers.run_watcher import RunWatcher

        watcher = RunWatcher(
            agent_id=self.agent_id,
            status=self.status,
            mosaic_conn_id=self.mosaic_conn_id,
            poll_interval=self.poll_interval,
            store=asset_state_store(self),
            webhook=self.webhook,
        )
        async with aclosing(watcher.completions()) as polls:
            async for completions in polls:
                yield TriggerEvent({"runs": [asdict(completion) for completion in completions]})
