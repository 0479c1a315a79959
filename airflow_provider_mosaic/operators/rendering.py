"""Compare the rendered arguments of a task with what the DAG file has in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.validation import is_constant

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

# Stands for a mapped argument: any text with a template, since Airflow renders the argument for each item.
_MAPPED = "{{ mapped }}"
# The texts to which a template renders an empty value.
_EMPTY_TEXTS = frozenset({"", "None", "null", "[]", "{}"})


def written_arguments(context: Context, operator: BaseOperator) -> dict[str, Any]:
    """Return the templated arguments as the DAG file has them. Airflow renders a copy of the DAG's task."""
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    task = context["dag"].task_dict.get(operator.task_id)
    if not isinstance(task, MappedOperator):
        return {name: getattr(task, name, None) for name in operator.template_fields}
    mapped: Any = task.expand_input.value
    if isinstance(mapped, Mapping):
        mapped = dict.fromkeys(mapped, _MAPPED)
    elif isinstance(mapped, Sequence):
        mapped = mapped[context["ti"].map_index or 0]
    # Otherwise expand_kwargs() has a reference to the output of another task: what it contains is not written here.
    written = {**task.partial_kwargs, **(mapped if isinstance(mapped, Mapping) else {})}
    return {name: written.get(name) for name in operator.template_fields}


def keep_constants(written: Any, rendered: Any, markers: Collection[str]) -> Any:
    """
    Return the rendered value, but keep the texts of the DAG file that have no template.

    With ``render_template_as_native_obj=True`` Airflow makes a number of the text ``1_000``, and a bool of ``True``.

    :param markers: The starts of templates in this DAG.
    """
    if isinstance(written, str):
        return written if is_constant(written, markers) and not isinstance(rendered, str) else rendered
    if type(written) is type(rendered) is dict:
        return {key: keep_constants(written.get(key), value, markers) for key, value in rendered.items()}
    if type(written) is type(rendered) and type(written) in (list, tuple) and len(written) == len(rendered):
        return type(written)(keep_constants(*each, markers) for each in zip(written, rendered, strict=True))
    return rendered


def find_none(place: str, written: Any, rendered: Any) -> Iterator[tuple[str, Any]]:
    """
    Yield each place of an argument that rendered to None, or to the text ``None``, with its value.

    Skip the places in which the DAG file itself has None.
    """
    if written is None:
        return
    if rendered is None or (isinstance(written, str) and rendered == "None" != written):
        yield place, rendered
    elif isinstance(written, Mapping) and isinstance(rendered, Mapping):
        for key in written.keys() & rendered.keys():
            yield from find_none(f"{place}[{key!r}]", written[key], rendered[key])
    elif isinstance(written, (list, tuple)) and isinstance(rendered, (list, tuple)):
        for i, (before, after) in enumerate(zip(written, rendered, strict=False)):
            yield from find_none(f"{place}[{i}]", before, after)


def without_empty(place: str, value: Any, optional: tuple[str, ...]) -> Any:
    """Return a value without the optional places that are empty; None if the value itself is one of them."""

    def is_left_out(place: str, value: Any) -> bool:
        return place in optional and _is_empty(value)

    if is_left_out(place, value):
        return None
    if isinstance(value, Mapping):
        return {
            key: without_empty(f"{place}[{key!r}]", item, optional)
            for key, item in value.items()
            if not is_left_out(f"{place}[{key!r}]", item)
        }
    if isinstance(value, (list, tuple)):
        return [
            without_empty(f"{place}[{i}]", item, optional)
            for i, item in enumerate(value)
            if not is_left_out(f"{place}[{i}]", item)
        ]
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in _EMPTY_TEXTS
    return value is None or (isinstance(value, Sized) and len(value) == 0)
