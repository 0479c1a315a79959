"""
Run all benchmarks and print one table that marks missed goals.

    python benchmarks/table.py [imports latency waits waits_triggerer transfer]

Run them on an idle machine. The exit code does not depend on the goals.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from goals import GATHERED, Row

HERE = Path(__file__).resolve().parent
BENCHMARKS = ("imports", "latency", "waits", "waits_triggerer", "transfer")


def main() -> None:
    """Run the benchmarks and print the table."""
    parser = argparse.ArgumentParser(description="All benchmarks, in one table.")
    parser.add_argument("which", nargs="*", help=f"any of {', '.join(BENCHMARKS)}; default: all")
    names: list[str] = parser.parse_args().which or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        gathered = Path(folder) / "rows"
        failed = []
        for name in names:
            print(f"\n== {name}\n", flush=True)
            ran = subprocess.run([sys.executable, HERE / f"{name}.py"], env={**os.environ, GATHERED: str(gathered)})
            if ran.returncode:
                failed.append(name)
        rows = [Row(**json.loads(line)) for line in gathered.read_text().splitlines()] if gathered.exists() else []
    print(f"\n== all\n\n{'':<50}{'ours':>9}  {'theirs':<38}{'ratio':>7}  goal")
    for row in rows:
        print(row)
    missed = sum(not row.met for row in rows)
    print(f"\n{sum(row.goal is not None for row in rows)} goals, {missed} missed")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
