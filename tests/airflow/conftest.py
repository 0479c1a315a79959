"""One Airflow instance and one emulator for all tests that need a real Airflow."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.demo.recordings import RECORDINGS, create_all
from mosaic_emulator.local_airflow.instance import AirflowInstance

from dev.postgres import Postgres
from dev.statsd_listener import StatsdListener

ROOT = Path(__file__).resolve().parents[2]

# Runs take some seconds, since Airflow may treat a task that resumes within two seconds of its deferral as failed
# (see `WORKERS__MIN_HEARTBEAT_INTERVAL` in `mosaic_emulator/local_airflow/instance.py`).
SPEED = 3.0


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return the folder of this session. It is kept if a test fails."""
    path = ROOT / ".local" / "tests" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    path.mkdir(parents=True)
    yield path
    if not request.session.testsfailed:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def mosaic_process(folder: Path) -> Iterator[Emulator]:
    """Run one emulator for the session, since Airflow gets its URL at the start."""
    with Emulator(directory=folder / "mosaic", speed=SPEED) as mosaic:
        yield mosaic


@pytest.fixture(scope="session")
def sql_connection(folder: Path) -> Iterator[str | None]:
    """Return the URL of Airflow's database, or None for SQLite (see `DATABASE` in the Makefile)."""
    kind = os.environ.get("DATABASE") or "sqlite"
    assert kind in ("sqlite", "postgresql"), kind
    if kind == "sqlite":
        yield None
    else:
        with Postgres(folder / "postgresql") as server:
            yield server.sql_connection


@pytest.fixture(scope="session")
def statsd() -> Iterator[StatsdListener]:
    """Receive the metrics of the Airflow of this session."""
    with StatsdListener() as listener:
        yield listener


@pytest.fixture(scope="session")
def airflow(
    folder: Path, mosaic_process: Emulator, sql_connection: str | None, statsd: StatsdListener
) -> Iterator[AirflowInstance]:
    """Run an Airflow with the example DAGs and the DAGs of the tests."""
    instance = AirflowInstance(
        folder / "airflow",
        dags=[ROOT / "example_dags", Path(__file__).parent / "dags"],
        environment={
            "AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic_process.airflow_connection(),
            "AIRFLOW_CONN_MOSAIC_WEBHOOKS": _receiving_webhooks(mosaic_process.airflow_connection()),
            "AIRFLOW__MOSAIC__WEBHOOKS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
        },
        sql_connection=sql_connection,
    )
    with instance:
        yield instance


def _receiving_webhooks(connection: str) -> str:
    """Return the connection with the webhook secret of the emulator."""
    return json.dumps({**json.loads(connection), "extra": {"webhook_secret": "whsk_emulator"}})


@pytest.fixture
def mosaic(mosaic_process: Emulator) -> Emulator:
    """Reset the emulator."""
    mosaic_process.reset()
    return mosaic_process


@pytest.fixture
def mosaic_run(mosaic: Emulator) -> str:
    """Start a run outside of Airflow that is active until the test finishes it."""
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
    """Create two short recordings."""
    return create_all(folder / "films", RECORDINGS[:2], size=(640, 360))


@pytest.fixture
def whole_files_served(mosaic: Emulator) -> Callable[[], int]:
    """Return a function that counts complete downloads, without range requests."""

    def count() -> int:
        media = [each for each in mosaic.requests() if each["template"].startswith("/mosaic-emulator-media/")]
        return sum(each["method"] == "GET" and each["status"] == 200 for each in media)

    return count
