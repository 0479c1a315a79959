"""What every sensor that waits for an end does alike: look, wait on a worker or in the triggerer, fail softly."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_mosaic.api.arguments import validate_seconds
from airflow_provider_mosaic.row_labels import default_template, row_label
from airflow_provider_mosaic.validation import is_mapped_item, validate_constants

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.api.outcomes import Judgement
    from airflow_provider_mosaic.api.poll_state import UnknownStatuses
    from airflow_provider_mosaic.api.validators import Validator
    from airflow_provider_mosaic.durable.failures import Consequences
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.templated import Text


class CompletionSensor(BaseSensorOperator):
    """
    A sensor that waits for something to end. It only looks.

    :param deferrable: Whether it waits in the triggerer.
    :param poll_interval: The pause between two looks.
    :param mosaic_conn_id: The connection.
    """

    ui_color = "#e9e4fb"

    # By the time that it is read, Airflow has rendered it.
    mosaic_conn_id: Any

    #: A validator for each argument.
    _options: ClassVar[Mapping[str, Validator]]
    #: The arguments that may tell the rows of a mapped task apart.
    _row_label_arguments: ClassVar[tuple[str, ...]]
    #: What it waits for, as a log line begins with it.
    _noun: ClassVar[str]
    #: The argument with its id, also of the trigger and of ``execute_complete``. Airflow's database keeps it over
    #: upgrades.
    _key: ClassVar[str]

    def __init__(
        self, *, deferrable: bool, poll_interval: float | timedelta, mosaic_conn_id: Text, **kwargs: Any
    ) -> None:
        default_args = kwargs.get("default_args") or {}
        try:
            # Airflow itself would complain of its poke_interval, and take True for a second.
            validate_seconds("poll_interval", poll_interval)
            if timeout := kwargs.get("timeout", default_args.get("timeout")):
                validate_seconds("timeout", timeout)
        except Exception:
            if not is_mapped_item(self):
                raise
        else:
            if "poke_interval" not in default_args:
                kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.mosaic_conn_id = mosaic_conn_id
        self._has_looked = False
        self._unknown: UnknownStatuses | None = None
        # What the log has shown of it last, and whether the triggerer's has shown the rest.
        self._shown: str | None = None
        self._fault: str | None = None
        self._was_deferred = False

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

    def row_label(self, ti: Any) -> str:
        """Return what tells a row of a mapped task from the others, for the task's ``map_index_template``."""
        return row_label(self, self._row_label_arguments, ti.map_index)

    def _validate_constants(self) -> None:
        """Validate what is constant, at the end of the constructor."""
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        if self.map_index_template is None and self.get_closest_mapped_task_group() is not None:
            self.map_index_template = default_template(dag)
        if is_mapped_item(self):
            return
        arguments = {name: getattr(self, name) for name in self._options}
        validate_constants(self._options, arguments, template_fields=self.template_fields, dag=dag)

    # What is a sensor's own

    @abstractmethod
    def _read(self, hook: MosaicHook) -> Any:
        """What is waited for, as it is now."""

    @abstractmethod
    def _outcome(self, subject: Any) -> Judgement:
        """How it stands."""

    def _words(self, subject: Any) -> str:
        """How it stands, in a few words for the log."""
        return self._outcome(subject).status

    def _finish(self, context: Context, subject: Any, hook: MosaicHook) -> None:
        """Fail or skip by how it ended."""

    @abstractmethod
    def _trigger_class(self) -> type[BaseTrigger]:
        """What waits in the triggerer."""

    def _trigger_arguments(self) -> dict[str, Any]:
        """What it is made with, besides the connection and the clocks."""
        return self._subject()

    def _subject(self) -> dict[str, Any]:
        """What ``execute_complete`` is called with, besides the event and the clock."""
        return {self._key: self._id}

    def _result(self, subject: Any) -> Any:
        """The ``return_value`` for what has ended."""
        return self._id

    @property
    def _id(self) -> str:
        """The id of what is waited for, as the trigger's event has it."""
        return str(getattr(self, self._key))

    @property
    def _name(self) -> str:
        """What is waited for, as the log and the errors call it."""
        return f"{self._noun} {self._id!r}"

    # What all of them do

    def execute(self, context: Context) -> Any:
        """
        Look, and wait here or in the triggerer.

        :param context: The task's context.
        """
        if not self.deferrable:
            with self._adding_timeout_advice(context):
                return super().execute(context)
        with self._skipping_if_soft_fail():
            if seen := self.poke(context):
                return seen.xcom_value
        self._defer(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when the sensor's timeout is over, look first: it may have queued for a worker since.

        :param next_method: What Airflow wants to be called.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        with self._adding_timeout_advice(context):
            # What Airflow calls and says when a trigger's time is over (TriggerFailureReason.TRIGGER_TIMEOUT).
            if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
                self._has_looked = True
                with self._skipping_if_soft_fail():
                    if seen := self.poke(context):
                        return seen.xcom_value
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """
        Look once.

        Who may not look the first time may not within a quarter of a minute either: the key is wrong, or it is somebody
        else's. Later on it is borne for some minutes, as by every wait. No retry would find it otherwise.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError
        from airflow_provider_mosaic.durable.failures import adding_consequences
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        hook = MosaicHook(self.mosaic_conn_id)
        with adding_consequences(context, self._stakes, level=self._level):
            try:
                return self._poll(context, hook)
            except MosaicError as error:
                # A connection that is not there is looked up for some minutes, not until the sensor's timeout: its
                # name may be wrong.
                if not error.transient or isinstance(error, MosaicConnectionError):
                    raise
                # Faults pass, and the sensor's own timeout bounds the wait.
                if str(error) != self._fault:
                    self.log.warning("%s Looking again later.", error)
                self._fault = str(error)
                return None
            finally:
                hook.close()

    def _poll(self, context: Context, hook: MosaicHook) -> PokeReturnValue | None:
        from airflow_provider_mosaic.api.errors import MosaicError
        from airflow_provider_mosaic.durable.completion_waiter import read_known, read_new
        from airflow_provider_mosaic.durable.failures import NON_RETRYABLE_ERRORS, fail_without_retry

        with fail_without_retry(*NON_RETRYABLE_ERRORS):
            for name, validator in self._options.items():
                validator(name, getattr(self, name))
            first = not (self._has_looked or self._was_rescheduled(context))
            # It may have begun just now: that it is not there is believed after a while.
            look = partial(read_new, lambda: self._read(hook))
            subject = look() if first else read_known(hook, look, name=self._name)
            self._has_looked = True
        self._fault = None
        verdict = self._outcome(subject)
        self._log_status(self._words(subject), ended=verdict.ended)
        self._warn_unknown_status(verdict, context)
        if not verdict.ended:
            return None
        # Another look would show the same.
        with fail_without_retry(MosaicError):
            self._finish(context, subject, hook)
        return PokeReturnValue(True, self._result(subject))

    def _log_status(self, words: str, *, ended: bool) -> None:
        """Log how it stands when that has changed, unless the triggerer's log shows it."""
        there = self.deferrable and (self._was_deferred or not ended)
        if words != self._shown and not there:
            self.log.info("%s is %s.", self._name, words)
        self._shown = words

    def _warn_unknown_status(self, verdict: Judgement, context: Context) -> None:
        """Warn of a status that stays unknown. A sensor that gives its worker back remembers no earlier read."""
        from airflow_provider_mosaic.api.poll_state import UNKNOWN_STATUS_TIMEOUT, UnknownStatuses

        if self._unknown is None:
            self._unknown = UnknownStatuses(self._name)
        now = time.time()
        self._unknown.record(verdict, now=now)
        if not verdict.known and self._was_rescheduled(context):
            first = context["ti"].get_first_reschedule_date(context)
            waited = now - first.timestamp() if first else 0.0
            # The read that is the first after an hour, as near as can be told.
            if UNKNOWN_STATUS_TIMEOUT <= waited < UNKNOWN_STATUS_TIMEOUT + 1.5 * self.poke_interval:
                self._unknown.record(verdict, now=now + UNKNOWN_STATUS_TIMEOUT)

    def _was_rescheduled(self, context: Context) -> bool:
        """Whether an earlier look, in another process, gave the worker back."""
        return self.reschedule and bool(context.get("task_reschedule_count"))

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None, began: float | None = None, **waited: Any
    ) -> Any:
        """
        Go on after the wait in the triggerer: look anew, and wait on if it has not ended.

        :param context: The task's context.
        :param event: What the trigger says.
        :param began: When the try began, in seconds since the epoch.
        :param waited: The argument that names what was waited for, as it was then. It is not there if the wait began in
            the triggerer, and under ``dag.test()`` (https://github.com/apache/airflow/issues/69942).
        """
        from airflow_provider_mosaic.api.errors import MosaicError, MosaicTimeoutError
        from airflow_provider_mosaic.durable.completion_waiter import read_event
        from airflow_provider_mosaic.durable.failures import (
            NON_RETRYABLE_ERRORS,
            adding_consequences,
            fail_without_retry,
        )

        for name, value in waited.items():
            if value:
                setattr(self, name, value)
        self._has_looked = self._was_deferred = True
        over: MosaicTimeoutError | None = None
        with self._skipping_if_soft_fail():
            with adding_consequences(context, self._stakes, level=self._level):
                try:
                    with fail_without_retry(*NON_RETRYABLE_ERRORS):
                        read_event(event, self._id, self._name)
                except MosaicTimeoutError as error:
                    # The task may have queued for a worker since, and what it waits for has ended.
                    over = error
                except MosaicError as error:
                    if not error.transient:
                        raise
                    # The trigger's patience is over, as at a long outage; on a worker it would be waited for as well.
                    self.log.warning("%s Looking again.", error)
            if seen := self.poke(context):
                return seen.xcom_value
            if over is not None:
                with adding_consequences(context, self._stakes, level=self._level):
                    raise over
        # It is going on again, or it can't be read just now.
        self._defer(context, began)

    def _defer(self, context: Context, began: float | None = None) -> NoReturn:
        """Wait in the triggerer; another deferral of the same try does not prolong its clocks."""
        from airflow_provider_mosaic.durable.completion_waiter import earliest_deadline, start_of_try

        began = start_of_try(context, began)
        arguments = {
            **self._trigger_arguments(),
            "mosaic_conn_id": self.mosaic_conn_id,
            "poll_interval": validate_seconds("poll_interval", self.poll_interval),
            # Airflow itself looks at execution_timeout only on a worker.
            "deadline": earliest_deadline(context, began=began),
        }
        self.defer(
            trigger=self._trigger_class()(**arguments),
            method_name="execute_complete",
            kwargs={**self._subject(), "began": began},
            timeout=timedelta(seconds=max(0.0, began + self.timeout - time.time())),
        )
        raise AssertionError("defer does not return")

    @property
    def _level(self) -> int:
        """The level of the lines of a failure: a sensor that may fail softly is skipped."""
        return logging.WARNING if self.soft_fail or self.never_fail else logging.ERROR

    def _stakes(self, error: MosaicError) -> Consequences:
        """What a failure of the sensor means, as far as the error does not say it."""
        from airflow_provider_mosaic.durable.failures import Consequences

        return Consequences(
            means="The sensor only reads: it has started, cancelled and published nothing.",
            retry="waits again",
            choices=("Clear this task to wait again.",),
        )

    @contextmanager
    def _adding_timeout_advice(self, context: Context) -> Iterator[None]:
        """Airflow's own end of the wait says only how long it took."""
        from airflow.providers.common.compat.sdk import AirflowSkipException

        from airflow_provider_mosaic.durable.failures import log_lines

        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if type(error).__name__ in ("AirflowSensorTimeout", "TaskDeferralTimeout"):
                log_lines(
                    (
                        f"{self._name} has not ended within timeout={timedelta(seconds=self.timeout)}.",
                        "The sensor only reads: what it has waited for was not cancelled, and may keep running.",
                        "Clear this task to wait again, or give it a longer timeout.",
                    ),
                    level=self._level,
                )
            raise

    @contextmanager
    def _skipping_if_soft_fail(self) -> Iterator[None]:
        """Where the sensor does not loop by itself, the failure that ``soft_fail`` turns into a skip."""
        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError

        try:
            yield
        except (AirflowFailException, MosaicError) as failure:
            # A connection that Airflow did not return says nothing about what is waited for, and a retry may find it.
            soft = self.soft_fail and not isinstance(failure, MosaicConnectionError)
            if soft or self.never_fail:
                raise AirflowSkipException(f"Skipped, since the sensor may fail softly: {failure}") from failure
            raise
