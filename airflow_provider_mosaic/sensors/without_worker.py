"""Waits that begin, and if wished end, in the triggerer: what works there, and what would silently go wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import StartTriggerArgs

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

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
    if not isinstance(value, str):
        # The trigger would get the structure of a reference in the place of its value.
        _refuse(
            name,
            value,
            "it must be text or a template. A triggerer does not resolve the output of another task, nor what a mapped "
            "task group is given: write {{ ti.xcom_pull(task_ids='...', map_indexes=-1) }}, in a mapped group with "
            "map_indexes=ti.map_index, or leave start_from_trigger out.",
        )
    if _PULL.search(value) and "map_indexes" not in value:
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


def check_mapped(shared: Mapping[str, Any]) -> None:
    """
    Refuse, where the DAG is read, what a mapped task can't have.

    :param shared: The arguments that all its items share.
    :raises MosaicValidationError: One of them.
    """
    if shared.get("start_from_trigger") is True:
        _refuse_items()
    if shared.get("end_from_trigger") is True:
        check_nothing_is_lost(outlets=shared.get("outlets"), on_success_callback=shared.get("on_success_callback"))


def check_no_item(task: BaseOperator, map_index: int | None) -> None:
    """
    Refuse an item of a mapped task. It may ask for its start in the triggerer where the DAG's reading does not show it:
    by ``default_args``, or by what the task is mapped over.

    :param task: The task.
    :param map_index: Its index.
    :raises MosaicValidationError: It is one. A task in a mapped group is none, and does begin in the triggerer.
    """
    if map_index is not None and map_index >= 0 and task.get_closest_mapped_task_group() is None:
        _refuse_items()


def _refuse_items() -> None:
    _refuse(
        "start_from_trigger",
        True,
        "Airflow begins each item of a mapped task on a worker, whatever it asks for. Leave it out, or set it to False "
        "if default_args say otherwise: the wait itself holds no worker.",
    )


def _refuse(name: str, value: Any, why: str) -> None:
    # Only who is refused loads it: a DAG file's import should cost nothing.
    from airflow_provider_mosaic.api.arguments import raise_invalid

    raise_invalid(name, value, why)
