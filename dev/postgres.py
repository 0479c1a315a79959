"""A PostgreSQL server of our own, from the system's programs: made in a folder, served on a free port, ended.

Only the server's programs have to be installed; the clusters that the system may have are neither used nor touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from dev.processes import DeadlineExceededError, descendants, free_port, poll, tail

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


class PostgresMissingError(Exception):
    """No PostgreSQL server is installed; the message says how to get one."""


class PostgresFailedError(Exception):
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


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that runs the programs; None everywhere for the one that we are."""

    name: str = ""
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


def account() -> Account:
    """Our own account, or for root one that PostgreSQL takes."""
    if os.geteuid() != 0:
        return Account()
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(name=name, user=found.pw_uid, group=found.pw_gid, extra_groups=())
    raise PostgresFailedError(f"PostgreSQL refuses to run as root, and there is none of the accounts {ACCOUNTS}.")


class Postgres:
    """
    One server with one empty database.

    :param folder: Everything is written there; made where missing. Started by root, it is given to another account,
        which must be able to reach it.
    :param database: The name of the database, and of the user that owns it.
    """

    def __init__(self, folder: Path, *, database: str = "airflow") -> None:
        self.folder = folder.resolve()
        self.database = database
        self.port = free_port()
        self.log = self.folder / "server.log"
        self._password = secrets.token_hex(16)
        self._account = Account()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def sql_connection(self) -> str:
        """The address for Airflow, which makes the one for its asynchronous driver from it."""
        return f"postgresql+psycopg2://{self.database}:{self._password}@127.0.0.1:{self.port}/{self.database}"

    def __enter__(self) -> Postgres:
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

    def start(self, *, timeout: float = 60) -> None:
        """
        Make the server's files, start it, and make the database.

        :raises PostgresMissingError: When no server is installed.
        :raises PostgresFailedError: When something else is in the way.
        """
        where = programs()
        self._account = account()
        self.folder.mkdir(parents=True, exist_ok=True)
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
            *(where / "initdb", "--pgdata", self.folder / "data", "--username", self.database),
            *("--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--no-sync"),
            # Names and texts are compared as bytes, whatever the machine's language.
            *("--locale", "C"),
        )
        secret.unlink()
        # No socket file: its path would have to be shorter than a checkout's may be.
        settings = SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        command = [str(where / "postgres"), "-D", str(self.folder / "data")]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                user=self._account.user,
                group=self._account.group,
                extra_groups=self._account.extra_groups,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            poll(lambda: self._answers(where) or None, timeout=timeout, what="PostgreSQL answers")
        except DeadlineExceededError as error:
            raise PostgresFailedError(f"{error}; the end of its log:\n{tail(self.log)}") from None
        self._run(where / "createdb", self.database)

    def stop(self, *, patience: float = 15) -> None:
        """End it: clients are sent away, and what does not go is killed. Its files stay."""
        process, self._process = self._process, None
        if process is None:
            return
        # Its processes make sessions of their own, but all of them are its children.
        family = {process.pid} | descendants(process.pid)
        # The fast, then the immediate shutdown of postgres; SIGTERM would wait for clients to go by themselves.
        for number in (signal.SIGINT, signal.SIGQUIT):
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=patience)
                return
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=patience)

    def _answers(self, where: Path) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise PostgresFailedError(f"PostgreSQL ended by itself:\n{tail(self.log)}")
        asked = subprocess.run(
            [where / "pg_isready", "--quiet"], env=self._environment(), cwd=self.folder, check=False, timeout=30
        )
        return asked.returncode == 0

    def _environment(self) -> dict[str, str]:
        """The process environment of its programs: where the server is, and how to be let in."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return inherited | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.database,
            "PGDATABASE": "postgres",
            "PGPASSWORD": self._password,
        }

    def _run(self, *command: str | Path) -> None:
        ran = subprocess.run(
            list(command),
            user=self._account.user,
            group=self._account.group,
            extra_groups=self._account.extra_groups,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise PostgresFailedError(f"{Path(command[0]).name} ended with {ran.returncode}:\n{ran.stdout.strip()}")
