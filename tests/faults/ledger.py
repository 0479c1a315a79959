"""What a case must come to, what was seen, and the line that says both."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from mosaic_emulator import Emulator

ENDED = frozenset({"completed", "partial_complete", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    The end of a case, by the emulator's own counts and Airflow's own states.

    :param started: Runs that began to exist.
    :param resumed: Runs that were resumed.
    :param cancelled: Runs that were cancelled.
    :param posts: Posts that began to exist.
    :param agents: Agents that began to exist.
    :param updated: Updates that changed an agent.
    :param avatars: Avatar profiles that began to exist.
    :param stored: Uploads whose bytes were taken in.
    :param finalized: Uploads that became an asset.
    :param running: Runs that are still going on.
    :param state: The task's end state.
    :param tries: The task's last try.
    :param names: Which of the runs, posts, agents, profiles or uploads the task names at its end, from the first on; 0
        for none.
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
    names: int = 1


COLUMNS = tuple(field.name for field in fields(Outcome))
_WIDTHS = {"state": 17}


def seen_by(mosaic: Emulator) -> dict[str, int]:
    """What the emulator counted."""
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
class Line:
    """
    One line of the report.

    :param moment: What happened.
    :param mode: Where the task waited.
    :param expected: What it must come to.
    :param seen: What it came to; None when it did not come to an end.
    :param story: What went wrong on the way.
    :param seconds: How long it took.
    """

    moment: str
    mode: str
    expected: Outcome
    seen: Outcome | None
    story: str = ""
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether everything is as expected."""
        return self.seen == self.expected

    def __str__(self) -> str:
        expected, seen = asdict(self.expected), asdict(self.seen) if self.seen else {}
        cells = [_cell(name, expected[name], seen.get(name, "?")) for name in COLUMNS]
        verdict = "ok" if self.exact else "WRONG"
        line = f"{verdict:<6}{self.moment:<66}{self.mode:<10}{''.join(cells)}{self.seconds:>5.0f} s"
        return f"{line}\n      {self.story}" if self.story else line


def _cell(name: str, expected: Any, seen: Any) -> str:
    return f"{f'{expected} {seen}':<{_WIDTHS.get(name, len(name) + 2)}}"


def header() -> str:
    """The heading; under each name, what is expected and what was seen."""
    names = "".join(f"{name:<{_WIDTHS.get(name, len(name) + 2)}}" for name in COLUMNS)
    return f"{'':<6}{'moment (then: expected, seen)':<66}{'mode':<10}{names}"
