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
from urllib.parse import unquote
from urllib.request import getproxies

from airflow_provider_mosaic.api.arguments import refuse
from airflow_provider_mosaic.api.redaction import remember, values

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
                refuse(variable, path, f"there are no certificate authorities ({error.strerror or error}).")
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
    """
    # requests starts from these as well. Where there are none, a triggerer is spared loading it on its event loop.
    if not getproxies():
        return None
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if proxy and "://" not in proxy:
        return f"http://{proxy}"
    return proxy


def proxy_secrets() -> tuple[str, ...]:
    """
    Return the passwords of the environment's proxies, and remember them for every text.

    A password may have a slash in it, which ends the host of any other address.
    """
    users = [proxy.rpartition("@")[0].rpartition("://")[2] for proxy in getproxies().values()]
    # What a request carries of them.
    sent = [base64.b64encode(unquote(user).encode()).decode() for user in users if user]
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
