"""The transport of triggerers: sends calls with httpx on an event loop. Its twin is :mod:`.sync_client`."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx
import tenacity

from airflow_provider_mosaic.api.access import Access, Redirects
from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.responses import Response, ResponseBody, has_more_values
from airflow_provider_mosaic.api.retries import DEFAULT_RETRIES, RetryPolicy
from airflow_provider_mosaic.clients.environment import api_proxy, proxy_secrets, shown_proxy, ssl_context
from airflow_provider_mosaic.clients.error_mapper import ErrorMapper, ResponseTooSlow
from airflow_provider_mosaic.clients.h11_limits import limit_interim_responses, use_linear_patterns
from airflow_provider_mosaic.clients.library_logs import redact_library_logs

T = TypeVar("T")
log = logging.getLogger(__name__)

_PERMANENT = (httpx.UnsupportedProtocol, httpx.InvalidURL)
#: Maps the errors of httpx.
HTTPX_ERRORS = ErrorMapper(
    unreachable=(httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, *_PERMANENT),
    permanent=_PERMANENT,
    timeouts=(httpx.TimeoutException,),
)
#: Connections that are kept open for later requests. The number of open connections is not limited here: requests that
#: hang would block all others. Callers limit their requests.
_MAX_IDLE_CONNECTIONS = 100
#: Bytes of a response that is decoded on the event loop. Larger ones are decoded in a thread.
_MAX_DECODED_ON_LOOP = 256 * 1024
#: Chunks of a body after which other coroutines run: one read of the socket may bring thousands.
_CHUNKS_PER_TURN = 100


class AsyncClient:
    """Send calls without blocking the event loop."""

    def __init__(
        self,
        access: Access,
        *,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.access = access
        self._retries = retries or DEFAULT_RETRIES
        self._sleep = sleep
        self._secrets = (*access.secrets, *proxy_secrets())
        self._proxy = api_proxy(access)
        #: The certificate authorities of all requests.
        self.ssl_context = ssl_context()
        self._transport = _open_transport(self._proxy, self.ssl_context)

    async def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """
        Send a call, retry it where that can help and is safe, and return its result.

        :param retries: A policy for this call instead of the client's.
        """
        policy = retries or self._retries
        retried: list[MosaicError] = []
        try:
            if policy.attempts == 1:
                # Thousands of polls are sent like this, and tenacity would cost more than all the rest.
                return await self._send_once(call)
            retrying = tenacity.AsyncRetrying(
                **policy.tenacity(call, log.info, on_retry=retried.append), sleep=self._sleep
            )
            return await retrying(self._send_once, call)
        except MosaicError as error:
            final_error = call.final_error(error, retried)
            if final_error is error:
                raise
            raise final_error from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def _send_once(self, call: Call[T]) -> T:
        # A timeout of httpx bounds each read, not the whole response. A server that sends it byte by byte would hold a
        # wait forever. asyncio.wait_for of Python 3.10 and 3.11 would lose a cancellation that comes together with the
        # response (https://github.com/python/cpython/issues/86296), and the trigger would keep running.
        try:
            with anyio.fail_after(self.access.connect_timeout + 2 * self.access.read_timeout(call)):
                return await self._follow_redirects(call)
        except TimeoutError:
            raise HTTPX_ERRORS.call_error(ResponseTooSlow("the time limit is over"), call) from None

    async def _follow_redirects(self, call: Call[T]) -> T:
        redirects = Redirects(call.method, self.access.url(call))
        response = await self._request(call, redirects.url)
        while redirects.follow(response):
            response = await self._request(call, redirects.url)
        decode = partial(call.result, response, self._secrets, why_not_followed=redirects.why_not_followed)
        content = response.content
        is_large = len(content) > _MAX_DECODED_ON_LOOP or has_more_values(content, call.max_values_on_loop)
        return await asyncio.get_running_loop().run_in_executor(None, decode) if is_large else decode()

    async def _request(self, call: Call[Any], url: str) -> Response:
        if call.retry_safety is RetrySafety.SAFE:
            return await self._request_over(self._transport, call, url)
        # On a new connection: the server may be closing an idle one, and then it is unknown whether it has the request.
        async with _open_transport(self._proxy, self.ssl_context) as transport:
            return await self._request_over(transport, call, url)

    async def _request_over(self, transport: httpx.AsyncHTTPTransport, call: Call[Any], url: str) -> Response:
        status, handled = 0, sys.exc_info()[1]
        try:
            response = await self._open(transport, call, url)
            status = response.status_code
            try:
                body = ResponseBody(call, status)
                async for block in response.aiter_raw():
                    if not body.add(block):
                        break
                    if body.chunks % _CHUNKS_PER_TURN == 0:
                        await asyncio.sleep(0)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, asyncio.TimeoutError) as error:
            raise HTTPX_ERRORS.call_error(error, call, self._secrets, status=status, handled=handled) from None
        return Response(status, response.headers, body.content)

    async def _open(self, transport: httpx.AsyncHTTPTransport, call: Call[Any], url: str) -> httpx.Response:
        """Send a request, and return the response with its body unread."""
        timeout = httpx.Timeout(self.access.read_timeout(call), connect=self.access.connect_timeout, pool=None)
        connections: list[Any] = []

        async def on_event(event: str, info: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                connections.append(info["return_value"])

        request = httpx.Request(
            call.method,
            url,
            content=call.content,
            headers=self.access.headers(call),
            extensions={"timeout": timeout.as_dict(), "trace": on_event},
        )
        try:
            return await transport.handle_async_request(request)
        except ValueError:
            # Older h11 passes a Content-Length of 5,000 digits to int(), which rejects it.
            raise httpx.RemoteProtocolError("a header has an invalid number") from None
        except asyncio.CancelledError:
            # httpcore leaves a connection open if the TLS handshake is cancelled, and the event loop would keep it.
            for connection in connections:
                with anyio.CancelScope(shield=True), suppress(Exception):
                    await connection.aclose()
            raise


def _open_transport(proxy: str | None, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """Open a bare transport: httpx.AsyncClient logs each request, and has its own rules for proxies and authorities."""
    redact_library_logs()
    use_linear_patterns()
    limit_interim_responses()
    try:
        return httpx.AsyncHTTPTransport(
            verify=context,
            proxy=_proxy_with_authorities(proxy, context) if proxy else None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE_CONNECTIONS),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        # The text of the error may contain a part of the password.
        raise_invalid(
            "proxy", shown_proxy(proxy or ""), f"the environment's proxy can't be used ({type(error).__name__})."
        )


def _proxy_with_authorities(url: str, context: ssl.SSLContext) -> httpx.Proxy:
    """Return a proxy, with our certificate authorities for TLS to it: httpx reads other variables for that."""
    return httpx.Proxy(url, ssl_context=context if url.lower().startswith("https:") else None)
