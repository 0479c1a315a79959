"""Read one page of a list, with retries: many waits depend on it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import anyio

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError, MosaicTransportError
from airflow_provider_mosaic.api.metrics import POLLS, count
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.rate_limit import RateLimit
from airflow_provider_mosaic.triggers.shared_client import SharedClient

T = TypeVar("T")

#: Attempts that fail, and attempts that are rate limited. More of the latter: polling each run instead would send a
#: hundred times as many requests to a server that already limits them.
_MAX_ERRORS, _MAX_RATE_LIMITS = 3, 10
_MAX_PAGE_SECONDS, _MAX_COOLDOWN = 30.0, 120.0


async def fetch_page_with_retry(client: SharedClient, rate_limit: RateLimit, call: Call[Page[T]]) -> Page[T]:
    """
    Read a page after the cooldown of the rate limit. After an error without a cooldown, wait a second or two.

    :param rate_limit: Shared by all requests of the connection; uses the clock of the running loop.
    """
    clock = asyncio.get_running_loop().time
    errors = rate_limits = 0
    while True:
        cooldown = rate_limit.cooldown_until - clock()
        if cooldown > _MAX_COOLDOWN:
            raise MosaicTransportError(f"Could not {call.description}: rate limited for {cooldown:.0f} s.")
        await asyncio.sleep(max(float(errors), cooldown))
        count(POLLS, "list")
        try:
            # Not asyncio.wait_for: see the asynchronous client.
            with anyio.fail_after(_MAX_PAGE_SECONDS):
                page = await client.send(call)
        except TimeoutError:
            raise MosaicTransportError(f"Could not {call.description}: no response came in time.") from None
        except MosaicError as error:
            rate_limit.record_error(error, now=clock())
            if isinstance(error, MosaicRateLimitError):
                rate_limits += 1
            else:
                errors += 1
            if errors >= _MAX_ERRORS or rate_limits >= _MAX_RATE_LIMITS or not error.transient:
                raise
        else:
            rate_limit.record_success()
            return page
