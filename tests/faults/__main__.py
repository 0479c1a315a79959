"""
Kill tasks and processes of a real Airflow at every moment, and print what the local Mosaic counted.

One line a case, with what is expected and what was seen; the exit code is 1 if any differs. ``ONLY=`` plays the cases
whose name has this text in it.
"""

from __future__ import annotations

import os
import sys
import time

from . import exits, moments
from .house import fault_house, forget, new_folder
from .ledger import Line, header
from .restarts import under_deferred_tasks, under_tasks_on_workers

#: Cases at a time. The tasks mostly wait; more would only wait longer for the processor.
MOSAICS = 6


def tell(line: Line) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Play all cases and say how it went."""
    began = time.monotonic()
    only = os.environ.get("ONLY", "")
    cases = [case for case in (*moments.cases(), *exits.cases()) if only in case.name]
    groups = [
        [restart for restart in group if only in restart.case.name]
        for group in (under_deferred_tasks(), under_tasks_on_workers())
    ]
    folder = new_folder("faults")
    with fault_house(folder, mosaics=MOSAICS) as house:
        print(
            f"Airflow and {MOSAICS} local Mosaics are up after {time.monotonic() - began:.0f} s.\n{header()}",
            flush=True,
        )
        lines = house.play_all(cases, tell)
        for group in groups:
            lines += house.play_restarts(group, tell)
    wrong = sum(not line.exact for line in lines)
    print(f"{len(lines)} cases, {len(lines) - wrong} exact, {wrong} wrong, in {time.monotonic() - began:.0f} s.")
    if wrong or not lines:
        print(f"Logs: {folder}")
        return 1
    forget(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
