"""The rows of the table that `make bench` prints: a figure of ours, the same of others, their ratio, and the goal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: Where the rows are gathered, one JSON object a line, when several benchmarks make one table.
GATHERED = "BENCHMARK_ROWS"


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One figure.

    :param figure: What was measured, with its unit.
    :param ours: Ours.
    :param theirs: The same of others, by their names.
    :param ratio: Ours to theirs, if it is not the ratio of the two figures.
    :param goal: The goal in words; None where there is none.
    :param met: Whether it was met.
    """

    figure: str
    ours: float
    theirs: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    goal: str | None = None
    met: bool = True

    def __str__(self) -> str:
        theirs = ", ".join(f"{name} {number(value)}" for name, value in self.theirs.items())
        # The leanest of the others is the one to be compared with.
        least = min(self.theirs.values(), default=0.0)
        quotient = self.ratio or (self.ours / least if least else 0.0)
        ratio = number(quotient) if quotient else ""
        verdict = "" if self.goal is None else f"{'met' if self.met else 'MISSED'}: {self.goal}"
        return f"{self.figure:<50}{number(self.ours):>9}  {theirs:<38}{ratio:>7}  {verdict}"


def number(value: float) -> str:
    """Three digits or more, none of them for show."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def report(rows: Iterable[Row]) -> None:
    """Print rows, and keep them for the table of all benchmarks if there is to be one."""
    told = list(rows)
    print(f"{'':<50}{'ours':>9}  {'theirs':<38}{'ratio':>7}  goal")
    for row in told:
        print(row, flush=True)
    if gathered := os.environ.get(GATHERED):
        with Path(gathered).open("a") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in told)
