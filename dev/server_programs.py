"""
Find the programs of PostgreSQL and Redis. ``python -m dev.server_programs`` reports which are missing.

It runs before any environment exists, so it needs the standard library only.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

#: Debian and Ubuntu install the server here, one folder per major version, and not on the PATH.
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")
POSTGRES_MISSING = (
    "The programs of a PostgreSQL server (initdb, postgres) are neither on the PATH nor in /usr/lib/postgresql. "
    "On Debian and Ubuntu the package is named postgresql: apt-get install postgresql"
)
REDIS_MISSING = (
    "The program redis-server is not on the PATH. "
    "On Debian and Ubuntu the package is named redis-server: apt-get install redis-server"
)


class ServerMissingError(Exception):
    """The server is not installed. The message contains the package."""


def postgres_programs() -> Path:
    """Return the folder with the programs of the newest installed version."""
    folders = [path.parent for path in DEBIAN_FOLDERS.glob("*/bin/initdb")]
    folders.sort(key=lambda folder: float(folder.parent.name), reverse=True)
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "postgres").exists():
            return folder
    raise ServerMissingError(POSTGRES_MISSING)


def redis_program() -> str:
    """Return the path of the Redis server."""
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissingError(REDIS_MISSING)
    return found


def main() -> int:
    """Report the programs that `make distributed` needs and that are not installed."""
    missing = []
    for find in (postgres_programs, redis_program):
        try:
            find()
        except ServerMissingError as error:
            missing.append(str(error))
    if missing:
        print("\n".join(["Nothing was started or installed. These programs are missing:", *missing]), file=sys.stderr)
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
