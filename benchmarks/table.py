"""
Every benchmark in turn, and at the end all figures in one table; a goal that was missed says so.

    python benchmarks/table.py [imports latency waits waits_triggerer transfer]

They are run one after the other, on a machine that should have nothing else to do. Nothing here passes or fails.
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
    """Run them and print the table."""
    parser = argparse.ArgumentParser(description="All benchmarks, in one table.")
    parser.add_argument("which", nargs="*", help=f"some of {', '.join(BENCHMARKS)}; default: all")
    wanted: list[str] = parser.parse_args().which or list(BENCHMARKS)
    if unknown := set(wanted) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        gathered = Path(folder) / "rows"
        broken = []
        for name in wanted:
            print(f"\n== {name}\n", flush=True)
            ran = subprocess.run([sys.executable, HERE / f"{name}.py"], env={**os.environ, GATHERED: str(gathered)})
            if ran.returncode:
                broken.append(name)
        rows = [Row(**json.loads(line)) for line in gathered.read_text().splitlines()] if gathered.exists() else []
    print(f"\n== all\n\n{'':<50}{'ours':>9}  {'theirs':<38}{'ratio':>7}  goal")
    for row in rows:
        print(row)
    missed = sum(not row.met for row in rows)
    print(f"\n{sum(row.goal is not None for row in rows)} goals, {missed} missed")
    if broken:
        sys.exit(f"not measured to the end: {', '.join(broken)}")


if __name__ == "__main__":
    main()
