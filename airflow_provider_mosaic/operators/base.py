"""The base classes of operators: arguments that rendered to None, and waits that may be deferred."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from airflow_provider_mosaic.api.arguments import parse_collection, raise_invalid
from airflow_provider_mosaic.base import MosaicBaseOperator, is_constant, is_trigger_timeout, template_markers

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.durable.failures import Consequences
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.tasks.posts import PostTask
    from airflow_provider_mosaic.tasks.runs import ResumeTask, RunTask

    WaitingTask: TypeAlias = RunTask | ResumeTask | PostTask

# Stands for a part of what a reference or a template rendered to as a whole.
_WHOLE: Any = object()
# The texts to which a template renders None, without and with the filter tojson.
_NONE_TEXTS = frozenset({"None", "null"})
# The texts to which a template renders an empty value.
_EMPTY_TEXTS = _NONE_TEXTS | {"", "[]", "{}"}


class MosaicOperator(MosaicBaseOperator):
    """
    Base class of operators. Rejects templated arguments that rendered to None.

    An upstream task may return None for an argument. Without the argument, the task would pay for a run without its
    parameters, or publish a post without its video or at the wrong time. The task fails instead, before anything is
    sent. A None that the DAG file itself gives means "none", and so does one in an entry of ``expand_kwargs()``. A None
    among the values of ``expand()`` is rejected, since it may come from anywhere.

    :param optional: Templated arguments that may render to an empty value, and are left out then, such as
        ``["callback_url"]`` for ``callback_url="{{ params.callback_url }}"``. Name a part of an argument as the error
        names it: ``"update_params['Captions']['prompt']"``. Empty values are None, an empty text, list or object, and
        the texts ``None`` and ``null``. An argument that decides what is paid for or published, such as the agent or
        the media, can't be optional.
    """

    #: What a failure means for money or publicity, unless the error contains it.
    _failure_effect: ClassVar[str] = "No run was started, and nothing was published."
    #: What a retry does, as it follows "Airflow tries the task again, which".
    _retry_effect: ClassVar[str] = "starts over"
    #: The kind of item that the task creates, if the searches of other tasks depend on who owns such items.
    _creates: ClassVar[str | None] = None
    #: The templated arguments that ``optional`` may name, with the value that each has when it is left out.
    _may_be_empty: ClassVar[Mapping[str, Any]] = {}
    #: The arguments in which a None has a meaning, if they come as a whole from a reference or a template.
    _may_contain_none: ClassVar[frozenset[str]] = frozenset()

    #: Whether Airflow killed the task. The signal may come before ``execute``.
    _is_killed: bool = False
    #: The hook of this execution, for ``on_kill``.
    _hook: MosaicHook | None = None

    def __init__(self, *, optional: Iterable[str] | str = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.optional = self._validate_optional(optional)

    @classmethod
    def _validate_partial(cls, kwargs: Mapping[str, Any]) -> None:
        cls._validate_optional(kwargs.get("optional", ()))

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
        return tuple(map(_in_single_quotes, places))

    def on_kill(self) -> None:
        """Send no further request that is not safe to repeat: a new attempt may send it too."""
        self._is_killed = True
        if self._hook is not None:
            self._hook.refuse_effects()

    def _open_hook(self) -> MosaicHook:
        """Return the hook of this execution. After a kill, also an earlier one, it starts and creates nothing."""
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        hook = self._hook = MosaicHook(self.mosaic_conn_id)
        if self._is_killed:
            hook.refuse_effects()
        return hook

    @contextmanager
    def _executing(self, context: Context) -> Iterator[None]:
        """Reject arguments that rendered to None. Then run the block, and turn its errors into Airflow's failures."""
        from airflow_provider_mosaic.api.errors import MosaicValidationError
        from airflow_provider_mosaic.durable.failures import Consequences, adding_consequences, fail_without_retry
        from airflow_provider_mosaic.durable.task_state import TaskState

        _keep_ids_visible(context)
        consequences = Consequences(means=self._failure_effect, retry=self._retry_effect)
        with adding_consequences(context, lambda _: consequences), fail_without_retry():
            try:
                self._reject_none(context)
                self._leave_out_empty()
                yield
            except Exception as error:
                if self._creates is not None:
                    TaskState(context, kind=self._creates, request=None).publish_not_started()
                if isinstance(error, MosaicValidationError) and (earlier := self._earlier_consequences(context)):
                    error.transient = True
                    consequences = earlier
                raise

    def _earlier_consequences(self, context: Context) -> Consequences | None:
        """Return what an invalid argument means if a retry continues with what an earlier attempt started."""
        return None

    def _reject_none(self, context: Context) -> None:
        for name, written in self._keep_constants(context).items():
            rendered = getattr(self, name)
            empty = list(find_none(name, written, rendered, inside=name not in self._may_contain_none))
            if name in self._may_be_empty and isinstance(rendered, str) and not rendered.strip() and written:
                empty.append((name, rendered))
            for place, value in empty:
                if place not in self.optional:
                    raise_invalid(place, value, self._none_advice(place))

    def _keep_constants(self, context: Context) -> Mapping[str, Any]:
        """Also parse objects and lists that a template rendered to text: a part may be None, or optional."""
        arguments = super()._keep_constants(context)
        markers = template_markers(context["dag"])
        for name in arguments.keys() & self.template_fields_renderers.keys() - self._may_contain_none:
            if not is_constant(arguments[name], markers):
                setattr(self, name, parse_collection(getattr(self, name)))
        return arguments

    def _none_advice(self, place: str) -> str:
        solution = (
            f"If it may be empty, add optional=[{place!r}] to the task."
            if place.partition("[")[0] in self._may_be_empty
            else "It can't be left out."
        )
        return (
            "it rendered to an empty value. Nothing was sent. Check what its template or reference reads: an upstream "
            f"task that returned None or was skipped, or an empty parameter of the DAG run. {solution}"
        )

    def _leave_out_empty(self) -> None:
        """Leave out what ``optional`` names, if it rendered to an empty value. Each process renders templates again."""
        for name in {place.partition("[")[0] for place in self.optional}:
            value = without_empty(name, getattr(self, name), self.optional)
            setattr(self, name, self._may_be_empty[name] if value is None else value)


class WaitingOperator(MosaicOperator):
    """Base class of operators that start or resume something and wait for its end."""

    #: The task of this execution, for ``on_kill``. None until its arguments are validated.
    _active: WaitingTask | None = None

    @abstractmethod
    def _task(self, context: Context) -> WaitingTask:
        """Return the task with its validated arguments."""

    def execute(self, context: Context) -> str:
        """Start it, or continue with what an earlier attempt started; wait for its end, or defer."""
        with self._executing(context):
            task = self._task(context)
            task.prepare()
        with self._step_of(task, context):
            return task.start()

    def execute_complete(self, context: Context, event: dict[str, Any] | None, **deferred: Any) -> str:
        """
        Continue after the deferral: read the status again; return, fail, or defer again.

        :param event: The trigger's event.
        :param deferred: The id (``run_id`` or ``post_id``) and the times that the deferral passed on. Empty under
            ``dag.test()``, which drops them (https://github.com/apache/airflow/issues/69942); the event has the id.
        """
        from airflow_provider_mosaic.api.arguments import validate_id

        waited_for = next((deferred[key] for key in ("run_id", "post_id") if key in deferred), (event or {}).get("id"))
        with self._reading_arguments_again(context, waited_for):
            task = self._task(context)
            key = task.wait.id_argument
            item_id = deferred.pop(key, None) or validate_id(key, (event or {}).get("id"))
        with self._step_of(task, context):
            return task.wait.continue_after_deferral(event, item_id, **deferred)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If the trigger timed out, read the status first, and cancel a running run."""
        if is_trigger_timeout(next_method, next_kwargs):
            with self._reading_arguments_again(context, None):
                task = self._task(context)
            with self._step_of(task, context):
                item_id = task.wait.on_trigger_timeout()
            if item_id is not None:
                return item_id
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel a run, within the few seconds that Airflow leaves. It costs credits; a post can't be withdrawn."""
        super().on_kill()
        if self._active is not None:
            self._active.wait.on_kill()

    def _earlier_consequences(self, context: Context) -> Consequences | None:
        """Return what an invalid argument means if a retry continues with what an earlier attempt started."""
        from airflow_provider_mosaic.durable.task_state import recorded_id

        try:
            item_id = recorded_id(context, [self._creates or "resume"]) if self._saves_state(context) else None
        except Exception as error:
            self.log.warning("Airflow's task state store could not be read (%s).", type(error).__name__)
            return None
        return self._not_reached(context, item_id, is_saved=True) if item_id else None

    def _saves_state(self, context: Context) -> bool:
        """Return whether a retry continues with what this attempt started, or resumes its run again."""
        from airflow_provider_mosaic.durable.task_state import can_save_state

        return self._creates is None or can_save_state(context, durable=getattr(self, "durable", True) is not False)

    def _not_reached(self, context: Context, item_id: str | None, *, is_saved: bool) -> Consequences:
        """Return what an error means that came before any request about the item of an earlier execution."""
        from airflow_provider_mosaic.durable.failures import Consequences
        from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption

        kind = self._creates or "run"
        item = f"{kind} {item_id!r}" if item_id else f"the {kind} that the task waited for"
        effect = "be published" if kind == "post" else "keep running, and cost credits"
        consequences = Consequences(
            means=f"No request was sent about {item}. It may {effect}.",
            retry=f"continues with {item}" if is_saved else self._retry_effect,
        )
        if item_id and self._creates:
            adoption = ManualAdoption(context, kind=self._creates)
            consequences = replace(consequences, choices=adoption.continue_hint(item_id))
        return consequences

    @contextmanager
    def _step_of(self, task: WaitingTask, context: Context) -> Iterator[None]:
        """Run a step of the task: turn its errors into Airflow's failures, and let a kill reach it."""
        from airflow.providers.common.compat.sdk import TaskDeferred

        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        self._active = task
        try:
            if self._is_killed:
                # The kill came before the task was known.
                task.wait.on_kill()
            with adding_consequences(context, task.consequences), fail_without_retry(*task.non_retryable()):
                yield
        except (Exception, TaskDeferred):
            raise
        except BaseException:
            # Airflow raises one when execution_timeout has passed, and kills the task next.
            task.wait.is_interrupted = True
            raise

    @contextmanager
    def _reading_arguments_again(self, context: Context, item_id: str | None) -> Iterator[None]:
        """
        Turn the errors of a block that continues after a deferral into Airflow's failures.

        Templates are rendered again. An argument may be invalid by then, for example because the task that returned it
        was cleared. A retry continues with the item once the argument is valid again.

        :param item_id: What the task waited for, if it is known.
        """
        from airflow_provider_mosaic.api.errors import MosaicValidationError
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        _keep_ids_visible(context)
        # Otherwise a retry would start or post a second time.
        is_saved = self._saves_state(context)
        consequences = self._not_reached(context, item_id, is_saved=is_saved)
        with adding_consequences(context, lambda _: consequences), fail_without_retry():
            try:
                self._keep_constants(context)
                self._leave_out_empty()
                yield
            except MosaicValidationError as error:
                error.transient = error.transient or is_saved
                raise


def _keep_ids_visible(context: Context) -> None:
    """Keep the ids of the task visible in commands and messages, also if an argument is a link that contains them."""
    from airflow_provider_mosaic.api.redaction import remember_ids

    ti = context["ti"]
    remember_ids(ti.dag_id, ti.task_id, ti.run_id)


def _item_place(place: str, key: Any) -> str:
    return _in_single_quotes(f"{place}[{key!r}]")


def _in_single_quotes(place: str) -> str:
    """Return a place as errors name it and ``optional`` has it. Python writes a key with an apostrophe differently."""
    return place.replace('"', "'")


# Compare the rendered arguments of a task with what the DAG file has in their place.


def find_none(place: str, written: Any, rendered: Any, *, inside: bool = True) -> Iterator[tuple[str, Any]]:
    """
    Yield each place of an argument that rendered to None, or to the text ``None`` or ``null``, with its value.

    Skip the places in which the DAG file itself has None or the text.

    :param inside: Whether to search in objects and lists that a reference or a template rendered to as a whole.
    """
    if written is None:
        return
    if rendered is None or (isinstance(written, str) and _is_none_text(rendered) and not _is_none_text(written)):
        yield place, rendered
    elif isinstance(rendered, Mapping) and (inside or isinstance(written, Mapping)):
        for key, value in rendered.items():
            before = written.get(key) if isinstance(written, Mapping) else _WHOLE
            yield from find_none(_item_place(place, key), before, value, inside=inside)
    elif isinstance(rendered, (list, tuple)) and (inside or isinstance(written, (list, tuple))):
        items = written if isinstance(written, (list, tuple)) else [_WHOLE] * len(rendered)
        for i, (before, after) in enumerate(zip(items, rendered, strict=False)):
            yield from find_none(f"{place}[{i}]", before, after, inside=inside)


def without_empty(place: str, value: Any, optional: tuple[str, ...]) -> Any:
    """Return a value without the optional places that are empty; None if the value itself is one of them."""

    def is_left_out(place: str, value: Any) -> bool:
        return place in optional and _is_empty(value)

    if is_left_out(place, value):
        return None
    if isinstance(value, Mapping):
        return {
            key: without_empty(_item_place(place, key), item, optional)
            for key, item in value.items()
            if not is_left_out(_item_place(place, key), item)
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


def _is_none_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() in _NONE_TEXTS
