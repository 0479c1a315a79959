"""What every sensor that waits for an end does alike: look, wait on a worker or in the triggerer, fail softly."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_mosaic.api.verdicts import Verdict
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class EndSensor(BaseSensorOperator):
    """
    A sensor that waits for something to end. It only looks.

    :param deferrable: Whether it waits in the triggerer.
    :param poll_interval: The pause between two looks.
    :param mosaic_conn_id: The connection.
    """

    ui_color = "#e9e4fb"

    #: What it waits for, as a log line begins with it.
    _noun: ClassVar[str]
    #: The argument with its id, also of the trigger and of ``execute_complete``. Airflow's database keeps it over
    #: upgrades.
    _key: ClassVar[str]

    def __init__(
        self, *, deferrable: bool, poll_interval: float | timedelta, mosaic_conn_id: str, **kwargs: Any
    ) -> None:
        if "poke_interval" not in (kwargs.get("default_args") or {}):
            kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.mosaic_conn_id = mosaic_conn_id
        self._has_looked = False

    # What is a sensor's own

    def _check(self) -> None:
        """Refuse wrong arguments, before anything is read; an id is checked where it is sent."""

    @abstractmethod
    def _read(self, hook: MosaicHook) -> Any:
        """What is waited for, as it is now."""

    @abstractmethod
    def _judge(self, subject: Any) -> Verdict:
        """How it stands."""

    def _words(self, subject: Any) -> str:
        """How it stands, in a few words for the log."""
        return self._judge(subject).status

    def _finish(self, subject: Any, hook: MosaicHook) -> None:
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
            return super().execute(context)
        with self._failing_softly():
            if seen := self.poke(context):
                return seen.xcom_value
        self._defer(context)

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """
        Look once.

        Who may not look the first time may not within a quarter of a minute either: the key is wrong, or it is somebody
        else's. Later on it is borne for some minutes, as by every wait. No retry would find it otherwise.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.api.arguments import checked_flag, checked_seconds
        from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.failing import HOPELESS, failing_at_once
        from airflow_provider_mosaic.tasks.waiting import read_held, read_new

        hook = MosaicHook(self.mosaic_conn_id)
        try:
            with failing_at_once(*HOPELESS):
                checked_flag("deferrable", self.deferrable)
                checked_seconds("poll_interval", self.poll_interval)
                self._check()
                first = not (self._has_looked or self._was_rescheduled(context))
                # It may have begun just now: that it is not there is believed after a while.
                look = partial(read_new, lambda: self._read(hook))
                subject = look() if first else read_held(hook, look, name=self._name)
                self._has_looked = True
            self.log.info("%s is %s.", self._name, self._words(subject))
            if not self._judge(subject).ended:
                return None
            # Another look would show the same.
            with failing_at_once(MosaicError):
                self._finish(subject, hook)
            return PokeReturnValue(True, self._result(subject))
        except MosaicError as error:
            # A connection that is not there is looked up for some minutes and not until the sensor's timeout: its name
            # may be wrong.
            if not error.transient or isinstance(error, MosaicConnectionError):
                raise
            # Faults pass, and the sensor's own timeout bounds the wait.
            self.log.warning("%s Looking again later.", error)
            return None
        finally:
            hook.close()

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
        from airflow_provider_mosaic.tasks.failing import HOPELESS, failing_at_once
        from airflow_provider_mosaic.tasks.waiting import read_event

        for name, value in waited.items():
            if value:
                setattr(self, name, value)
        self._has_looked = True
        over: MosaicTimeoutError | None = None
        with self._failing_softly():
            try:
                with failing_at_once(*HOPELESS):
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
                raise over
        # It is going on again, or it can't be read just now.
        self._defer(context, began)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when the sensor's timeout is over, look first: it may have queued for a worker since.

        :param next_method: What Airflow wants to be called.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        # What Airflow calls and says when a trigger's time is over (TriggerFailureReason.TRIGGER_TIMEOUT).
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            self._has_looked = True
            with self._failing_softly():
                if seen := self.poke(context):
                    return seen.xcom_value
        return super().resume_execution(next_method, next_kwargs, context)

    def _defer(self, context: Context, began: float | None = None) -> NoReturn:
        """Wait in the triggerer; another deferral of the same try does not prolong its clocks."""
        from airflow_provider_mosaic.api.arguments import checked_seconds
        from airflow_provider_mosaic.tasks.waiting import earliest_deadline, start_of_try

        began = start_of_try(context, began)
        arguments = {
            **self._trigger_arguments(),
            "mosaic_conn_id": self.mosaic_conn_id,
            "poll_interval": checked_seconds("poll_interval", self.poll_interval),
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

    @contextmanager
    def _failing_softly(self) -> Iterator[None]:
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
