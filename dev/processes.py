"""Processes that are started with all their descendants in a session of their own, and ended with all of them.

Airflow's processes fork, and their children make process groups of their own; the session is what they keep. So a
process is ended when its session is empty.
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
    """What was waited for did not come in time."""


def poll(look: Callable[[], T | None], *, timeout: float, pause: float = 0.2, what: str) -> T:
    """Look again and again until there is something; say what was waited for when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise DeadlineExceededError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a file, for an error message."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return f"({path} can't be read)"
    return "\n".join(text.splitlines()[-lines:])


@dataclass(frozen=True, kw_only=True)
class Alive:
    """A living process: its parent and its session."""

    parent: int
    session: int


def living() -> dict[int, Alive]:
    """Every living process of this machine."""
    table: dict[int, Alive] = {}
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        for entry in proc.iterdir():
            if entry.name.isdigit():
                try:
                    # pid (name, which may hold spaces and brackets) state parent group session ...
                    state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                except (OSError, ValueError):
                    continue
                if state not in "ZX":
                    table[int(entry.name)] = Alive(parent=int(parent), session=int(session))
        return table
    # Elsewhere `ps` shows no session that can be compared; the group is the nearest that can be had.
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, group, state = line.split()[:4]
        if not state.startswith("Z"):
            table[int(pid)] = Alive(parent=int(parent), session=int(group))
    return table


def members(sessions: Iterable[int]) -> set[int]:
    """The living processes of these sessions."""
    wanted = set(sessions)
    return {pid for pid, process in living().items() if process.session in wanted}


def descendants(ancestor: int) -> set[int]:
    """The living processes that a process started, and those that they started."""
    table = living()
    found: set[int] = set()
    grown = {ancestor}
    while grown:
        grown = {pid for pid, process in table.items() if process.parent in grown} - found
        found |= grown
    return found


@dataclass(kw_only=True)
class Service:
    """One long-running command, with a log file; it can be killed and started again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    directory: Path
    sessions: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C doesn't reach it, and its descendants can be found."""
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
        """The id of the process that was started last."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process.pid

    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self.process is None else self.process.poll()

    def kill(self, number: signal.Signals = signal.SIGKILL, *, whole_session: bool = True) -> None:
        """Send a signal to it, and to all it started unless told otherwise, and wait for its end when it is SIGKILL."""
        targets = members([self.pid]) if whole_session else {self.pid}
        for pid in targets:
            _send(pid, number)
        if number == signal.SIGKILL and self.process is not None:
            self.process.wait(timeout=10)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(services: Sequence[Service], *, patience: float = 12) -> set[int]:
    """End services with all their descendants: asked first, then killed. What still lives is returned: nothing."""
    started = [service for service in services if service.process is not None]
    sessions = [session for service in services for session in service.sessions]
    deadline = time.monotonic() + patience
    asked = 0.0
    while (left := [service for service in started if service.exit_code() is None]) and time.monotonic() < deadline:
        # Airflow's DAG processor now and then loses a SIGTERM, so it is sent again.
        if time.monotonic() - asked > 2:
            asked = time.monotonic()
            for service in left:
                _send(service.pid, signal.SIGTERM)
        time.sleep(0.05)
    # What a service left behind (running tasks, log servers) gets a moment of its own.
    for number, moment in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0), (signal.SIGKILL, 5.0)):
        for pid in members(sessions):
            _send(pid, number)
        deadline = time.monotonic() + moment
        while members(sessions) and time.monotonic() < deadline:
            time.sleep(0.05)
    for service in started:
        # Takes the dead out of the process table. One whose threads are still ending looks dead a moment too early.
        with contextlib.suppress(subprocess.TimeoutExpired):
            if service.process is not None:
                service.process.wait(timeout=2)
    return members(sessions)
