"""
Sessions for links that a server gave us. They connect only where the link policy permits.

The host is resolved and checked here, and the connection uses the address: a second lookup could return another one.
"""

from __future__ import annotations

import socket
from typing import Any, cast

import requests
from requests.utils import select_proxy
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError
from urllib3.util import parse_url
from urllib3.util.connection import allowed_gai_family

from airflow_provider_mosaic.api.link_policy import LinkPolicy
from airflow_provider_mosaic.clients.stall_timeout import StallTimeoutAdapter
from airflow_provider_mosaic.clients.sync_client import open_session


class ForbiddenLink(Exception):  # noqa: N818 - internal to this package
    """The link policy does not permit the address of a link."""


def open_storage_session(policy: LinkPolicy, *, send_timeout: float = 60.0) -> requests.Session:
    """
    Open a session without credentials, for storage hosts and for sources.

    :param policy: Where it may connect to. Other requests raise :class:`ForbiddenLink`.
    """
    session = open_session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _StorageAdapter(policy, send_timeout=send_timeout))
    return session


class _StorageAdapter(StallTimeoutAdapter):
    def __init__(self, policy: LinkPolicy, *, send_timeout: float) -> None:
        self._policy = policy
        super().__init__(send_timeout=send_timeout, direct=type("Checked", (_CheckedConnection,), {"policy": policy}))

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Check the host's name if a proxy connects to it: only the proxy knows the address."""
        if select_proxy(request.url, kwargs.get("proxies")):
            link = parse_url(request.url)
            host = (link.host or "").strip("[]")
            _check(self._policy, host, _as_address(host), secure=link.scheme == "https")
        return super().send(request, *args, **kwargs)


class _CheckedConnection:
    """A connection that resolves its host once, and connects only to permitted addresses."""

    policy: LinkPolicy
    host: str
    port: int
    _dns_host: str

    def _new_conn(self) -> Any:
        name = self._dns_host
        addresses = self._permitted_addresses(name)
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

    def _permitted_addresses(self, name: str) -> list[str]:
        try:
            entries = socket.getaddrinfo(name, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except UnicodeError:
            raise LocationParseError(name) from None
        except OSError as error:
            raise NewConnectionError(cast("Any", self), f"Failed to resolve {name!r} ({error})") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        secure = cast("Any", self).default_port == 443
        permitted = [each for each in addresses if self.policy.refusal(self.host, each, secure=secure) is None]
        if not permitted:
            _check(self.policy, self.host, addresses[0], secure=secure)
        return permitted


def _check(policy: LinkPolicy, host: str, address: str | None, *, secure: bool) -> None:
    reason = policy.refusal(host, address, secure=secure)
    if reason is not None:
        raise ForbiddenLink(reason)


def _as_address(host: str) -> str | None:
    """Return a host's address if it is written as one, also in forms that only a resolver reads (127.1, 2130706433)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, host.partition("%")[0]))
        except OSError:
            pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
