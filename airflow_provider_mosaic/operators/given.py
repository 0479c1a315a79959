"""
What operators have in common: constants are validated where the DAG file is parsed, and an argument that was given and
came to nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_mosaic.row_labels import default_template, row_label
from airflow_provider_mosaic.validation import is_mapped_item, validate_constants

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_mosaic.api.validators import Validator

# Stands for what a mapped argument is written as: something that Airflow renders for each item.
_MAPPED = "{{ mapped }}"


class MosaicOperator(BaseOperator):
    """
    An operator that does not do without what it was given.

    What should come from another task may turn out as None. To leave it out then would start a run without its
    parameters, and pay it, or publish a post without its video, or now instead of at its time. So what the DAG file has
    in its place is compared with what it came to. A None that the DAG file itself has means none; but for one among the
    values of ``expand()``, which may have come from anywhere. The entries of ``expand_kwargs()`` are taken as they are:
    who writes a None there has said so.
    """

    ui_color = "#e9e4fb"

    # By the time that it is read, Airflow has rendered it.
    mosaic_conn_id: Any

    #: A validator for each argument.
    _options: ClassVar[Mapping[str, Validator]]
    #: The arguments that may tell the rows of a mapped task apart, the most telling one first.
    _row_label_arguments: ClassVar[tuple[str, ...]]

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Start a mapped task. The constants that its items share are validated now, the rest when an item runs.

        :param kwargs: What all items share.
        :raises MosaicValidationError: A constant is wrong.
        """
        shared = super().partial(**kwargs)
        validate_constants(cls._options, kwargs, template_fields=cls.template_fields, dag=shared.kwargs["dag"])
        if shared.kwargs.get("map_index_template") is None and "map_index_template" not in kwargs:
            shared.kwargs["map_index_template"] = default_template(shared.kwargs["dag"])
        return shared

    @property
    def row_label(self) -> str:
        """What tells this row of a mapped task from the others, for the task's ``map_index_template``."""
        return row_label(self, self._row_label_arguments)

    def _validate_constants(self, **given: Any) -> None:
        """
        Validate what is constant, at the end of the constructor.

        :param given: The arguments that are not kept under their own names.
        """
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        if self.map_index_template is None and self.get_closest_mapped_task_group() is not None:
            self.map_index_template = default_template(dag)
        if is_mapped_item(self):
            return
        arguments = {**{name: getattr(self, name) for name in self._options.keys() - given.keys()}, **given}
        validate_constants(self._options, arguments, template_fields=self.template_fields, dag=dag)
        self._validate_together()

    def _validate_together(self) -> None:
        """Raise for arguments that exclude each other, or of which one is missing, whatever they are rendered to."""

    @contextmanager
    def _taking_arguments(self, context: Context, *, begins: str | None = None) -> Iterator[None]:
        """
        Refuse what came to nothing, then turn what is raised into Airflow's failures.

        :param context: The task's context.
        :param begins: The kind of things that the task begins, if other tasks must be able to tell whose they are.
        """
        from airflow_provider_mosaic.api.arguments import refuse
        from airflow_provider_mosaic.tasks.failing import failing_at_once
        from airflow_provider_mosaic.tasks.memory import telling_if_blank

        with failing_at_once(), telling_if_blank(context, begins):
            for name, written in self._as_written(context).items():
                for place, value in _came_to_nothing(name, written, getattr(self, name)):
                    refuse(place, value, "it came to nothing: look at the task that should have given it.")
            yield

    def _as_written(self, context: Context) -> Mapping[str, Any]:
        """The templated arguments as the DAG file has them: Airflow renders a copy of the DAG's task."""
        from airflow.sdk.definitions.mappedoperator import MappedOperator

        task = context["dag"].task_dict.get(self.task_id)
        if not isinstance(task, MappedOperator):
            return {name: getattr(task, name, None) for name in self.template_fields}
        mapped: Any = task.expand_input.value
        if isinstance(mapped, Mapping):
            mapped = dict.fromkeys(mapped, _MAPPED)
        elif isinstance(mapped, Sequence):
            mapped = mapped[context["ti"].map_index or 0]
        # What is left is a reference to what another task gives.
        written = {**task.partial_kwargs, **(mapped if isinstance(mapped, Mapping) else {})}
        return {name: written.get(name) for name in self.template_fields}


def _came_to_nothing(name: str, written: Any, rendered: Any) -> Iterator[tuple[str, Any]]:
    """Where something was given and there is nothing; a template that is rendered as text makes None a word."""
    if written is None:
        return
    if rendered is None or (isinstance(written, str) and rendered == "None" != written):
        yield name, rendered
    elif isinstance(written, Mapping) and isinstance(rendered, Mapping):
        for key in written.keys() & rendered.keys():
            yield from _came_to_nothing(f"{name}[{key!r}]", written[key], rendered[key])
    elif isinstance(written, (list, tuple)) and isinstance(rendered, (list, tuple)):
        for i, (before, after) in enumerate(zip(written, rendered, strict=False)):
            yield from _came_to_nothing(f"{name}[{i}]", before, after)
