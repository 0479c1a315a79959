from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
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
def test_each_test_gets_a_reset_emulator(mosaic_emulator, turn):
    pids.add(mosaic_emulator.pid)
    assert mosaic_emulator.counts().requests == {}
    assert ask(mosaic_emulator, "/whoami")
    assert mosaic_emulator.counts().requests == {"GET /whoami": 1}
    assert len(pids) == 1

def test_connection_points_to_the_emulator(mosaic_connection, mosaic_emulator):
    assert mosaic_connection == "mosaic_default"
    assert json.loads(os.environ["AIRFLOW_CONN_MOSAIC_DEFAULT"])["host"] == mosaic_emulator.url

def test_connection_is_removed_after_the_test():
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

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    delay = datetime.timedelta(minutes=10)
    rules = [
        RetryRule(exception=ValueError, action=RetryAction.RETRY, retry_delay=delay),
        RetryRule(exception=KeyError, action=RetryAction.FAIL),
    ]
    policy = {"retry_policy": ExceptionRetryPolicy(rules=rules)}
except ImportError:
    # Airflow before 3.3
    policy = {}


@dag(schedule=None)
def mapped():
    @task(retries=2, retry_delay=datetime.timedelta(minutes=5), retry_exponential_backoff=True, **policy)
    def fail(number):
        if number > 1:
            raise {2: ValueError, 3: KeyError}[number]

    fail.expand(number=[1, 2, 3])
    fail.override(task_id="not_mapped")(2)


def test_retries_have_no_delay(mosaic_test_dag):
    made = mapped()
    before = time.monotonic()
    run = mosaic_test_dag(made)
    assert run.state == "failed"
    assert {(each.map_index, each.state, each.try_number) for each in run.get_task_instances()} == {
        (-1, "failed", 3),
        (0, "success", 1),
        (1, "failed", 3),
        (2, "failed", 1 if policy else 3),
    }
    assert time.monotonic() - before < 300
    for name in ("fail", "not_mapped"):
        assert made.get_task(name).retry_delay == datetime.timedelta(minutes=5)
        assert getattr(made.get_task(name), "retry_policy", None) is policy.get("retry_policy")


def test_uncalled_dag_function_is_an_error(mosaic_test_dag):
    with pytest.raises(TypeError, match="is not a DAG"):
        mosaic_test_dag(mapped)


def test_airflow_uses_a_separate_database(tmp_path):
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


# A separate pytest and emulator: about 5 s.
def test_fixtures_are_installed_with_the_package(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    assert "4 passed" in run_pytest(tmp_path)


def test_tests_are_skipped_without_the_web_framework(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(WITHOUT)
    (tmp_path / "test_mine.py").write_text(TESTS)
    output = run_pytest(tmp_path)
    assert "1 passed, 3 skipped" in output
    assert "needs fastapi" in output


@pytest.fixture
def airflow(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user whose Airflow has no database."""
    pytest.importorskip("airflow")
    (tmp_path / "tests").mkdir()
    mine = tmp_path / "mine.db"
    return {
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{mine}",
    }


# A database and three DAG runs: about 20 s.
def test_documented_example_passes(tmp_path: Path, airflow: dict[str, str]) -> None:
    if not PAGE.exists():
        pytest.skip("the documentation is not in the checkout")
    (block,) = re.findall(r"```python\n(.*?def test_the_night.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "tests" / "test_nightly.py").write_text(block)
    output = run_pytest(tmp_path / "tests", **airflow)
    assert "3 passed" in output, output
    assert not (tmp_path / "mine.db").exists()


# A database, and a DAG run with four retries: about 20 s.
def test_retries_have_no_delay_and_configuration_is_restored(tmp_path: Path, airflow: dict[str, str]) -> None:
    (tmp_path / "tests" / "test_more.py").write_text(MORE)
    (tmp_path / "tests" / "conftest.py").write_text(AFTERWARDS)
    output = run_pytest(tmp_path / "tests", **airflow)
    assert "3 passed" in output, output
    assert "back to mine.db" in output, output
    assert not (tmp_path / "mine.db").exists()
