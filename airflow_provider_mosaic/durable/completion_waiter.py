"""Wait until an item is complete, on a worker or in the triggerer: deadlines, deferrals, and events of triggers."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.arguments import Validator, validate_id
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTimeoutError, MosaicTransportError
from airflow_provider_mosaic.api.metrics import POLLS, count
from airflow_provider_mosaic.api.poll_state import PollState, is_refusal
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.outages import raise_if_orphaned
from airflow_provider_mosaic.durable.reads import read_known
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState, recorded_id
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger
    from typing_extensions import Self

S = TypeVar("S")
log = logging.getLogger(__name__)

#: Seconds after the trigger's own deadline at which Airflow ends a trigger that does not respond.
_BACKSTOP = 120.0


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """
    The validated arguments of an operator that waits; those of all such operators. Their meanings are those of
    :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.
    """

    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float | None
    on_partial: str
    cancel_on_kill: bool = False

    @classmethod
    def validated(cls, known: Mapping[str, Validator], /, **arguments: Any) -> Self:
        """
        Validate an operator's arguments.

        :param known: The operator's validators. An argument without one is validated when its request is built.
        :raises MosaicValidationError: One of them is invalid.
        """
        return cls(**{name: known[name](name, value) if name in known else value for name, value in arguments.items()})


class CompletionWaiter(ABC, Generic[S]):
    """
    The wait of a task for the completion of an item, on workers and in the triggerer.

    :param state: Returns the saved state of the task. Called after a deferral, whose id may not be saved.
    """

    #: The kind of item in log lines.
    noun: ClassVar[str]
    #: What the item has not done at the end of the wait.
    not_ended: ClassVar[str]
    #: Name of the id among the arguments of ``execute_complete``. Airflow's database has it.
    id_argument: ClassVar[str]
    #: XCom key of the id.
    xcom_key: ClassVar[str]
    #: Kinds of item under which the task state store may have the id: see ``TaskState``.
    kinds: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        options: WaitOptions,
        hook: MosaicHook,
        context: Mapping[str, Any],
        *,
        state: Callable[[], TaskState],
    ) -> None:
        self._options = options
        self._state = state
        self.hook = hook
        self._context = context
        #: The item that the task started, once it is known.
        self.item_id: str | None = None
        #: Whether the task ended because Airflow raised a BaseException in it.
        self.is_interrupted = False
        #: The result of the newest poll, as a line of the timeout's error; empty before the first one.
        self._last_poll: tuple[str, ...] = ()
        # Whether the newest poll returned a documented status that is no end.
        self._was_pending = False

    @abstractmethod
    def _read_call(self, item_id: str) -> Call[S]:
        """Return the call that reads the item."""

    @abstractmethod
    def _poll_state(self, item_id: str, **options: Any) -> PollState[S]:
        """Return the state of a wait. The options are those of :class:`PollState` that all kinds share."""

    @abstractmethod
    def _trigger(self, item_id: str, **options: Any) -> BaseTrigger:
        """Return the trigger that waits. The options are those that all triggers share."""

    @abstractmethod
    def _count_end(self, item: S) -> None:
        """Count a completed or failed item in the metrics."""

    @abstractmethod
    def finish(self, item: S) -> str:
        """Return the id of a completed item, or raise if it failed."""

    @abstractmethod
    def _give_up(self, item_id: str) -> str:
        """Clean up an item that is not complete at the end of the wait. Return what that means, as a sentence."""

    def _timeout_error(self, item_id: str, *, is_final: bool) -> Exception:
        """
        Return the error for an item that is not complete at the end of the wait.

        :param is_final: Whether the deadline of all attempts has passed, and not only ``execution_timeout``.
        """
        name, limit = "execution_timeout", self._context["ti"].task.execution_timeout
        if is_final:
            name, limit = "timeout", timedelta(seconds=self._options.timeout or 0)
        error = MosaicTimeoutError(
            f"{self.noun} {item_id!r} {self.not_ended} within {name}={limit}.",
            rows=self._last_poll,
            means=self._give_up(item_id),
        )
        # The first attempt set the deadline: a retry would fail at once.
        return fail_exception(error) if is_final else error

    def _follow(self, item_id: str) -> None:
        """Set the item of the wait."""
        self.item_id = item_id

    def on_kill(self) -> None:
        """Handle a kill of the task, in a signal handler."""

    def is_stopped(self) -> bool:
        """Return whether the wait must end because the task was killed."""
        return False

    def wait(self, item_id: str, *, deadline: float | None, started_at: float | None = None) -> str:
        """
        Wait on the worker, or poll once and defer, or return at once without ``wait_for_completion``.

        :param deadline: The deadline that the first attempt set, in seconds since the epoch.
        :param started_at: When this task started the item, in seconds since the epoch. A new item may not be found yet.
        :returns: The id.
        :raises TaskDeferred: The wait continues in the triggerer.
        """
        self._follow(item_id)
        return self._wait(item_id, deadline=deadline, started_at=started_at)

    def continue_after_deferral(
        self,
        event: Mapping[str, Any] | None,
        item_id: str,
        *,
        deadline: float | None = None,
        try_started_at: float | None = None,
    ) -> str:
        """
        Continue after the wait in the triggerer: read the item again, and finish or wait on.

        :param deadline: The deadline that the first attempt set, in seconds since the epoch.
        :param try_started_at: The start of the attempt, in seconds since the epoch, as the deferral passed it on.
        """
        self._follow_and_save(item_id, deadline)
        is_over = False
        try:
            read_event(event, item_id, f"{self.noun} {item_id!r}")
        except MosaicTimeoutError:
            # The task may have queued for a worker since then. The item may be complete.
            is_over = True
        return self._wait(item_id, deadline=deadline, try_started_at=try_started_at, is_over=is_over)

    def _follow_and_save(self, item_id: str, deadline: float | None) -> None:
        self._follow(item_id)
        now, timeout = time.time(), self._options.timeout
        if deadline is None and timeout is not None:
            # dag.test() and a timeout of the trigger pass no deadline on.
            deadline = now + timeout
        try:
            self._state().save_missing(StartRecord(started_at=now, id=item_id, deadline=deadline))
        except MosaicError as error:
            # Templates are rendered again, and an argument may be invalid by now.
            log.warning("%s %r could not be saved for a retry. %s", self.noun, item_id, error)

    def on_trigger_timeout(self) -> str | None:
        """
        Read the item once more after Airflow ended the trigger by its timeout.

        :returns: The id, if the item is complete. None if the task must fail by Airflow's timeout.
        """
        item_id = self._saved_id()
        if item_id is None:
            return None
        self._follow_and_save(item_id, None)
        item = None if self.is_stopped() else self._poll(item_id, self._new_state(item_id), is_last=True)
        if item is not None:
            self._count_end(item)
            return self.finish(item)
        log_lines((*self._last_poll, self._give_up(item_id)), level=logging.WARNING)
        return None

    def _saved_id(self) -> str | None:
        """Return the id from XCom, or else from the task state store: Airflow does not pass it on after a timeout."""
        ti = self._context["ti"]
        failure: Exception | None = None
        for read in (self._read_pushed_id, lambda: recorded_id(self._context, self.kinds)):
            try:
                if id := read():
                    return id
            except Exception as error:
                failure = error
        if failure is None:
            return None
        raise MosaicTransportError(
            f"Airflow ended the wait of task {ti.task_id!r}, and the id of its {self.noun.lower()} could not be read "
            f"from XCom or the task state store ({type(failure).__name__}: {one_line(str(failure))}).",
            means=f"The {self.noun.lower()} was not cancelled or withdrawn. It may still cost credits or be published.",
            to_do="Without a retry, check it in Mosaic.",
            effect_unknown=False,
        ) from failure

    def _read_pushed_id(self) -> str | None:
        ti = self._context["ti"]
        id = ti.xcom_pull(task_ids=ti.task_id, key=self.xcom_key, map_indexes=ti.map_index)
        # A custom XCom backend may return another type.
        return None if id is None else validate_id(self.xcom_key, id)

    def _new_state(
        self, item_id: str, *, deadline: float | None = None, started_at: float | None = None
    ) -> PollState[S]:
        return self._poll_state(
            item_id,
            poll_interval=self._options.poll_interval,
            deadline=deadline,
            started_at=started_at,
            # A trigger logs its own progress.
            log=log.debug if self._options.deferrable else log.info,
        )

    def _wait(
        self,
        item_id: str,
        *,
        deadline: float | None,
        try_started_at: float | None = None,
        started_at: float | None = None,
        is_over: bool = False,
    ) -> str:
        """
        Poll until the item is complete; defer after the first poll if the wait is deferrable. After the deadline, one
        last poll decides.

        :param is_over: Whether the trigger reported the timeout.
        """
        if not (self._options.wait_for_completion or self.is_stopped()):
            return item_id
        try_started_at = start_of_try(self._context, try_started_at)
        earliest = earliest_deadline(self._context, try_started_at, deadline)
        state = self._new_state(item_id, deadline=earliest, started_at=started_at)
        while not self.is_stopped():
            # A poll that was sent before the deadline does not decide: one more does, with all retries.
            is_over = is_over or state.expired
            item = self._poll(item_id, state, is_last=is_over)
            if item is not None:
                self._count_end(item)
                return self.finish(item)
            if is_over or self.is_stopped():
                break
            if self._options.deferrable and not state.expired:
                raise TaskDeferred(
                    trigger=self._trigger(
                        item_id,
                        mosaic_conn_id=self.hook.mosaic_conn_id,
                        poll_interval=self._options.poll_interval,
                        deadline=earliest,
                        started_at=started_at,
                    ),
                    method_name="execute_complete",
                    kwargs={self.id_argument: item_id, "deadline": deadline, "try_started_at": try_started_at},
                    timeout=backstop(earliest, self._options.poll_interval),
                )
            self.sleep(state.pause())
        # Under dag.test(), which drops the deadline, both are None: the timeout is final too.
        raise self._timeout_error(item_id, is_final=deadline == earliest)

    def _poll(self, item_id: str, state: PollState[S], *, is_last: bool) -> S | None:
        """Poll with one request, or with all retries if this poll is the last one. Return the item if it has ended."""
        count(POLLS, "single")
        call = self._read_call(item_id)

        def read(retries: RetryPolicy | None = None) -> S | None:
            # The first use looks the connection up. If a kill interrupts a slow lookup, there is no time to read too.
            client = self.hook.client
            return None if self.is_stopped() else client.send(call, retries=retries)

        try:
            item = read_known(self.hook, read, name=f"{self.noun} {item_id!r}") if is_last else read(ONCE)
        except MosaicError as error:
            self._last_poll = (f"The last poll failed: {error.what}",)
            self._was_pending = False
            if is_last and is_refusal(error):
                # The refusal lasted minutes: see read_known. A retry continues the wait.
                raise
            if not is_last:
                state.record_error(error)
            if is_refusal(error):
                # The API key may have been replaced since.
                self.hook.renew()
            return None
        if item is None:
            return None
        outcome = state.record_success(item)
        self._last_poll = (f"The last poll returned: {state.description}.",)
        self._was_pending = outcome.known and not outcome.ended
        return item if outcome.ended else None

    def sleep(self, seconds: float) -> None:
        """
        Sleep, but not after the wait must end.

        :raises MosaicError: Airflow's supervisor of this process died.
        """
        # In parts: Python continues a sleep after a signal, and Airflow ends the process five seconds after a kill.
        while seconds > 0 and not self.is_stopped():
            raise_if_orphaned(f"{self.noun.lower()} {self.item_id!r}")
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0


def start_of_try(context: Mapping[str, Any], try_started_at: float | None = None) -> float:
    """
    Return when the task's attempt started, in seconds since the epoch.

    :param try_started_at: The start as a deferral passed it on. Airflow 3.1 returns the start of the current execution
        instead.
    """
    if try_started_at is not None:
        return try_started_at
    start = context["ti"].start_date
    return float(start.timestamp()) if start else time.time()


def earliest_deadline(context: Mapping[str, Any], try_started_at: float, deadline: float | None = None) -> float | None:
    """
    Return the deadline or the end of ``execution_timeout``, whichever is earlier, in seconds since the epoch.

    ``execution_timeout`` counts from the start of the attempt. Airflow does not check it while the task is deferred.
    """
    execution_timeout: timedelta | None = context["ti"].task.execution_timeout
    if execution_timeout is None:
        return deadline
    end = try_started_at + execution_timeout.total_seconds()
    return end if deadline is None else min(end, deadline)


def backstop(deadline: float | None, poll_interval: float) -> timedelta | None:
    """
    Return after which time Airflow ends the trigger. A trigger ends at its own deadline, unless it does not respond.

    :param poll_interval: The longest pause between two polls.
    """
    if deadline is None:
        return None
    return timedelta(seconds=max(0.0, deadline - time.time()) + 2 * poll_interval + _BACKSTOP)


def read_event(event: Mapping[str, Any] | None, item_id: str, name: str) -> None:
    """
    Raise the error that a trigger's event reports, if it reports one about this item.

    :param name: The item, as an error starts with it.
    :raises MosaicTimeoutError: The deadline passed.
    :raises MosaicError: The item could not be read.
    """
    outcome = event.get("outcome") if isinstance(event, Mapping) else None
    if event is None or outcome not in ("ended", "timeout", "error") or event.get("id") != item_id:
        # SQLite reuses the ids of triggers, and returns the event of a deleted trigger.
        log.warning("%s received the event of another trigger. Reading it again.", name)
        return
    if outcome == "timeout":
        raise MosaicTimeoutError(f"{name} is not complete within its timeout.")
    if outcome == "error":
        kind = getattr(errors, str(event.get("error")), MosaicError)
        error = kind if isinstance(kind, type) and issubclass(kind, MosaicError) else MosaicError
        raise error(
            f"{name} could not be read by its trigger. {event.get('message')}",
            transient=bool(event.get("transient")),
        )
