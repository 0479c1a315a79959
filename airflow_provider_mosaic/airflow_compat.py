"""
What only some supported Airflows have, found by its presence and never by a version number.

==================  =======================================  ================================================
feature             where                                    without it
==================  =======================================  ================================================
task state store    ``context["task_state_store"]`` (3.3)    a new try does not know the earlier try's run
trigger ``on_kill`` ``BaseTrigger.on_kill`` (3.3)            a deferred task that is killed leaves its run
asset state store   ``trigger.asset_state_store`` (3.3.2)    a watcher begins anew with each start of the triggerer
awaited lookups     ``SUPERVISOR_COMMS.asend`` (no           a connection is looked up on a thread
                    Airflow has it in ``dag.test()``)
a supervisor        ``SUPERVISOR_COMMS`` is a                what Airflow returns is believed
                    ``CommsDecoder`` (not in ``dag.test()``)
==================  =======================================  ================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol, cast


class TaskStateStore(Protocol):
    """What a task keeps over its tries and deferrals. JSON only; anyone who may see the task may see it."""

    def get(self, key: str, default: Any = None) -> Any:
        """
        What is kept under a key; the default if nothing is.

        No value can be None, so a None in place of the default is an entry whose value is gone: Airflow's database has
        it, and the object storage that ``[workers] state_store_backend`` keeps it in has not.
        """

    def set(self, key: str, value: Any) -> None:
        """Keep a value under a key."""

    def delete(self, key: str) -> None:
        """Forget a key."""


def task_state_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """
    The store of the running task, where this Airflow has one.

    :param context: The task's context.
    """
    return cast("TaskStateStore | None", context.get("task_state_store"))


def entries_can_vanish() -> bool:
    """
    Whether a task's state is kept elsewhere than in Airflow's database, by the API server itself.

    An entry that was lost there can't be told from one that never was.
    """
    from airflow.providers.common.compat.sdk import conf

    backend = str(conf.get("state_store", "backend", fallback="") or "")
    return bool(backend) and not backend.startswith("airflow.state.metastore.")


def triggers_receive_kills() -> bool:
    """Whether this Airflow tells a trigger that its deferred task was marked or cleared by a person."""
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


def lookups_can_be_awaited() -> bool:
    """
    Whether Airflow can be asked for a connection on the event loop.

    Under ``dag.test()`` it can't, and would say that there is no such connection.
    """
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return comms is None or hasattr(comms, "asend")


def searches_database() -> bool:
    """
    Return whether Airflow searches its database for a connection.

    In a process that is neither a task nor a part of Airflow, such as a Python shell, the SDK searches the environment
    and the secrets backends alone.
    """
    from airflow.sdk.execution_time import task_runner

    in_task = getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
    return in_task or os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server"


class AssetStateStore(Protocol):
    """What a trigger under an asset's watcher keeps for that asset, over restarts of the triggerer. JSON only."""

    async def aget(self, key: str) -> Any:
        """What is kept under a key; None if nothing is."""

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value under a key."""


def asset_state_store(trigger: object) -> AssetStateStore | None:
    """
    The store of the asset that a trigger watches, where this Airflow has one that does not hold up the event loop.

    :param trigger: The trigger, as it runs.
    """
    store = getattr(trigger, "asset_state_store", None)
    return cast("AssetStateStore", store) if hasattr(store, "aget") else None


def push_link_xcom(ti: Any, key: str, url: str) -> None:
    """
    Push what a link reads: Airflow's UI reads it from the database, where a custom XCom backend leaves a reference.

    :param ti: The running task instance.
    :param key: The link's key.
    :param url: The address.
    """
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    if XCom is BaseXCom:
        ti.xcom_push(key=key, value=url)
        return
    # As Airflow itself does when a part of the task has ended.
    BaseXCom._set_xcom_in_db(
        key=key, value=url, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )


def read_link_xcom(ti_key: Any, key: str) -> Any:
    """
    Read what a link reads, as it is in the database.

    :param ti_key: The task instance.
    :param key: The link's key.
    """
    from airflow.sdk.bases.xcom import BaseXCom

    return BaseXCom.get_value(ti_key=ti_key, key=key)


def read_variable(name: str) -> str | None:
    """
    Read an Airflow Variable as text; None only if Airflow's API server knows of none.

    ``Variable.get`` also takes a Variable that can't be read just now for one that is not there.

    :param name: The Variable.
    :raises Exception: It could not be read.
    """
    from airflow.sdk import Variable

    # As text: Airflow takes a Variable that is no JSON for one that is not there, when it is asked for JSON.
    text: str | None = Variable.get(name, default=None)
    comms = supervisor_comms()
    if text is not None or comms is None:
        return text
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable

    answer = comms.send(GetVariable(key=name))
    if not isinstance(answer, ErrorResponse):
        return getattr(answer, "value", None)
    if answer.error != ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(answer)
    return None


def supervisor_comms() -> Any:
    """What a running task asks Airflow with, if a supervisor of its own answers; None elsewhere."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CommsDecoder

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return comms if isinstance(comms, CommsDecoder) else None
