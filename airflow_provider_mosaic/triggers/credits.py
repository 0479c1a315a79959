"""Wait for credits in the triggerer."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mosaic.api.endpoints.billing import Credits, get_credits
from airflow_provider_mosaic.api.poll_state import credits_poll_state
from airflow_provider_mosaic.triggers.base import WaitTrigger
from airflow_provider_mosaic.triggers.polled_waits import Wait

#: The id in the events: an organization has one balance.
CREDITS_ID = "credits"


@dataclass(kw_only=True, eq=False, repr=False)
class MosaicCreditsTrigger(WaitTrigger):
    """
    Wait until the balance is large enough.

    For the event and the other parameters see :class:`~airflow_provider_mosaic.triggers.base.WaitTrigger`. The id in
    the event is ``credits``, the status ``enough``.

    :param min_credits: Required balance.
    """

    min_credits: float
    poll_interval: float = 60.0

    def _wait(self) -> Wait[Credits]:
        return Wait(get_credits, credits_poll_state(self.min_credits, **self._poll_options), CREDITS_ID)
