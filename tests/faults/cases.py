"""The table that the cases come from: kill_points, the modes in which they exist, and what they must come to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .ledger import Line, Outcome
from .scenario import Scenario
from .steps import Step

BOTH = ("worker", "deferred")
WORKER = ("worker",)
DEFERRED = ("deferred",)


@dataclass(frozen=True)
class KillPoint:
    """
    One row of the table.

    :param what: What happens.
    :param shape: How the task is set up: a DAG for each mode in ``dags/``.
    :param modes: Where the task waits.
    :param steps: What is done, from the DAG run's start to where only its end is left.
    :param expected: What it must come to.
    :param seams: Where the task's processes kill themselves.
    """

    what: str
    shape: str
    modes: tuple[str, ...]
    steps: tuple[Step, ...]
    expected: Outcome
    seams: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    One line of the report.

    :param moment: The row.
    :param mode: ``worker`` or ``deferred``: where the task waits.
    """

    moment: KillPoint
    mode: str

    @property
    def name(self) -> str:
        """A name for tests and files."""
        return f"{self.moment.what}, {self.mode}"


def cases(kill_points: Iterable[KillPoint]) -> Iterator[Case]:
    """Every moment in every mode in which it exists."""
    for moment in kill_points:
        for mode in moment.modes:
            yield Case(moment=moment, mode=mode)


def play(case: Case, scenario: Scenario) -> tuple[Line, str]:
    """
    Play a case to its end.

    :returns: Its line, and what the tasks logged if it is not as it should be.
    """
    began = time.monotonic()
    seen: Outcome | None = None
    story = ""
    try:
        for step in case.moment.steps:
            step(scenario)
        seen = scenario.outcome(case.moment.expected)
        lost = scenario.lost_tries()
        if lost:
            story = "Airflow lost a try by itself, which is not counted: it " + " and ".join(lost)
    except Exception as error:
        story = f"{type(error).__name__}: {error}"
    line = Line(
        moment=case.moment.what,
        mode=case.mode,
        expected=case.moment.expected,
        seen=seen,
        story=story,
        seconds=time.monotonic() - began,
    )
    if line.exact:
        return line, ""
    try:
        return line, scenario.log()
    except Exception as error:
        return line, f"the logs can't be read: {error}"
