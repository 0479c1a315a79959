"""The base class of the private PostgreSQL and Redis servers: start, errors, stop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from mosaic_emulator.local_airflow.processes import descendants, living, poll

from dev.server_programs import ServerMissingError
from dev.servers import Server, ServerFailedError


class Script(Server):
    """A server that runs a script. It responds when the file ``up`` exists."""

    name = "The script"

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__(folder)
        self._script = script

    def _command(self) -> list[str]:
        if not self._script:
            raise ServerMissingError("There is no script.")
        return [sys.executable, "-c", self._script]

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _prepare(self) -> None:
        (self.folder / "made").touch()

    def _is_responding(self) -> bool:
        return (self.folder / "up").exists()


class ShortTimeout(Script):
    """A server with a short timeout."""

    def start(self, *, timeout: float = 0.3) -> None:
        super().start(timeout=timeout)


UP = "from pathlib import Path; Path('up').touch()\n"
WAIT = "import time; time.sleep(60)\n"
#: Ignores SIGTERM, like its child process in another session.
UNSTOPPABLE = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {WAIT!r}], start_new_session=True)
"""


def test_unstoppable_server_is_killed_with_its_descendants(tmp_path: Path) -> None:
    server = Script(tmp_path / "server", UNSTOPPABLE + UP + WAIT)
    before = descendants(os.getpid())
    server.start()
    started = descendants(os.getpid()) - before
    assert len(started) == 2
    server.stop(patience=0.2)
    assert poll(lambda: not started & living().keys(), timeout=10, what="the end of both")


def test_exited_server_is_reported_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerFailedError, match=r"(?s)The script exited:.*out of order"):
        Script(tmp_path, "raise SystemExit('out of order')").start()


def test_unresponsive_server_is_reported_and_stopped(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with pytest.raises(ServerFailedError, match="The script responds: not within"), ShortTimeout(tmp_path, WAIT):
        pass
    assert descendants(os.getpid()) == before


def test_missing_server_creates_no_files(tmp_path: Path) -> None:
    with pytest.raises(ServerMissingError), Script(tmp_path / "server", ""):
        pass
    assert not (tmp_path / "server").exists()


def test_server_is_stopped_after_an_error(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with pytest.raises(LookupError), Script(tmp_path, UP + WAIT):
        raise LookupError
    assert descendants(os.getpid()) == before
