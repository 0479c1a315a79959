"""Waits that begin, and if wished end, in the triggerer: what works there, and what would silently go wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.triggers.base import StartTriggerArgs

_PULL = re.compile(r"\bxcom_pull\s*\(")


def start_arguments(
    trigger: str, *, templated: Mapping[str, Any], plain: Mapping[str, Any], timeout: float
) -> StartTriggerArgs:
    """
    What the scheduler begins the wait with, instead of a worker.

    :param trigger: The trigger's class path.
    :param templated: Arguments that the triggerer renders.
    :param plain: The others.
    :param timeout: When Airflow gives up, in seconds.
    :raises MosaicValidationError: The triggerer can't resolve one of them.
    """
    for name, value in templated.items():
        _check_resolvable(name, value)
    return StartTriggerArgs(
        trigger_cls=trigger,
        next_method="execute_complete",
        trigger_kwargs={**templated, **plain},
        timeout=timedelta(seconds=timeout),
    )


def _check_resolvable(name: str, value: Any) -> None:
    from airflow.sdk import XComArg

    if isinstance(value, XComArg):
        # The trigger would get the structure of the reference in the place of its value.
        _refuse(
            name,
            value,
            "a triggerer does not resolve the output of another task. Write the template "
            "{{ ti.xcom_pull(task_ids='...', map_indexes=-1) }}, or leave start_from_trigger out.",
        )
    if isinstance(value, str) and _PULL.search(value) and "map_indexes" not in value:
        # The triggerer can't read the answer, and the task would stay deferred for ever.
        _refuse(
            name,
            value,
            "in a triggerer xcom_pull needs map_indexes: write map_indexes=-1 for a task that is not mapped.",
        )


def check_nothing_is_lost(*, outlets: Any, on_success_callback: Any) -> None:
    """
    Refuse what Airflow leaves out when a task ends in its trigger.

    :param outlets: The task's outlets.
    :param on_success_callback: What the task calls when it succeeds.
    :raises MosaicValidationError: It has some.
    """
    for name, value in {"outlets": outlets, "on_success_callback": on_success_callback}.items():
        if value:
            _refuse(
                "end_from_trigger",
                True,
                f"a task that ends in its trigger never comes to its {name}: leave one of them out.",
            )


def check_not_mapped(map_index: int | None) -> None:
    """
    Refuse a mapped task: each of its items begins on a worker, whatever the task asks for.

    :param map_index: The item's index.
    :raises MosaicValidationError: It has one.
    """
    if map_index is not None and map_index >= 0:
        _refuse(
            "start_from_trigger",
            True,
            "Airflow begins each item of a mapped task on a worker. Leave it out: the wait itself holds no worker.",
        )


def _refuse(name: str, value: Any, why: str) -> None:
    # Only who is refused loads it: a DAG file's import should cost nothing.
    from airflow_provider_mosaic.api.arguments import refuse

    refuse(name, value, why)
