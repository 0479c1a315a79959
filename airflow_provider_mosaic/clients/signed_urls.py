"""
Request signed URLs: without our credentials, and shown without their signature.

Redirects are followed here, since requests would search ``~/.netrc`` for a password of each host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_mosaic.api.access import USER_AGENT
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.redaction import (
    MASK,
    link_secrets,
    looks_random,
    one_line,
    redact,
    remember_signed,
)
from airflow_provider_mosaic.clients.environment import proxy_secrets
from airflow_provider_mosaic.clients.library_logs import masking
from airflow_provider_mosaic.clients.storage_session import ForbiddenLink
from airflow_provider_mosaic.clients.sync_client import REQUESTS_ERRORS

#: What the HTTP libraries raise when a transfer fails, during the request and while the body is read.
TRANSFER_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError)

#: Seconds to wait for a connection.
CONNECT_TIMEOUT = 10.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")
_PARAMETERS = re.compile(r"[?#;].*", re.DOTALL)


def shown_url(url: str) -> str:
    """Return a URL without its signature: no query, password or fragment, and no token in its path."""
    path = _PARAMETERS.sub("", url).partition("://")[2].partition("/")[2]
    parts = [MASK if may_be_token(part) else part for part in path.split("/")]
    return one_line("/".join([origin(url), *parts]), longest=500)


def may_be_token(part: str) -> bool:
    """Return whether a part of a path may be a token: long, without a suffix, and not made of words."""
    return "." not in part and (len(part) >= 24 or looks_random(part))


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
    error: BaseException, *, action: str, method: str, url: str, secrets: Iterable[str] = ()
) -> MosaicTransportError:
    """Return the error for a transfer that failed."""
    masked = (*secrets, *link_secrets(url), *proxy_secrets())
    return REQUESTS_ERRORS.error(error, action=action, method=method, path=origin(url, secrets), secrets=masked)


@contextmanager
def transfer_errors(*, action: str, method: str, url: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Raise what the HTTP library raises as errors of ours; see :func:`transfer_error`."""
    try:
        yield
    except ForbiddenLink as error:
        raise MosaicResponseError(
            f"Could not {action}: its link leads to an address that links may not lead to: {redact(str(error))[:300]}. "
            "Nothing was sent there. If this is your own storage, set allow_private_storage in the connection's extra.",
            method=method,
            path=origin(url),
            effect_unknown=False,
        ) from None
    except TRANSFER_ERRORS as error:
        raise transfer_error(error, action=action, method=method, url=url, secrets=secrets) from None


def resolve_redirect(url: str, location: str) -> str:
    """Return the target of a redirect; the location itself if it can't be parsed."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def check_is_http(url: str, *, action: str, given_by: str, secrets: Iterable[str] = ()) -> None:
    """Raise unless a URL is an HTTP(S) one."""
    try:
        is_http = urlsplit(url).scheme.lower() in ("http", "https")
    except ValueError:
        is_http = False
    if not is_http:
        scheme = url.partition(":")[0] if _SCHEME.match(url) else ""
        problem = f"it starts with {one_line(scheme, secrets)}:" if scheme else "it has no scheme and host"
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
        location = response.headers.get("location")
        if response.status_code not in _REDIRECTS or not location:
            response.history = history
            return response
        response.close()
        history.append(response)
        secrets = (*secrets, *link_secrets(target))
        target = resolve_redirect(target, location)
    raise MosaicResponseError(
        f"Could not {action}: {origin(url)} redirected {_MAX_REDIRECTS} times.", effect_unknown=False
    )
