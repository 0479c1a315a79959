"""Checks of URLs from requests."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Return whether a text is an ``http`` or ``https`` URL with a host and a valid port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Return whether a URL points to this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
