"""One API server and one emulator for all tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.clients.sync_client import SyncClient
from plugins.api_server import ApiServer

_numbers = count()


@pytest.fixture(scope="session")
def mosaic_process() -> Iterator[Emulator]:
    """Run one emulator for the session, since Airflow gets its URL at the start."""
    with Emulator(speed=1000, render="passthrough") as mosaic:
        yield mosaic


@pytest.fixture
def mosaic(mosaic_process: Emulator) -> Emulator:
    """Reset the emulator."""
    mosaic_process.reset()
    return mosaic_process


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, mosaic_process: Emulator) -> Iterator[ApiServer]:
    """Run an API server. It takes ten seconds to start."""
    connection = mosaic_process.airflow_connection()
    # After an error, the API server sends no request with a connection for a while.
    conn_ids = ("mosaic_default", "mosaic_slow", "mosaic_limited", "mosaic_named", "mosaic_unnamed")
    connections = dict.fromkeys(conn_ids, connection)
    with ApiServer(tmp_path_factory.mktemp("airflow"), connections=connections) as server:
        yield server


@pytest.fixture
def client(mosaic: Emulator) -> Iterator[SyncClient]:
    """Return a client of the emulator."""
    with SyncClient(Access(api_key=mosaic.api_key, base_url=mosaic.url)) as client:
        yield client


@pytest.fixture
def name() -> str:
    """Return a task id that no other test uses."""
    return f"task_{next(_numbers)}"
