"""Pytest fixtures for tests of DAGs that use Mosaic. Modules are loaded when a fixture is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mosaic_emulator import Emulator

#: Fast enough that a run completes before its first poll, unless ``hold_runs`` is set.
SPEED = 1000.0


@pytest.fixture(scope="session")
def _mosaic_emulator_process() -> Iterator[Emulator]:
    missing = [name for name in ("fastapi", "uvicorn", "httpx", "pydantic") if find_spec(name) is None]
    if missing:
        pytest.skip(f"The Mosaic emulator needs {', '.join(missing)}: pip install airflow-provider-mosaic-emulator")
    from mosaic_emulator import Emulator

    with Emulator(speed=SPEED, render="passthrough", webhook_backoff=0.05) as mosaic:
        yield mosaic


@pytest.fixture
def mosaic_emulator(_mosaic_emulator_process: Emulator) -> Emulator:
    """Return a running emulator, reset for each test. One process serves all tests of the session."""
    _mosaic_emulator_process.reset()
    return _mosaic_emulator_process


@pytest.fixture
def mosaic_connection(mosaic_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the Airflow connection ``mosaic_default`` to the emulator and return its id."""
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", mosaic_emulator.airflow_connection())
    return "mosaic_default"


@pytest.fixture(scope="session")
def _mosaic_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if find_spec("airflow") is None:
        pytest.skip("mosaic_test_dag needs Airflow: pip install apache-airflow")
    from mosaic_emulator.dag_testing import own_database

    with own_database(tmp_path_factory.mktemp("mosaic-airflow")):
        yield


@pytest.fixture
def mosaic_test_dag(mosaic_connection: str, _mosaic_airflow: None) -> Callable[..., Any]:
    """
    Return a function that runs a DAG with ``dag.test()`` and returns the DAG run: ``mosaic_test_dag(dag)``.

    The function accepts the arguments of ``dag.test()``. The fixture provides a database for all tests of the session,
    serializes the DAG, sets the connection ``mosaic_default`` to the emulator, and removes retry delays.
    """
    from mosaic_emulator.dag_testing import run_dag

    return run_dag
