"""What operators with effects have in common: an argument that was given and came to nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

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
