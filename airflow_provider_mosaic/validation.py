"""
Validate the arguments of operators and sensors while a DAG file is parsed, as far as they are constant.

The rest is known when the task runs: templates, references to other tasks, and what a mapped task is expanded over. It
is validated then, by the same validators, which are in :mod:`airflow_provider_mosaic.api.options`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.validators import ListOf, Validator

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

#: What begins something that Jinja replaces, or removes.
_JINJA = frozenset({"{{", "{%", "{#"})


def is_mapped_item(task: BaseOperator) -> bool:
    """
    Return whether Airflow has made an operator on a worker, for an item of a mapped task.

    Its arguments are those of the item. An exception in its constructor would use up the task's retries.

    :param task: The operator.
    """
    return bool(getattr(task, "_BaseOperator__from_mapped", False))


def validate_constants(
    validators: Mapping[str, Validator],
    arguments: Mapping[str, Any],
    *,
    template_fields: Collection[str],
    dag: DAG | None,
) -> None:
    """
    Raise if a constant argument is wrong.

    :param validators: A validator for each argument.
    :param arguments: What the DAG file gives; arguments that are missing are not validated.
    :param template_fields: The arguments that Airflow renders.
    :param dag: The DAG, which may have markers of its own for templates.
    :raises MosaicValidationError: A constant is wrong, or a template is where Airflow renders none.
    """
    markers = _JINJA | _markers_of(dag)
    for name, validator in validators.items():
        if name not in arguments:
            continue
        value = arguments[name]
        if is_constant(value, markers):
            validator(name, value)
        elif name not in template_fields:
            raise_invalid(name, value, "Airflow renders no templates here, and no outputs of tasks: give a constant.")
        elif isinstance(validator, ListOf) and isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if is_constant(item, markers):
                    validator.item(f"{name}[{i}]", item)


def is_constant(value: Any, markers: Collection[str] = _JINJA) -> bool:
    """
    Return whether a value is the same after Airflow has rendered it.

    :param value: The value of a template field.
    :param markers: What begins a template.
    """
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            # Jinja removes a line feed at the end.
            if each.endswith("\n") or any(marker in each for marker in markers):
                return False
        # Airflow looks into these, and into no other collections.
        elif isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, (list, tuple, set)):
            left.extend(each)
        elif not isinstance(each, os.PathLike) and (
            # A reference is resolved, a function called. An iterator can be read only once.
            hasattr(each, "resolve") or hasattr(each, "template_fields") or callable(each) or isinstance(each, Iterator)
        ):
            return False
    return True


def _markers_of(dag: DAG | None) -> set[str]:
    settings: Mapping[str, Any] = getattr(dag, "jinja_environment_kwargs", None) or {}
    return {
        marker
        for name, marker in settings.items()
        if name.endswith(("_start_string", "_prefix")) and isinstance(marker, str) and marker
    }
