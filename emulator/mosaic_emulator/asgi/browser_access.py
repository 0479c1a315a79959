"""
Protection of the control interface against web pages of other sites.

The control interface requires no key. A page of another site in a browser on this machine could send requests to it
directly, with its own ``Origin``, or through a host name that resolves to this machine (DNS rebinding), which the
``Host`` header reveals.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def browser_rejection(method: str, headers: Mapping[str, str], own_names: Collection[str]) -> str | None:
    """
    Return why a request to the control interface is rejected, or None if it is accepted.

    :param headers: Headers by lower-case name.
    :param own_names: Accepted host names, in addition to IP addresses and ``localhost``.
    """
    host = headers.get("host", "")
    if not _is_own_host(host, own_names):
        return "The Host header is not a known name of the emulator. Start it with --allow-host NAME to accept one."
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return "The request comes from a page of another origin"
    # Browsers send Sec-Fetch-Site with requests that have no Origin, for example for images.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # A user may follow a link to the page.
        followed = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if not followed or headers.get("sec-fetch-dest", "document") != "document":
            return "The request comes from a page of another site"
    return None


def _is_own_host(host: str, own_names: Collection[str]) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name = (parts.hostname or "").rstrip(".")
        if not host or parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        _ = parts.port
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in own_names:
        return True
    try:
        # DNS rebinding needs a name, so an IP address is safe.
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
