"""
What both transports take from the environment, by one rule: proxies and the bundle of certificate authorities.

Left alone, they differ: requests reads ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``, httpx ``SSL_CERT_FILE`` and
``SSL_CERT_DIR``; and they read ``NO_PROXY`` in different ways.
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
    """
    The file or folder of certificate authorities that the environment names; None for the default.

    :raises MosaicValidationError: There is nothing at the place that it names, or no certificate in it.
    """
    for variable in _CA_VARIABLES:
        if path := os.environ.get(variable):
            try:
                _ssl_context(path)
            except OSError as error:
                raise_invalid(variable, path, f"there are no certificate authorities ({error.strerror or error}).")
            return path
    return None


def ssl_context() -> ssl.SSLContext:
    """
    A context that trusts what :func:`ca_bundle` names, shared by all clients: making one costs milliseconds.

    :raises MosaicValidationError: There is nothing at the place that the environment names, or no certificate in it.
    """
    return _ssl_context(ca_bundle())


@lru_cache(maxsize=4)
def _ssl_context(bundle: str | None) -> ssl.SSLContext:
    if bundle is None:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def proxy_for(url: str) -> str | None:
    """
    The proxy that the environment names for an address, as requests reads it.

    :param url: The address.
    :raises MosaicValidationError: Its address can't be used.
    """
    # requests starts from these as well. Where there are none, a triggerer is spared loading it on its event loop.
    if not getproxies():
        return None
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        # A password with an unescaped / ends the authority early: what follows it would be taken for a path.
        beyond = parts.path + parts.query + parts.fragment
        usable = bool(parts.hostname and proxy.isprintable() and " " not in proxy and parts.port != 0)
        usable = usable and "@" not in beyond
        # requests sends the password in this encoding.
        unquote(parts.netloc.rpartition("@")[0]).encode("latin-1")
    except ValueError:
        usable = False
    if not usable:
        raise_invalid(
            "proxy",
            MASK,
            f"the environment names a proxy for {url.partition('://')[0]}:// whose address can't be read. Nothing was "
            "sent. Write it as http://host:port, and escape the special characters of a password (/ as %2F).",
        )
    return proxy


def api_proxy(access: Access) -> str | None:
    """
    The proxy for the API.

    :param access: Where the API is.
    :raises MosaicValidationError: Its address can't be used, or the key would travel to it unencrypted.
    """
    proxy = proxy_for(access.base_url)
    if proxy and not access.allow_http and access.base_url.lower().startswith("http:"):
        host = urlsplit(proxy).hostname or ""
        if not is_loopback(host):
            raise_invalid(
                "proxy",
                host,
                f"the API key for {access.base_url} would travel unencrypted to this proxy. Nothing was sent. Name the "
                "base URL's host in NO_PROXY.",
            )
    return proxy


def proxy_secrets() -> tuple[str, ...]:
    """
    Return the passwords of the environment's proxies, and remember them for every text.

    A password may have a slash in it, which ends the host of any other address.
    """
    users = [proxy.rpartition("@")[0].rpartition("://")[2] for proxy in getproxies().values()]
    # What a request carries of them.
    sent = [base64.b64encode(unquote(user).encode(errors="surrogateescape")).decode() for user in users if user]
    secrets = values([*users, *(user.partition(":")[2] for user in users), *sent])
    remember(*secrets)
    return secrets


def shown_proxy(proxy: str) -> str:
    """
    Return a proxy as it may be shown: without user and password.

    :param proxy: Its address.
    """
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
