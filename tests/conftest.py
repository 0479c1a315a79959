"""A throwaway Airflow home, set before anything imports Airflow: it reads its settings when it is imported."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTACKS, measured_attack

__all__ = ["measured_attack"]

# What the person at the keyboard has configured for their own Airflow is no part of a test. Without bytecode, every
# process that a test starts compiles what it imports.
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "PYTHONDONTWRITEBYTECODE"))]:
    del os.environ[name]

HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = str(HOME)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(HOME / "dags")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME / 'airflow.db'}"

# `dev` and what else lies beside the package; where the package itself is installed from is not changed by that.
sys.path.append(str(Path(__file__).resolve().parents[1]))


#: Files whose tests share an Airflow and take minutes: they run beside the others, on an Airflow of their process.
LONG_FILES = frozenset({"test_finished_runs.py"})


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the two groups of `make e2e`: tests that share one Airflow, and those that are slow or have their own."""
    for item in items:
        if item.get_closest_marker("airflow"):
            shared = "airflow" in getattr(item, "fixturenames", ()) and item.path.name not in LONG_FILES
            item.add_marker(pytest.mark.xdist_group("shared Airflow" if shared else "own or slow"))


_EVIDENCE = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def evidence(pytestconfig: pytest.Config) -> Counter[str]:
    """How often something was tried, by what it is; printed at the end, whatever the verbosity."""
    return pytestconfig.stash.setdefault(_EVIDENCE, Counter())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the evidence of a process of xdist to the one that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["evidence"] = dict(session.config.stash.get(_EVIDENCE, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the evidence of a process of xdist that has ended."""
    node.config.stash.setdefault(_EVIDENCE, Counter()).update(getattr(node, "workeroutput", {}).get("evidence", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the evidence, and what attacks cost."""
    if ATTACKS in config.stash:
        terminalreporter.write_line(str(config.stash[ATTACKS]))
    for what, count in sorted(config.stash.get(_EVIDENCE, Counter()).items()):
        terminalreporter.write_line(f"{count:,} {what}")
