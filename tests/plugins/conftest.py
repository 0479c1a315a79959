"""One API server and one emulator for all tests of the pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.clients.sync_client import SyncClient
from dev.postgres import Postgres
from plugins.api_server import ApiServer

ROOT = Path(__file__).resolve().parents[2]
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
def sql_connection() -> Iterator[str | None]:
    """Return the URL of Airflow's database, or None for SQLite (see `DATABASE` in the Makefile)."""
    if os.environ.get("DATABASE") != "postgresql":
        yield None
        return
    # Other accounts can enter this folder, unlike pytest's.
    folder = ROOT / ".local" / "tests" / f"plugins-postgres-{os.getpid()}"
    with Postgres(folder) as database:
        yield database.sql_connection
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, mosaic_process: Emulator, sql_connection: str | None
) -> Iterator[ApiServer]:
    """Run an API server. It takes ten seconds to start."""
    connection = mosaic_process.airflow_connection()
    # After an error, the API server sends no request with a connection for a while.
    conn_ids = ("mosaic_default", "mosaic_slow", "mosaic_limited", "mosaic_named", "mosaic_unnamed")
    connections = dict.fromkeys(conn_ids, connection)
    home = tmp_path_factory.mktemp("airflow")
    with ApiServer(home, connections=connections, sql_connection=sql_connection) as server:
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
