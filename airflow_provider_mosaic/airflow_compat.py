"""
Features that only some supported versions of Airflow have. They are detected, not derived from a version number.

==================  =======================================  ================================================
feature             detected by                              without it
==================  =======================================  ================================================
task state store    ``context["task_state_store"]`` (3.3)    a retry does not know the run of an earlier attempt
trigger ``on_kill`` ``BaseTrigger.on_kill`` (3.3)            a killed deferred task leaves its run
asset state store   ``trigger.asset_state_store`` (3.3.2)    a watcher starts over with each start of the triggerer
awaited lookups     ``SUPERVISOR_COMMS.asend`` (never        a connection is looked up on a thread
                    in ``dag.test()``)
a supervisor        ``SUPERVISOR_COMMS`` is a                a missing Variable is not checked again, and nothing
                    ``CommsDecoder`` (not in ``dag.test()``) can be orphaned
separate metrics    ``airflow.sdk.observability`` (3.2)      ``airflow.stats`` is for tasks and triggerers
provider commands   ``ProvidersManager`` collects them       ``python -m airflow_provider_mosaic`` instead of
                    (3.2)                                    ``airflow mosaic``
==================  =======================================  ================================================
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")

#: What :func:`uncancelled` awaits. An event loop holds only weak references to its tasks.
_requests: set[asyncio.Future[Any]] = set()


class TaskStateStore(Protocol):
    """Saves JSON of a task over its attempts and deferrals. Users who see the task see it."""

    def get(self, key: str, default: Any = None) -> Any:
        """
        Return the value of a key, or the default.

        A saved value is never None. None instead of the default means a lost value: Airflow's database has the entry,
        and the object storage of ``[workers] state_store_backend`` does not have its value.
        """

    def set(self, key: str, value: Any) -> None:
        """Save the value of a key."""

    def delete(self, key: str) -> None:
        """Delete a key."""


def task_state_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """Return the store of the running task; None if this Airflow has none."""
    return cast("TaskStateStore | None", context.get("task_state_store"))


def entries_can_vanish() -> bool:
    """
    Return whether the API server keeps task states outside Airflow's database.

    A lost entry of such a store looks like one that was never written.
    """
    from airflow.providers.common.compat.sdk import conf

    backend = str(conf.get("state_store", "backend", fallback="") or "")
    return bool(backend) and not backend.startswith("airflow.state.metastore.")


def triggers_receive_kills() -> bool:
    """Return whether this Airflow tells a trigger that its task was marked, cleared, or ended with its DAG run."""
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


def lookups_can_be_awaited() -> bool:
    """
    Return whether a connection can be looked up on the event loop.

    Under ``dag.test()`` such a lookup reports that the connection does not exist; outside of a task and a triggerer it
    fails on Airflow 3.1.0.
    """
    from airflow.sdk.execution_time import task_runner

    return hasattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "asend")


def can_search_database() -> bool:
    """
    Return whether Airflow searches its database for a connection.

    In a process that is neither a task nor a part of Airflow, such as a Python shell, the SDK searches the environment
    and the secrets backends alone.
    """
    from airflow.sdk.execution_time import task_runner

    in_task = getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
    return in_task or os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server"


def enable_database_search() -> None:
    """Let Airflow search its database for connections in this process, as its own commands do."""
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def has_provider_commands() -> bool:
    """Return whether the ``airflow`` command has the commands of providers."""
    from airflow.providers_manager import ProvidersManager

    return hasattr(ProvidersManager, "cli_command_functions")


@cache
def stats() -> Any:
    """
    Return Airflow's metrics of this process.

    Since Airflow 3.2, tasks and the parts of Airflow have separate ones. A triggerer starts those of its own kind.
    """
    in_triggerer = "airflow.jobs.triggerer_job_runner" in sys.modules
    try:
        module = import_module("airflow.observability.stats" if in_triggerer else "airflow.sdk.observability.stats")
    except ImportError:
        module = import_module("airflow.stats")
    return module.Stats


class AssetStateStore(Protocol):
    """Saves JSON of an asset's watcher over restarts of the triggerer."""

    async def aget(self, key: str) -> Any:
        """Return the value of a key; None if there is none."""

    async def aset(self, key: str, value: Any) -> None:
        """Save the value of a key."""


def asset_state_store(trigger: object) -> AssetStateStore | None:
    """Return the store of the asset that a trigger watches; None if this Airflow has no asynchronous one."""
    store = getattr(trigger, "asset_state_store", None)
    return cast("AssetStateStore", store) if hasattr(store, "aget") else None


def push_database_xcom(ti: Any, key: str, value: Any) -> None:
    """
    Push an XCom to Airflow's database, for the API server: the URL of an operator link, or what a page shows.

    A custom XCom backend would save only a reference.
    """
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    if XCom is BaseXCom:
        ti.xcom_push(key=key, value=value)
        return
    # As Airflow does at the end of each execution of a task.
    BaseXCom._set_xcom_in_db(
        key=key, value=value, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )


def read_link_xcom(ti_key: Any, key: str) -> Any:
    """Return the URL of an operator link from Airflow's database."""
    from airflow.sdk.bases.xcom import BaseXCom

    if ti_key.map_index is not None and ti_key.map_index >= 0:
        return BaseXCom.get_value(ti_key=ti_key, key=key)
    # For a single value that is missing, Airflow logs an error: `airflow dags test` shows it for each task.
    values = BaseXCom.get_all(key=key, dag_id=ti_key.dag_id, task_id=ti_key.task_id, run_id=ti_key.run_id)
    return values[0] if values else None


def read_variable(name: str) -> str | None:
    """
    Return an Airflow Variable as text; None only if Airflow's API server reports that it does not exist.

    ``Variable.get`` returns the default also if the Variable could not be read.

    :raises Exception: It could not be read.
    """
    from airflow.sdk import Variable

    # As text: when it deserializes JSON, Airflow returns the default for invalid JSON too.
    text: str | None = Variable.get(name, default=None)
    comms = supervisor_comms()
    if text is not None or comms is None:
        return text
    from airflow.sdk.execution_time.comms import GetVariable

    return _variable_in(comms.send(GetVariable(key=name)))


def _variable_in(response: Any) -> str | None:
    """Return the Variable in a response of the supervisor; None if it does not exist. Raise if it was not read."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    if not isinstance(response, ErrorResponse):
        return getattr(response, "value", None)
    if response.error != ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(response)
    return None


def has_lineage_readers() -> bool:
    """
    Return whether a plugin, such as that of OpenLineage, reads hook lineage.

    Check it before Airflow's collector is used: without such a plugin, that imports the hooks of all storage providers
    for nothing. The check is cheap, since a task has loaded the plugins already, for their listeners.
    """
    try:
        from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins
    except ImportError:  # Airflow 3.1
        plugins: Any = import_module("airflow.plugins_manager")
        plugins.initialize_hook_lineage_readers_plugins()
        return bool(plugins.hook_lineage_reader_classes)
    return bool(get_hook_lineage_readers_plugins())


async def uncancelled(request: Coroutine[Any, Any, T]) -> T:
    """
    Await a request of a trigger. If this is cancelled, the request ends in the background.

    Airflow 3.1 mixes up the responses of its supervisor after a request that was cancelled. Airflow 3.3 cancels the
    ``on_kill`` of a trigger in each of its loops.
    """
    task = asyncio.ensure_future(request)
    _requests.add(task)
    task.add_done_callback(_on_request_done)
    return await asyncio.shield(task)


def _on_request_done(task: asyncio.Future[Any]) -> None:
    _requests.discard(task)
    if not task.cancelled():
        # asyncio warns about exceptions that are never read.
        task.exception()


async def aread_variable(name: str) -> str | None:
    """
    Return an Airflow Variable as text, in a trigger; None if it does not exist.

    No version has an asynchronous ``Variable.get``. Airflow's triggerer asks the secrets backends.

    :raises Exception: It could not be read.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetVariable

    # Set in a triggerer only.
    return _variable_in(await task_runner.SUPERVISOR_COMMS.asend(GetVariable(key=name)))


async def awrite_variable(name: str, value: str, description: str) -> None:
    """
    Create or replace an Airflow Variable, in a trigger.

    :raises Exception: It could not be written.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import PutVariable

    await task_runner.SUPERVISOR_COMMS.asend(PutVariable(key=name, value=value, description=description))


async def aread_task_states(dag_id: str, run_id: str, task_id: str) -> Mapping[str, Mapping[str, str | None]]:
    """
    Return the states of a task's instances in a DAG run, by DAG run, in a trigger.

    :raises Exception: They could not be read.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    request = GetTaskStates(dag_id=dag_id, run_ids=[run_id], task_ids=[task_id])
    response: Any = await task_runner.SUPERVISOR_COMMS.asend(request)
    return cast("Mapping[str, Mapping[str, str | None]]", response.task_states)


def state_in(states: Mapping[str, Mapping[str, str | None]], ti: Any) -> str | None:
    """Return the state of a task instance, as Airflow returns those of its task; None if it has none."""
    # Airflow names a mapped task instance task_id_<map index>.
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return states.get(ti.run_id, {}).get(name)


def supervisor_comms() -> Any:
    """Return the connection of a running task to its supervisor; None if it has none."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CommsDecoder

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return comms if isinstance(comms, CommsDecoder) else None


def supervisor_is_gone() -> bool:
    """
    Return whether the supervisor of this process died. Airflow starts another attempt of the task then.

    The process of the task lives on. The parent's id does not show it: with ``run_as_user`` the parent is ``sudo``.
    """
    # A process that did not import it, such as the API server, has no supervisor.
    comms = supervisor_comms() if "airflow.sdk.execution_time.task_runner" in sys.modules else None
    if comms is None:
        return False
    try:
        # Only the supervisor has the other end of the socket.
        return not comms.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except ConnectionResetError:
        return True
    except OSError:
        # Nothing to read, as between two requests; or this end is closed.
        return False
