"""A private PostgreSQL server. Clusters of the system are neither used nor changed."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import stat
import subprocess
from pathlib import Path

from dev.server_programs import postgres_programs
from dev.servers import Account, Server, ServerFailedError

#: Accounts that run the server for root: PostgreSQL refuses to run as root.
ACCOUNTS = ("postgres", "nobody")
#: The data is temporary, so durability is disabled for speed.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class PostgresFailedError(ServerFailedError):
    """The server could not be created, started or stopped."""


def account() -> Account:
    """Return the current account, or for root one that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return Account()
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(name=name, user=found.pw_uid, group=found.pw_gid, extra_groups=())
    raise PostgresFailedError(f"PostgreSQL refuses to run as root, and none of the accounts {ACCOUNTS} exists.")


class Postgres(Server):
    """
    A PostgreSQL server with one empty database.

    :param folder: Contains all files. If root starts the server, another account owns it and must be able to enter it.
    :param database: The name of the database and of its owner.
    """

    name = "PostgreSQL"
    failure = PostgresFailedError
    #: Fast, then immediate shutdown. SIGTERM would wait for clients.
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, folder: Path, *, database: str = "airflow") -> None:
        super().__init__(folder)
        self.database = database

    @property
    def sql_connection(self) -> str:
        """The URL for Airflow, which derives the URL for its asynchronous driver."""
        return f"postgresql+psycopg2://{self.database}:{self._password}@127.0.0.1:{self.port}/{self.database}"

    def start(self, *, timeout: float = 60) -> None:
        """Create and start the server, and create the database."""
        super().start(timeout=timeout)
        self._run("createdb", self.database)

    def _command(self) -> list[str]:
        # No socket file: its path could be too long.
        settings = SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        command = [str(postgres_programs() / "postgres"), "-D", str(self.folder / "data")]
        return command + [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _environment(self) -> dict[str, str]:
        # Also for the client programs.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return inherited | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.database,
            "PGDATABASE": "postgres",
            "PGPASSWORD": self._password,
        }

    def _prepare(self) -> None:
        self._account = account()
        for parent in self.folder.parents if self._account.name else ():
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise PostgresFailedError(
                    f"PostgreSQL refuses to run as root, and the account {self._account.name!r} can't enter {parent}: "
                    "start this from another account, or from a checkout that every account can enter."
                )
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if self._account.user is not None and self._account.group is not None:
            for path in (self.folder, secret):
                os.chown(path, self._account.user, self._account.group)
        self._run(
            *("initdb", "--pgdata", self.folder / "data", "--username", self.database),
            *("--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--no-sync"),
            # Compare texts as bytes, independent of the system's locale.
            *("--locale", "C"),
        )
        secret.unlink()

    def _is_responding(self) -> bool:
        result = subprocess.run(
            [postgres_programs() / "pg_isready", "--quiet"],
            env=self._environment(),
            cwd=self.folder,
            check=False,
            timeout=30,
        )
        return result.returncode == 0

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [postgres_programs() / program, *arguments]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **self._popen_options())
        if result.returncode != 0:
            raise PostgresFailedError(f"{program} ended with {result.returncode}:\n{result.stdout.strip()}")
