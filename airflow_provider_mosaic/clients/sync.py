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
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
)

from airflow_provider_mosaic.api.access import Access, lowered, redirected
from airflow_provider_mosaic.api.answers import Answer
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.debug_lines import clean_library_lines
from airflow_provider_mosaic.clients.environment import ca_bundle, proxy_secrets
from airflow_provider_mosaic.clients.faults import LARGEST_ANSWER, AnswerTooSlow, Faults, too_large

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Those of requests, and of urllib3 below it, which also wraps some of its own.
FAULTS = Faults(
    unreached=(NewConnectionError, ConnectTimeoutError, LocationParseError, requests.exceptions.InvalidURL),
    permanent=(LocationParseError, requests.exceptions.InvalidURL),
    timeouts=(requests.Timeout, ReadTimeoutError),
)
_MOST_REDIRECTS = 5


class _Session(requests.Session):
    def get_redirect_target(self, response: Any) -> None:
        """
        Nowhere: whoever asked decides where to ask next.

        Even where it is told not to follow, requests reads the whole body of a redirect and prepares the next request.
        """


def open_session() -> requests.Session:
    """A session that follows the environment's proxies and authorities, and never adds a password of its own."""
    clean_library_lines()
    session = _Session()
    session.verify = ca_bundle() or True
    # Without an auth of its own, requests would look into ~/.netrc and overwrite the Authorization header from it.
    session.auth = lambda prepared: prepared
    session.headers.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=0))
    return session


def send_within(seconds: float, access: Access, call: Call[T]) -> T:
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
        hurried = replace(
            access, connect_timeout=min(access.connect_timeout, seconds), timeout=min(access.timeout, seconds)
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
            AnswerTooSlow(f"nothing for {seconds:g} s"), what=call.what, method=call.method, path=call.path
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
            answer: T = tenacity.Retrying(**policy.tenacity(call, log.info), sleep=self._sleep)(self._exchange, call)
        except MosaicError as error:
            settled = call.settled(error)
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

    def _exchange(self, call: Call[T]) -> T:
        url = self.access.url(call)
        for _ in range(_MOST_REDIRECTS):
            answer = self._ask(call, url)
            target = redirected(call.method, url, answer)
            if target is None:
                break
            url = target
        return call.result(answer, self._secrets)

    def _ask(self, call: Call[Any], url: str) -> Answer:
        read = self.access.read_timeout(call)
        # requests bounds each read, not the whole answer: a server that trickles bytes would hold a worker for ever.
        limit = time.monotonic() + self.access.connect_timeout + 2 * read
        try:
            with self._session.request(
                call.method,
                url,
                data=call.content,
                headers=self.access.headers(call),
                timeout=(self.access.connect_timeout, read),
                allow_redirects=False,
                stream=True,
            ) as response:
                # read1 gives what has come; read waits for a whole block, however long it trickles (urllib3 1.26 has
                # only that).
                read_some = getattr(response.raw, "read1", response.raw.read)
                content = bytearray()
                while block := read_some(64 * 1024, decode_content=True):
                    content += block
                    if len(content) > LARGEST_ANSWER:
                        raise too_large(call, response.status_code)
                    if time.monotonic() > limit:
                        raise AnswerTooSlow("the answer trickled in")
        except (requests.RequestException, HTTPError, OSError) as error:
            raise FAULTS.error(
                error, what=call.what, method=call.method, path=call.path, secrets=self._secrets
            ) from None
        return Answer(response.status_code, lowered(response.headers), bytes(content))
