from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .transports import Transport

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies and certificate authorities of this machine."""
    for name in (*_PROXIES, *map(str.lower, _PROXIES), *_AUTHORITIES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sync", "async"])
def transport(request: pytest.FixtureRequest, plain_environment: None) -> Transport:
    """Return each transport in turn."""
    return Transport(request.param)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Collect no garbage. In the recursion of a deep response it would run finalizers, which fail there."""
    gc.disable()
    yield
    gc.enable()
