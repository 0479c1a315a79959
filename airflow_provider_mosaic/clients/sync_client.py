"""The transport for workers: calls over requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from types import TracebackType
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

from airflow_provider_mosaic.api.access import MOST_REDIRECTS, Access, lowered, redirected, why_not_followed
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.environment import api_proxy, ca_bundle, proxy_for, proxy_secrets
from airflow_provider_mosaic.clients.error_mapper import AnswerTooSlow, Body, ErrorMapper
from airflow_provider_mosaic.clients.library_logs import clean_library_lines
from airflow_provider_mosaic.clients.stall_timeout import StallTimeoutAdapter, time_limit

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Those of requests, and of urllib3 below it, which also wraps some of its own.
FAULTS = ErrorMapper(
    unreached=(
        NewConnectionError,
        ConnectTimeoutError,
        LocationParseError,
        # Of urllib3 before 2, which compares the host's name itself.
        CertificateError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
    ),
    permanent=(
        LocationParseError,
        CertificateError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
    ),
    timeouts=(requests.Timeout, ReadTimeoutError),
)


class _Session(requests.Session):
    def get_redirect_target(self, response: Any) -> None:
        """
        Nowhere: whoever asked decides where to ask next.

        Even where it is told not to follow, requests reads the whole body of a redirect and prepares the next request.
        """

    def merge_environment_settings(self, url: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse a proxy that can't be used by name; requests would fail in a different way for each fault."""
        proxy_for(str(url))
        return super().merge_environment_settings(url, *args, **kwargs)


def open_session() -> requests.Session:
    """A session that follows the environment's proxies and authorities, and never adds a password of its own."""
    clean_library_lines()
    session = _Session()
    session.verify = ca_bundle() or True
    # Without an auth of its own, requests would look into ~/.netrc and overwrite the Authorization header from it.
    session.auth = lambda prepared: prepared
    session.headers.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, StallTimeoutAdapter())
    return session


def send_with_deadline(seconds: float, access: Access, call: Call[T]) -> T:
    """
    Send a call once, and give up after some seconds whatever hangs: the name of the host, the connection, the answer.

    Libraries bound each step alone. So another thread takes them, and is left to itself when the time is over.

    :param seconds: How long to wait.
    :param access: Where the API is and who asks.
    :param call: A call that may be repeated.
    :raises MosaicError: The kind that says what to do about it.
    """
    outcome: Future[T] = Future()

    def send() -> None:
        # These end the thread when nobody waits for it any more, not before.
        later = 2 * seconds
        hurried = replace(
            access, connect_timeout=min(access.connect_timeout, later), timeout=min(access.timeout, later)
        )
        try:
            with SyncClient(hurried, retries=ONCE) as client:
                outcome.set_result(client.send(call))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=send, name=f"mosaic-{call.method}", daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeout:
        raise FAULTS.error(
            AnswerTooSlow(f"nothing for {seconds:g} s"), what=call.description, method=call.method, path=call.path
        ) from None


class SyncClient:
    """
    Sends calls and waits for their answers.

    :param access: Where the API is and who asks.
    :param retries: How often and how long one call is tried.
    :param sleep: Waits between two sendings.
    """

    def __init__(
        self,
        access: Access,
        *,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.access = access
        self._retries = retries or RetryPolicy()
        self._sleep = sleep
        api_proxy(access)
        self._session = open_session()
        self._secrets = (*access.secrets, *proxy_secrets())

    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """
        Send a call, again where that may help and can do no harm, and return what its answer means.

        :param call: The call.
        :param retries: Another policy than the client's, for this call.
        :raises MosaicError: The kind that says what to do about it.
        """
        policy = retries or self._retries
        try:
            answer: T = tenacity.Retrying(**policy.tenacity(call, log.info), sleep=self._sleep)(self._timed, call)
        except MosaicError as error:
            settled = call.final_error(error)
            if settled is error:
                raise
            raise settled from error
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _timed(self, call: Call[T]) -> T:
        with time_limit(self.access.connect_timeout + 2 * self.access.read_timeout(call)):
            return self._exchange(call)

    def _exchange(self, call: Call[T]) -> T:
        url = self.access.url(call)
        for _ in range(MOST_REDIRECTS):
            answer = self._ask(call, url)
            target = redirected(call.method, url, answer)
            if target is None:
                break
            url = target
        why = why_not_followed(call.method, url, answer)
        return call.result(answer, self._secrets, why_not_followed=why)

    def _ask(self, call: Call[Any], url: str) -> Response:
        try:
            with self._session.request(
                call.method,
                url,
                data=call.content,
                headers=self.access.headers(call),
                timeout=(self.access.connect_timeout, self.access.read_timeout(call)),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = Body(call, response.status_code)
                while (block := response.raw.read(64 * 1024, decode_content=False)) and body.add(block):
                    pass
        except (requests.RequestException, HTTPError, OSError) as error:
            raise FAULTS.error(
                error, what=call.description, method=call.method, path=call.path, secrets=self._secrets
            ) from None
        return Response(response.status_code, lowered(response.headers), body.content)
