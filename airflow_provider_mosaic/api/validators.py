"""Validators that combine others: of lists, of choices, of values that may be None, of several values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from airflow_provider_mosaic.api.arguments import validate_choice, validate_list

#: Takes the name and the value of an option. Returns the value as the API takes it, or raises MosaicValidationError.
Validator = Callable[[str, Any], Any]


class ListOf:
    """
    The validator of a list. It returns the validated items.

    :param item: The validator of an item. A list in a DAG file may mix constants and templates: its constants are
        validated one by one at parse time.
    :param optional: Whether None is accepted.
    """

    def __init__(self, item: Validator, *, optional: bool = False) -> None:
        self.item = item
        self._optional = optional

    def __call__(self, name: str, value: Any) -> Any:
        """Return the validated items of a list, or of a text or collection that stands for one."""
        if value is None and self._optional:
            return None
        return [self.item(f"{name}[{i}]", item) for i, item in enumerate(validate_list(name, value))]


def one_of(choices: Any) -> Validator:
    """Return the validator of an option with the choices of a ``Literal``."""
    words: tuple[str, ...] = get_args(choices)
    return lambda name, value: validate_choice(name, value, words)


def optional(validator: Validator) -> Validator:
    """Return a validator that accepts None too."""
    if isinstance(validator, ListOf):
        return ListOf(validator.item, optional=True)
    return lambda name, value: None if value is None else validator(name, value)


def validate_given(validators: Mapping[str, Validator], **values: Any) -> dict[str, Any]:
    """Return the values that are not None, validated, by their names."""
    return {name: validators[name](name, value) for name, value in values.items() if value is not None}
