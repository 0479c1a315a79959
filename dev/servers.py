"""A server of our own, from the system's programs: in a folder of its own, on a free port of 127.0.0.1, then ended.

This is what all of them share; what differs is in the module of each. Only the programs have to be installed: a server
that the system may have running is neither used nor touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from dev.processes import DeadlineExceededError, descendants, free_port, poll, tail

S = TypeVar("S", bound="Server")


class ServerMissingError(Exception):
    """The server is not installed; the message says how to get it."""


class ServerFailedError(Exception):
    """The server could not be made, did not come up, or did not end."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that runs the programs; None everywhere for the one that we are."""

    name: str = ""
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


class Server(ABC):
    """
    One server.

    :param folder: Everything is written there; made where missing.
    """

    name: ClassVar[str]
    failure: ClassVar[type[ServerFailedError]] = ServerFailedError
    #: What asks it to end, one after the other; then it is killed.
    endings: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = free_port()
        self.log = self.folder / "server.log"
        self._password = secrets.token_hex(16)
        self._account = Account()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: S) -> S:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it; raises a ServerMissingError, before anything is made, when it is not installed."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """The environment of its process."""

    @abstractmethod
    def _make(self) -> None:
        """Write into its folder what it needs before it can start."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers to who knows its password."""

    def _surroundings(self) -> dict[str, Any]:
        """Who runs its programs, where, and with which environment; what they complain of stands where they write."""
        return {
            "user": self._account.user,
            "group": self._account.group,
            "extra_groups": self._account.extra_groups,
            "cwd": self.folder,
            "env": self._environment(),
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
        }

    def start(self, *, timeout: float = 60) -> None:
        """
        Make it, start it, and wait until it answers.

        :raises ServerMissingError: When it is not installed.
        :raises ServerFailedError: When something else is in the way.
        """
        command = self._command()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make()
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                command, stdout=log, start_new_session=True, **self._surroundings()
            )

        def is_up() -> bool:
            if process.poll() is not None:
                raise self.failure(f"{self.name} ended by itself:\n{tail(self.log)}")
            return self._answers()

        try:
            poll(is_up, timeout=timeout, what=f"{self.name} answers")
        except DeadlineExceededError as error:
            raise self.failure(f"{error}; the end of its log:\n{tail(self.log)}") from None

    def stop(self, *, patience: float = 15) -> None:
        """End it: clients are sent away, and what does not go is killed. Its files stay."""
        process, self._process = self._process, None
        if process is None:
            return
        # Its processes may make sessions of their own, but all of them are its children.
        family = {process.pid} | descendants(process.pid)
        for number in self.endings:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=patience)
                return
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            raise self.failure(f"{self.name} is still running after SIGKILL.") from None
