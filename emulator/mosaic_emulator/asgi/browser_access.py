"""
Who may use the emulator's own interface: the machine's own programs and its own page, and no page of another site.

The interface needs no key. A page of another site that is open in a browser on this machine could send requests to
it: straight, with an ``Origin`` of its own, or by a name that it makes lead to this machine (DNS rebinding), which
shows in ``Host``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def browser_rejection(method: str, headers: Mapping[str, str], own_names: Collection[str]) -> str | None:
    """
    Return why a request to the emulator's own interface is refused; None when it is not.

    :param headers: by their names in small letters.
    :param own_names: names by which this emulator is reached, beside addresses and ``localhost``.
    """
    host = headers.get("host", "")
    if not _is_own_host(host, own_names):
        return "The Host header names none of the emulator's own names; --allow-host NAME lets one in"
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return "The request comes from a page of another origin"
    # Browsers tell it of requests that have no Origin, such as those for an image.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # A human who follows a link is welcome.
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
        # An address can't be made to lead elsewhere, as a name can.
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
