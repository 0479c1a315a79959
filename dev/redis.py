"""A Redis server of our own, holding nothing on disk."""

from __future__ import annotations

import shutil
import socket

from dev.servers import Server, ServerFailedError, ServerMissingError

MISSING = (
    "The program redis-server is not on the PATH. "
    "On Debian and Ubuntu the package is named redis-server: apt-get install redis-server"
)


class RedisMissingError(ServerMissingError):
    """No Redis server is installed; the message says how to get one."""


class RedisFailedError(ServerFailedError):
    """The server did not come up, or did not end."""


def program() -> str:
    """The path of the server's program."""
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissingError(MISSING)
    return found


class Redis(Server):
    """
    One server with no data.

    :param folder: Its settings and its log are written there; made where missing.
    """

    name = "Redis"
    failure = RedisFailedError

    @property
    def url(self) -> str:
        """The address for a Celery broker."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        return [program(), str(self.folder / "redis.conf")]

    def _environment(self) -> dict[str, str]:
        return {"PATH": ""}

    def _make(self) -> None:
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)
        # The password stands in a file: a command line can be read by everyone on the machine.
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\ndaemonize no\ndir "{self.folder}"\n'
        )

    def _answers(self) -> bool:
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
