"""
Sessions for links that a server handed out: they connect only where the link policy lets them, and wait for no trickle.

The address is looked up here, checked, and connected to as a number, so that no second lookup can give another one.
"""

from __future__ import annotations

import io
import socket
import time
from typing import Any, cast

import requests
from requests.utils import select_proxy
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError
from urllib3.util import parse_url
from urllib3.util.connection import allowed_gai_family

from airflow_provider_mosaic.api.link_policy import LinkPolicy
from airflow_provider_mosaic.clients.error_mapper import AnswerTooSlow
from airflow_provider_mosaic.clients.stall_timeout import StallTimeoutAdapter, TimedResponse
from airflow_provider_mosaic.clients.sync_client import open_session

#: Bytes a second below which a body is given up; a line of 9,600 baud has as much.
LOWEST_RATE = 1024
#: What may surround a byte of a body: chunks of one byte each have five.
_MOST_FRAMING = 16
_FRAMING_ALLOWED = 256 * 1024


class ForbiddenLink(Exception):  # noqa: N818 - it never leaves this layer
    """A link leads where the policy does not let us go."""


def open_storage_session(policy: LinkPolicy, *, standstill: float = 60.0) -> requests.Session:
    """
    A session without credentials, for storage hosts and for sources.

    :param policy: Where it may connect to; elsewhere a request raises :class:`ForbiddenLink`.
    :param standstill: Seconds that may pass without the host taking a byte of what is sent.
    """
    session = open_session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _StorageAdapter(policy, standstill=standstill))
    return session


class _StorageAdapter(StallTimeoutAdapter):
    def __init__(self, policy: LinkPolicy, *, standstill: float) -> None:
        self._policy = policy
        super().__init__(
            standstill=standstill, direct=(type("Checked", (_Checked,), {"policy": policy}),), always=(_Paced,)
        )

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Check by its name what a proxy connects to: only the proxy knows the address."""
        if select_proxy(request.url, kwargs.get("proxies")):
            link = parse_url(request.url)
            host = (link.host or "").strip("[]")
            _check(self._policy, host, _as_address(host), secure=link.scheme == "https")
        return super().send(request, *args, **kwargs)


class _Checked:
    """A connection that looks up its host once, and connects only to what may be connected to."""

    policy: LinkPolicy
    host: str
    port: int
    _dns_host: str

    def _new_conn(self) -> Any:
        name = self._dns_host
        addresses = self._allowed(name)
        try:
            for address in addresses:
                self._dns_host = address
                try:
                    return super()._new_conn()  # type: ignore[misc]
                except (NewConnectionError, ConnectTimeoutError):
                    if address == addresses[-1]:
                        raise
        finally:
            self._dns_host = name

    def _allowed(self, name: str) -> list[str]:
        try:
            found = socket.getaddrinfo(name, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except UnicodeError:
            raise LocationParseError(name) from None
        except OSError as error:
            raise NewConnectionError(cast("Any", self), f"Failed to resolve {name!r} ({error})") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        secure = cast("Any", self).default_port == 443
        allowed = [one for one in addresses if self.policy.refusal(self.host, one, secure=secure) is None]
        if not allowed:
            _check(self.policy, self.host, addresses[0], secure=secure)
        return allowed


class _PacedReader(io.RawIOBase):
    """
    The bytes of one answer as they come.

    :param raw: Where they come from: the reader of a :class:`TimedResponse`.
    :param window: Seconds of waiting within which a head must be whole, and a body must keep the lowest rate.
    """

    def __init__(self, raw: Any, window: float | None) -> None:
        self._raw = raw
        self._window = window or float("inf")
        self._waited = 0.0
        self._came = 0
        self._in_head = True
        self._head_due = time.monotonic() + self._window
        self._budget = _FRAMING_ALLOWED

    def readable(self) -> bool:
        return True

    def body_begins(self) -> None:
        """The head is whole: from now on the rate counts."""
        self._in_head = False
        self._waited, self._came = 0.0, 0

    def expect(self, count: int) -> None:
        """So many bytes of the body are wanted next."""
        self._budget = _MOST_FRAMING * count + _FRAMING_ALLOWED

    def readinto(self, buffer: Any) -> int | None:
        if not self._in_head:
            # A block of a file may take as long as the rate lets it.
            self._raw.renew()
        asked = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        now = time.monotonic()
        # Only waiting counts: a slow destination holds the body up too.
        self._waited += now - asked
        self._came += count or 0
        self._budget -= count or 0
        if self._in_head:
            if now > self._head_due:
                raise AnswerTooSlow("the answer's head trickled in")
        elif self._waited >= self._window:
            if count and self._came < LOWEST_RATE * self._window:
                raise AnswerTooSlow(f"fewer than {LOWEST_RATE} bytes a second for {self._window:g} s")
            self._waited, self._came = 0.0, 0
        if self._budget < 0:
            raise AnswerTooSlow("the answer has more around its bytes than bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(TimedResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._paced = _PacedReader(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.body_begins()

    def read(self, amt: int | None = None) -> bytes:
        self._paced.expect(amt if amt is not None else self.length or 0)
        return super().read(amt)


class _Paced:
    """A connection whose answers must keep a rate."""

    response_class = _PacedResponse


def _check(policy: LinkPolicy, host: str, address: str | None, *, secure: bool) -> None:
    refusal = policy.refusal(host, address, secure=secure)
    if refusal is not None:
        raise ForbiddenLink(refusal)


def _as_address(host: str) -> str | None:
    """The address that a host is written as, also in the ways that only a resolver knows (127.1, 2130706433)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, host.partition("%")[0]))
        except OSError:
            pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
