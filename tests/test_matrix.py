"""The test matrix: pairs of Airflow and Python versions, and the oldest dependencies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev import environment
from dev.matrix import closing_line, pairs_to_test

AIRFLOWS = ["3.1", "3.2", "3.3"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_version_is_tested_and_no_pair_twice(python: str) -> None:
    tested = ("3.3", python)
    pairs = pairs_to_test(AIRFLOWS, PYTHONS, tested, full=False)
    assert {airflow for airflow, _ in [tested, *pairs]} == set(AIRFLOWS)
    # The oldest dependencies are tested with the oldest Python.
    assert {version for _, version in [tested, *pairs]} | {"3.10"} == set(PYTHONS)
    assert len(pairs) <= 3
    assert tested not in pairs
    assert len(set(pairs)) == len(pairs)


def test_matrix_with_one_python() -> None:
    assert pairs_to_test(AIRFLOWS, ["3.11"], ("3.3", "3.11"), full=False) == [("3.1", "3.11"), ("3.2", "3.11")]


def test_full_matrix_omits_only_the_tested_pair() -> None:
    assert len(pairs_to_test(AIRFLOWS, PYTHONS, ("3.3", "3.11"), full=True)) == 11


def test_closing_line_ignores_later_output(tmp_path: Path) -> None:
    log = tmp_path / "tests.log"
    log.write_text("=== warnings ===\n== 3642 passed, 3 skipped in 319.21s (0:05:19) ==\nsetup plugin alembic\n")
    assert closing_line(log) == "3642 passed, 3 skipped in 319.21s (0:05:19)"


def test_tested_floors_are_those_of_the_package() -> None:
    pins = (environment.CONSTRAINTS / "floors.txt").read_text().splitlines()
    tested = {re.sub(r"\[.*\]", "", pin.partition("==")[0]): pin.partition("==")[2] for pin in pins}
    for floor in environment.floors():
        name, _, version = floor.partition("==")
        padded = version + ".0" * (tested[name].count(".") - version.count("."))
        assert tested[name] == padded, f"constraints/floors.txt is older than pyproject.toml: {floor}"
