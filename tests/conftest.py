"""A temporary AIRFLOW_HOME, set before Airflow is imported, and what all tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from attacks import ATTACKS, measured_attack

__all__ = ["measured_attack"]

# Ignore the configuration of the user's own Airflow. Without bytecode, each process of Airflow would compile
# what it imports.
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "PYTHONDONTWRITEBYTECODE"))]:
    del os.environ[name]

HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = str(HOME)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(HOME / "dags")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME / 'airflow.db'}"

# On a busy machine, a slow example is no failure. The examples are the same in each run.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=True, database=None
)
hypothesis.settings.load_profile("tests")

# For `dev`. Appended, so that the package is still imported from where it is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))


#: Files whose tests share a second Airflow. They take about as long as the files that share the first one.
SECOND_AIRFLOW = frozenset(
    {"test_agent_as_code.py", "test_dag_run_ends.py", "test_exits.py", "test_finished_runs.py", "test_webhooks.py"}
)
#: Files with tests of half a minute.
LONG_TESTS = frozenset({"test_pytest_plugin.py", "test_fleet.py", "test_rendered_to_none.py"})
#: The folders that `make e2e` collects.
AIRFLOW_FOLDERS = frozenset({"airflow", "faults", "plugins"})


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Start long tests first, and assign the groups of `make e2e`.

    At the end, a long test would run while the other processes have nothing to do. The groups are tests that share one
    of two Airflows, and by file those that start their own.
    """
    items.sort(key=lambda item: item.path.name not in LONG_TESTS)
    for item in items:
        if item.get_closest_marker("airflow"):
            if item.path.parent.name not in AIRFLOW_FOLDERS:
                raise pytest.UsageError(f"{item.nodeid} needs a running Airflow. Move it to tests/airflow.")
            shared = "airflow" in getattr(item, "fixturenames", ())
            name = "second Airflow" if item.path.name in SECOND_AIRFLOW else "first Airflow"
            item.add_marker(pytest.mark.xdist_group(name if shared else f"own Airflow of {item.path.name}"))


_EVIDENCE = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def evidence(pytestconfig: pytest.Config) -> Counter[str]:
    """Count cases by description; the summary prints the counts."""
    return pytestconfig.stash.setdefault(_EVIDENCE, Counter())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts of an xdist worker to the main process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["evidence"] = dict(session.config.stash.get(_EVIDENCE, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of an xdist worker that has ended."""
    node.config.stash.setdefault(_EVIDENCE, Counter()).update(getattr(node, "workeroutput", {}).get("evidence", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the counts and the cost of the attacks."""
    if ATTACKS in config.stash:
        terminalreporter.write_line(str(config.stash[ATTACKS]))
    for description, count in sorted(config.stash.get(_EVIDENCE, Counter()).items()):
        terminalreporter.write_line(f"{count:,} {description}")
