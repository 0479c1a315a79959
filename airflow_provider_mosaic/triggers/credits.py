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
#: A plan seldom changes, and a top-up should be found by the next poll.
_BALANCES_BEFORE_PLAN = 4


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

    It reads the balance, and sometimes the plan. As on a worker, only the balance of the credits counts, and the plan
    only shows that there is no limit. Anything else about the plan is no progress and no failure of the wait.
    """

    __slots__ = ("_balances",)

    def __init__(self, state: PollState[Credits]) -> None:
        super().__init__(self._next_call, state, CREDITS_ID)
        #: Balances read since the last read of the plan. A failed read does not count: while the balance can't be read,
        #: the plan isn't read either.
        self._balances = 0

    @property
    def _reads_plan(self) -> bool:
        return self._balances >= _BALANCES_BEFORE_PLAN

    def _next_call(self) -> Call[Credits]:
        if not self._reads_plan:
            return get_credits()
        plan = get_plan()
        return Call(description=plan.description, path=plan.path, read=lambda data: plan.read(data).credits)

    def record_success(self, item: Credits) -> None:
        """Record the balance. Of the plan, record only that there is no limit."""
        is_plan = self._reads_plan
        self._balances = 0 if is_plan else self._balances + 1
        if not is_plan or item.unlimited:
            super().record_success(item)

    def record_error(self, error: MosaicError) -> None:
        """Record a failed poll of the balance. After a failed poll of the plan, the balance is read next."""
        if self._reads_plan:
            self._balances = 0
        else:
            super().record_error(error)
