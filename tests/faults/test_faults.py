"""The most telling kill_points at which a task is killed, and every clear; ``make test-faults`` plays all there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .airflow_faults import KILL_POINTS as AIRFLOW_FAULTS
from .cases import cases
from .environment import fault_environment, forget, new_folder
from .exits import KILL_POINTS as EXITS
from .kill_points import KILL_POINTS
from .ledger import Line

pytestmark = pytest.mark.airflow

TELLING = {
    ("2 request sent, effect done, no answer yet, killed", "worker"),
    ("3 answer there, id not noted, killed", "deferred"),
    ("7 at resume, killed", "deferred"),
    ("9 while posting: effect done, no answer yet, killed", "worker"),
    ("SIGTERM while starting", "deferred"),
    ("SIGTERM while polling", "worker"),
    ("SIGTERM while polling, cancel_on_kill=False", "worker"),
    ("lookup of the connection fails at the triggerer's first look", "deferred"),
    ("XCom can't be written after the start", "worker"),
    ("state store has lost the entry by the retry", "worker"),
    ("clear of a succeeded task", "worker"),
    ("clear of a succeeded task", "deferred"),
    ("clear of a failed task", "worker"),
    ("clear of a failed task", "deferred"),
    ("clear of a waiting task: the old run alone is cancelled", "worker"),
    ("clear of a waiting task: the old run alone is cancelled", "deferred"),
    ("clear of a deferred task before the triggerer has it", "deferred"),
}
CASES = {
    case.name: case
    for case in cases((*KILL_POINTS, *AIRFLOW_FAULTS, *EXITS))
    if (case.moment.what, case.mode) in TELLING
}


@pytest.fixture(scope="module")
def lines(request: pytest.FixtureRequest) -> Iterator[dict[str, Line]]:
    """All cases, as many at a time as there are local Mosaics."""
    folder = new_folder("tests")
    with fault_environment(folder, mosaics=4) as environment:
        played = environment.play_all(list(CASES.values()), lambda line: None)
    yield {f"{line.moment}, {line.mode}": line for line in played}
    if not request.session.testsfailed:
        forget(folder)


def test_every_telling_case_is_there() -> None:
    assert len(CASES) == len(TELLING)


@pytest.mark.parametrize("name", CASES)
def test_the_local_mosaic_counts_what_was_promised(name: str, lines: dict[str, Line]) -> None:
    line = lines[name]
    assert line.seen == line.expected, line.story
