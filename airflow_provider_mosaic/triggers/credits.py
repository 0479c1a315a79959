"""Wait for credits, in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.endpoints.billing import get_credits
from airflow_provider_mosaic.api.poll_state import credits_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_pollers import poll_until_done

#: What the events of this trigger have for an id: an organization has one balance.
CREDITS_ID = "credits"


class MosaicCreditsTrigger(BaseTrigger):
    """
    Wait until the balance is large enough. It only reads.

    The event is that of :class:`~airflow_provider_mosaic.triggers.runs.MosaicRunTrigger`, with ``credits`` as its id
    and ``enough`` as its status.

    :param min_credits: How many credits.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param deadline: When to give up, in seconds since the epoch by the wall clock; None for never.
    """

    def __init__(
        self,
        *,
        min_credits: float,
        mosaic_conn_id: str = MosaicHook.default_conn_name,
        poll_interval: float = 60.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.min_credits = min_credits
        self.mosaic_conn_id = mosaic_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments, as Airflow keeps them."""
        return (
            "airflow_provider_mosaic.triggers.credits.MosaicCreditsTrigger",
            {
                "min_credits": self.min_credits,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give one event."""
        watch = credits_poll_state(
            self.min_credits, poll_interval=self.poll_interval, deadline=self.deadline, noted=self.log.info
        )
        yield TriggerEvent(await poll_until_done(self.mosaic_conn_id, get_credits(), watch, subject_id=CREDITS_ID))
