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
==================  =======================================  ================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol, cast


class TaskStateStore(Protocol):
    """What a task keeps over its tries and deferrals. JSON only; anyone who may see the task may see it."""

    def get(self, key: str) -> Any:
        """What is kept under a key; None if nothing is."""

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


def kills_reach_triggers() -> bool:
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
