"""What every sensor that waits for an end does alike: look, wait on a worker or in the triggerer, fail softly."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class EndSensor(BaseSensorOperator):
    """
    A sensor that waits for something to end. It only looks.

    :param deferrable: Whether it waits in the triggerer.
    :param poll_interval: The pause between two looks.
    :param mosaic_conn_id: The connection.
    """

    ui_color = "#e9e4fb"

    def __init__(
        self, *, deferrable: bool, poll_interval: float | timedelta, mosaic_conn_id: str, **kwargs: Any
    ) -> None:
        kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.mosaic_conn_id = mosaic_conn_id

    @abstractmethod
    def _check(self) -> None:
        """Refuse wrong arguments, before anything is read."""

    @abstractmethod
    def _read(self, hook: MosaicHook) -> Any:
        """What is waited for, as it is now."""

    @abstractmethod
    def _ended(self, subject: Any) -> bool:
        """Whether it has ended; one that ended badly fails, or is skipped."""

    @abstractmethod
    def _result(self, subject: Any) -> Any:
        """The ``return_value`` for what has ended."""

    @abstractmethod
    def _trigger(self, *, poll_interval: float, deadline: float | None) -> BaseTrigger:
        """What waits in the triggerer."""

    @abstractmethod
    def _subject(self) -> dict[str, Any]:
        """What ``execute_complete`` is called with, besides the event. Airflow's database keeps it over upgrades."""

    def execute(self, context: Context) -> Any:
        """
        Look, and wait here or in the triggerer.

        :param context: The task's context.
        """
        if not self.deferrable:
            return super().execute(context)
        with self._skipping_softly():
            if seen := self.poke(context):
                return seen.xcom_value
        self._defer(context)

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """
        Look once.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.api.arguments import checked_flag, checked_seconds
        from airflow_provider_mosaic.api.errors import MosaicError
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.failing import failing_at_once

        hook = MosaicHook(self.mosaic_conn_id)
        try:
            with failing_at_once():
                checked_flag("deferrable", self.deferrable)
                checked_seconds("poll_interval", self.poll_interval)
                self._check()
                subject = self._found(hook)
        except MosaicError as error:
            if not error.transient:
                raise
            # Faults pass, and the sensor's own timeout bounds the wait.
            self.log.warning("%s Looking again later.", error)
            return None
        finally:
            hook.close()
        return PokeReturnValue(True, self._result(subject)) if self._ended(subject) else None

    def _found(self, hook: MosaicHook) -> Any:
        """What is waited for; that it is not there is believed after a while, for it may have begun just now."""
        from airflow_provider_mosaic.tasks.waiting import read_new

        return read_new(lambda: self._read(hook))

    def _go_on(
        self, context: Context, event: dict[str, Any] | None, subject_id: str, name: str, began: float | None
    ) -> Any:
        """Go on after the wait in the triggerer: look anew, and wait on if it has not ended."""
        from airflow_provider_mosaic.tasks.failing import failing_at_once
        from airflow_provider_mosaic.tasks.waiting import read_event

        with failing_at_once():
            read_event(event, subject_id, name)
        if seen := self.poke(context):
            return seen.xcom_value
        # It is going on again, or it can't be read just now.
        self._defer(context, began)

    def _defer(self, context: Context, began: float | None = None) -> NoReturn:
        """Wait in the triggerer; another deferral of the same try does not prolong its clocks."""
        from airflow_provider_mosaic.api.arguments import checked_seconds
        from airflow_provider_mosaic.tasks.waiting import earliest_deadline, start_of_try

        began = start_of_try(context, began)

        self.defer(
            trigger=self._trigger(
                poll_interval=checked_seconds("poll_interval", self.poll_interval),
                # Airflow itself looks at execution_timeout only on a worker.
                deadline=earliest_deadline(context, began=began),
            ),
            method_name="execute_complete",
            kwargs={**self._subject(), "began": began},
            timeout=timedelta(seconds=max(0.0, began + self.timeout - time.time())),
        )
        raise AssertionError("defer does not return")

    @contextmanager
    def _skipping_softly(self) -> Iterator[None]:
        """Where the sensor does not loop by itself, the failure that ``soft_fail`` turns into a skip."""
        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        try:
            yield
        except AirflowFailException as failure:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped, since the sensor may fail softly: {failure}") from failure
            raise
