"""
Start processes in sessions of their own, and stop them with all their descendants.

Children of Airflow's processes create new process groups but stay in the session. A service has ended when its session
is empty.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class DeadlineExceededError(Exception):
    """A timeout was reached."""


def poll(check: Callable[[], T | None], *, timeout: float, pause: float = 0.2, what: str) -> T:
    """Call ``check`` until it returns a value other than None and False. ``what`` describes it in the timeout error."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise DeadlineExceededError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a file."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return f"({path} cannot be read)"
    return "\n".join(text.splitlines()[-lines:])


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """The parent and the session of a running process."""

    parent: int
    session: int


def living() -> dict[int, ProcessInfo]:
    """Return all running processes of this machine by id."""
    table: dict[int, ProcessInfo] = {}
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        for entry in proc.iterdir():
            if entry.name.isdigit():
                try:
                    # pid (name, which may contain spaces and brackets) state parent group session ...
                    state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                except (OSError, ValueError):
                    continue
                if state not in "ZX":
                    table[int(entry.name)] = ProcessInfo(parent=int(parent), session=int(session))
        return table
    # `ps` of other systems shows no usable session. Use the process group instead.
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, group, state = line.split()[:4]
        if not state.startswith("Z"):
            table[int(pid)] = ProcessInfo(parent=int(parent), session=int(group))
    return table


def members(sessions: Iterable[int]) -> set[int]:
    """Return the running processes of these sessions."""
    wanted = set(sessions)
    return {pid for pid, process in living().items() if process.session in wanted}


def descendants(ancestor: int) -> set[int]:
    """Return the running descendants of a process."""
    table = living()
    found: set[int] = set()
    grown = {ancestor}
    while grown:
        grown = {pid for pid, process in table.items() if process.parent in grown} - found
        found |= grown
    return found


@dataclass(kw_only=True)
class Service:
    """A long-running command with a log file. Can be killed and restarted."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    directory: Path
    sessions: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command in a new session, which Ctrl-C does not reach."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.sessions.append(self.process.pid)

    @property
    def pid(self) -> int:
        """The id of the latest process."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the process is running."""
        return None if self.process is None else self.process.poll()

    def kill(self, number: signal.Signals = signal.SIGKILL, *, whole_session: bool = True) -> None:
        """Send a signal to the process, or to its whole session. Wait for its end after SIGKILL."""
        targets = members([self.pid]) if whole_session else {self.pid}
        for pid in targets:
            _send(pid, number)
        if number == signal.SIGKILL and self.process is not None:
            self.process.wait(timeout=10)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(services: Sequence[Service], *, patience: float = 12) -> set[int]:
    """Stop services with all their descendants, at last with SIGKILL. Return processes that are still running."""
    started = [service for service in services if service.process is not None]
    sessions = [session for service in services for session in service.sessions]
    deadline = time.monotonic() + patience
    sent_at = 0.0
    while (running := [service for service in started if service.exit_code() is None]) and time.monotonic() < deadline:
        # Airflow's DAG processor sometimes loses a SIGTERM, so send it again.
        if time.monotonic() - sent_at > 2:
            sent_at = time.monotonic()
            for service in running:
                _send(service.pid, signal.SIGTERM)
        time.sleep(0.05)
    # Remaining processes of the sessions, for example running tasks and log servers.
    for number, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0), (signal.SIGKILL, 5.0)):
        for pid in members(sessions):
            _send(pid, number)
        deadline = time.monotonic() + seconds
        while members(sessions) and time.monotonic() < deadline:
            time.sleep(0.05)
    for service in started:
        # Reap the process.
        with contextlib.suppress(subprocess.TimeoutExpired):
            if service.process is not None:
                service.process.wait(timeout=2)
    return members(sessions)
