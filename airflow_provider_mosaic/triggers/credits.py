"""Wait for credits in the triggerer."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.billing import Credits, get_credits, get_plan
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.poll_state import PollState, credits_poll_state
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
        return _CreditsWait(credits_poll_state(self.min_credits, **self._poll_options))


class _CreditsWait(Wait[Credits]):
    """
    The wait for credits.

    It reads the balance and the plan in turn. Both contain the balance, and only the plan shows that there is no limit.
    """

    __slots__ = ("_reads_plan",)

    def __init__(self, state: PollState[Credits]) -> None:
        super().__init__(self._next_call, state, CREDITS_ID)
        self._reads_plan = True

    def _next_call(self) -> Call[Credits]:
        self._reads_plan = not self._reads_plan
        if not self._reads_plan:
            return get_credits()
        plan = get_plan()
        return Call(description=plan.description, path=plan.path, read=lambda data: plan.read(data).credits)

    def record_error(self, error: MosaicError) -> None:
        """Record a failed poll. A key that may not read the plan is no fault: the balance is read next."""
        if not self._reads_plan or error.transient:
            super().record_error(error)
