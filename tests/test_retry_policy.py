"""The retry policy. On an Airflow without retry policies its import names the version that it needs."""

from __future__ import annotations

import inspect
from collections import Counter
from datetime import timedelta
from importlib import import_module

import airflow.sdk
import pytest

from airflow_provider_mosaic import exceptions

HAS_POLICIES = "ExceptionRetryPolicy" in airflow.sdk.__all__

DELAYS = [
    (exceptions.MosaicRateLimitError, timedelta(minutes=5)),
    (exceptions.MosaicServerError, timedelta(minutes=2)),
    (exceptions.MosaicTransportError, timedelta(minutes=2)),
    (exceptions.MosaicResponseError, timedelta(minutes=2)),
    (exceptions.MosaicNeedsCreditsError, timedelta(hours=1)),
    (exceptions.MosaicRunFailedError, None),
    (ValueError, None),
]


def test_each_error_has_its_delay() -> None:
    if not HAS_POLICIES:
        with pytest.raises(ImportError, match=r"needs an Airflow that has retry policies: 3\.3 or newer"):
            import_module("airflow_provider_mosaic.retry_policy")
        return
    from airflow.sdk import RetryAction

    from airflow_provider_mosaic.retry_policy import MosaicRetryPolicy

    policy = MosaicRetryPolicy()
    for kind, delay in DELAYS:
        decision = policy.evaluate(kind("x"), 1, 3)
        assert decision.retry_delay == delay, kind
        assert decision.action is (RetryAction.DEFAULT if delay is None else RetryAction.RETRY), kind


def test_the_policy_can_be_serialized() -> None:
    if not HAS_POLICIES:
        assert not hasattr(airflow.sdk, "RetryPolicy")
        return
    from airflow_provider_mosaic.retry_policy import MosaicRetryPolicy

    assert len(MosaicRetryPolicy(busy=timedelta(seconds=7)).serialize()["rules"]) == 3


INVALID = {name: [None, 300, "5 minutes", timedelta(seconds=-1)] for name in ("busy", "broken", "short_of_credits")}


def test_an_invalid_delay_is_an_error(evidence: Counter[str]) -> None:
    if not HAS_POLICIES:
        assert not hasattr(airflow.sdk, "RetryPolicy")
        return
    from airflow_provider_mosaic.retry_policy import MosaicRetryPolicy

    assert set(INVALID) == set(inspect.signature(MosaicRetryPolicy).parameters)
    for name, values in INVALID.items():
        for value in values:
            evidence["wrong values of arguments of the retry policy"] += 1
            with pytest.raises(exceptions.MosaicValidationError, match=f"^{name}=.*it must be a timedelta"):
                MosaicRetryPolicy(**{name: value})
