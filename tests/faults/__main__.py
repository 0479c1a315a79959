"""
Run all cases and print the outcomes.

One line a case, with the expected and the observed outcome. The exit code is 1 if any case differs. ``ONLY=text`` runs
the cases whose name contains the text. ``DATABASE=postgresql`` uses a PostgreSQL of their own instead of SQLite.
"""

from __future__ import annotations

import os
import sys
import time

from dev.server_programs import ServerMissingError, postgres_programs

from .airflow_faults import KILL_POINTS as AIRFLOW_FAULTS
from .cases import all_cases
from .environment import DATABASES, create_folder, fault_environment, remove_folder
from .exits import KILL_POINTS as EXITS
from .kill_points import KILL_POINTS
from .restarts import GROUPS
from .results import Result, header

#: Cases at a time. The tasks mostly wait, but more of them would wait for the CPU.
EMULATORS = 6


def print_result(result: Result) -> None:
    """Print a result at once."""
    print(result, flush=True)


def main() -> int:
    """Run all cases and return the exit code."""
    started_at = time.monotonic()
    only, database = os.environ.get("ONLY", ""), os.environ.get("DATABASE", "") or DATABASES[0]
    if database not in DATABASES:
        print(f"DATABASE={database} is none of {', '.join(DATABASES)}.")
        return 2
    if database == "postgresql":
        try:
            postgres_programs()
        except ServerMissingError as error:
            print(error)
            return 2
    cases = [case for case in all_cases((*KILL_POINTS, *AIRFLOW_FAULTS, *EXITS)) if only in case.name]
    groups = [[restart for restart in group if only in restart.case().name] for group in GROUPS]
    folder = create_folder("faults")
    with fault_environment(folder, emulators=EMULATORS, database=database) as environment:
        seconds = time.monotonic() - started_at
        print(f"Airflow on {database} and {EMULATORS} emulators are up after {seconds:.0f} s.\n{header()}", flush=True)
        results = environment.run_all(cases, print_result)
        for group in groups:
            results += environment.run_restarts(group, print_result)
    wrong = sum(not result.as_expected for result in results)
    seconds = time.monotonic() - started_at
    print(f"{len(results)} cases, {len(results) - wrong} as expected, {wrong} wrong, in {seconds:.0f} s.")
    if wrong or not results:
        print(f"Logs: {folder}")
        return 1
    remove_folder(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
