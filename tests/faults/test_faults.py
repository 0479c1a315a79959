"""The most telling of the fault runner's cases; ``make test-faults`` plays them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import exits, moments
from .house import FaultHouse, fault_house, forget, new_folder
from .ledger import Line

pytestmark = pytest.mark.airflow

TELLING = {
    ("2 request sent, effect done, no answer yet, killed", "worker"),
    ("3 answer there, id not noted, killed", "deferred"),
    ("7 at resume, killed", "deferred"),
    ("9 while posting: effect done, no answer yet, killed", "worker"),
    ("SIGTERM while polling", "worker"),
    ("clear of a deferred task: the old run alone is cancelled", "deferred"),
}
CASES = {case.name: case for case in (*moments.cases(), *exits.cases()) if (case.moment, case.mode) in TELLING}


@pytest.fixture(scope="module")
def lines(request: pytest.FixtureRequest) -> Iterator[dict[str, Line]]:
    """All cases, played at the same time."""
    folder = new_folder("tests")
    with fault_house(folder, mosaics=3) as house:
        yield play(house)
    if not request.session.testsfailed:
        forget(folder)


def play(house: FaultHouse) -> dict[str, Line]:
    """Play the cases, each on its own local Mosaic."""
    played = house.play_all(list(CASES.values()), lambda line: None)
    return {f"{line.moment}, {line.mode}": line for line in played}


def test_every_telling_case_is_there() -> None:
    assert len(CASES) == len(TELLING)


@pytest.mark.parametrize("name", CASES)
def test_the_local_mosaic_counts_what_was_promised(name: str, lines: dict[str, Line]) -> None:
    line = lines[name]
    assert line.seen == line.expected, line.story
