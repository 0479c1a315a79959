"""Kill points, and the cases that they consist of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .results import Outcome, Result
from .scenario import Scenario
from .steps import Step

BOTH = ("worker", "deferred")
WORKER = ("worker",)
DEFERRED = ("deferred",)


@dataclass(frozen=True)
class KillPoint:
    """
    A row of the table.

    :param name: What happens.
    :param dag: The DAG in ``dags/``, without its mode.
    :param modes: Where the task waits for the run or the post. Each mode is a case.
    :param steps: The steps. After them, the case waits for the end of the task.
    :param expected: The expected outcome.
    :param failpoints: Where the task's process kills itself, or where Airflow's services fail.
    """

    name: str
    dag: str
    modes: tuple[str, ...]
    steps: tuple[Step, ...]
    expected: Outcome
    failpoints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kill point in one mode: ``worker`` or ``deferred``."""

    kill_point: KillPoint
    mode: str

    @property
    def name(self) -> str:
        """The name, for tests and files."""
        return f"{self.kill_point.name}, {self.mode}"


def all_cases(kill_points: Iterable[KillPoint]) -> Iterator[Case]:
    """Yield the cases of kill points."""
    for kill_point in kill_points:
        for mode in kill_point.modes:
            yield Case(kill_point=kill_point, mode=mode)


def run_case(case: Case, scenario: Scenario) -> tuple[Result, str]:
    """Run a case. Return its result, and the logs of the task if the outcome is not the expected one."""
    started_at = time.monotonic()
    observed: Outcome | None = None
    note = ""
    try:
        for step in case.kill_point.steps:
            step(scenario)
        observed = scenario.observe(case.kill_point.expected)
        lost = scenario.lost_tries()
        if lost:
            note = f"Airflow itself lost {lost} tries, which do not count."
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
    result = Result(
        kill_point=case.kill_point.name,
        mode=case.mode,
        expected=case.kill_point.expected,
        observed=observed,
        note=note,
        seconds=time.monotonic() - started_at,
    )
    if result.as_expected:
        return result, ""
    try:
        return result, scenario.log()
    except Exception as error:
        return result, f"the logs cannot be read: {error}"
