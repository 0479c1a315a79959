"""Where the API is and who asks: an address, a key, a workspace, and how both are written into a request."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from airflow_provider_mosaic import __version__
from airflow_provider_mosaic.api.answers import Answer
from airflow_provider_mosaic.api.arguments import checked_id, checked_seconds, refuse
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import MASK, remember

DEFAULT_BASE_URL = "https://api.mosaic.so"
USER_AGENT = f"airflow-provider-mosaic/{__version__} python/{platform.python_version()}"

_LONGEST_TIMEOUT = 86_400.0
_REDIRECTS_THAT_KEEP_THE_REQUEST = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Access:
    """
    What a connection gives: the address of the API and the credentials for it.

    :param api_key: The API key, ``mk_...`` (https://docs.mosaic.so/api/introduction).
    :param base_url: Scheme and host, without a path.
    :param workspace_id: Narrows every request to one workspace of the key's organization (``X-Workspace-Id``).
    :param connect_timeout: Seconds to wait for a connection.
    :param timeout: Seconds to wait for an answer, unless the call asks for more.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    workspace_id: str | None = None
    connect_timeout: float = 10.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        key = self.api_key.strip() if isinstance(self.api_key, str) else ""
        if not key:
            raise MosaicValidationError("There is no API key: set one (mk_...) as the password of the connection.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise MosaicValidationError("The API key has characters that no key has: set it again, without spaces.")
        object.__setattr__(self, "api_key", key)
        remember(key)
        object.__setattr__(self, "base_url", _checked_base_url(self.base_url))
        if self.workspace_id is not None:
            checked_id("workspace_id", self.workspace_id)
        for name in ("timeout", "connect_timeout"):
            # Sockets take no times that are very long.
            if checked_seconds(name, getattr(self, name)) > _LONGEST_TIMEOUT:
                refuse(name, getattr(self, name), f"it must be at most {_LONGEST_TIMEOUT:.0f} seconds.")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Strings that no message may contain."""
        return (self.api_key,)

    def url(self, call: Call[Any]) -> str:
        """The full address of a call."""
        return self.base_url + call.target

    def headers(self, call: Call[Any]) -> dict[str, str]:
        """The headers of a call, the key among them."""
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }
        if self.workspace_id:
            headers["X-Workspace-Id"] = self.workspace_id
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def read_timeout(self, call: Call[Any]) -> float:
        """Seconds to wait for the answer to a call."""
        return max(self.timeout, call.patience or 0.0)


def redirected(method: str, url: str, answer: Answer) -> str | None:
    """
    Where to ask again, with the key, when the server points elsewhere; None if not at all.

    Only the same host is believed: the key goes nowhere else. A request with effects moves only by 307 and 308, which
    promise that nothing was done yet and that method and body stay.

    :param method: HTTP method that was sent.
    :param url: Address that was asked.
    :param answer: The answer.
    """
    location = answer.headers.get("location")
    if answer.status not in _REDIRECTS or not location:
        return None
    if method != "GET" and answer.status not in _REDIRECTS_THAT_KEEP_THE_REQUEST:
        return None
    try:
        target = urljoin(url, location)
        return target if _origin(target) == _origin(url) else None
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _checked_base_url(value: object) -> str:
    if not isinstance(value, str):
        refuse("host", value, "it must be the API's address as text, such as https://api.mosaic.so.")
    text = value.strip().rstrip("/")
    if "@" in text:
        refuse("host", MASK, "it holds a user or password; the API key belongs into the password field.")
    if not text.isprintable() or " " in text:
        refuse("host", value, "it has spaces in it.")
    if "://" not in text:
        refuse("host", value, f"it has no scheme: write https://{text or 'api.mosaic.so'}.")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        refuse("host", value, "it is not an address; write for example https://api.mosaic.so.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        refuse("host", value, "it must begin with https:// (or http:// for a local emulator) and name a host.")
    if parts.path or parts.query or parts.fragment:
        refuse("host", value, f"it has a path; write {parts.scheme}://{parts.netloc} only.")
    return text


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in lower case, as :class:`Answer` keeps them."""
    return {name.lower(): value for name, value in headers.items()}
