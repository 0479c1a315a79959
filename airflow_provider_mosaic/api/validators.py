"""Validators that are made of others: of lists, of words, of what may be None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from airflow_provider_mosaic.api.arguments import validate_choice, validate_list

#: Raises MosaicValidationError for a wrong value, and returns a good one as the API takes it. It is called with the
#: name of the option and the value.
Validator = Callable[[str, Any], Any]


class ListOf:
    """
    The validator of a list.

    :param item: The validator of an item. A list in a DAG file may have constants and templates in it: the constants
        are validated one by one while it is parsed.
    :param optional: Whether None is taken as well.
    """

    def __init__(self, item: Validator, *, optional: bool = False) -> None:
        self.item = item
        self._optional = optional

    def __call__(self, name: str, value: Any) -> Any:
        """
        Return the items, validated.

        :param name: The option.
        :param value: A list, or text or another collection that stands for one.
        """
        if value is None and self._optional:
            return None
        return [self.item(f"{name}[{i}]", item) for i, item in enumerate(validate_list(name, value))]


def one_of(words: Any) -> Validator:
    """
    Make the validator of an option that takes some words.

    :param words: A ``Literal`` of the words.
    """
    choices: tuple[str, ...] = get_args(words)
    return lambda name, value: validate_choice(name, value, choices)


def optional(validator: Validator) -> Validator:
    """
    Make a validator that takes None as well.

    :param validator: The validator of everything else.
    """
    if isinstance(validator, ListOf):
        return ListOf(validator.item, optional=True)
    return lambda name, value: None if value is None else validator(name, value)
