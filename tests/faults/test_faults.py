"""The most important kill points, and all clears. ``make test-faults`` runs every kill point."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .airflow_faults import KILL_POINTS as AIRFLOW_FAULTS
from .cases import all_cases
from .environment import create_folder, fault_environment, remove_folder
from .exits import KILL_POINTS as EXITS
from .kill_points import KILL_POINTS
from .results import Result

pytestmark = pytest.mark.airflow

SELECTED = {
    ("start run: run started, no response yet, killed", "worker"),
    ("start run: response received, id not saved, killed", "deferred"),
    ("after the deferral: before the first poll, killed", "deferred"),
    ("create post: post created, no response yet, killed", "worker"),
    ("SIGTERM while starting", "deferred"),
    ("SIGTERM while polling", "worker"),
    ("SIGTERM while polling, cancel_on_kill=False", "worker"),
    ("connection lookup fails at the trigger's first poll", "deferred"),
    ("XCom cannot be written after the start", "worker"),
    ("state store has lost the entry before the retry", "worker"),
    ("clear of a succeeded task", "worker"),
    ("clear of a succeeded task", "deferred"),
    ("clear of a failed task", "worker"),
    ("clear of a failed task", "deferred"),
    ("clear of a waiting task: only the old run is cancelled", "worker"),
    ("clear of a waiting task: only the old run is cancelled", "deferred"),
    ("clear of a deferred task before its trigger starts", "deferred"),
    ("task marked failed while it waits for its retry", "worker"),
}
CASES = {
    case.name: case
    for case in all_cases((*KILL_POINTS, *AIRFLOW_FAULTS, *EXITS))
    if (case.kill_point.name, case.mode) in SELECTED
}


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Result]]:
    """Run all cases, four at a time."""
    folder = create_folder("tests")
    with fault_environment(folder, emulators=4) as environment:
        results = environment.run_all(list(CASES.values()), lambda result: None)
    yield {f"{result.kill_point}, {result.mode}": result for result in results}
    if not request.session.testsfailed:
        remove_folder(folder)


def test_every_selected_case_exists() -> None:
    assert len(CASES) == len(SELECTED)


@pytest.mark.parametrize("name", CASES)
def test_kill_point(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert result.observed == result.expected, result.note
