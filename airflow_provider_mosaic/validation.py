"""
Validate the constant arguments of operators and sensors while a DAG file is parsed.

Templates, references to other tasks and the values of mapped tasks are known only when the task runs. They are
validated then, by the same validators of :mod:`airflow_provider_mosaic.api.options`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.arguments import ListOf, Validator, raise_invalid

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

#: The start of text that Jinja replaces or removes.
_JINJA = frozenset({"{{", "{%", "{#"})


def is_mapped_item(task: BaseOperator) -> bool:
    """
    Return whether an operator is created on a worker, for an item of a mapped task.

    Airflow would retry an error of its constructor. When the task runs, an invalid argument fails it without retries.
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

    :param arguments: The arguments of the DAG file. Missing arguments are not validated.
    :param template_fields: The arguments that Airflow renders.
    :param dag: The DAG, which may define its own markers of templates.
    :raises MosaicValidationError: A constant is wrong, or an argument that Airflow does not render has a template.
    """
    markers = template_markers(dag)
    for name, validator in validators.items():
        if name not in arguments:
            continue
        value = arguments[name]
        if is_constant(value, markers):
            validator(name, value)
        elif name not in template_fields:
            raise_invalid(
                name, value, "Airflow renders no templates here and resolves no outputs of tasks: set a constant."
            )
        elif isinstance(validator, ListOf) and isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if is_constant(item, markers):
                    validator.item(f"{name}[{i}]", item)


def is_constant(value: Any, markers: Collection[str]) -> bool:
    """
    Return whether the value of a template field is the same after Airflow has rendered it.

    :param markers: See :func:`template_markers`.
    """
    if isinstance(value, str):
        # Jinja removes a final line feed.
        return not (value.endswith("\n") or any(marker in value for marker in markers))
    # Airflow renders the items of these collections only.
    if isinstance(value, dict):
        return all(is_constant(item, markers) for item in value.values())
    if isinstance(value, (list, tuple, set)):
        return all(is_constant(item, markers) for item in value)
    # Airflow resolves references and calls functions. An iterator can be read only once.
    is_dynamic = hasattr(value, "resolve") or hasattr(value, "template_fields") or callable(value)
    return isinstance(value, os.PathLike) or not (is_dynamic or isinstance(value, Iterator))


def template_markers(dag: DAG | None) -> frozenset[str]:
    """Return the starts of templates: Jinja's, and those that a DAG defines."""
    settings: Mapping[str, Any] = getattr(dag, "jinja_environment_kwargs", None) or {}
    return _JINJA | {
        marker
        for name, marker in settings.items()
        if name.endswith(("_start_string", "_prefix")) and isinstance(marker, str) and marker
    }
