"""
What operators have in common: constants are validated where the DAG file is parsed, and an argument that was given and
came to nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_mosaic.row_labels import default_template, row_label
from airflow_provider_mosaic.validation import is_mapped_item, validate_constants

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.api.validators import Validator
    from airflow_provider_mosaic.durable.failures import Consequences

# What a template makes of nothing: as text, as JSON, and of an empty list or object.
_EMPTY_TEXTS = frozenset({"", "None", "null", "[]", "{}"})
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

    :param optional: Templated arguments that may render to nothing, and are left out then, such as
        ``["callback_url"]`` for ``callback_url="{{ params.callback_url }}"``. A part of an argument is named as the
        error names it: ``"update_params['Captions']['prompt']"``. Nothing is None, an empty text, list or object, and
        the texts ``None`` and ``null``. An argument that decides what is paid or published for, such as the agent or
        the media, can't be optional.
    """

    ui_color = "#e9e4fb"

    # By the time that it is read, Airflow has rendered it.
    mosaic_conn_id: Any

    #: A validator for each argument.
    _options: ClassVar[Mapping[str, Validator]]
    #: The arguments that may tell the rows of a mapped task apart, the most telling one first.
    _row_label_arguments: ClassVar[tuple[str, ...]]
    #: What a failure means for money or publicity, where the error does not say it.
    _effect_words: ClassVar[str] = "No run was started, and nothing was published."
    #: What a retry does.
    _retry: ClassVar[str] = "starts over"
    #: The templated arguments that may be named in ``optional``, with what each means when it is left out.
    _may_be_empty: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *, optional: Iterable[str] | str = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.optional = self._validate_optional(optional)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Start a mapped task. The constants that its items share are validated now, the rest when an item runs.

        :param kwargs: What all items share.
        :raises MosaicValidationError: A constant is wrong, or ``optional`` names an argument that can't be.
        """
        shared = super().partial(**kwargs)
        cls._validate_optional(shared.kwargs.get("optional", ()))
        validate_constants(cls._options, kwargs, template_fields=cls.template_fields, dag=shared.kwargs["dag"])
        if shared.kwargs.get("map_index_template") is None and "map_index_template" not in kwargs:
            shared.kwargs["map_index_template"] = default_template(shared.kwargs["dag"])
        return shared

    def row_label(self, ti: Any) -> str:
        """Return what tells a row of a mapped task from the others, for the task's ``map_index_template``."""
        return row_label(self, self._row_label_arguments, ti.map_index)

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

    @classmethod
    def _validate_optional(cls, optional: Any) -> tuple[str, ...]:
        places = (optional,) if isinstance(optional, str) else optional
        if not isinstance(places, Iterable):
            _raise_none("optional", optional, "it must be a list of names of arguments.")
        places = tuple(places)
        for place in places:
            if not isinstance(place, str) or place.partition("[")[0] not in cls._may_be_empty:
                may = ", ".join(cls._may_be_empty) or "none"
                _raise_none(
                    "optional",
                    place,
                    f"this argument of {cls.__name__} can't be optional: it has no template, or the task would do "
                    f"another thing without it. Take it out of the list. These can be: {may}.",
                )
        return tuple(place.replace('"', "'") for place in places)

    def _stakes(self, error: MosaicError) -> Consequences:
        """What a failure of the task means, as far as the error does not say it."""
        from airflow_provider_mosaic.durable.failures import Consequences

        return Consequences(means=self._effect_words, retry=self._retry)

    @contextmanager
    def _validated_arguments(self, context: Context, *, begins: str | None = None) -> Iterator[None]:
        """
        Refuse what came to nothing, then turn what is raised into Airflow's failures.

        :param context: The task's context.
        :param begins: The kind of things that the task begins, if other tasks must be able to tell whose they are.
        """
        from airflow_provider_mosaic.api.arguments import raise_invalid
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry
        from airflow_provider_mosaic.durable.task_state import publishing_not_started

        with adding_consequences(context, self._stakes), fail_without_retry(), publishing_not_started(context, begins):
            for name, written in self._as_written(context).items():
                rendered = _kept(written, getattr(self, name))
                setattr(self, name, rendered)
                empty = list(_rendered_to_none(name, written, rendered))
                if name in self._may_be_empty and isinstance(rendered, str) and not rendered.strip() and written:
                    empty.append((name, rendered))
                for place, value in empty:
                    if place not in self.optional:
                        raise_invalid(place, value, self._advice(place))
            self._remove_empty()
            yield

    def _advice(self, place: str) -> str:
        way_out = (
            f"If it may be empty, add optional=[{place!r}] to the task."
            if place.partition("[")[0] in self._may_be_empty
            else "It can't be left out."
        )
        return (
            "it rendered to nothing. Nothing was sent. Look at what the template or reference takes it from: an "
            f"upstream task that returned nothing or was skipped, or an empty parameter of the DAG run. {way_out}"
        )

    def _remove_empty(self) -> None:
        """Leave out what is named in ``optional`` and rendered to nothing. Each process renders its templates again."""
        for name in {place.partition("[")[0] for place in self.optional}:
            value = _without_empty(name, getattr(self, name), self.optional)
            setattr(self, name, self._may_be_empty[name] if value is None else value)

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


def _rendered_to_none(name: str, written: Any, rendered: Any) -> Iterator[tuple[str, Any]]:
    """Where something was given and there is nothing; a template that is rendered as text makes None a word."""
    if written is None:
        return
    if rendered is None or (isinstance(written, str) and rendered == "None" != written):
        yield name, rendered
    elif isinstance(written, Mapping) and isinstance(rendered, Mapping):
        for key in written.keys() & rendered.keys():
            yield from _rendered_to_none(f"{name}[{key!r}]", written[key], rendered[key])
    elif isinstance(written, (list, tuple)) and isinstance(rendered, (list, tuple)):
        for i, (before, after) in enumerate(zip(written, rendered, strict=False)):
            yield from _rendered_to_none(f"{name}[{i}]", before, after)


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in _EMPTY_TEXTS
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _without_empty(place: str, value: Any, optional: tuple[str, ...]) -> Any:
    """Return a value without its optional parts that are empty; None for one that is empty itself."""
    if place in optional and _is_empty(value):
        return None
    if isinstance(value, Mapping):
        parts = {key: (f"{place}[{key!r}]", item) for key, item in value.items()}
        return {
            key: _without_empty(part, item, optional)
            for key, (part, item) in parts.items()
            if not (part in optional and _is_empty(item))
        }
    if isinstance(value, (list, tuple)):
        items = [(f"{place}[{i}]", item) for i, item in enumerate(value)]
        return [
            _without_empty(part, item, optional) for part, item in items if not (part in optional and _is_empty(item))
        ]
    return value


def _raise_none(name: str, value: Any, why: str) -> None:
    # Only who is refused loads it: a DAG file's import should cost nothing.
    from airflow_provider_mosaic.api.arguments import raise_invalid

    raise_invalid(name, value, why)
