"""Expected and observed outcomes, and the table that shows both."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from mosaic_emulator import Emulator

ENDED = frozenset({"completed", "partial_complete", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    The end of a case: counts of the emulator, and the task instance in Airflow.

    :param started: Runs that were started.
    :param resumed: Runs that were resumed.
    :param cancelled: Runs that were cancelled.
    :param posts: Posts that were created.
    :param agents: Agents that were created.
    :param updated: Updates of agents.
    :param avatars: Avatar profiles that were created.
    :param stored: Uploads whose bytes were stored.
    :param finalized: Uploads that became assets.
    :param running: Runs that have not ended.
    :param state: The state of the task instance.
    :param tries: The try number of the task instance.
    :param xcom: Which item the task's XCom contains: 1 for the first run, post, agent, profile or upload, 0 for none.
    """

    started: int = 0
    resumed: int = 0
    cancelled: int = 0
    posts: int = 0
    agents: int = 0
    updated: int = 0
    avatars: int = 0
    stored: int = 0
    finalized: int = 0
    running: int = 0
    state: str = "success"
    tries: int = 1
    xcom: int = 1


COLUMNS = tuple(field.name for field in fields(Outcome))
_WIDTHS = {"state": 17}


def count_effects(mosaic: Emulator) -> dict[str, int]:
    """Return the emulator's counts."""
    counts = mosaic.counts()
    return {
        "started": counts.runs_started,
        "resumed": counts.runs_resumed,
        "cancelled": counts.runs_cancelled,
        "posts": counts.posts_made,
        "agents": counts.agents_created,
        "updated": counts.agents_updated,
        "avatars": counts.avatars_created,
        "stored": counts.uploads_stored,
        "finalized": counts.uploads_finalized,
        "running": sum(run["status"] not in ENDED for run in mosaic.runs()),
    }


@dataclass(frozen=True, kw_only=True)
class Result:
    """
    The result of a case.

    :param kill_point: The name of the kill point.
    :param observed: The observed outcome. None if the case did not end.
    :param note: What went wrong.
    :param seconds: The duration.
    """

    kill_point: str
    mode: str
    expected: Outcome
    observed: Outcome | None
    note: str = ""
    seconds: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Whether the observed outcome is the expected one."""
        return self.observed == self.expected

    def __str__(self) -> str:
        expected, observed = asdict(self.expected), asdict(self.observed) if self.observed else {}
        cells = [_cell(name, expected[name], observed.get(name, "?")) for name in COLUMNS]
        status = "ok" if self.as_expected else "WRONG"
        line = f"{status:<6}{self.kill_point:<66}{self.mode:<10}{''.join(cells)}{self.seconds:>5.0f} s"
        return f"{line}\n      {self.note}" if self.note else line


def _cell(name: str, expected: Any, observed: Any) -> str:
    return f"{f'{expected} {observed}':<{_width(name)}}"


def _width(name: str) -> int:
    return _WIDTHS.get(name, len(name) + 2)


def header() -> str:
    """Return the header of the table. Each cell has the expected and the observed value."""
    names = "".join(f"{name:<{_width(name)}}" for name in COLUMNS)
    return f"{'':<6}{'kill point (cells: expected observed)':<66}{'mode':<10}{names}"
