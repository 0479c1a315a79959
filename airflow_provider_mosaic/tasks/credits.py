"""The guard before something is spent: are there enough credits?"""

from __future__ import annotations

import logging

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.endpoints.billing import balance_words
from airflow_provider_mosaic.api.errors import MosaicNeedsCreditsError
from airflow_provider_mosaic.api.outcomes import credits_outcome
from airflow_provider_mosaic.durable.failures import fail_exception
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


def require_credits(hook: MosaicHook, min_credits: float, *, on_short: str) -> None:
    """
    Go on only where there are enough credits. It sets nothing aside.

    :param hook: The connection.
    :param min_credits: How many.
    :param on_short: What too few mean: ``fail``, without retries since those would find the same, or ``skip``.
    :raises MosaicError: The balance can't be read.
    """
    credits = hook.get_credits()
    balance = balance_words(credits)
    if credits_outcome(credits, min_credits).ended:
        log.info("The balance is %s, which is enough.", balance)
        return
    story = f"The balance is {balance}, and min_credits={min_credits:g} are wanted: nothing was started, nothing spent."
    if on_short == "skip":
        raise AirflowSkipException(story)
    raise fail_exception(MosaicNeedsCreditsError(f"{story} Buy credits, or wait for them with a MosaicCreditsSensor."))
