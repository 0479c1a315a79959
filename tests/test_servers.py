"""What PostgreSQL and Redis of our own share: up when they answer, told when they don't, and gone without a trace."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dev.processes import descendants, living, poll
from dev.servers import Server, ServerFailedError, ServerMissingError


class Script(Server):
    """A server that is a script; it answers when it has made the file ``up``."""

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

    def _make(self) -> None:
        (self.folder / "made").touch()

    def _answers(self) -> bool:
        return (self.folder / "up").exists()


class Impatient(Script):
    """One that is given up soon."""

    def start(self, *, timeout: float = 0.3) -> None:
        super().start(timeout=timeout)


UP = "from pathlib import Path; Path('up').touch()\n"
WAIT = "import time; time.sleep(60)\n"
#: It takes no notice of SIGTERM, and neither does its child, which has a session of its own.
DEAF = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {WAIT!r}], start_new_session=True)
"""


def test_what_does_not_end_when_it_is_asked_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    server = Script(tmp_path / "server", DEAF + UP + WAIT)
    before = descendants(os.getpid())
    server.start()
    started = descendants(os.getpid()) - before
    assert len(started) == 2
    server.stop(patience=0.2)
    assert poll(lambda: not started & living().keys(), timeout=10, what="the end of both")


def test_one_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerFailedError, match=r"(?s)The script ended by itself:.*out of order"):
        Script(tmp_path, "raise SystemExit('out of order')").start()


def test_one_that_never_answers_is_told_and_ended(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with pytest.raises(ServerFailedError, match="The script answers: not within"), Impatient(tmp_path, WAIT):
        pass
    assert descendants(os.getpid()) == before


def test_one_that_is_not_installed_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ServerMissingError), Script(tmp_path / "server", ""):
        pass
    assert not (tmp_path / "server").exists()


def test_one_whose_use_fails_is_ended_too(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with pytest.raises(LookupError), Script(tmp_path, UP + WAIT):
        raise LookupError
    assert descendants(os.getpid()) == before
