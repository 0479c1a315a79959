"""
Access to the API: base URL, API key and workspace; URL and headers of a request; redirects.

A redirect is followed with the API key only to the same host, and only if that repeats no effect.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from airflow_provider_mosaic import __version__
from airflow_provider_mosaic.api.arguments import (
    is_loopback,
    raise_invalid,
    validate_flag,
    validate_id,
    validate_seconds,
)
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.api.redaction import MASK, remember
from airflow_provider_mosaic.api.responses import Response

DEFAULT_BASE_URL = "https://api.mosaic.so"
USER_AGENT = f"airflow-provider-mosaic/{__version__} python/{platform.python_version()}"

#: Seconds. Sockets accept no very long timeouts.
_MAX_TIMEOUT = 86_400.0
#: Host and port of a URL. Libraries disagree about any other character: for "evil\@host", urlsplit returns host, and
#: urllib3 connects to evil.
AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_MOTION = "Mosaic Motion (api.motion.so), another product. Nothing was sent there"


@dataclass(frozen=True, kw_only=True)
class Access:
    """
    The settings of a connection.

    :param api_key: ``mk_...`` (https://docs.mosaic.so/api/introduction).
    :param base_url: Scheme and host, without a path.
    :param workspace_id: Restricts every request to one workspace of the organization (``X-Workspace-Id``).
    :param connect_timeout: Seconds to wait for a connection.
    :param timeout: Seconds to wait for a response, unless the call has a longer timeout.
    :param allow_http: Whether to send the key unencrypted to other machines than this one.
    :param allow_private_storage: Whether links of Mosaic may lead into a private network.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    workspace_id: str | None = None
    connect_timeout: float = 10.0
    timeout: float = 60.0
    allow_http: bool = False
    allow_private_storage: bool = False

    def __post_init__(self) -> None:
        key = self.api_key.strip() if isinstance(self.api_key, str) else ""
        if not key:
            raise MosaicValidationError("The connection has no API key. Set one (mk_...) as its password.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise MosaicValidationError(
                "The API key of the connection has invalid characters. Set it again, without spaces."
            )
        if key.startswith("motion_"):
            raise MosaicValidationError(
                f"The API key of the connection is one of {_MOTION}. Set a key of the Mosaic API (mk_...)."
            )
        object.__setattr__(self, "api_key", key)
        remember(key)
        validate_flag("allow_http", self.allow_http)
        validate_flag("allow_private_storage", self.allow_private_storage)
        object.__setattr__(self, "base_url", _validate_base_url(self.base_url, allow_http=self.allow_http))
        if self.workspace_id is not None and not validate_id("workspace_id", self.workspace_id).isascii():
            raise_invalid(
                "workspace_id", self.workspace_id, "a workspace id has only ASCII characters: it is sent as a header."
            )
        for name in ("timeout", "connect_timeout"):
            if validate_seconds(name, getattr(self, name)) > _MAX_TIMEOUT:
                raise_invalid(name, getattr(self, name), f"it must be at most {_MAX_TIMEOUT:.0f} seconds.")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Strings that no message may contain."""
        return (self.api_key,)

    @property
    def link_policy(self) -> LinkPolicy:
        """Policy for the links of Mosaic."""
        return LinkPolicy(
            loopback=is_loopback(urlsplit(self.base_url).hostname or ""), private=self.allow_private_storage
        )

    def url(self, call: Call[Any]) -> str:
        """Return the URL of a call."""
        return self.base_url + call.target

    def headers(self, call: Call[Any]) -> dict[str, str]:
        """Return the headers of a call, with the key."""
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Accept": "application/json",
            # A compressed body may be a thousand times as long as its size.
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        }
        if workspace_id := self.workspace_id if call.workspace_id is None else call.workspace_id:
            headers["X-Workspace-Id"] = workspace_id
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def read_timeout(self, call: Call[Any]) -> float:
        """Return the seconds to wait for the response to a call."""
        return max(self.timeout, call.min_timeout)


def _validate_base_url(value: object, *, allow_http: bool) -> str:
    if not isinstance(value, str):
        raise_invalid("host", value, "it must be the API's address as text, such as https://api.mosaic.so.")
    text = value.strip().rstrip("/")
    if "@" in text or "%" in text:
        raise_invalid(
            "host", MASK, "it contains a user or password, or an escape. The API key belongs in the password field."
        )
    if not text.isprintable() or " " in text:
        raise_invalid("host", value, "it has spaces in it.")
    if re.match(r"(?:\w+://)?api\.motion\.so\b", text, re.IGNORECASE):
        raise_invalid("host", value, f"it is the address of {_MOTION}. Write {DEFAULT_BASE_URL}.")
    if "://" not in text:
        raise_invalid("host", value, f"it has no scheme: write {_with_scheme(text)}.")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError for an invalid port
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise_invalid("host", value, "it is not an address; write for example https://api.mosaic.so.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise_invalid("host", value, "it must start with https:// (or http:// for a local emulator) and name a host.")
    if not AUTHORITY.fullmatch(parts.netloc) or parts.port == 0:
        raise_invalid(
            "host",
            value,
            "it is not an address; write for example https://api.mosaic.so. Write an internationalized name in ASCII "
            "(xn--...).",
        )
    if parts.path or "?" in text or "#" in text:
        raise_invalid("host", value, f"it has a path; write {parts.scheme}://{parts.netloc} only.")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise_invalid(
            "host",
            value,
            f"over http:// the API key travels unencrypted. Write https://{parts.netloc}. If you trust the network to "
            "that host, set allow_http to true in the connection's extra instead.",
        )
    return text


def _with_scheme(text: str) -> str:
    """Return a URL for a text without a scheme: http for this machine, https for all others."""
    authority = text.lstrip("/") or "api.mosaic.so"
    host = authority.partition("]")[0].lstrip("[") if authority.startswith("[") else authority.partition(":")[0]
    return f"{'http' if is_loopback(host) else 'https'}://{authority}"


# Redirects

#: Redirects of one call on the same host. The last one is not followed.
MAX_REDIRECTS = 5
_METHOD_PRESERVING = frozenset({307, 308})
REDIRECT_STATUSES = frozenset({301, 302, 303, *_METHOD_PRESERVING})


class Redirects:
    """
    The redirects of one call.

    Of a redirect to the same host, only path and query are used. A request with effects follows only 307 and 308, which
    guarantee that nothing was done and that method and body stay the same.
    """

    def __init__(self, method: str, url: str) -> None:
        #: Where to send the call next.
        self.url = url
        #: Why a redirect to the same host was not followed, and what to do; empty for other responses.
        self.why_not_followed = ""
        self._method = method
        self._left = MAX_REDIRECTS - 1

    def follow(self, response: Response) -> bool:
        """Return whether to follow a redirect in a response. If so, :attr:`url` is its target from now on."""
        target, here = _target_of(response, self.url), urlsplit(self.url)
        if target is None:
            return False
        why_not = self._why_not(response.status, here, target)
        if why_not is not None:
            self.why_not_followed = why_not
            return False
        self._left -= 1
        self.url = urlunsplit((here.scheme, here.netloc, target.path or "/", target.query, ""))
        return True

    def _why_not(self, status: int, here: SplitResult, target: SplitResult) -> str | None:
        """Return why a redirect is not followed; empty if it leads to another host or port. None if it is followed."""
        if target.hostname != here.hostname:
            return ""
        if (here.scheme, target.scheme) == ("http", "https"):
            port = f":{target.port}" if target.port not in (None, 443) else ""
            host = f"[{target.hostname}]" if ":" in str(target.hostname) else target.hostname
            return (
                "It redirects to https, and nothing was sent there. Write "
                f"https://{host}{port} as the connection's host."
            )
        if (here.scheme, target.scheme) == ("https", "http"):
            return (
                "It redirects to http, where the API key would travel unencrypted, and nothing was sent there. Let the "
                "server, or the proxy before it, redirect to https."
            )
        if _origin(target) != _origin(here):
            return ""
        if self._method != "GET" and status not in _METHOD_PRESERVING:
            reason = f"A {status} turns a {self._method} into a GET, so it was not followed."
            if (target.path, target.query) == (f"{here.path}/", here.query):
                return (
                    f"It redirects to the same path with a slash at its end. {reason} Let the server, or the proxy "
                    "before it, accept the path without the slash."
                )
            return f"It redirects to another path on the same host. {reason} Check the connection's host."
        if not self._left:
            return (
                f"It redirected {MAX_REDIRECTS} times on the same host, and the request was not carried out. Check "
                "the server, or the proxy before it."
            )
        return None


def _target_of(response: Response, url: str) -> SplitResult | None:
    """Return the target of a redirect; None if there is none, or libraries would disagree about its host."""
    location = response.headers.get("location")
    if response.status not in REDIRECT_STATUSES or not location:
        return None
    if not location.isascii() or not location.isprintable() or " " in location or "\\" in location:
        return None
    try:
        target = urlsplit(urljoin(url, location))
        target.port  # noqa: B018 - raises ValueError for an invalid port
    except ValueError:
        return None
    return target if AUTHORITY.fullmatch(target.netloc) else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port
