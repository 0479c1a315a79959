"""Labels for the rows of mapped tasks. Airflow's grid shows numbers otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.validation import is_constant, template_markers

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

#: The template only calls a method that does not raise: an error in it would fail a task that has succeeded.
TEMPLATE = "{{ task.row_label(ti) }}"

#: Airflow's database takes 250 characters.
_MAX_LENGTH = 100
#: Arguments that are labelled by the last part of a path.
_PATHS = frozenset({"source", "destination", "definition", "video_urls", "media_urls"})


def default_template(dag: DAG | None) -> str | None:
    """Return the default ``map_index_template``; None for a DAG that may define its own markers of templates."""
    return None if getattr(dag, "jinja_environment_kwargs", None) else TEMPLATE


def row_label(task: BaseOperator, arguments: Sequence[str], map_index: int) -> str:
    """
    Return the label of a row of a mapped task or group: the first argument that differs by row, or the row's number.

    :param task: The rendered operator of the row.
    :param arguments: The arguments that can be a label, the most specific one first.
    """
    label = str(map_index)
    try:
        differing = set(_differing(task, arguments))
        labels = (_label(name, getattr(task, name)) for name in arguments if name in differing)
        label = next(filter(None, labels), label)
        if task.dag.render_template_as_native_obj and _is_literal(label):
            # Airflow would render the label to a number, and fail the finished task.
            return f"#{label}"
    except Exception as error:
        # A missing label must not fail the task.
        task.log.debug("Row %s has no label: %s", map_index, type(error).__name__)
    return label


def _is_literal(text: str) -> bool:
    """Return whether Airflow would render a text to a Python value that is not text."""
    try:
        ast.literal_eval(text)
    except Exception:
        return False
    return True


def _differing(task: BaseOperator, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments that are mapped or have a template. The others are the same in each row."""
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    written = task.dag.task_dict.get(task.task_id)
    for name in arguments:
        if isinstance(written, MappedOperator):
            if name not in written.partial_kwargs:
                yield name
        elif not is_constant(getattr(written, name, None), template_markers(task.dag)):
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
        # The query of a signed URL is a secret.
        text = text.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    text = " ".join(text.split())
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
