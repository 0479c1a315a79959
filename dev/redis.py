"""A private Redis server without persistence."""

from __future__ import annotations

import socket

from dev.server_programs import redis_program
from dev.servers import Server, ServerFailedError


class RedisFailedError(ServerFailedError):
    """The server did not start or stop."""


class Redis(Server):
    """
    A Redis server.

    :param folder: Contains its configuration and log.
    """

    name = "Redis"
    failure = RedisFailedError

    @property
    def url(self) -> str:
        """The URL for a Celery broker."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        return [redis_program(), str(self.folder / "redis.conf")]

    def _environment(self) -> dict[str, str]:
        return {"PATH": ""}

    def _prepare(self) -> None:
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)
        # The password is in a file, since any user of the machine can read command lines.
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\ndaemonize no\ndir "{self.folder}"\n'
        )

    def _is_responding(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                response = b""
                while response.count(b"\r\n") < 2:
                    chunk = connection.recv(1024)
                    if not chunk:
                        break
                    response += chunk
        except OSError:
            return False
        return response == b"+OK\r\n+PONG\r\n"
