"""The base class of sensors: poll on a worker or in the triggerer, and fail or skip."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_mosaic.api.arguments import validate_seconds
from airflow_provider_mosaic.base import MosaicBaseOperator, is_mapped_item, is_trigger_timeout

if TYPE_CHECKING:
    from airflow.sdk import Context
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.errors import MosaicTimeoutError
    from airflow_provider_mosaic.api.outcomes import StatusOutcome
    from airflow_provider_mosaic.api.poll_state import PollOptions, PollState
    from airflow_provider_mosaic.base import Text
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


class CompletionSensor(MosaicBaseOperator, BaseSensorOperator):
    """
    Base class of sensors. A sensor only reads: it starts, cancels and publishes nothing.

    :param deferrable: Whether to wait in the triggerer, without a worker.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    #: The class path of the trigger that waits in the triggerer.
    _trigger_class: ClassVar[str]
    #: The argument with the item's id: of the sensor, of its trigger and of ``execute_complete``. Airflow's database
    #: keeps it over upgrades.
    _id_argument: ClassVar[str]

    def __init__(
        self, *, deferrable: bool, poll_interval: float | timedelta, mosaic_conn_id: Text, **kwargs: Any
    ) -> None:
        default_args = kwargs.get("default_args") or {}
        try:
            # Airflow's own error would name poke_interval, and Airflow takes True for one second.
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
        self._has_read = False
        # Logged last, to log it once.
        self._logged_error: str | None = None

    # Each sensor defines what it waits for.

    @abstractmethod
    def _read(self, hook: MosaicHook) -> Any:
        """Read the item."""

    @abstractmethod
    def _poll_state(self, **options: Unpack[PollOptions]) -> PollState[Any]:
        """Return the state of the wait for the item."""

    def _finish(self, context: Context, item: Any, hook: MosaicHook) -> None:
        """Fail or skip if the item did not end well."""

    def _item_arguments(self) -> dict[str, Any]:
        """Return the arguments of the trigger and of ``execute_complete`` that say what to wait for."""
        return {self._id_argument: self._id}

    def _return_value(self, item: Any) -> Any:
        return self._id

    @property
    def _id(self) -> str:
        """The item's id, as the trigger's event has it."""
        return str(getattr(self, self._id_argument))

    @cached_property
    def _state(self) -> PollState[Any]:
        poll_interval = validate_seconds("poll_interval", self.poll_interval)
        # A trigger logs its own progress.
        return self._poll_state(
            poll_interval=poll_interval, deadline=None, log=self.log.debug if self.deferrable else self.log.info
        )

    # All sensors poll and defer in the same way.

    def execute(self, context: Context) -> Any:
        """Wait on a worker; or poll once, and defer."""
        self._keep_constants(context)
        if not self.deferrable:
            with self._adding_timeout_advice():
                return super().execute(context)
        with self._skipping_if_soft_fail():
            if ended := self.poke(context):
                return ended.xcom_value
        self._defer(context)

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None, try_started_at: float | None = None, **item: Any
    ) -> Any:
        """
        Continue after the deferral: poll once, and defer again if the item has not ended.

        :param event: The trigger's event.
        :param try_started_at: When the attempt started, in seconds since the epoch.
        :param item: What the sensor deferred for; its template may render to another value since. Empty if the wait
            started in the triggerer, and under ``dag.test()`` (https://github.com/apache/airflow/issues/69942).
        """
        self._keep_constants(context)
        for name, value in item.items():
            if value:
                setattr(self, name, value)
        self._has_read = True
        with self._skipping_if_soft_fail():
            timeout_error = self._read_event(context, event)
            # The item may have ended while the task was queued for a worker.
            if ended := self.poke(context):
                return ended.xcom_value
            if timeout_error is not None:
                with self._adding_consequences(context):
                    raise timeout_error
        self._defer(context, try_started_at)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. At the sensor's timeout poll once more: the item may have ended since."""
        with self._adding_timeout_advice():
            if is_trigger_timeout(next_method, next_kwargs):
                self._keep_constants(context)
                self._has_read = True
                with self._skipping_if_soft_fail():
                    if ended := self.poke(context):
                        return ended.xcom_value
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """
        Poll once.

        A refused first read (wrong API key, an item of another organization) fails the task after 15 seconds, and a
        refused later read after some minutes. Both fail without retries, because a retry would be refused too.
        """
        from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        hook = MosaicHook(self.mosaic_conn_id)
        with self._adding_consequences(context):
            try:
                return self._poll(context, hook)
            except MosaicError as error:
                # The id of the connection may be wrong: fail now, and not at the sensor's timeout.
                if not error.transient or isinstance(error, MosaicConnectionError):
                    raise
                if str(error) != self._logged_error:
                    self.log.warning("%s The sensor polls again.", error)
                self._logged_error = str(error)
                return None
            finally:
                hook.close()

    def _poll(self, context: Context, hook: MosaicHook) -> PokeReturnValue | None:
        from airflow_provider_mosaic.api.errors import MosaicError
        from airflow_provider_mosaic.api.metrics import POLLS, count
        from airflow_provider_mosaic.api.poll_state import REFUSALS
        from airflow_provider_mosaic.durable.failures import fail_without_retry
        from airflow_provider_mosaic.durable.outages import raise_if_orphaned
        from airflow_provider_mosaic.durable.reads import read_known, read_new

        with fail_without_retry(*REFUSALS):
            for name, validator in self._options.items():
                validator(name, getattr(self, name))
            raise_if_orphaned(self._state.name)
            read = partial(self._read, hook)
            is_first = not (self._has_read or self._was_rescheduled(context))
            count(POLLS, "single")
            item = read_new(read) if is_first else read_known(hook, read, name=self._state.name)
            self._has_read = True
        self._logged_error = None
        outcome = self._state.record_success(item)
        if not outcome.ended:
            if self._was_rescheduled(context):
                self._warn_unknown_status(outcome, context)
            return None
        # The item has ended: a retry would read the same.
        with fail_without_retry(MosaicError):
            self._finish(context, item, hook)
        return PokeReturnValue(True, self._return_value(item))

    def _read_event(self, context: Context, event: dict[str, Any] | None) -> MosaicTimeoutError | None:
        """Raise the error of a trigger's event, unless it is transient. Return a timeout: another poll decides."""
        from airflow_provider_mosaic.api.errors import MosaicError, MosaicTimeoutError
        from airflow_provider_mosaic.api.poll_state import REFUSALS
        from airflow_provider_mosaic.durable.completion_waiter import read_event
        from airflow_provider_mosaic.durable.failures import fail_without_retry

        with self._adding_consequences(context):
            try:
                with fail_without_retry(*REFUSALS):
                    read_event(event, self._id, self._state.name)
            except MosaicTimeoutError as error:
                return error
            except MosaicError as error:
                if not error.transient:
                    raise
                # The trigger gave up after a long outage. Only the sensor's timeout ends the wait, as on a worker.
                self.log.warning("%s The sensor polls again.", error)
        return None

    def _defer(self, context: Context, try_started_at: float | None = None) -> NoReturn:
        """Defer. Deferring again in the same attempt extends no deadline."""
        from airflow_provider_mosaic.durable.completion_waiter import earliest_deadline, start_of_try

        try_started_at = start_of_try(context, try_started_at)
        arguments = {
            **self._item_arguments(),
            "mosaic_conn_id": self.mosaic_conn_id,
            "poll_interval": validate_seconds("poll_interval", self.poll_interval),
            # Airflow itself enforces execution_timeout only on a worker.
            "deadline": earliest_deadline(context, try_started_at),
        }
        module, _, name = self._trigger_class.rpartition(".")
        self.defer(
            trigger=getattr(import_module(module), name)(**arguments),
            method_name="execute_complete",
            kwargs={**self._item_arguments(), "try_started_at": try_started_at},
            timeout=timedelta(seconds=max(0.0, try_started_at + self.timeout - time.time())),
        )
        raise AssertionError("defer does not return")

    # Logs and failures

    def _warn_unknown_status(self, outcome: StatusOutcome, context: Context) -> None:
        """Warn of a status that stays unknown for an hour. A rescheduled sensor does not remember the last poll."""
        from airflow_provider_mosaic.api.poll_state import UNKNOWN_STATUS_TIMEOUT, unknown_status_warning

        first = context["ti"].get_first_reschedule_date(context)
        waited = time.time() - first.timestamp() if first else 0.0
        # A window of one and a half pauses contains one or two polls.
        if not outcome.known and 0 <= waited - UNKNOWN_STATUS_TIMEOUT < 1.5 * self.poke_interval:
            log.warning("%s", unknown_status_warning(self._state.name, outcome.status, waited))

    def _was_rescheduled(self, context: Context) -> bool:
        return self.reschedule and bool(context.get("task_reschedule_count"))

    @property
    def _failure_log_level(self) -> int:
        return logging.WARNING if self.soft_fail or self.never_fail else logging.ERROR

    def _adding_consequences(self, context: Context) -> AbstractContextManager[None]:
        """Add what a failure means, and what to do, to the errors of the block, and log them."""
        from airflow_provider_mosaic.durable.failures import Consequences, adding_consequences

        consequences = Consequences(
            means="The sensor only reads: it has started, cancelled and published nothing.",
            retry="waits again",
            choices=("Clear this task to wait again.",),
        )
        return adding_consequences(context, lambda _: consequences, level=self._failure_log_level)

    @contextmanager
    def _adding_timeout_advice(self) -> Iterator[None]:
        """Log what Airflow's own timeout means. Its error only has the duration."""
        from airflow.providers.common.compat.sdk import AirflowSkipException

        from airflow_provider_mosaic.durable.failures import log_lines

        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            # By name: Airflow 3.1 has these classes in another module.
            if type(error).__name__ in ("AirflowSensorTimeout", "TaskDeferralTimeout"):
                log_lines(
                    (
                        f"{self._state.name} has not ended within timeout={timedelta(seconds=self.timeout)}.",
                        "The sensor only reads: what it waited for was not cancelled, and may keep running.",
                        "Clear this task to wait again, or give it a longer timeout.",
                    ),
                    level=self._failure_log_level,
                )
            raise

    @contextmanager
    def _skipping_if_soft_fail(self) -> Iterator[None]:
        """Turn failures into a skip if ``soft_fail`` is set. Airflow does so only for a sensor that pokes."""
        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError

        try:
            yield
        except (AirflowFailException, MosaicError) as failure:
            # If Airflow did not return the connection, nothing is known about the item, and a retry may help.
            soft = self.soft_fail and not isinstance(failure, MosaicConnectionError)
            if soft or self.never_fail:
                option = "soft_fail" if soft else "never_fail"
                raise AirflowSkipException(f"The sensor is skipped because of {option}=True. {failure}") from failure
            raise
