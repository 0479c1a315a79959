"""The cooldown of a connection: as long as the server asks, growing if it does not say, bounded."""

from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.errors import MosaicRateLimitError, MosaicServerError
from airflow_provider_mosaic.api.rate_limit import MAX_COOLDOWN, RateLimit


def test_the_cooldown_is_as_long_as_the_server_asks() -> None:
    rate_limit = RateLimit()
    rate_limit.record_error(MosaicRateLimitError("x", retry_after=7.0), now=100.0)
    assert rate_limit.cooldown_until == 107.0
    rate_limit.record_error(MosaicServerError("x", status=503, retry_after=2.0), now=101.0)
    assert rate_limit.cooldown_until == 107.0


def test_the_cooldown_grows_while_the_server_does_not_say_how_long() -> None:
    rate_limit = RateLimit()
    cooldowns = []
    for _ in range(10):
        rate_limit.cooldown_until = 0.0
        rate_limit.record_error(MosaicRateLimitError("x"), now=0.0)
        cooldowns.append(rate_limit.cooldown_until)
    assert cooldowns == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    rate_limit.record_success()
    rate_limit.cooldown_until = 0.0
    rate_limit.record_error(MosaicRateLimitError("x"), now=0.0)
    assert rate_limit.cooldown_until == 1.0


@pytest.mark.parametrize("asked", [0.0, 0.001])
def test_the_cooldown_grows_while_the_server_asks_for_none(asked: float) -> None:
    rate_limit = RateLimit()
    cooldowns = []
    for _ in range(4):
        rate_limit.cooldown_until = 0.0
        rate_limit.record_error(MosaicRateLimitError("x", retry_after=asked), now=0.0)
        cooldowns.append(rate_limit.cooldown_until)
    assert cooldowns == [1.0, 2.0, 4.0, 8.0]


def test_other_errors_start_no_cooldown() -> None:
    rate_limit = RateLimit()
    rate_limit.record_error(MosaicServerError("x", status=500), now=5.0)
    assert rate_limit.cooldown_until == 0.0


def test_the_cooldown_is_at_most_15_minutes_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rate_limit = RateLimit()
    for _ in range(3):
        rate_limit.record_error(
            MosaicServerError("The response was 503.", status=503, retry_after=30 * 86400.0), now=50.0
        )
    assert rate_limit.cooldown_until == 50.0 + MAX_COOLDOWN
    (line,) = caplog.messages
    assert line.startswith("The response was 503. All waits of the connection pause until ")
    rate_limit.record_error(MosaicServerError("x", status=503, retry_after=30 * 86400.0), now=rate_limit.cooldown_until)
    assert len(caplog.messages) == 2


def test_a_short_cooldown_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    RateLimit().record_error(MosaicRateLimitError("x", retry_after=2.0), now=0.0)
    assert not caplog.messages
