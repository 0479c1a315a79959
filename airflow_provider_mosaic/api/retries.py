"""May this call be sent again after that outcome, and when. One policy for both transports."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tenacity

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown


def may_send_again(call: Call[Any], error: BaseException) -> bool:
    """
    Whether sending ``call`` once more after ``error`` could help and can do no harm.

    A call with effects is sent again only when the first sending surely had none: the connection was refused, the name
    not found, 429, or a 503 that says when to come back. A call that moves money never is.

    :param call: What was sent.
    :param error: How it ended.
    """
    if not isinstance(error, MosaicError) or not error.transient or call.retry_safety is RetrySafety.NEVER:
        return False
    return call.retry_safety is RetrySafety.SAFE or not error.effect_unknown


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """
    How often and how long one call is tried.

    :param attempts: Sendings at most.
    :param budget: Seconds from the first sending after which none more begins; a longer ``Retry-After`` ends the tries.
    :param first_pause: Seconds before the second sending, doubled each time, with jitter.
    :param longest_pause: The longest pause that is not asked for by the server; one that is lasts 15 minutes at most.
    """

    attempts: int = 6
    budget: float = 180.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise_invalid("attempts", self.attempts, "it must be a whole number, at least 1.")
        for name in ("budget", "first_pause", "longest_pause"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise_invalid(name, value, "it must be a number of seconds, not below zero.")

    def pause(self, attempt: int, error: BaseException | None) -> float:
        """
        Seconds to wait before the next sending: ours or what the server asked for, whichever is longer.

        :param attempt: How many sendings there were.
        :param error: How the last one ended.
        """
        grown = min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        asked = getattr(error, "retry_after", None)
        if asked is None:
            return grown
        asked = bounded_cooldown(asked)
        # Many tasks are told the same moment: the jitter on top spreads them.
        return max(grown, asked + random.uniform(0.0, min(1.0, 0.1 * asked + 0.1)))

    def pause_within_budget(self, attempt: int, error: BaseException) -> float:
        """
        Seconds to wait before a transfer goes on or begins anew.

        A transfer takes as long as it takes, so the budget is that of each pause.

        :param attempt: How many tries there were.
        :param error: How the last one ended.
        :raises BaseException: It is that error: the server asks for more than the budget.
        """
        pause = self.pause(attempt, error)
        if pause > self.budget:
            raise error
        return pause

    def tenacity(self, call: Call[Any], noted: Callable[[str], None]) -> dict[str, Any]:
        """
        The policy as the keyword arguments of :class:`tenacity.Retrying` and :class:`tenacity.AsyncRetrying`.

        :param call: What is sent.
        :param noted: Gets one line for each repeat.
        """

        def error_of(state: tenacity.RetryCallState) -> BaseException | None:
            return state.outcome.exception() if state.outcome else None

        def note(state: tenacity.RetryCallState) -> None:
            noted(f"{error_of(state)} Sending it again in {state.upcoming_sleep:.1f} s ({state.attempt_number + 1}).")

        return {
            "retry": tenacity.retry_if_exception(lambda error: may_send_again(call, error)),
            "wait": lambda state: self.pause(state.attempt_number, error_of(state)),
            "stop": tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.budget),
            "before_sleep": note,
            "reraise": True,
        }


#: For looking at something again and again: the one who looks counts the faults.
ONCE = RetryPolicy(attempts=1)
