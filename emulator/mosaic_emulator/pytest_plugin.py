"""Fixtures for tests of DAGs that use Mosaic. Nothing is loaded until one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mosaic_emulator import Emulator

#: So fast that a run is over before its first look, if it is not held.
SPEED = 1000.0


@pytest.fixture(scope="session")
def _mosaic_emulator_process() -> Iterator[Emulator]:
    missing = [name for name in ("fastapi", "uvicorn", "httpx", "pydantic") if find_spec(name) is None]
    if missing:
        pytest.skip(f"the Mosaic emulator needs {', '.join(missing)}: pip install 'airflow-provider-mosaic[emulator]'")
    from mosaic_emulator import Emulator

    with Emulator(speed=SPEED, render="passthrough", webhook_backoff=0.05) as mosaic:
        yield mosaic


@pytest.fixture
def mosaic_emulator(_mosaic_emulator_process: Emulator) -> Emulator:
    """A local Mosaic, as new for each test: no runs, uploads or posts, no faults, counts at nothing."""
    _mosaic_emulator_process.reset()
    return _mosaic_emulator_process


@pytest.fixture
def mosaic_connection(mosaic_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Airflow connection ``mosaic_default``, set to the emulator. Returns its id."""
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
    A function that runs a DAG to its end in this process and returns its DAG run: ``mosaic_test_dag(dag)``.

    It is Airflow's ``dag.test()``, and takes its arguments, with what that needs: a database (one for all tests of a
    session, and none of yours), the DAG in it wherever the DAG was made, the connection ``mosaic_default`` to the
    emulator; retries come without their pauses.
    """
    from mosaic_emulator.dag_testing import run_dag

    return run_dag
