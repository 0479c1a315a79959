from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "emulator.md"
TESTS = """
import json, os
import pytest

def ask(mosaic, path):
    import urllib.request
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(mosaic.url + path, headers={"Authorization": "Bearer " + mosaic.api_key})
    return json.load(opener.open(request))

pids = set()

@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_begins_with_nothing(mosaic_emulator, turn):
    pids.add(mosaic_emulator.pid)
    assert mosaic_emulator.counts().requests == {}
    assert ask(mosaic_emulator, "/whoami")
    assert mosaic_emulator.counts().requests == {"GET /whoami": 1}
    assert len(pids) == 1

def test_the_connection_leads_to_the_emulator(mosaic_connection, mosaic_emulator):
    assert mosaic_connection == "mosaic_default"
    assert json.loads(os.environ["AIRFLOW_CONN_MOSAIC_DEFAULT"])["host"] == mosaic_emulator.url

def test_the_connection_goes_with_its_test():
    assert "AIRFLOW_CONN_MOSAIC_DEFAULT" not in os.environ
"""
WITHOUT = """
import sys

sys.modules["fastapi"] = None
"""


MORE = """
import datetime, time

import pytest
from airflow.sdk import dag, task


@dag(schedule=None)
def mapped():
    @task(retries=2, retry_delay=datetime.timedelta(minutes=5), retry_exponential_backoff=True)
    def fail(number):
        if number == 2:
            raise ValueError(number)

    fail.expand(number=[1, 2])


def test_a_mapped_task_that_fails_does_not_sit_out_its_pauses(mosaic_test_dag):
    made = mapped()
    before = time.monotonic()
    run = mosaic_test_dag(made)
    assert run.state == "failed"
    assert {(each.map_index, each.state, each.try_number) for each in run.get_task_instances()} == {
        (0, "success", 1),
        (1, "failed", 3),
    }
    assert time.monotonic() - before < 120
    assert made.get_task("fail").retry_delay == datetime.timedelta(minutes=5)


def test_a_function_that_was_not_called_is_named(mosaic_test_dag):
    with pytest.raises(TypeError, match="is no DAG"):
        mosaic_test_dag(mapped)


def test_airflow_uses_its_own_database_again(tmp_path):
    from airflow import settings

    assert "mosaic-airflow" in settings.SQL_ALCHEMY_CONN or settings.SQL_ALCHEMY_CONN.endswith("mine.db")
"""
AFTERWARDS = """
def pytest_unconfigure():
    from airflow import settings

    assert settings.SQL_ALCHEMY_CONN.endswith("mine.db"), settings.SQL_ALCHEMY_CONN
    print("\\nback to mine.db")
"""


def run_pytest(directory: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    environment |= variables
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=environment,
    )
    return done.stdout + done.stderr


# A pytest of its own, and a server for it: some five seconds.
def test_the_fixtures_come_with_the_package(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    assert "4 passed" in run_pytest(tmp_path)


def test_without_the_web_framework_only_those_tests_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(WITHOUT)
    (tmp_path / "test_mine.py").write_text(TESTS)
    said = run_pytest(tmp_path)
    assert "1 passed, 3 skipped" in said
    assert "needs fastapi" in said


@pytest.fixture
def airflow(tmp_path: Path) -> dict[str, str]:
    """Variables of somebody whose Airflow has never been set up."""
    pytest.importorskip("airflow")
    (tmp_path / "tests").mkdir()
    mine = tmp_path / "mine.db"
    return {
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{mine}",
    }


# Three DAG runs and a database of Airflow, which takes a second to import: some twenty seconds.
def test_the_block_of_the_page_passes_as_it_is_printed(tmp_path: Path, airflow: dict[str, str]) -> None:
    if not PAGE.exists():
        pytest.skip("the pages are not beside the tests")
    (block,) = re.findall(r"```python\n(.*?def test_the_night.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "tests" / "test_nightly.py").write_text(block)
    said = run_pytest(tmp_path / "tests", **airflow)
    assert "3 passed" in said, said
    assert not (tmp_path / "mine.db").exists()


# As above: some ten seconds.
def test_retries_have_no_pauses_and_airflow_is_as_before_afterwards(tmp_path: Path, airflow: dict[str, str]) -> None:
    (tmp_path / "tests" / "test_more.py").write_text(MORE)
    (tmp_path / "tests" / "conftest.py").write_text(AFTERWARDS)
    said = run_pytest(tmp_path / "tests", **airflow)
    assert "3 passed" in said, said
    assert "back to mine.db" in said, said
    assert not (tmp_path / "mine.db").exists()
