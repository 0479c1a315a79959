"""
A retry policy for tasks of this provider, on an Airflow with retry policies (3.3 and newer)::

    MosaicRunAgentOperator(..., retries=5, retry_policy=MosaicRetryPolicy())

Non-retryable errors fail a task at once with and without the policy. The policy adds a delay that fits the error:
minutes after a busy server, an hour after a run that needs credits.
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
    Choose the delay of a retry by the error of Mosaic. For other errors the settings of the task apply.

    :param busy: The delay after too many requests, or too many runs at once.
    :param broken: The delay after a server or connection error, an invalid response, or a connection that Airflow did
        not return.
    :param short_of_credits: The delay after a run that stopped because it needs credits. The retry resumes it.
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
        rules = (
            (("MosaicRateLimitError",), busy, "Mosaic is busy"),
            (
                ("MosaicServerError", "MosaicTransportError", "MosaicResponseError", "MosaicConnectionError"),
                broken,
                "Mosaic or the connection to it is broken",
            ),
            (("MosaicNeedsCreditsError",), short_of_credits, "the run needs credits"),
        )
        super().__init__(
            rules=[
                RetryRule(
                    exception=[f"{_ERRORS}.{name}" for name in names],
                    action=RetryAction.RETRY,
                    retry_delay=delay,
                    reason=reason,
                )
                for names, delay, reason in rules
            ]
        )
