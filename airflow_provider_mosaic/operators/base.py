"""The base class of operators: rejects templated arguments that rendered to None."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.base import MosaicBaseOperator
from airflow_provider_mosaic.operators.rendered import find_none, keep_constants, without_empty
from airflow_provider_mosaic.validation import template_markers

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.durable.failures import Consequences

# Stands for a mapped argument: any text with a template, since Airflow renders the argument for each item.
_MAPPED = "{{ mapped }}"


class MosaicOperator(MosaicBaseOperator):
    """
    Base class of operators. Rejects templated arguments that rendered to None.

    An upstream task may return None for an argument. Without the argument, the task would pay for a run without its
    parameters, or publish a post without its video or at the wrong time. The task fails instead, before anything is
    sent. A None that the DAG file itself gives means "none", and so does one in an entry of ``expand_kwargs()``. A None
    among the values of ``expand()`` is rejected, since it may come from anywhere.

    :param optional: Templated arguments that may render to nothing and are left out then, such as
        ``["callback_url"]`` for ``callback_url="{{ params.callback_url }}"``. Name a part of an argument as the error
        names it: ``"update_params['Captions']['prompt']"``. Nothing is None, an empty text, list or object, and the
        texts ``None`` and ``null``. An argument that decides what is paid for or published, such as the agent or the
        media, can't be optional.
    """

    #: What a failure means for money or publicity, unless the error contains it.
    _failure_effect: ClassVar[str] = "No run was started, and nothing was published."
    #: What a retry does, as it follows "Airflow tries the task again, which".
    _retry_effect: ClassVar[str] = "starts over"
    #: The templated arguments that ``optional`` may name, with the value that each has when it is left out.
    _may_be_empty: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *, optional: Iterable[str] | str = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.optional = self._validate_optional(optional)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Define a mapped task. Validate the constants that its items share; the rest is validated when an item runs.

        :param kwargs: The arguments that all items share.
        :raises MosaicValidationError: A constant is wrong, or ``optional`` names an argument that can't be optional.
        """
        mapped = super().partial(**kwargs)
        cls._validate_optional(mapped.kwargs.get("optional", ()))
        return mapped

    @classmethod
    def _validate_optional(cls, optional: Any) -> tuple[str, ...]:
        places = (optional,) if isinstance(optional, str) else optional
        if not isinstance(places, Iterable):
            raise_invalid("optional", optional, "it must be a list of names of arguments.")
        places = tuple(places)
        for place in places:
            if not isinstance(place, str) or place.partition("[")[0] not in cls._may_be_empty:
                raise_invalid(
                    "optional",
                    place,
                    f"this argument of {cls.__name__} can't be optional: it has no template, or the task would do "
                    "something else without it. Take it out of the list. "
                    f"These can be optional: {', '.join(cls._may_be_empty) or 'none'}.",
                )
        return tuple(place.replace('"', "'") for place in places)

    def _consequences(self, error: MosaicError) -> Consequences:
        """Return what a failure means, unless the error contains it."""
        from airflow_provider_mosaic.durable.failures import Consequences

        return Consequences(means=self._failure_effect, retry=self._retry_effect)

    @contextmanager
    def _validated_arguments(self, context: Context, *, creates: str | None = None) -> Iterator[None]:
        """
        Reject arguments that rendered to None, and turn the errors of the block into Airflow's failures.

        :param context: The task's context.
        :param creates: The kind of items that the task creates, if the searches of other tasks depend on who owns them.
        """
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry
        from airflow_provider_mosaic.durable.task_state import publishing_not_started

        with (
            adding_consequences(context, self._consequences),
            fail_without_retry(),
            publishing_not_started(context, creates),
        ):
            markers = template_markers(context["dag"])
            for name, written in self._written_arguments(context).items():
                rendered = keep_constants(written, getattr(self, name), markers)
                setattr(self, name, rendered)
                empty = list(find_none(name, written, rendered))
                if name in self._may_be_empty and isinstance(rendered, str) and not rendered.strip() and written:
                    empty.append((name, rendered))
                for place, value in empty:
                    if place not in self.optional:
                        raise_invalid(place, value, self._none_advice(place))
            self._leave_out_empty()
            yield

    def _none_advice(self, place: str) -> str:
        solution = (
            f"If it may be empty, add optional=[{place!r}] to the task."
            if place.partition("[")[0] in self._may_be_empty
            else "It can't be left out."
        )
        return (
            "it rendered to nothing. Nothing was sent. Check what its template or reference reads: an upstream task "
            f"that returned None or was skipped, or an empty parameter of the DAG run. {solution}"
        )

    def _leave_out_empty(self) -> None:
        """Leave out what ``optional`` names and rendered to nothing. Each process renders the templates again."""
        for name in {place.partition("[")[0] for place in self.optional}:
            value = without_empty(name, getattr(self, name), self.optional)
            setattr(self, name, self._may_be_empty[name] if value is None else value)

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
        written = {**task.partial_kwargs, **(mapped if isinstance(mapped, Mapping) else {})}
        return {name: written.get(name) for name in self.template_fields}
