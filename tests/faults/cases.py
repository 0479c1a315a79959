"""A case: one moment in one mode, what it must come to, and how it is played."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .ledger import Line, Outcome
from .stage import Stage


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    One line of the report.

    :param moment: What happens.
    :param mode: ``worker`` or ``deferred``: where the task waits.
    :param dag_id: The shape of the task.
    :param expected: What it must come to.
    :param script: Plays it: from the DAG run's start to where only its end is left.
    :param seams: Where its processes kill themselves.
    """

    moment: str
    mode: str
    dag_id: str
    expected: Outcome
    script: Callable[[Stage], None]
    seams: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name for tests and files."""
        return f"{self.moment}, {self.mode}"


def play(case: Case, stage: Stage) -> tuple[Line, str]:
    """
    Play a case to its end.

    :returns: Its line, and what the tasks logged if it is not as it should be.
    """
    began = time.monotonic()
    seen: Outcome | None = None
    story = ""
    try:
        case.script(stage)
        seen = stage.outcome(case.expected)
        lost = stage.lost_tries()
        if lost:
            story = "Airflow lost a try by itself, which is not counted: it " + " and ".join(lost)
    except Exception as error:
        story = f"{type(error).__name__}: {error}"
    line = Line(
        moment=case.moment,
        mode=case.mode,
        expected=case.expected,
        seen=seen,
        story=story,
        seconds=time.monotonic() - began,
    )
    if line.exact:
        return line, ""
    try:
        return line, stage.log()
    except Exception as error:
        return line, f"the logs can't be read: {error}"
