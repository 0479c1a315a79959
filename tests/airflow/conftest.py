"""One Airflow with all its processes, and one local Mosaic, for all tests that drive a real Airflow."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mosaic_emulator import Emulator

from dev import recordings
from dev.airflow_instance import AirflowInstance
from dev.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]

# Fast enough for a test; but a run takes some seconds, as Airflow may take a task that goes on within a second or two
# of its deferral for a failed one (see `WORKERS__MIN_HEARTBEAT_INTERVAL` in `dev/airflow_instance.py`).
SPEED = 3.0


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where everything of this session is written; it stays when a test failed, for its logs."""
    path = ROOT / ".local" / "tests" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    path.mkdir(parents=True)
    yield path
    if not request.session.testsfailed:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def mosaic_process(folder: Path) -> Iterator[Emulator]:
    """One local Mosaic for the session, since Airflow knows its address from its start."""
    with Emulator(directory=folder / "mosaic", speed=SPEED) as mosaic:
        yield mosaic


@pytest.fixture(scope="session")
def sql_connection(folder: Path) -> Iterator[str | None]:
    """Return the address of Airflow's database; None for a SQLite file in its home (`DATABASE`, see the Makefile)."""
    kind = os.environ.get("DATABASE") or "sqlite"
    assert kind in ("sqlite", "postgresql"), kind
    if kind == "sqlite":
        yield None
    else:
        with Postgres(folder / "postgresql") as server:
            yield server.sql_connection


@pytest.fixture(scope="session")
def airflow(folder: Path, mosaic_process: Emulator, sql_connection: str | None) -> Iterator[AirflowInstance]:
    """A real Airflow with the example DAGs and those of the tests."""
    instance = AirflowInstance(
        folder / "airflow",
        dags=[ROOT / "example_dags", Path(__file__).parent / "dags"],
        environment={
            "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic_process.airflow_connection(),
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        },
        sql_connection=sql_connection,
    )
    with instance:
        yield instance


@pytest.fixture
def mosaic(mosaic_process: Emulator) -> Emulator:
    """The local Mosaic as new: no runs, no faults, all counts at nothing."""
    mosaic_process.reset()
    return mosaic_process


@pytest.fixture
def mosaic_run(mosaic: Emulator) -> str:
    """A run that another program has started, and that goes on until the test lets it go."""
    mosaic.configure(hold_runs=True)
    request = urllib.request.Request(
        f"{mosaic.url}/agent/{mosaic.agent_id}/run",
        data=json.dumps({"video_urls": ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]}).encode(),
        headers={"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["run_id"])


@pytest.fixture(scope="session")
def films(folder: Path) -> list[Path]:
    """Two short recordings with picture and sound."""
    return recordings.make(folder / "films", recordings.RECORDINGS[:2], size="640x360")
