"""A Redis server of our own, from the system's program: served on a free port of 127.0.0.1, holding nothing on disk."""

from __future__ import annotations

import secrets
import shutil
import socket
from pathlib import Path
from types import TracebackType

from dev.processes import DeadlineExceededError, Service, end, free_port, poll, tail

MISSING = (
    "The program redis-server is not on the PATH. "
    "On Debian and Ubuntu the package is named redis-server: apt-get install redis-server"
)


class RedisMissingError(Exception):
    """No Redis server is installed; the message says how to get one."""


class RedisFailedError(Exception):
    """The server did not come up, or did not end."""


def program() -> str:
    """The path of the server's program."""
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissingError(MISSING)
    return found


class Redis:
    """
    One server; what the system may have running is neither used nor touched.

    :param folder: Its settings and its log are written there; made where missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._service: Service | None = None

    @property
    def url(self) -> str:
        """The address for a Celery broker."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def __enter__(self) -> Redis:
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

    def start(self, *, timeout: float = 30) -> None:
        """Start it and wait until it answers."""
        command = program()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)
        # The password stands in a file: a command line can be read by everyone on the machine.
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\ndaemonize no\ndir "{self.folder}"\n'
        )
        self._service = Service(
            name="redis",
            command=[command, str(settings)],
            environment={"PATH": ""},
            log=self.folder / "redis.log",
            directory=self.folder,
        )
        self._service.start()
        try:
            poll(lambda: self._answers() or None, timeout=timeout, what="Redis answers")
        except DeadlineExceededError as error:
            raise RedisFailedError(f"{error}; the end of its log:\n{tail(self._service.log)}") from None

    def stop(self) -> None:
        """End it; its log stays."""
        service, self._service = self._service, None
        if service is not None and end([service]):
            raise RedisFailedError("Redis is still running after SIGKILL.")

    def _answers(self) -> bool:
        service = self._service
        if service is not None and service.exit_code() is not None:
            raise RedisFailedError(f"Redis ended by itself:\n{tail(service.log)}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    more = connection.recv(1024)
                    if not more:
                        break
                    answer += more
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"
