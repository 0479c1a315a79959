"""
A ready-made retry policy for tasks of this provider, for Airflows that have retry policies (3.3 and newer)::

    MosaicRunAgentOperator(..., retries=5, retry_policy=MosaicRetryPolicy())

Errors that no retry can cure fail a task at once with and without it. What it adds is a delay that fits the error: a
busy server is asked again in minutes, a run that waits for credits in an hour.
"""

from __future__ import annotations

from datetime import timedelta

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError as error:  # pragma: no cover - on Airflow before 3.3
    raise ImportError("MosaicRetryPolicy needs an Airflow that has retry policies: 3.3 or newer.") from error

from airflow_provider_mosaic.api.arguments import raise_invalid

_ERRORS = "airflow_provider_mosaic.exceptions"


class MosaicRetryPolicy(ExceptionRetryPolicy):
    """
    When to try again after which error of Mosaic; anything else is left to the task's own settings.

    :param busy: The delay after too many requests, or too many runs at once.
    :param broken: The delay after a server or connection that failed, an answer that could not be read, or a
        connection that Airflow did not return.
    :param short_of_credits: The delay after a run that stopped for want of credits; the retry resumes it.
    """

    def __init__(
        self,
        *,
        busy: timedelta = timedelta(minutes=5),
        broken: timedelta = timedelta(minutes=2),
        short_of_credits: timedelta = timedelta(hours=1),
    ) -> None:
        for name, delay in (("busy", busy), ("broken", broken), ("short_of_credits", short_of_credits)):
            if not isinstance(delay, timedelta) or delay < timedelta(0):
                raise_invalid(name, delay, "it must be a timedelta, not below zero.")
        super().__init__(
            rules=[
                RetryRule(
                    exception=f"{_ERRORS}.MosaicRateLimitError",
                    action=RetryAction.RETRY,
                    retry_delay=busy,
                    reason="Mosaic is busy",
                ),
                RetryRule(
                    exception=[
                        f"{_ERRORS}.MosaicServerError",
                        f"{_ERRORS}.MosaicTransportError",
                        f"{_ERRORS}.MosaicResponseError",
                        f"{_ERRORS}.MosaicConnectionError",
                    ],
                    action=RetryAction.RETRY,
                    retry_delay=broken,
                    reason="Mosaic or the way to it is broken",
                ),
                RetryRule(
                    exception=f"{_ERRORS}.MosaicNeedsCreditsError",
                    action=RetryAction.RETRY,
                    retry_delay=short_of_credits,
                    reason="the run waits for credits",
                ),
            ]
        )
