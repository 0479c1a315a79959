"""The transport for triggers: calls over httpx, on an event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import anyio
import httpx
import tenacity

from airflow_provider_mosaic.api.access import MOST_REDIRECTS, Access, redirected, why_not_followed
from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.clients.environment import api_proxy, proxy_secrets, shown_proxy, ssl_context
from airflow_provider_mosaic.clients.error_mapper import AnswerTooSlow, Body, ErrorMapper
from airflow_provider_mosaic.clients.library_logs import clean_library_lines

T = TypeVar("T")
log = logging.getLogger(__name__)

_FAULTS = ErrorMapper(
    unreached=(
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
    ),
    permanent=(httpx.UnsupportedProtocol, httpx.InvalidURL),
    timeouts=(httpx.TimeoutException,),
)
#: Connections that are kept open for the next request. There may be more: how many requests are under way is a matter
#: of those who send them, and a bound here would let those that hang keep out all others.
_MOST_KEPT = 100
#: Bytes of an answer that is read on the event loop. A larger one is read in a thread, beside it.
_READ_AT_ONCE = 256 * 1024
#: Chunks of a body after which others have their turn: one read of the socket may bring thousands.
_CHUNKS_AT_ONCE = 100


class AsyncClient:
    """
    Sends calls without holding the event loop.

    :param access: Where the API is and who asks.
    :param retries: How often and how long one call is tried.
    :param sleep: Waits between two sendings.
    """

    def __init__(
        self,
        access: Access,
        *,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.access = access
        self._retries = retries or RetryPolicy()
        self._sleep = sleep
        clean_library_lines()
        self._secrets = (*access.secrets, *proxy_secrets())
        # The transport is used without httpx.AsyncClient around it: the client would log a line for each request,
        # and read proxies and authorities by rules of its own.
        proxy = api_proxy(access)
        try:
            self._transport = httpx.AsyncHTTPTransport(
                verify=ssl_context(),
                # httpx before 0.26 takes no text here.
                proxy=httpx.Proxy(proxy) if proxy else None,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=_MOST_KEPT),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            # Its words may be a part of the password.
            raise_invalid(
                "proxy", shown_proxy(proxy or ""), f"the environment's proxy can't be used ({type(error).__name__})."
            )

    async def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """
        Send a call, again where that may help and can do no harm, and return what its answer means.

        :param call: The call.
        :param retries: Another policy than the client's, for this call.
        :raises MosaicError: The kind that says what to do about it.
        """
        policy = retries or self._retries
        try:
            if policy.attempts == 1:
                # Thousands of looks are sent like this: what counts tries would cost more than the rest.
                return await self._timed(call)
            return await tenacity.AsyncRetrying(**policy.tenacity(call, log.info), sleep=self._sleep)(self._timed, call)
        except MosaicError as error:
            settled = call.final_error(error)
            if settled is error:
                raise
            raise settled from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _timed(self, call: Call[T]) -> T:
        # httpx bounds each read, not the whole answer: a server that trickles bytes would hold a wait for ever.
        # Not by asyncio.wait_for: on Python 3.10 and 3.11 it loses a cancellation that comes with the answer
        # (https://github.com/python/cpython/issues/86296), and a trigger that should end would go on.
        try:
            with anyio.fail_after(self.access.connect_timeout + 2 * self.access.read_timeout(call)):
                return await self._exchange(call)
        except TimeoutError:
            error = AnswerTooSlow("it took too long in all")
            raise _FAULTS.error(error, what=call.description, method=call.method, path=call.path) from None

    async def _exchange(self, call: Call[T]) -> T:
        url = self.access.url(call)
        for _ in range(MOST_REDIRECTS):
            answer = await self._ask(call, url)
            target = redirected(call.method, url, answer)
            if target is None:
                break
            url = target
        read = partial(call.result, answer, self._secrets, why_not_followed=why_not_followed(call.method, url, answer))
        if len(answer.content) <= _READ_AT_ONCE:
            return read()
        return await asyncio.get_running_loop().run_in_executor(None, read)

    async def _ask(self, call: Call[Any], url: str) -> Response:
        connect, read = self.access.connect_timeout, self.access.read_timeout(call)
        try:
            request = httpx.Request(
                call.method,
                url,
                content=call.content,
                headers=self.access.headers(call),
                extensions={"timeout": httpx.Timeout(read, connect=connect, pool=None).as_dict()},
            )
            return await self._exchanged(call, request)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, asyncio.TimeoutError) as error:
            raise _FAULTS.error(
                error, what=call.description, method=call.method, path=call.path, secrets=self._secrets
            ) from None

    async def _exchanged(self, call: Call[Any], request: httpx.Request) -> Response:
        try:
            response = await self._transport.handle_async_request(request)
        except ValueError:
            # Older h11 reads a Content-Length of any length as a number, which Python refuses for 5,000 digits.
            raise httpx.RemoteProtocolError("a header holds a number that is none") from None
        body = Body(call, response.status_code)
        try:
            async for block in response.aiter_raw():
                if not body.add(block):
                    break
                if body.chunks % _CHUNKS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            await response.aclose()
        return Response(response.status_code, dict(response.headers), body.content)
