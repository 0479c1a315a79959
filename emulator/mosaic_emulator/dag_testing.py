"""
Support for ``dag.test()``: a separate Airflow database, serialized DAGs, and retries without delay.

Airflow is imported when a test needs it. The emulator itself does not depend on Airflow.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

BUNDLE: Final = "dags-folder"
BUNDLES: Final = [{"name": BUNDLE, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}]
#: Modules with ``DagBag`` and ``sync_bag_to_db``, from the newest Airflow to the oldest.
BAGS: Final = ("airflow.dag_processing.dagbag", "airflow.models.dagbag")


@contextlib.contextmanager
def own_database(directory: Path) -> Iterator[None]:
    """
    Configure Airflow with a new database and an empty DAGs folder, and restore its configuration afterwards.

    :param directory: Contains the database and the DAGs folder.
    """
    folder = directory / "dags"
    folder.mkdir()
    database = directory / "airflow.db"
    variables = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"sqlite+aiosqlite:///{database}",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(BUNDLES),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        settings = _configured()
        import_module("airflow.utils.db").initdb()
        with kept_api_server():
            yield
        settings.dispose_orm()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _configured()


@contextlib.contextmanager
def kept_api_server() -> Iterator[None]:
    """Keep the API server of ``dag.test()``, as Airflow 3.3 does. Before, each task builds one in two seconds."""
    supervisor: Any = import_module("airflow.sdk.execution_time.supervisor")
    build = supervisor.in_process_api_server
    supervisor.in_process_api_server = lru_cache(maxsize=1)(build)
    try:
        yield
    finally:
        supervisor.in_process_api_server = build


def _configured() -> Any:
    """Reload Airflow's database configuration."""
    settings: Any = import_module("airflow.settings")
    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
    return settings


def run_dag(dag: Any, **arguments: Any) -> Any:
    """
    Run a DAG with Airflow's ``dag.test()``, with retries without delay.

    :param dag: The DAG. It need not be in a DAGs folder.
    :param arguments: Arguments of ``dag.test()``, such as ``run_conf``.
    :returns: The finished DAG run.
    """
    if not hasattr(dag, "task_dict"):
        raise TypeError(f"{dag!r} is not a DAG. Call the function that is decorated with @dag, and pass its result.")
    _serialize(dag)
    with _no_pauses(dag):
        return dag.test(**arguments)


def _serialize(dag: Any) -> None:
    """Serialize a DAG to the database. ``dag.test()`` does so only for DAGs in a DAGs folder."""
    import_module("airflow.dag_processing.bundles.manager").DagBundlesManager().sync_bundles_to_db()
    bags = next(module for module in map(_module, BAGS) if hasattr(module, "sync_bag_to_db"))
    bag = bags.DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag.bag_dag(dag)
    bags.sync_bag_to_db(bag, BUNDLE, None)


def _module(name: str) -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return import_module(name)
    return None


class _WithoutDelay:
    """A retry policy (Airflow 3.3) with the decisions of another one, and without its delays."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # Without a delay in the decision, the retry_delay of the task counts.
        return replace(self._policy.evaluate(*args, **kwargs), retry_delay=None)


@contextlib.contextmanager
def _no_pauses(dag: Any) -> Iterator[None]:
    """Remove the retry delays, which ``dag.test()`` would sleep through. Airflow's default is five minutes."""
    changes: list[tuple[Any, str, Any]] = []
    for task in dag.task_dict.values():
        changes += [
            (task, "retry_delay", timedelta(0)),
            (task, "retry_exponential_backoff", False),
            (task, "max_retry_delay", None),
        ]
        if policy := getattr(task, "retry_policy", None):
            changes.append((task, "retry_policy", _WithoutDelay(policy)))
    before = [(task, name, getattr(task, name)) for task, name, _ in changes]
    try:
        for change in changes:
            setattr(*change)
        yield
    finally:
        for change in before:
            setattr(*change)
