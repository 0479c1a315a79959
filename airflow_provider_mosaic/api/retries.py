"""Decide whether and when to send a call again. One policy for both transports."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tenacity

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_integer
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.metrics import REQUESTS_RETRIED, count
from airflow_provider_mosaic.api.rate_limit import bounded_cooldown

log = logging.getLogger(__name__)


def may_send_again(call: Call[Any], error: BaseException) -> bool:
    """
    Return whether sending ``call`` again after ``error`` may help and is safe.

    A call with effects is sent again only if it had none for certain: connection refused, host not found, 425, 429 or
    another 4xx with the code of a limit, or a 503 with ``Retry-After`` that is no HTML page. A call that moves money is
    never sent again.
    """
    if not isinstance(error, MosaicError) or not error.transient or call.retry_safety is RetrySafety.NEVER:
        return False
    return call.retry_safety is RetrySafety.SAFE or not error.effect_unknown


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """
    Number and timing of the attempts of one call.

    :param budget: Seconds after the first attempt in which the last one may start. A longer ``Retry-After`` ends the
        attempts.
    :param first_pause: Seconds before the second attempt. They double with each attempt, with jitter.
    :param longest_pause: Seconds of the longest pause, unless the server asks for a longer one, up to 15 minutes.
    """

    attempts: int = 6
    budget: float = 180.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def __post_init__(self) -> None:
        validate_integer("attempts", self.attempts, least=1)
        for name in ("budget", "first_pause", "longest_pause"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise_invalid(name, value, "it must be a number of seconds, not below zero.")

    def pause(self, attempt: int, error: BaseException | None) -> float:
        """Return the seconds to wait before the next attempt: the backoff, or what the server requests if longer."""
        backoff = min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        requested = getattr(error, "retry_after", None)
        if requested is None:
            return backoff
        requested = bounded_cooldown(requested)
        # The server may have sent the same time to many tasks.
        return max(backoff, requested + random.uniform(0.0, min(1.0, 0.1 * requested + 0.1)))

    def pause_within_budget(self, attempt: int, error: BaseException) -> float:
        """
        Return the seconds to wait before a transfer is continued or started again.

        The duration of a transfer is not limited, so the budget limits each pause.

        :param error: Error of the last attempt. It is raised if the server asks for a longer pause than the budget.
        """
        pause = self.pause(attempt, error)
        if pause > self.budget:
            raise error
        return pause

    def tenacity(
        self,
        call: Call[Any],
        log: Callable[[str], None],
        *,
        on_retry: Callable[[MosaicError], object] = lambda error: None,
    ) -> dict[str, Any]:
        """
        Return keyword arguments for :class:`tenacity.Retrying` and :class:`tenacity.AsyncRetrying`.

        :param on_retry: Called with each error after which the call is sent again.
        """

        def error_of(state: tenacity.RetryCallState) -> BaseException | None:
            return state.outcome.exception() if state.outcome else None

        def log_retry(state: tenacity.RetryCallState) -> None:
            error = error_of(state)
            count(REQUESTS_RETRIED)
            if isinstance(error, MosaicError):
                on_retry(error)
            log(f"{error} Attempt {state.attempt_number + 1} in {state.upcoming_sleep:.1f} s.")

        return {
            "retry": tenacity.retry_if_exception(lambda error: may_send_again(call, error)),
            "wait": lambda state: self.pause(state.attempt_number, error_of(state)),
            "stop": tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.budget),
            "before_sleep": log_retry,
            "reraise": True,
        }


DEFAULT_RETRIES = RetryPolicy()
#: One attempt, for a caller that repeats the call itself.
ONCE = RetryPolicy(attempts=1)
