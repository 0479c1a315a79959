from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def run_pytest(directory: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
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
