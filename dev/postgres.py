"""A PostgreSQL server of our own; the clusters that the system may have are neither used nor touched."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from pathlib import Path

from dev.servers import Account, Server, ServerFailedError, ServerMissingError

#: Where Debian and Ubuntu put the server's programs, a folder for each major version; they are not on the PATH.
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")
MISSING = (
    "The programs of a PostgreSQL server (initdb, postgres) are neither on the PATH nor in /usr/lib/postgresql. "
    "On Debian and Ubuntu the package is named postgresql: apt-get install postgresql"
)
#: Accounts that may run the server when root starts this: PostgreSQL refuses to run as root.
ACCOUNTS = ("postgres", "nobody")
#: What it holds is thrown away, and hundreds of small transactions are not worth waiting for a disk.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class PostgresMissingError(ServerMissingError):
    """No PostgreSQL server is installed; the message says how to get one."""


class PostgresFailedError(ServerFailedError):
    """The server could not be made, did not come up, or did not end."""


def programs() -> Path:
    """The folder of the server's programs, of the newest version that is installed."""
    folders = [path.parent for path in DEBIAN_FOLDERS.glob("*/bin/initdb")]
    folders.sort(key=lambda folder: float(folder.parent.name), reverse=True)
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "postgres").exists():
            return folder
    raise PostgresMissingError(MISSING)


def account() -> Account:
    """Our own account, or for root one that PostgreSQL takes."""
    if os.geteuid() != 0:
        return Account()
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(name=name, user=found.pw_uid, group=found.pw_gid, extra_groups=())
    raise PostgresFailedError(f"PostgreSQL refuses to run as root, and there is none of the accounts {ACCOUNTS}.")


class Postgres(Server):
    """
    One server with one empty database.

    :param folder: Everything is written there; made where missing. Started by root, it is given to another account,
        which must be able to reach it.
    :param database: The name of the database, and of the user that owns it.
    """

    name = "PostgreSQL"
    failure = PostgresFailedError
    #: The fast, then the immediate shutdown; SIGTERM would wait for clients to go by themselves.
    endings = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, folder: Path, *, database: str = "airflow") -> None:
        super().__init__(folder)
        self.database = database

    @property
    def sql_connection(self) -> str:
        """The address for Airflow, which makes the one for its asynchronous driver from it."""
        return f"postgresql+psycopg2://{self.database}:{self._password}@127.0.0.1:{self.port}/{self.database}"

    def start(self, *, timeout: float = 60) -> None:
        """Make the server's files, start it, and make the database."""
        super().start(timeout=timeout)
        self._run("createdb", self.database)

    def _command(self) -> list[str]:
        # No socket file: its path would have to be shorter than a checkout's may be.
        settings = SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data")]
        return command + [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _environment(self) -> dict[str, str]:
        # Where the server is and how to be let in, also for the programs that ask it.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return inherited | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.database,
            "PGDATABASE": "postgres",
            "PGPASSWORD": self._password,
        }

    def _make(self) -> None:
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
            # Names and texts are compared as bytes, whatever the machine's language.
            *("--locale", "C"),
        )
        secret.unlink()

    def _answers(self) -> bool:
        asked = subprocess.run(
            [programs() / "pg_isready", "--quiet"], env=self._environment(), cwd=self.folder, check=False, timeout=30
        )
        return asked.returncode == 0

    def _run(self, program: str, *words: str | Path) -> None:
        command = [programs() / program, *words]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **self._surroundings())
        if ran.returncode != 0:
            raise PostgresFailedError(f"{program} ended with {ran.returncode}:\n{ran.stdout.strip()}")
