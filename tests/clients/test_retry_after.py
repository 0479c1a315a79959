"""Retry-After and rate limits over both transports: the longer pause counts, within the budget."""

from __future__ import annotations

import time

import pytest

from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.errors import MosaicError

from .servers import HostileServer, answer
from .transports import Transport, access_to

pytestmark = pytest.mark.hostile

#: With each of these the pauses are as without a header.
AS_GOOD_AS_NONE = [
    "0", "-5", "-1e308", "0.001", "nan", "inf", "1e400", "9" * 5000, "soon", "1, 2", "Thu, 01 Jan 0001 00:00:00 GMT",
    "Thu, 01 Jan 0001 00:00:00 +2359", "Mon, 32 Foo 99999 99:99:99 GMT", "Wed, 21 Oct 2015 07:28:00 +9999", ",",
    "1" * 65,
]  # fmt: skip


@pytest.mark.parametrize("value", AS_GOOD_AS_NONE, ids=lambda value: value[:20])
@pytest.mark.parametrize("status", [429, 503])
def test_useless_retry_after_keeps_our_pauses(transport: Transport, status: int, value: str) -> None:
    with HostileServer(answer(status, {"detail": "no"}, Retry_After=value)) as server, pytest.raises(MosaicError):
        transport.send(access_to(server.url), whoami())
    assert server.count == 6
    assert len(transport.pauses) == 5
    assert all(pause >= least for pause, least in zip(transport.pauses, (0.5, 1, 2, 4, 8), strict=True))


@pytest.mark.parametrize("value", ["86400", "1e300", "9" * 60, "Fri, 31 Dec 9999 23:59:59 -2359"])
@pytest.mark.parametrize("status", [429, 503])
def test_huge_retry_after_ends_the_retries(transport: Transport, status: int, value: str) -> None:
    with HostileServer(answer(status, {"detail": "no"}, Retry_After=value)) as server, pytest.raises(MosaicError):
        transport.send(access_to(server.url), whoami())
    assert (server.count, transport.pauses) == (1, [])


@pytest.mark.parametrize("header", ["X_RateLimit_Reset", "RateLimit_Reset"])
@pytest.mark.parametrize("form", ["seconds", "epoch", "milliseconds"])
def test_rate_limit_reset_is_honoured(transport: Transport, header: str, form: str) -> None:
    forms = {"seconds": "20", "epoch": f"{time.time() + 20:.0f}", "milliseconds": f"{(time.time() + 20) * 1000:.0f}"}
    limited = answer(429, {"detail": "no"}, **{header: forms[form]})
    with HostileServer(limited, answer(200, {"organization_id": "o"})) as server:
        transport.send(access_to(server.url), whoami())
    assert 15 < transport.pauses[0] < 23


@pytest.mark.parametrize("value", ["86400", "9999999999", "99999999999999"])
def test_rate_limit_reset_is_bounded(transport: Transport, value: str) -> None:
    with HostileServer(answer(429, {"detail": "no"}, X_RateLimit_Reset=value)) as server, pytest.raises(MosaicError):
        transport.send(access_to(server.url), whoami())
    assert (server.count, transport.pauses) == (1, [])
