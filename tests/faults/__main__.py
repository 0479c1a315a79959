"""
Kill tasks and processes of a real Airflow at every moment, and print what the local Mosaic counted.

One line a case, with what is expected and what was seen; the exit code is 1 if any differs. ``ONLY=`` plays the cases
whose name has this text in it, ``DATABASE=postgresql`` plays them on a PostgreSQL of their own instead of SQLite.
"""

from __future__ import annotations

import os
import sys
import time

from dev.postgres import PostgresMissingError, programs

from .airflow_faults import KILL_POINTS as AIRFLOW_FAULTS
from .cases import cases
from .environment import DATABASES, fault_environment, forget, new_folder
from .exits import KILL_POINTS as EXITS
from .kill_points import KILL_POINTS
from .ledger import Line, header
from .restarts import GROUPS

#: Cases at a time. The tasks mostly wait; more would only wait longer for the processor.
MOSAICS = 6


def tell(line: Line) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Play all cases and say how it went."""
    began = time.monotonic()
    only, kind = os.environ.get("ONLY", ""), os.environ.get("DATABASE", "") or DATABASES[0]
    if kind not in DATABASES:
        print(f"DATABASE={kind} is none of {', '.join(DATABASES)}.")
        return 2
    if kind == "postgresql":
        try:
            programs()
        except PostgresMissingError as error:
            print(error)
            return 2
    wanted = [case for case in cases((*KILL_POINTS, *AIRFLOW_FAULTS, *EXITS)) if only in case.name]
    groups = [[restart for restart in group if only in restart.name] for group in GROUPS]
    folder = new_folder("faults")
    with fault_environment(folder, mosaics=MOSAICS, kind=kind) as environment:
        print(
            f"Airflow on {kind} and {MOSAICS} local Mosaics are up after {time.monotonic() - began:.0f} s.\n{header()}",
            flush=True,
        )
        lines = environment.play_all(wanted, tell)
        for group in groups:
            lines += environment.play_restarts(group, tell)
    wrong = sum(not line.exact for line in lines)
    print(f"{len(lines)} cases, {len(lines) - wrong} exact, {wrong} wrong, in {time.monotonic() - began:.0f} s.")
    if wrong or not lines:
        print(f"Logs: {folder}")
        return 1
    forget(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
