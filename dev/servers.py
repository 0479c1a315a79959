"""
Base class of private servers that use the system's programs, a folder of their own and a free port of 127.0.0.1.

A server that the system runs is neither used nor changed.
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

from mosaic_emulator.local_airflow.processes import DeadlineExceededError, descendants, free_port, poll, tail

S = TypeVar("S", bound="Server")


class ServerFailedError(Exception):
    """The server could not be created, started or stopped."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The user account that runs the programs. By default the current one."""

    name: str = ""
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


class Server(ABC):
    """
    A server.

    :param folder: Contains all its files.
    """

    name: ClassVar[str]
    failure: ClassVar[type[ServerFailedError]] = ServerFailedError
    #: Signals that stop the server, in order. SIGKILL is the last resort.
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)

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
        """Return the command. Raise ServerMissingError if the server is not installed."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """Return the environment variables."""

    @abstractmethod
    def _prepare(self) -> None:
        """Write the files that the server needs to start."""

    @abstractmethod
    def _is_responding(self) -> bool:
        """Return whether the server responds to a client with its password."""

    def _popen_options(self) -> dict[str, Any]:
        """Return the arguments of Popen: account, folder, environment and output."""
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
        Create and start the server, and wait until it responds.

        :raises ServerMissingError: If it is not installed.
        :raises ServerFailedError: If it does not start.
        """
        command = self._command()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                command, stdout=log, start_new_session=True, **self._popen_options()
            )

        def is_up() -> bool:
            if process.poll() is not None:
                raise self.failure(f"{self.name} exited:\n{tail(self.log)}")
            return self._is_responding()

        try:
            poll(is_up, timeout=timeout, what=f"{self.name} responds")
        except DeadlineExceededError as error:
            raise self.failure(f"{error}. End of its log:\n{tail(self.log)}") from None

    def stop(self, *, patience: float = 15) -> None:
        """Stop the server, at last with SIGKILL. Its files are kept."""
        process, self._process = self._process, None
        if process is None:
            return
        # The processes may create new sessions, but all of them are descendants.
        processes = {process.pid} | descendants(process.pid)
        for number in self.stop_signals:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=patience)
                return
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            raise self.failure(f"{self.name} is still running after SIGKILL.") from None
