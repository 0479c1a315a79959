"""
Read proxies and certificate authorities from the environment, by one rule for both transports.

Their own rules differ: requests reads ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``, httpx ``SSL_CERT_FILE`` and
``SSL_CERT_DIR``, and they interpret ``NO_PROXY`` in different ways.
"""

from __future__ import annotations

import base64
import os
import ssl
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import is_loopback, raise_invalid
from airflow_provider_mosaic.api.redaction import MASK, remember, values

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def ca_bundle() -> str | None:
    """Return the file or directory of certificate authorities that the environment names; None for the default."""
    found = _find_bundle()
    return found[0] if found else None


def ssl_context() -> ssl.SSLContext:
    """
    Return a context that trusts :func:`ca_bundle`. All clients share it, as making one takes milliseconds.

    A bundle that was replaced has another context.
    """
    found = _find_bundle()
    return found[1] if found else _default_context()


def _find_bundle() -> tuple[str, ssl.SSLContext] | None:
    for variable in _CA_VARIABLES:
        if path := os.environ.get(variable):
            try:
                stat = Path(path).stat()
                return path, _context_of(path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError as error:
                raise_invalid(variable, path, f"there are no certificate authorities ({error.strerror or error}).")
    return None


@lru_cache(maxsize=4)
def _context_of(bundle: str, stamp: tuple[int, ...]) -> ssl.SSLContext:
    """
    Return the context of a bundle.

    :param stamp: Changes when the bundle is replaced.
    """
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


@lru_cache(maxsize=1)
def _default_context() -> ssl.SSLContext:
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def proxy_for(url: str) -> str | None:
    """
    Return the environment's proxy for a URL, as requests reads it.

    :raises MosaicValidationError: The proxy's address can't be used.
    """
    # requests starts with the same proxies. If there are none, a triggerer does not import requests on its event loop.
    if not getproxies():
        return None
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        # A password with an unescaped / ends the host early, and the rest looks like a path.
        rest = parts.path + parts.query + parts.fragment
        usable = bool(parts.hostname and proxy.isprintable() and " " not in proxy and parts.port != 0)
        usable = usable and "@" not in rest
        # requests sends the password in this encoding.
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
    except ValueError:
        usable = False
    if not usable:
        raise_invalid(
            "proxy",
            MASK,
            f"the environment names a proxy for {url.partition('://')[0]}:// whose address can't be parsed. Nothing "
            "was sent. Write it as http://host:port, and escape special characters of a password (/ as %2F).",
        )
    return proxy


def api_proxy(access: Access) -> str | None:
    """
    Return the proxy for the API.

    :raises MosaicValidationError: Its address can't be used, or the API key would travel to it unencrypted.
    """
    proxy = proxy_for(access.base_url)
    if proxy and not access.allow_http and access.base_url.lower().startswith("http:"):
        host = urlsplit(proxy).hostname or ""
        if not is_loopback(host):
            raise_invalid(
                "proxy",
                host,
                f"the API key for {access.base_url} would travel unencrypted to this proxy. Nothing was sent. Add the "
                "base URL's host to NO_PROXY.",
            )
    return proxy


def proxy_secrets() -> tuple[str, ...]:
    """Return the passwords of the environment's proxies, and mask them in every text from now on."""
    # A password may contain a slash, which ends the host of any other URL.
    userinfos = [proxy.rpartition("@")[0].rpartition("://")[2] for proxy in getproxies().values()]
    headers = [base64.b64encode(unquote(each).encode(errors="surrogateescape")).decode() for each in userinfos if each]
    secrets = values([*userinfos, *(each.partition(":")[2] for each in userinfos), *headers])
    remember(*secrets)
    return secrets


def shown_proxy(proxy: str) -> str:
    """Return a proxy's address without user and password."""
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
