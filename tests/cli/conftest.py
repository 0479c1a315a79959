from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.dag_testing import own_database

from airflow_provider_mosaic.__main__ import main
from airflow_provider_mosaic.hooks.mosaic import MosaicHook


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command in this process. ``answer`` is the user's, returns it, or interrupts it."""
    # Commands set it. Restore it after the test.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")

    def call(*arguments: str, answer: str | Callable[[], str] | BaseException | None = None) -> Result:
        def reply(prompt: str) -> str:
            if isinstance(answer, str):
                return answer
            if callable(answer):
                return answer()
            raise answer or EOFError()

        monkeypatch.setattr("builtins.input", reply)
        capsys.readouterr()
        status, message = 0, ""
        try:
            main(arguments)
        except SystemExit as stop:
            # As Python's exit does it.
            status = stop.code if isinstance(stop.code, int) else 1
            message = "" if isinstance(stop.code, int) else f"{stop.code}\n"
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err + message)

    return call


@pytest.fixture
def hook(mosaic_emulator: Emulator, mosaic_connection: str) -> Iterator[MosaicHook]:
    """A hook of the emulator, which is also the connection ``mosaic_default``."""
    hook = MosaicHook()
    yield hook
    hook.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow's database, for the tests of a module."""
    with own_database(tmp_path_factory.mktemp("database")):
        yield


@pytest.fixture
def saved_connection(database: None, mosaic_emulator: Emulator) -> Iterator[str]:
    """A connection that exists in Airflow's database alone, as the UI makes it."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(
            Connection(
                conn_id="from_the_ui",
                conn_type="mosaic",
                host=mosaic_emulator.url,
                password=mosaic_emulator.api_key,
                extra='{"webhook_secret": "whsk_0123456789abcdef"}',
            )
        )
    assert "AIRFLOW_CONN_FROM_THE_UI" not in os.environ
    yield "from_the_ui"
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="from_the_ui").delete()
