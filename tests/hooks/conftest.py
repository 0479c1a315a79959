from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .servers import Server


@pytest.fixture
def hook(mosaic_emulator: Emulator, mosaic_connection: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MosaicHook]:
    """A hook of the emulator. The check for duplicate agents does not wait."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)
    hook = MosaicHook()
    yield hook
    hook.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.http.shutdown()
    thread.join()
    running.http.server_close()


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
