"""
The base class of operators and sensors: validation while the DAG file is parsed, and labels of mapped rows.

Templates, references to other tasks and the values of mapped tasks are known only when the task runs. They are
validated then, by the same validators of :mod:`airflow_provider_mosaic.api.options`.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from airflow.sdk import BaseOperator

from airflow_provider_mosaic.api.arguments import ListOf, Validator, raise_invalid

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context, ObjectStoragePath, XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial
    from airflow.sdk.definitions.param import DagParam

    # Types of arguments that Airflow renders before a task runs. Only type checkers import them.

    #: A value that is known when the task runs: the output of another task, or a parameter of the DAG. Airflow also
    #: calls functions in template fields; accepting them would hide forgotten parentheses.
    Reference: TypeAlias = XComArg | DagParam
    #: A text, a Jinja template, or a reference.
    Text: TypeAlias = str | Reference
    #: Several texts, or one: a template that renders to a list, or a single value.
    Texts: TypeAlias = Iterable[Text] | Text
    #: The location of a file: text, or a path object.
    Location: TypeAlias = Text | os.PathLike[str] | ObjectStoragePath

#: Stands for a mapped argument: any text with a template, since Airflow renders the argument for each item.
_MAPPED = "{{ mapped }}"
#: The start of text that Jinja replaces or removes.
_JINJA = frozenset({"{{", "{%", "{#"})
#: The template only calls a method that does not raise: an error in it would fail a task that has succeeded.
LABEL_TEMPLATE = "{{ task.row_label(ti) }}"

#: Airflow's database takes 250 characters.
_MAX_LENGTH = 100
#: Arguments that are labelled by the last part of a path.
_PATHS = frozenset({"source", "destination", "definition", "video_urls", "media_urls"})
#: The page of a video, which its path does not identify. A list may be rendered to text.
_YOUTUBE_PAGE = re.compile(
    r"[\[\s\"']*https?://(?:[\w-]+\.)?youtube\.com/watch/?(?:\?(?:[^#]*&)?v=([\w-]+)|[?#]|$)", re.IGNORECASE
)


class MosaicBaseOperator(BaseOperator):
    """Base class of operators and sensors. Validates constant arguments while the DAG file is parsed."""

    ui_color = "#e9e4fb"

    # A template or a reference in the DAG file, text when the task runs.
    mosaic_conn_id: Any

    #: A validator for each argument.
    _options: ClassVar[Mapping[str, Validator]]
    #: The arguments that can label the rows of a mapped task, the most specific one first.
    _row_label_arguments: ClassVar[tuple[str, ...]]

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Define a mapped task. Validate the constants that its items share; the rest is validated when an item runs.

        :param kwargs: The arguments that all items share.
        :raises MosaicValidationError: A constant is wrong, or can't be shared by the items.
        """
        mapped = super().partial(**kwargs)
        validate_constants(cls._options, kwargs, template_fields=cls.template_fields, dag=mapped.kwargs["dag"])
        cls._validate_partial(mapped.kwargs)
        if mapped.kwargs.get("map_index_template") is None and "map_index_template" not in kwargs:
            mapped.kwargs["map_index_template"] = default_label_template(mapped.kwargs["dag"])
        return mapped

    @classmethod
    def _validate_partial(cls, kwargs: Mapping[str, Any]) -> None:
        """Raise if the arguments that the items of a mapped task share, with ``default_args``, are wrong."""

    def row_label(self, ti: Any) -> str:
        """Return the label of a row of a mapped task, for its ``map_index_template``."""
        return row_label(self, self._row_label_arguments, ti.map_index)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments by name, without the connection."""
        return {name: getattr(self, name) for name in self._options if name != "mosaic_conn_id"}

    def _validate_constants(self, **renamed: Any) -> None:
        """
        Validate the constant arguments, and convert paths to text. Call it at the end of the constructor.

        :param renamed: The arguments that are not attributes of the same name.
        """
        for name in self._options.keys() & set(self.template_fields):
            setattr(self, name, paths_as_text(getattr(self, name)))
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        if self.map_index_template is None and self.get_closest_mapped_task_group() is not None:
            self.map_index_template = default_label_template(dag)
        if is_mapped_item(self):
            return
        arguments = {name: renamed[name] if name in renamed else getattr(self, name) for name in self._options}
        validate_constants(self._options, arguments, template_fields=self.template_fields, dag=dag)
        self._validate_combinations()

    def _validate_combinations(self) -> None:
        """Raise if arguments exclude each other, or one is missing. This does not depend on rendered values."""

    def _keep_constants(self, context: Context) -> Mapping[str, Any]:
        """Undo the rendering of constants. Return the templated arguments as the DAG file has them."""
        markers = template_markers(context["dag"])
        arguments = self._written_arguments(context)
        for name, written in arguments.items():
            setattr(self, name, keep_constants(written, getattr(self, name), markers))
        return arguments

    def _written_arguments(self, context: Context) -> Mapping[str, Any]:
        """Return the templated arguments as the DAG file has them. Airflow renders a copy of the DAG's task."""
        from airflow.sdk.definitions.mappedoperator import MappedOperator

        task = context["dag"].task_dict.get(self.task_id)
        if not isinstance(task, MappedOperator):
            return {name: getattr(task, name, None) for name in self.template_fields}
        mapped: Any = task.expand_input.value
        if isinstance(mapped, Mapping):
            mapped = dict.fromkeys(mapped, _MAPPED)
        elif isinstance(mapped, Sequence):
            mapped = mapped[context["ti"].map_index or 0]
        # Otherwise expand_kwargs() has a reference to the output of another task: what it contains is not written here.
        written = {**shared_arguments(self, task), **(mapped if isinstance(mapped, Mapping) else {})}
        return {name: paths_as_text(written.get(name)) for name in self.template_fields}


def is_trigger_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether Airflow resumes a deferred task because its trigger's timeout is over."""
    # TriggerFailureReason.TRIGGER_TIMEOUT
    return next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout"


# Constants and templates


def shared_arguments(item: BaseOperator, mapped: MappedOperator) -> dict[str, Any]:
    """
    Return the arguments that an item of a mapped task has in common with the others, as the DAG file has them.

    Airflow applies ``default_args`` when it creates an item. The item's own arguments override them.
    """
    dag: Any = mapped.dag
    group: Any = mapped.task_group
    # Airflow has merged the defaults of enclosing groups into those of the group.
    shared = {**dag.default_args, **(group.default_args if group else {}), **mapped.partial_kwargs}
    given = getattr(item, "_BaseOperator__init_kwargs", shared)
    return {name: value for name, value in shared.items() if given.get(name) is value}


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


def paths_as_text(value: Any) -> Any:
    """
    Return the text of a path, also in a list. Airflow renders text and ``ObjectStoragePath`` only.

    Airflow 3.1 would take ``Path.resolve`` for the method of a reference.
    """
    from airflow.sdk import ObjectStoragePath

    if isinstance(value, os.PathLike) and not isinstance(value, ObjectStoragePath):
        return os.fspath(value)
    # Airflow recognizes a list that an upstream task returned by its identity, and does not render it.
    if type(value) is list and any(isinstance(item, os.PathLike) for item in value):
        return [paths_as_text(item) for item in value]
    return value


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
    if isinstance(value, os.PathLike):
        return is_constant(str(value), markers)
    # Airflow resolves references and calls functions. An iterator can be read only once.
    is_dynamic = hasattr(value, "resolve") or hasattr(value, "template_fields") or callable(value)
    return not (is_dynamic or isinstance(value, Iterator))


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


def template_markers(dag: DAG | None) -> frozenset[str]:
    """Return the starts of templates: Jinja's, and those that a DAG defines."""
    settings: Mapping[str, Any] = getattr(dag, "jinja_environment_kwargs", None) or {}
    return _JINJA | {
        marker
        for name, marker in settings.items()
        if name.endswith(("_start_string", "_prefix")) and isinstance(marker, str) and marker
    }


# Labels of the rows of mapped tasks. Airflow's grid shows numbers otherwise.


def default_label_template(dag: DAG | None) -> str | None:
    """Return the default ``map_index_template``; None for a DAG that may define its own markers of templates."""
    return None if getattr(dag, "jinja_environment_kwargs", None) else LABEL_TEMPLATE


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
            if name not in shared_arguments(task, written):
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
    first = _short(name, str(value[0])) if value else ""
    return f"{first} +{len(value) - 1}" if first and len(value) > 1 else first


def _short(name: str, text: str) -> str:
    page = _YOUTUBE_PAGE.match(text) if name in _PATHS else None
    if page:
        text = page[1] or ""
    elif name in _PATHS:
        # The query of a signed URL is a secret.
        text = text.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    text = " ".join(text.split())
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
