"""The methods of the hook over both transports. Pages are so small that each list has several."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, TypeVar

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.paging import Listing, Page, aiterate, iterate
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.async_client import AsyncClient
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

T = TypeVar("T")

_PAGE_SIZE = 2


def in_small_pages(listing: Listing[T]) -> Listing[T]:
    """Return a list with pages of two items, if it has pages."""

    def page(cursor: str | None) -> Call[Page[T]]:
        call = listing.page(cursor)
        return replace(call, query={**call.query, "limit": _PAGE_SIZE}) if "cursor" in call.query else call

    return Listing(page, listing.key)


class OverRequests(MosaicHook):
    """The hook with requests, as in a worker."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        return iterate(self.send, in_small_pages(listing))


class OverHttpx(EndpointMethods):
    """The hook's methods with httpx, as in a trigger. Each call runs an event loop."""

    def __init__(self, access: Access) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._open(access))

    @staticmethod
    async def _open(access: Access) -> AsyncClient:
        return AsyncClient(access, retries=ONCE)

    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        return self._loop.run_until_complete(self._client.send(call, retries=retries))

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        async def read_all() -> list[T]:
            return [item async for item in aiterate(self._client.send, in_small_pages(listing))]

        return iter(self._loop.run_until_complete(read_all()))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


class Transport(Protocol):
    """Creates a closable client of every endpoint."""

    def __call__(self, access: Access) -> OverRequests | OverHttpx: ...


TRANSPORTS: dict[str, Transport] = {"requests": OverRequests, "httpx": OverHttpx}
