"""The transport of workers: sends calls with requests. Its twin for triggerers is :mod:`.async_client`."""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
import tenacity
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.ssl_match_hostname import CertificateError

from airflow_provider_mosaic.api.access import Access, Redirects
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.responses import Response, ResponseBody
from airflow_provider_mosaic.api.retries import DEFAULT_RETRIES, ONCE, RetryPolicy
from airflow_provider_mosaic.clients.environment import api_proxy, ca_bundle, proxy_for, proxy_secrets
from airflow_provider_mosaic.clients.error_mapper import ErrorMapper, ResponseTooSlow
from airflow_provider_mosaic.clients.library_logs import redact_library_logs
from airflow_provider_mosaic.clients.stall_timeout import StallTimeoutAdapter, check_head, time_limit

T = TypeVar("T")
log = logging.getLogger(__name__)

# urllib3 before version 2 compares the host's name itself, and raises CertificateError.
_PERMANENT = (
    LocationParseError,
    CertificateError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
)
#: Maps the errors of requests and of urllib3 below it.
REQUESTS_ERRORS = ErrorMapper(
    unreachable=(NewConnectionError, ConnectTimeoutError, *_PERMANENT),
    permanent=_PERMANENT,
    timeouts=(requests.Timeout, ReadTimeoutError),
)
#: Bytes of a response that are read at a time.
_BLOCK_SIZE = 64 * 1024


class SyncClient:
    """
    Send calls and wait for their responses.

    :param is_orphaned: Returns whether another attempt may do what this process does. Calls with effects are refused
        then.
    """

    def __init__(
        self,
        access: Access,
        *,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        is_orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self.access = access
        self._retries = retries or DEFAULT_RETRIES
        self._sleep = sleep
        self._is_orphaned = is_orphaned
        self._secrets = (*access.secrets, *proxy_secrets())
        api_proxy(access)  # raises if the proxy can't be used; the session finds it by itself
        self._session = open_session()
        # urllib3 before version 2 leaves the connections of a client that is not closed to the garbage collector.
        weakref.finalize(self, self._session.close)
        # The other transport sends no cookies back either.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        #: Seconds by which this machine's clock is ahead of the server's, by the last response with a date.
        self.clock_ahead = 0.0
        #: Whether calls with effects are refused: see ``MosaicHook.refuse_effects``. A signal handler may set it.
        self.refuses_effects = False

    def send(
        self,
        call: Call[T],
        *,
        retries: RetryPolicy | None = None,
        on_retry: Callable[[MosaicError], object] = lambda error: None,
    ) -> T:
        """
        Send a call, retry it where that can help and is safe, and return its result.

        :param retries: A policy for this call instead of the client's.
        :param on_retry: Called with each error after which the call is sent again.
        """
        policy = retries or self._retries
        retried: list[MosaicError] = []

        def note(error: MosaicError) -> None:
            retried.append(error)
            on_retry(error)

        try:
            if policy.attempts == 1:
                return self._send_once(call)
            # A weak reference: the object of tenacity is part of a cycle, and would keep the connections open.
            pause = partial(SyncClient._pause, weakref.proxy(self), call)
            retrying = tenacity.Retrying(**policy.tenacity(call, log.info, on_retry=note), sleep=pause)
            result: T = retrying(self._send_once, call)
            return result
        except MosaicError as error:
            final_error = call.final_error(error, retried)
            if final_error is error:
                raise
            raise final_error from error

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _why_refused(self, call: Call[Any]) -> str:
        """Return why the call may not be sent, as a clause; empty if it may."""
        if call.retry_safety is RetrySafety.SAFE:
            return ""
        if self.refuses_effects:
            return "the task was killed"
        if self._is_orphaned():
            return "Airflow's supervisor of this process died, and another attempt may send it"
        return ""

    def _pause(self, call: Call[Any], seconds: float) -> None:
        """Sleep before the next attempt, until the call is refused."""
        # In parts: Python continues a sleep after a signal.
        longest = seconds if call.retry_safety is RetrySafety.SAFE else 1.0
        while seconds > 0 and not self._why_refused(call):
            self._sleep(min(seconds, longest))
            seconds -= longest

    def _send_once(self, call: Call[T]) -> T:
        # A timeout of requests bounds each read, not the whole response. A server that sends it byte by byte would hold
        # a task forever.
        with time_limit(self.access.connect_timeout + 2 * self.access.read_timeout(call)):
            return self._follow_redirects(call)

    def _follow_redirects(self, call: Call[T]) -> T:
        redirects = Redirects(call.method, self.access.url(call))
        response = self._request(call, redirects.url)
        while redirects.follow(response):
            response = self._request(call, redirects.url)
        return call.result(response, self._secrets, why_not_followed=redirects.why_not_followed)

    def _request(self, call: Call[Any], url: str) -> Response:
        if why_refused := self._why_refused(call):
            raise call.error(MosaicError, f"was not sent, because {why_refused}.")
        if call.retry_safety is RetrySafety.SAFE:
            return self._request_over(self._session, call, url)
        # On a new connection: the server may be closing an idle one, and then it is unknown whether it has the request.
        with open_session() as session:
            return self._request_over(session, call, url)

    def _request_over(self, session: requests.Session, call: Call[Any], url: str) -> Response:
        status, handled = 0, sys.exc_info()[1]
        try:
            with session.request(
                call.method,
                url,
                data=call.content,
                headers=self.access.headers(call),
                timeout=(self.access.connect_timeout, self.access.read_timeout(call)),
                allow_redirects=False,
                stream=True,
            ) as response:
                check_head(response)
                status = response.status_code
                body = ResponseBody(call, status)
                while (block := response.raw.read(_BLOCK_SIZE, decode_content=False)) and body.add(block):
                    pass
        except (requests.RequestException, HTTPError, HTTPException, OSError) as error:
            raise REQUESTS_ERRORS.call_error(error, call, self._secrets, status=status, handled=handled) from None
        received = Response(status, response.headers, body.content)
        ahead = received.clock_ahead()
        if ahead is not None:
            self.clock_ahead = ahead
        return received


class _Session(requests.Session):
    def get_redirect_target(self, response: Any) -> None:
        """
        Report no redirect: the caller follows redirects.

        Even with ``allow_redirects=False`` requests reads the whole body of a redirect and prepares the next request.
        """

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Take the proxy from the environment by the rule of both transports, and nothing else."""
        proxy = proxy_for(str(url))
        return super().merge_environment_settings(url, {"all": proxy} if proxy else proxies, stream, verify, cert)


def open_session() -> requests.Session:
    """Open a session that uses the environment's proxies and certificate authorities, but no passwords of its own."""
    redact_library_logs()
    session = _Session()
    # Otherwise requests would read ~/.netrc and overwrite the Authorization header.
    session.trust_env = False
    session.verify = ca_bundle() or True
    session.headers.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, StallTimeoutAdapter())
    return session


def send_with_deadline(seconds: float, access: Access, call: Call[T]) -> T:
    """
    Send a call once, and fail at a deadline even if the name lookup or the connection hangs.

    The libraries bound only single steps. So the call is sent in another thread, which is left behind at the deadline.
    """
    outcome: Future[T] = Future()
    # Shorter timeouts end the thread some time after the deadline.
    longest = 2 * seconds
    short_access = replace(
        access, connect_timeout=min(access.connect_timeout, longest), timeout=min(access.timeout, longest)
    )

    def send() -> None:
        try:
            with SyncClient(short_access, retries=ONCE) as client:
                outcome.set_result(client.send(call))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=send, name=f"mosaic-{call.method}", daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeout:
        raise REQUESTS_ERRORS.call_error(ResponseTooSlow(f"no response in {seconds:g} s"), call) from None
