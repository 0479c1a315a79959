"""The rows of the table that `make bench` prints: our figure, that of other providers, the ratio, and the goal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: Environment variable with the path of a file that collects the rows of several benchmarks, as JSON lines.
GATHERED = "BENCHMARK_ROWS"


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One figure.

    :param figure: What was measured, with its unit.
    :param theirs: The figures of others, by name.
    :param ratio: The ratio, if it is not that of the two figures.
    :param goal: The goal in words, if there is one.
    """

    figure: str
    ours: float
    theirs: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    goal: str | None = None
    met: bool = True

    def __str__(self) -> str:
        theirs = ", ".join(f"{name} {number(value)}" for name, value in self.theirs.items())
        # Compare with the best of the others.
        least = min(self.theirs.values(), default=0.0)
        quotient = self.ratio or (self.ours / least if least else 0.0)
        ratio = number(quotient) if quotient else ""
        verdict = "" if self.goal is None else f"{'met' if self.met else 'MISSED'}: {self.goal}"
        return f"{self.figure:<50}{number(self.ours):>9}  {theirs:<38}{ratio:>7}  {verdict}"


def number(value: float) -> str:
    """Format a number with about three significant digits."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def report(rows: Iterable[Row]) -> None:
    """Print rows, and append them to the collecting file if there is one."""
    rows = list(rows)
    print(f"{'':<50}{'ours':>9}  {'theirs':<38}{'ratio':>7}  goal")
    for row in rows:
        print(row, flush=True)
    if gathered := os.environ.get(GATHERED):
        with Path(gathered).open("a") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
