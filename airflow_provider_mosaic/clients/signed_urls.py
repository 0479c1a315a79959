"""
Request URLs that a server gave us: without our credentials, and shown without their signature.

A connection goes only where the link policy permits. The host is resolved and checked here, and the connection uses the
address: a second lookup could return another one. Redirects are followed here: requests would read their bodies, which
may be endless.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, cast
from urllib.parse import unquote, urljoin

import requests
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from airflow_provider_mosaic.api.access import REDIRECT_STATUSES, USER_AGENT
from airflow_provider_mosaic.api.arguments import MAX_URL_LENGTH, split_url
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.file_links import LinkPolicy, link_secrets
from airflow_provider_mosaic.api.redaction import one_line, remember_signed
from airflow_provider_mosaic.clients.environment import proxy_secrets
from airflow_provider_mosaic.clients.library_logs import masking
from airflow_provider_mosaic.clients.stall_timeout import StallTimeoutAdapter, check_head
from airflow_provider_mosaic.clients.sync_client import REQUESTS_ERRORS, open_session

#: What the HTTP libraries raise when a transfer fails, during the request and while the body is read.
TRANSFER_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError)

#: Seconds to wait for a connection.
CONNECT_TIMEOUT = 10.0

_MAX_REDIRECTS = 10
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")


class _ForbiddenLink(Exception):  # noqa: N818 - internal to this package
    """The link policy does not permit the address of a link."""


def open_storage_session(policy: LinkPolicy, *, send_timeout: float = 60.0) -> requests.Session:
    """
    Open a session without credentials, for storage hosts and for sources.

    :param policy: Where it may connect to. Other requests raise :class:`_ForbiddenLink`.
    """
    session = open_session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _StorageAdapter(policy, send_timeout=send_timeout))
    return session


def origin(url: str, secrets: Iterable[str] = ()) -> str:
    """
    Return scheme and host of a URL, which is all that messages contain of a signed one.

    :param secrets: Values to mask: a host that redirects can repeat them in a host name.
    """
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#;\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    return one_line(f"{scheme}://{host}", secrets)


def response_secrets(response: requests.Response) -> tuple[str, ...]:
    """Return the secrets of the URLs that led to a response. The host may repeat them."""
    return link_secrets(*(each.url for each in (*response.history, response)))


def transfer_error(
    error: BaseException,
    *,
    action: str,
    method: str,
    url: str,
    secrets: Iterable[str] = (),
    handled: BaseException | None = None,
) -> MosaicTransportError:
    """
    Return the error for a transfer that failed.

    :param handled: See :meth:`~airflow_provider_mosaic.clients.error_mapper.ErrorMapper.error`.
    """
    host, masked = origin(url, secrets), (*secrets, *link_secrets(url), *proxy_secrets())
    return REQUESTS_ERRORS.error(error, action=action, method=method, path=host, secrets=masked, handled=handled)


@contextmanager
def transfer_errors(*, action: str, method: str, url: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Convert the errors of the HTTP library in the block to errors of ours: see :func:`transfer_error`."""
    handled = sys.exc_info()[1]
    try:
        yield
    except _ForbiddenLink as error:
        reason = one_line(str(error), secrets, longest=300)
        raise MosaicResponseError(
            f"Could not {action}: its link leads to an address that links may not lead to: {reason}. "
            "Nothing was sent there. If this is your own storage, set allow_private_storage in the connection's extra.",
            method=method,
            path=origin(url, secrets),
            effect_unknown=False,
        ) from None
    except TRANSFER_ERRORS as error:
        raise transfer_error(error, action=action, method=method, url=url, secrets=secrets, handled=handled) from None


def resolve_redirect(url: str, location: str) -> str:
    """Return the target of a redirect; the location itself if it can't be parsed."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def check_is_http(url: str, *, action: str, given_by: str, secrets: Iterable[str] = ()) -> None:
    """Raise unless a URL is an HTTP(S) one, and its user and password can be sent."""
    try:
        parts = split_url(url)
        is_http = parts.scheme.lower() in ("http", "https")
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
    except UnicodeEncodeError:
        raise MosaicResponseError(
            f"Could not {action}: the user or the password in {given_by} has characters that HTTP does not allow.",
            effect_unknown=False,
        ) from None
    except ValueError:
        is_http = False
    if not is_http:
        scheme = url.partition(":")[0] if _SCHEME.match(url) else ""
        problem = f"it starts with {one_line(scheme, secrets)}:" if scheme else "it has no scheme and host"
        if scheme.lower() in ("http", "https"):
            problem = f"its host is invalid, or it has more than {MAX_URL_LENGTH:,} characters"
        raise MosaicResponseError(
            f"Could not {action}: {given_by} is not an HTTP URL: {problem}.", effect_unknown=False
        )


def open_url(
    session: requests.Session,
    url: str,
    *,
    action: str,
    timeout: float,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """
    Request a URL, and return the response with its body unread. The caller closes it.

    :param session: A session of :func:`open_storage_session`, which checks each address.
    :param timeout: Seconds to wait for the next byte.
    """
    # A compressed response has another length than the file, and no ranges.
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
    target = url
    history: list[requests.Response] = []
    secrets: tuple[str, ...] = ()
    for _ in range(_MAX_REDIRECTS):
        given_by = f"the redirect of {origin(url)}" if history else "its link"
        check_is_http(target, action=action, given_by=given_by, secrets=secrets)
        remember_signed(link_secrets(target, path=False))
        with (
            transfer_errors(action=action, method="GET", url=target, secrets=secrets),
            masking((*secrets, *link_secrets(target))),
        ):
            response = session.get(
                target, headers=headers, stream=True, allow_redirects=False, timeout=(CONNECT_TIMEOUT, timeout)
            )
            try:
                check_head(response)
            except HTTPException:
                response.close()
                raise
        location = response.headers.get("location")
        if response.status_code not in REDIRECT_STATUSES or not location:
            response.history = history
            return response
        response.close()
        history.append(response)
        secrets = (*secrets, *link_secrets(target))
        target = resolve_redirect(target, location)
    raise MosaicResponseError(
        f"Could not {action}: {origin(url)} redirected {_MAX_REDIRECTS} times.", effect_unknown=False
    )


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
    """A connection that connects only to permitted addresses."""

    policy: LinkPolicy
    host: str

    def resolve(self, name: str) -> list[str]:
        """Return the permitted addresses of a host."""
        addresses: list[str] = super().resolve(name)  # type: ignore[misc]
        secure = cast("Any", self).default_port == 443
        permitted = [each for each in addresses if self.policy.refusal(self.host, each, secure=secure) is None]
        if not permitted:
            _check(self.policy, self.host, addresses[0], secure=secure)
        return permitted


def _check(policy: LinkPolicy, host: str, address: str | None, *, secure: bool) -> None:
    reason = policy.refusal(host, address, secure=secure)
    if reason is not None:
        raise _ForbiddenLink(reason)


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
