"""What operators with effects have in common: an argument that was given and came to nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.tasks.failing import Stakes

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

    #: What a failure means for money or publicity, where the error does not say it.
    _means: ClassVar[str] = "No run was started, and nothing was published."
    #: What a retry does.
    _retry: ClassVar[str] = "starts over"

    def _stakes(self, error: MosaicError) -> Stakes:
        """What a failure of the task means, as far as the error does not say it."""
        from airflow_provider_mosaic.tasks.failing import Stakes

        return Stakes(means=self._means, retry=self._retry)

    @contextmanager
    def _taking_arguments(self, context: Context, *, begins: str | None = None) -> Iterator[None]:
        """
        Refuse what came to nothing, then turn what is raised into Airflow's failures.

        :param context: The task's context.
        :param begins: The kind of things that the task begins, if other tasks must be able to tell whose they are.
        """
        from airflow_provider_mosaic.api.arguments import refuse
        from airflow_provider_mosaic.tasks.failing import failing_at_once, telling
        from airflow_provider_mosaic.tasks.memory import telling_if_blank

        with telling(context, self._stakes), failing_at_once(), telling_if_blank(context, begins):
            for name, written in self._as_written(context).items():
                setattr(self, name, _kept(written, getattr(self, name)))
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


def _kept(written: Any, rendered: Any) -> Any:
    """
    What was rendered, with each text of the DAG file that has no template in it as it stands there.

    With ``render_template_as_native_obj`` Airflow makes the title ``1_000`` a number and ``True`` a bool.
    """
    if isinstance(written, str):
        templated = any(mark in written for mark in ("{{", "{%", "{#"))
        return rendered if templated or isinstance(rendered, str) else written
    if type(written) is type(rendered) is dict:
        return {key: _kept(written.get(key), value) for key, value in rendered.items()}
    if type(written) is type(rendered) and type(written) in (list, tuple) and len(written) == len(rendered):
        return type(written)(map(_kept, written, rendered))
    return rendered


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
