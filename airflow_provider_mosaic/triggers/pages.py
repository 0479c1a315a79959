"""One page of the list, asked for again where that may help: many waits hang on it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import anyio

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError, MosaicTransportError
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.rate_limit import RateLimit
from airflow_provider_mosaic.triggers.shared_client import SharedClient

T = TypeVar("T")

_TRIES, _LIMITED_TRIES = 3, 10
_LONGEST_PAGE, _LONGEST_QUIET = 30.0, 120.0


async def fetch_page_with_retry(session: SharedClient, pacing: RateLimit, call: Call[Page[T]]) -> Page[T]:
    """
    Read a page, in the quiet that the server asks for.

    :param session: What it is read with.
    :param pacing: The quiet; on the clock of the running loop.
    :param call: Reads it.
    :raises MosaicError: It can't be read now.
    """
    clock = asyncio.get_running_loop().time
    failed = limited = 0
    while True:
        quiet = pacing.quiet_until - clock()
        if quiet > _LONGEST_QUIET:
            raise MosaicTransportError(f"Could not {call.description}: the server wants {quiet:.0f} s of quiet.")
        await asyncio.sleep(max(0.0, quiet))
        try:
            # Not asyncio.wait_for: see the asynchronous client.
            with anyio.fail_after(_LONGEST_PAGE):
                page = await session.send(call)
        except TimeoutError:
            raise MosaicTransportError(f"Could not {call.description}: no answer came in time.") from None
        except MosaicError as error:
            pacing.record_error(error, now=clock())
            # Whom the server bids to be slow should not ask for each run instead.
            if isinstance(error, MosaicRateLimitError):
                limited += 1
            else:
                failed += 1
            if failed >= _TRIES or limited >= _LIMITED_TRIES or not error.transient:
                raise
        else:
            pacing.record_response()
            return page
