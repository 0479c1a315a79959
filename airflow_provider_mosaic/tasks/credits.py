"""Read the balance of credits, and require enough of them before a start."""

from __future__ import annotations

import logging

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.endpoints.billing import Credits
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNeedsCreditsError, MosaicResponseError
from airflow_provider_mosaic.api.outcomes import credits_outcome
from airflow_provider_mosaic.durable.failures import fail_exception
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


def read_credits(hook: MosaicHook, min_credits: float) -> Credits:
    """Read the credits. If the balance is too low, read from the plan whether the organization has a limit at all."""
    credits = hook.get_credits()
    if credits_outcome(credits, min_credits).ended:
        return credits
    try:
        plan = hook.get_plan()
    except MosaicError as error:
        if error.transient and not isinstance(error, MosaicResponseError):
            raise
        # The key may have no permission to read the plan. An unreadable response is no reason to retry.
        return credits
    return credits.model_copy(update={"unlimited": plan.credits.unlimited})


def require_credits(hook: MosaicHook, min_credits: float, *, on_short: str) -> None:
    """Fail without retries, or skip, if there are too few credits. This reserves none."""
    credits = read_credits(hook, min_credits)
    balance = credits.balance_text
    if credits_outcome(credits, min_credits).ended:
        log.info("The balance is %s, which is enough.", balance)
        return
    what = f"The balance is {balance}, but min_credits={min_credits:g}."
    means = "This attempt started no run and paid nothing."
    if on_short == "skip":
        raise AirflowSkipException(f"{what} {means}")
    to_do = "Buy credits, or wait for them with a MosaicCreditsSensor."
    raise fail_exception(MosaicNeedsCreditsError(what, means=means, to_do=to_do))
