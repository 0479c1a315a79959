"""The private PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mosaic_emulator.local_airflow.processes import descendants

from dev import server_programs
from dev.postgres import Postgres, PostgresFailedError
from dev.server_programs import ServerMissingError, postgres_programs

ROOT = Path(__file__).resolve().parents[1]


def is_installed() -> bool:
    try:
        postgres_programs()
    except ServerMissingError:
        return False
    return True


needs_server = pytest.mark.skipif(not is_installed(), reason="No PostgreSQL server is installed here")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that other accounts can enter, unlike pytest's."""
    path = ROOT / ".local" / "tests" / f"postgres-{os.getpid()}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@needs_server
def test_server_requires_its_password_and_stops(folder: Path) -> None:
    others = descendants(os.getpid())
    with Postgres(folder, database="night") as server:
        address = server.sql_connection.replace("+psycopg2", "")
        result = subprocess.run(
            [
                postgres_programs() / "psql",
                "--no-psqlrc",
                "-At",
                address,
                "-c",
                "SELECT current_database(), current_user",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == "night|night"
        wrong = address.replace("night:", "night:wrong", 1)
        assert subprocess.run([postgres_programs() / "psql", wrong, "-c", ""], capture_output=True).returncode != 0
        running = descendants(os.getpid()) - others
        assert running
    assert not running & descendants(os.getpid())


@needs_server
@pytest.mark.skipif(os.geteuid() != 0, reason="Only root uses another account")
def test_inaccessible_folder_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(PostgresFailedError, match=r"can't enter /"), Postgres(tmp_path / "server"):
        pass


def test_missing_server_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server_programs, "DEBIAN_FOLDERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissingError, match="apt-get install postgresql"):
        postgres_programs()
