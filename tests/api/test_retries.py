from __future__ import annotations

from typing import Any

import pytest
import tenacity

from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.assets import finalize_upload, get_view_url, start_upload
from airflow_provider_mosaic.api.endpoints.posts import create_post
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, resume_run, start_run
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicRateLimitError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.rate_limit import MAX_COOLDOWN
from airflow_provider_mosaic.api.retries import RetryPolicy, may_send_again

from .every_sample import SAMPLES

SAFE = whoami()
PAID = start_run("agent-1")
MONEY: Call[None] = Call(
    description="buy", method="POST", path="/plan/upgrade", read=lambda data: None, retry_safety=RetrySafety.NEVER
)


def never(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize("transient", [True, False])
@pytest.mark.parametrize("effect_unknown", [True, False])
def test_only_safe_and_transient_calls_are_retried(transient: bool, effect_unknown: bool) -> None:
    error = MosaicError("x", transient=transient, effect_unknown=effect_unknown)
    assert may_send_again(SAFE, error) is transient
    assert may_send_again(PAID, error) is (transient and not effect_unknown)
    assert may_send_again(MONEY, error) is False


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), TimeoutError()])
def test_other_exceptions_are_not_retried(error: BaseException) -> None:
    assert not may_send_again(SAFE, error)


def test_retry_safety_of_every_endpoint() -> None:
    assert {
        start_run("a").retry_safety,
        resume_run("r").retry_safety,
        create_post("t", platforms=["x"]).retry_safety,
    } == {RetrySafety.HAS_EFFECTS}
    calls: list[Call[Any]] = [cancel_run("r"), finalize_upload(AssetType.VIDEO, "v"), start_upload(AssetType.VIDEO)]
    calls += [get_view_url(AssetType.VIDEO, "v"), *(s.call for s in SAMPLES.values() if s.call.method == "GET")]
    assert {call.retry_safety for call in calls} == {RetrySafety.SAFE}


def test_backoff_grows_with_jitter_to_a_limit() -> None:
    policy = RetryPolicy(first_pause=1.0, longest_pause=30.0)
    for attempt, top in [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (60, 30.0)]:
        pauses = {policy.pause(attempt, MosaicServerError("x")) for _ in range(50)}
        assert all(top / 2 <= pause <= top for pause in pauses)
        assert len(pauses) > 10


def test_pause_is_at_least_retry_after() -> None:
    for asked in (0.0, 0.5, 3.0, 400.0):
        pauses = {RetryPolicy().pause(1, MosaicRateLimitError("x", retry_after=asked)) for _ in range(50)}
        assert all(asked <= pause <= asked + 1 for pause in pauses)
        assert len(pauses) > 10


@pytest.mark.parametrize("asked", [0.0, -5.0, 0.001])
def test_zero_retry_after_uses_the_backoff(asked: float) -> None:
    policy = RetryPolicy(first_pause=1.0, longest_pause=30.0)
    for attempt, top in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 30.0)]:
        pauses = {policy.pause(attempt, MosaicRateLimitError("x", retry_after=asked)) for _ in range(50)}
        assert all(top / 2 <= pause <= top for pause in pauses)


def test_retry_after_is_limited_to_fifteen_minutes() -> None:
    patient = RetryPolicy(budget=1e12)
    for asked in (3600.0, 1e300):
        assert MAX_COOLDOWN <= patient.pause(1, MosaicServerError("x", retry_after=asked)) <= MAX_COOLDOWN + 1
    with pytest.raises(MosaicServerError):
        RetryPolicy().pause_within_budget(1, MosaicServerError("x", retry_after=3600.0))


@pytest.mark.parametrize(
    ("attempt", "spent", "pause", "ends"),
    [
        (1, 0.0, 1.0, False),
        (5, 100.0, 30.0, False),
        (6, 0.0, 1.0, True),
        (2, 179.5, 1.0, True),
        (1, 0.0, 400.0, True),
        (2, 150.0, 30.0, True),
        (2, 149.0, 30.0, False),
    ],
)
def test_attempts_end_by_number_and_by_budget(attempt: int, spent: float, pause: float, ends: bool) -> None:
    stop = RetryPolicy(attempts=6, budget=180.0).tenacity(SAFE, never)["stop"]
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    # Not relative to the machine's clock: the sum would be rounded.
    state.start_time = 0.0
    state.outcome_timestamp = spent
    state.upcoming_sleep = pause
    assert stop(state) is ends


def test_each_retry_is_logged() -> None:
    lines: list[str] = []

    def fail() -> None:
        raise MosaicServerError("Could not check the API key.", transient=len(lines) < 2)

    with pytest.raises(MosaicServerError):
        tenacity.Retrying(**RetryPolicy().tenacity(SAFE, lines.append), sleep=lambda seconds: None)(fail)
    assert [line.partition(" in ")[0] for line in lines] == [
        "Could not check the API key. Attempt 2",
        "Could not check the API key. Attempt 3",
    ]


def test_validation_errors_are_not_retried() -> None:
    assert not may_send_again(SAFE, MosaicValidationError("x"))
