"""What is tested on which Airflow, with which Python and with which packages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev import environment
from dev.matrix import closing_line, pairs_to_test

AIRFLOWS = ["3.1", "3.2", "3.3"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_airflow_and_every_python_is_tested_and_no_pair_twice(python: str) -> None:
    tested = ("3.3", python)
    pairs = pairs_to_test(AIRFLOWS, PYTHONS, tested, full=False)
    assert {airflow for airflow, _ in [tested, *pairs]} == set(AIRFLOWS)
    # The oldest Python is that of the oldest dependencies.
    assert {version for _, version in [tested, *pairs]} | {"3.10"} == set(PYTHONS)
    assert len(pairs) <= 3
    assert tested not in pairs
    assert len(set(pairs)) == len(pairs)


def test_one_python_is_enough() -> None:
    assert pairs_to_test(AIRFLOWS, ["3.11"], ("3.3", "3.11"), full=False) == [("3.1", "3.11"), ("3.2", "3.11")]


def test_the_full_matrix_leaves_out_only_what_was_tested() -> None:
    assert len(pairs_to_test(AIRFLOWS, PYTHONS, ("3.3", "3.11"), full=True)) == 11


def test_what_airflow_writes_at_its_end_hides_no_result(tmp_path: Path) -> None:
    log = tmp_path / "tests.log"
    log.write_text("=== warnings ===\n== 3642 passed, 3 skipped in 319.21s (0:05:19) ==\nsetup plugin alembic\n")
    assert closing_line(log) == "3642 passed, 3 skipped in 319.21s (0:05:19)"


def test_the_floors_that_are_tested_are_those_of_the_package() -> None:
    pins = (environment.CONSTRAINTS / "floors.txt").read_text().splitlines()
    tested = {re.sub(r"\[.*\]", "", pin.partition("==")[0]): pin.partition("==")[2] for pin in pins}
    for floor in environment.floors():
        name, _, version = floor.partition("==")
        padded = version + ".0" * (tested[name].count(".") - version.count("."))
        assert tested[name] == padded, f"constraints/floors.txt is older than pyproject.toml: {floor}"
