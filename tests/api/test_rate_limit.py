"""The quiet that a server asks one for holds for all, and lengthens while it does not say how long."""

from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.errors import MosaicRateLimitError, MosaicServerError
from airflow_provider_mosaic.api.rate_limit import LONGEST_COOLDOWN, RateLimit


def test_the_server_is_left_alone_for_as_long_as_it_says() -> None:
    pacing = RateLimit()
    pacing.record_error(MosaicRateLimitError("x", retry_after=7.0), now=100.0)
    assert pacing.quiet_until == 107.0
    pacing.record_error(MosaicServerError("x", status=503, retry_after=2.0), now=101.0)
    assert pacing.quiet_until == 107.0


def test_a_server_that_does_not_say_how_long_is_left_alone_for_longer_each_time() -> None:
    pacing = RateLimit()
    pauses = []
    for _ in range(10):
        pacing.quiet_until = 0.0
        pacing.record_error(MosaicRateLimitError("x"), now=0.0)
        pauses.append(pacing.quiet_until)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    pacing.record_response()
    pacing.quiet_until = 0.0
    pacing.record_error(MosaicRateLimitError("x"), now=0.0)
    assert pacing.quiet_until == 1.0


@pytest.mark.parametrize("asked", [0.0, 0.001])
def test_a_server_that_limits_and_asks_for_no_pause_is_left_alone_for_longer_each_time(asked: float) -> None:
    pacing = RateLimit()
    pauses = []
    for _ in range(4):
        pacing.quiet_until = 0.0
        pacing.record_error(MosaicRateLimitError("x", retry_after=asked), now=0.0)
        pauses.append(pacing.quiet_until)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_fault_that_asks_for_nothing_brings_no_quiet() -> None:
    pacing = RateLimit()
    pacing.record_error(MosaicServerError("x", status=500), now=5.0)
    assert pacing.quiet_until == 0.0


def test_no_server_can_silence_all_waits_for_longer_than_a_quarter_of_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    pacing = RateLimit()
    for _ in range(3):
        pacing.record_error(MosaicServerError("The answer was 503.", status=503, retry_after=30 * 86400.0), now=50.0)
    assert pacing.quiet_until == 50.0 + LONGEST_COOLDOWN
    (line,) = caplog.messages
    assert line.startswith("The answer was 503. All waits of the connection are quiet until ")
    pacing.record_error(MosaicServerError("x", status=503, retry_after=30 * 86400.0), now=pacing.quiet_until)
    assert len(caplog.messages) == 2


def test_a_short_quiet_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    RateLimit().record_error(MosaicRateLimitError("x", retry_after=2.0), now=0.0)
    assert not caplog.messages
