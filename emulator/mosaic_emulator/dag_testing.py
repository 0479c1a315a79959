"""
An Airflow that is ready for ``dag.test()``: a database of its own, the DAG written to it, and no pauses before retries.

Everything of Airflow is imported by its name, when a test asks for it: the emulator itself needs no Airflow.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

BUNDLE: Final = "dags-folder"
BUNDLES: Final = [{"name": BUNDLE, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}]
#: Where ``DagBag`` and ``sync_bag_to_db`` are, from the newest Airflow to the oldest.
BAGS: Final = ("airflow.dag_processing.dagbag", "airflow.models.dagbag")


@contextlib.contextmanager
def own_database(directory: Path) -> Iterator[None]:
    """
    Let Airflow use a database of its own, made anew, and an empty folder for DAGs; afterwards what it used before.

    :param directory: where both are.
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
        yield
        settings.dispose_orm()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _configured()


def _configured() -> Any:
    """Let Airflow read where its database is, and connect to it when it is used."""
    settings: Any = import_module("airflow.settings")
    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
    return settings


def run_dag(dag: Any, **arguments: Any) -> Any:
    """
    Run a DAG with Airflow's own ``dag.test()``, and its retries without their pauses.

    :param dag: the DAG, wherever it was made: it need not be in a folder for DAGs.
    :param arguments: of ``dag.test()``, such as ``run_conf``.
    :return: the DAG run at its end.
    """
    if not hasattr(dag, "task_dict"):
        raise TypeError(f"{dag!r} is no DAG. A function under @dag makes one when it is called.")
    _serialize(dag)
    with _no_pauses(dag):
        return dag.test(**arguments)


def _serialize(dag: Any) -> None:
    """Write a DAG to the database: ``dag.test()`` itself does so only with what it finds in a folder for DAGs."""
    import_module("airflow.dag_processing.bundles.manager").DagBundlesManager().sync_bundles_to_db()
    bags = next(module for module in map(_module, BAGS) if hasattr(module, "sync_bag_to_db"))
    bag = bags.DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag.bag_dag(dag)
    bags.sync_bag_to_db(bag, BUNDLE, None)


def _module(name: str) -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return import_module(name)
    return None


@contextlib.contextmanager
def _no_pauses(dag: Any) -> Iterator[None]:
    """Take away the pauses before retries: Airflow's own is five minutes, and ``dag.test()`` sits them out."""
    wanted = {"retry_delay": timedelta(0), "retry_exponential_backoff": False, "max_retry_delay": None}
    before = [(task, name, getattr(task, name)) for task in dag.task_dict.values() for name in wanted]
    try:
        for task, name, _ in before:
            setattr(task, name, wanted[name])
        yield
    finally:
        for task, name, value in before:
            setattr(task, name, value)
