"""The PostgreSQL of our own: made, served, and ended without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import postgres
from dev.postgres import Postgres, PostgresFailedError, PostgresMissingError, programs
from dev.processes import descendants

ROOT = Path(__file__).resolve().parents[1]


def is_installed() -> bool:
    try:
        programs()
    except PostgresMissingError:
        return False
    return True


needs_server = pytest.mark.skipif(not is_installed(), reason="No PostgreSQL server is installed here")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an account that is not root can enter, which pytest's own is not."""
    path = ROOT / ".local" / "tests" / f"postgres-{os.getpid()}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@needs_server
def test_it_serves_one_database_to_who_knows_the_password_and_leaves_no_process(folder: Path) -> None:
    others = descendants(os.getpid())
    with Postgres(folder, database="night") as server:
        address = server.sql_connection.replace("+psycopg2", "")
        asked = subprocess.run(
            [programs() / "psql", "--no-psqlrc", "-At", address, "-c", "SELECT current_database(), current_user"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert asked.stdout.strip() == "night|night"
        wrong = address.replace("night:", "night:wrong", 1)
        assert subprocess.run([programs() / "psql", wrong, "-c", ""], capture_output=True).returncode != 0
        running = descendants(os.getpid()) - others
        assert running
    assert not running & descendants(os.getpid())


@needs_server
@pytest.mark.skipif(os.geteuid() != 0, reason="Only root hands it to another account")
def test_a_folder_that_the_other_account_can_not_enter_is_said_to_be_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(PostgresFailedError, match=r"can't enter /"), Postgres(tmp_path / "server"):
        pass


def test_a_machine_without_a_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "DEBIAN_FOLDERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresMissingError, match="apt-get install postgresql"):
        programs()
