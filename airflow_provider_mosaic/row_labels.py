"""Labels for the rows of mapped tasks, which are numbers in Airflow's grid otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.validation import is_constant

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

#: An error in it would fail a task that has succeeded, so that it is nothing but one call.
TEMPLATE = "{{ task.row_label(ti) }}"

#: Characters. Airflow's database takes 250.
_LONGEST = 100
#: Arguments of which the last part is enough.
_PATHS = frozenset({"source", "destination", "definition", "video_urls", "media_urls"})


def default_template(dag: DAG | None) -> str | None:
    """
    Return the ``map_index_template`` of an operator that is given none.

    :param dag: The DAG. There is no template if it has markers of its own for templates.
    """
    return None if getattr(dag, "jinja_environment_kwargs", None) else TEMPLATE


def row_label(task: BaseOperator, arguments: Sequence[str], map_index: int) -> str:
    """
    Return what tells a row of a mapped task, or of a mapped group, from the others; its number if that is not known.

    :param task: The operator of the row, rendered.
    :param arguments: The arguments that may tell it, the most telling one first.
    :param map_index: The row.
    """
    label = str(map_index)
    try:
        differing = set(_differing(task, arguments))
        labels = (_label(name, getattr(task, name)) for name in arguments if name in differing)
        label = next(filter(None, labels), label)
        if task.dag.render_template_as_native_obj and _is_literal(label):
            # Airflow fails a task whose label is rendered to a number, after all that the task has done.
            return f"#{label}"
    except Exception as error:
        # A label is not worth a task.
        task.log.debug("No label for the row: %s", type(error).__name__)
    return label


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except Exception:
        return False
    return True


def _differing(task: BaseOperator, arguments: Sequence[str]) -> Iterator[str]:
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    written = task.dag.task_dict.get(task.task_id)
    for name in arguments:
        if isinstance(written, MappedOperator):
            if name not in written.partial_kwargs:
                yield name
        elif not is_constant(getattr(written, name, None)):
            yield name


def _label(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name")
    if value is None:
        return ""
    if isinstance(value, (str, int, float)) or not isinstance(value, Sequence):
        return _short(name, str(value))
    more = f" +{len(value) - 1}" if len(value) > 1 else ""
    return f"{_short(name, str(value[0]))}{more}" if value else ""


def _short(name: str, text: str) -> str:
    if name in _PATHS:
        # What follows may be a signature.
        text = text.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
