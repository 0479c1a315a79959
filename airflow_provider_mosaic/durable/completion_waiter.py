"""
What every wait of a task has in common: here or in the triggerer, by which clock, and how an event is read.

What is waited for is a matter of the subclasses of :class:`CompletionWaiter`; sensors use the pieces below it.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicTimeoutError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.options import RUN_AGENT
from airflow_provider_mosaic.api.poll_state import NOT_FOUND_GRACE, FailureTolerance, PollState, is_refusal
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.search import ProgressLog
from airflow_provider_mosaic.durable.task_state import recorded_id
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

S = TypeVar("S")
log = logging.getLogger(__name__)

#: How much later than the trigger's own deadline Airflow gives up on a trigger that says nothing at all.
_BACKSTOP = 120.0
#: Seconds between the looks for what may be new.
_NEW_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: The longest pause while something may not be read.
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, kw_only=True)
class Deferral:
    """
    How a task goes on waiting in the triggerer.

    :param trigger: What waits.
    :param kwargs: What the method that goes on is called with, besides the event.
    :param timeout: When Airflow gives up on the trigger.
    """

    trigger: BaseTrigger
    kwargs: dict[str, Any]
    timeout: timedelta | None


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """
    The clocks of one try, in seconds since the epoch.

    :param deadline: The order's own, which its first try has set.
    :param began: When the try began.
    :param first_to_run_out: The earlier one of the order's deadline and the end of ``execution_timeout``.
    """

    deadline: float | None
    started_at: float
    first_to_run_out: float | None

    @classmethod
    def of(cls, context: Mapping[str, Any], deadline: float | None, began: float | None = None) -> Deadlines:
        """
        Those of the present try.

        :param context: The task's context.
        :param deadline: The order's own.
        :param began: When the try began, if that was handed on.
        """
        began = start_of_try(context, began)
        return cls(
            deadline=deadline, started_at=began, first_to_run_out=earliest_deadline(context, deadline, began=began)
        )


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """
    How to wait, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.runs.MosaicRunAgentOperator`.
    """

    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float | None
    on_partial: str
    cancel_on_kill: bool = False

    @classmethod
    def validated(cls, **options: Any) -> WaitOptions:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        return cls(**{name: RUN_AGENT[name](name, value) for name, value in options.items()})


class CompletionWaiter(ABC, Generic[S]):
    """
    The wait of a task for the end of what it began, over all its parts on workers and in the triggerer.

    :param order: How to wait.
    :param hook: The connection.
    """

    #: What it is, as a log line begins with it.
    noun: ClassVar[str]
    #: What ``execute_complete`` calls the id. Airflow's database keeps it over upgrades.
    key: ClassVar[str]
    #: XCom key of the id.
    id_key: ClassVar[str]
    #: Under which kinds the task state store may have it: see ``TaskMemory``.
    kinds: ClassVar[tuple[str, ...]]

    def __init__(self, order: WaitOptions, hook: MosaicHook) -> None:
        self._order = order
        self._hook = hook

    @abstractmethod
    def _read(self, subject_id: str) -> Call[S]:
        """Reads what is waited for."""

    @abstractmethod
    def _poll_state(self, subject_id: str, **course: Any) -> PollState[S]:
        """The course of the wait, with what is the same for all: poll_interval, deadline, noted, begun."""

    @abstractmethod
    def _trigger(self, subject_id: str, **course: Any) -> BaseTrigger:
        """What waits in the triggerer; the same for all: mosaic_conn_id, poll_interval, deadline, begun."""

    @abstractmethod
    def _finish(self, context: Mapping[str, Any], subject: S) -> str:
        """What the end comes to: the id, or an exception."""

    @abstractmethod
    def _timeout_error(self, context: Mapping[str, Any], subject_id: str, clocks: Deadlines) -> Exception:
        """What to raise when the wait is over and the end has not come."""

    def _stopped(self) -> bool:
        """Whether the task was killed meanwhile."""
        return False

    def wait(
        self, context: Mapping[str, Any], subject_id: str, *, deadline: float | None, begun: float | None = None
    ) -> str | Deferral:
        """
        Wait here, or take the first look here and the others in the triggerer; not at all if the order says so.

        :param context: The task's context.
        :param subject_id: What was begun.
        :param deadline: The order's own deadline, in seconds since the epoch.
        :param begun: When it was started, in seconds since the epoch, if this task has started it.
        :returns: The id, or how to wait for it in the triggerer.
        """
        if not self._order.wait_for_completion:
            return subject_id
        return self._wait(context, subject_id, Deadlines.of(context, deadline), begun=begun)

    def resume(
        self,
        context: Mapping[str, Any],
        event: Mapping[str, Any] | None,
        subject_id: str,
        *,
        deadline: float | None = None,
        began: float | None = None,
    ) -> str | Deferral:
        """
        Go on after the wait in the triggerer: look anew, and judge the end or wait on.

        :param context: The task's context.
        :param event: What the trigger says.
        :param subject_id: What was waited for.
        :param deadline: The order's own deadline, in seconds since the epoch.
        :param began: When the try began, in seconds since the epoch, as it was handed on.
        """
        clocks = Deadlines.of(context, deadline, began)
        over = False
        try:
            read_event(event, subject_id, f"{self.noun} {subject_id!r}")
        except MosaicTimeoutError:
            # The task may have queued for a worker since, and what it waits for has ended.
            over = True
        return self._wait(context, subject_id, clocks, begun=None, over=over)

    def resume_after_timeout(self, context: Mapping[str, Any]) -> str | None:
        """
        Go on after Airflow gave up the trigger: read the end, which may have come since, or give up too.

        :param context: The task's context.
        :returns: The id, if it has ended well; None if the task must fail for Airflow's timeout.
        """
        subject_id = self._known_id(context)
        if subject_id is None:
            return None
        watch = self._poll_state(
            subject_id, noted=log.info, poll_interval=self._order.poll_interval, deadline=None, begun=None
        )
        try:
            subject = self._poll(self._read(subject_id), subject_id, patiently=True)
        except MosaicError as error:
            if is_refusal(error):
                raise
            log.warning("%s %r could not be read. %s", self.noun, subject_id, error)
        else:
            if watch.record_success(subject).ended:
                return self._finish(context, subject)
        self.on_trigger_timeout(context, subject_id)
        return None

    def on_trigger_timeout(self, context: Mapping[str, Any], subject_id: str) -> None:
        """The task fails, for Airflow's timeout: what becomes of what it waited for."""

    def _known_id(self, context: Mapping[str, Any]) -> str | None:
        """What the task waits for, where Airflow does not hand it on: by its XCom or its state store."""
        ti = context["ti"]
        failure: Exception | None = None
        for read in (
            lambda: ti.xcom_pull(task_ids=ti.task_id, key=self.id_key, map_indexes=ti.map_index),
            lambda: recorded_id(context, self.kinds),
        ):
            try:
                known = read()
            except Exception as error:
                failure = error
            else:
                if known:
                    return str(known)
        if failure is None:
            return None
        raise MosaicTransportError(
            f"Airflow gave up the wait of task {ti.task_id!r}, and its {self.noun.lower()}'s id could not be read from "
            f"XCom or the task state store ({type(failure).__name__}: {one_line(str(failure))}). It may be going on. A "
            "retry continues with it; without one, look for it in Mosaic.",
            effect_unknown=False,
        ) from failure

    def _poll(self, call: Call[S], subject_id: str, *, patiently: bool) -> S:
        """
        Read what is waited for: once, since another look follows; or with every patience, when the clock is over and
        this look decides.
        """
        if not patiently:
            return self._hook.send(call, retries=ONCE)
        return read_known(self._hook, lambda: self._hook.send(call), name=f"{self.noun} {subject_id!r}")

    def _wait(
        self,
        context: Mapping[str, Any],
        subject_id: str,
        clocks: Deadlines,
        *,
        begun: float | None,
        over: bool = False,
    ) -> str | Deferral:
        course = {"poll_interval": self._order.poll_interval, "deadline": clocks.first_to_run_out, "begun": begun}
        # What is waited for in the triggerer is logged there.
        watch = self._poll_state(subject_id, noted=log.debug if self._order.deferrable else log.info, **course)
        call = self._read(subject_id)
        over = over or watch.expired
        while not self._stopped():
            try:
                subject = self._poll(call, subject_id, patiently=over)
            except MosaicError as error:
                if over and is_refusal(error):
                    # It lasted minutes, and what can't be read can't be cancelled: a retry goes on with it.
                    raise
                watch.record_error(error)
                if is_refusal(error):
                    # The API key may have been replaced since.
                    self._hook.renew()
            else:
                if watch.record_success(subject).ended:
                    return self._finish(context, subject)
            if over or watch.expired or self._stopped():
                break
            if self._order.deferrable:
                return Deferral(
                    trigger=self._trigger(subject_id, mosaic_conn_id=self._hook.mosaic_conn_id, **course),
                    kwargs={self.key: subject_id, "deadline": clocks.deadline, "began": clocks.started_at},
                    timeout=backstop(clocks.first_to_run_out, self._order.poll_interval),
                )
            self._pause(watch.pause())
        raise self._timeout_error(context, subject_id, clocks)

    def _pause(self, seconds: float) -> None:
        # Python sleeps on after a signal, and five seconds after a kill Airflow ends the process.
        while seconds > 0 and not self._stopped():
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0


def read_started(hook: MosaicHook, call: Call[S], *, begun: float) -> S:
    """
    Read what an earlier try began. That it is not there is only believed once it has had time to be found everywhere,
    and that it may not be read after some minutes.

    :param hook: The connection.
    :param call: Reads it.
    :param begun: When it was begun, in seconds since the epoch.
    :raises MosaicNotFoundError: It is not there.
    """
    pause = 1.0
    patience = ProgressLog("What an earlier try began is not found yet; it may need time to appear.", time.time())
    while True:
        try:
            return read_known(hook, lambda: hook.send(call), name="What an earlier try began")
        except MosaicNotFoundError:
            left = begun + NOT_FOUND_GRACE - time.time()
            if left <= 0:
                raise
            for piece in patience.split_pause(min(pause, left)):
                time.sleep(piece)
                patience.log_if_due(log.info, time.time())
            pause *= 2


def read_new(read: Callable[[], S]) -> S:
    """
    Read for the first time what may have been started elsewhere a moment ago. That it is not there, or may not be
    read, is believed after a quarter of a minute: a wrong key was wrong from the start.

    :param read: Reads it.
    :raises MosaicError: It can't be read.
    """
    for pause in _NEW_PAUSES:
        try:
            return read()
        except MosaicError as error:
            if not (isinstance(error, MosaicNotFoundError) or is_refusal(error)):
                raise
            time.sleep(pause)
    return read()


def read_known(hook: MosaicHook, read: Callable[[], S], *, name: str) -> S:
    """
    Read what could be read before. That it may not be read is believed when a wait would believe it: see
    :class:`~airflow_provider_mosaic.api.poll_state.Faults`.

    :param hook: The connection; it is looked up again after each refusal.
    :param read: Reads it.
    :param name: What it is, as a log line begins with it.
    :raises MosaicError: It can't be read.
    """
    faults = FailureTolerance(name, log.warning, now=time.time)
    pause = 1.0
    while True:
        try:
            return read()
        except MosaicError as error:
            if not is_refusal(error):
                raise
            faults.record_error(error)
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
        hook.renew()


def start_of_try(context: Mapping[str, Any], began: float | None = None) -> float:
    """
    When the task's try began, in seconds since the epoch.

    :param context: The task's context.
    :param began: What the part before a deferral has handed on: Airflow 3.1 only says when the present part began.
    """
    if began is not None:
        return began
    start = context["ti"].start_date
    return float(start.timestamp()) if start else time.time()


def earliest_deadline(context: Mapping[str, Any], *deadlines: float | None, began: float | None = None) -> float | None:
    """
    The first of all clocks to run out, in seconds since the epoch.

    ``execution_timeout`` counts from the start of the task's try even while it is deferred, when nobody else looks.

    :param context: The task's context.
    :param deadlines: Other clocks.
    :param began: When the try began, if that was handed on.
    """
    clocks = [deadline for deadline in deadlines if deadline is not None]
    limit: timedelta | None = context["ti"].task.execution_timeout
    if limit is not None:
        clocks.append(start_of_try(context, began) + limit.total_seconds())
    return min(clocks, default=None)


def backstop(deadline: float | None, poll_interval: float) -> timedelta | None:
    """
    When Airflow itself gives up on the trigger; only for a trigger that died, since the trigger keeps its deadline.

    :param deadline: The deadline of the wait.
    :param poll_interval: The longest pause between two looks.
    """
    if deadline is None:
        return None
    return timedelta(seconds=max(0.0, deadline - time.time()) + 2 * poll_interval + _BACKSTOP)


def read_event(event: Mapping[str, Any] | None, subject_id: str, name: str) -> None:
    """
    Check a trigger's event and raise what it says went wrong; nothing is raised when the wait ended by itself, or when
    the event is not its own.

    :param event: The payload.
    :param subject_id: The id of what was waited for.
    :param name: What to call it.
    :raises MosaicTimeoutError: The deadline passed.
    :raises MosaicError: It could not be read.
    """
    outcome = event.get("outcome") if isinstance(event, Mapping) else None
    if event is None or outcome not in ("ended", "timeout", "error") or event.get("id") != subject_id:
        # SQLite gives a trigger's number again, and with it the event of a trigger that is gone. Looking anew is right
        # whatever the event says.
        log.warning("The wait for %s came back with an event that is not its own: looking anew.", name)
        return
    if outcome == "timeout":
        raise MosaicTimeoutError(f"{name} has not ended in the time given for it.")
    if outcome == "error":
        kind = getattr(errors, str(event.get("error")), MosaicError)
        error = kind if isinstance(kind, type) and issubclass(kind, MosaicError) else MosaicError
        raise error(
            f"The wait for {name} was given up; it may be going on. {event.get('message')}",
            transient=bool(event.get("transient")),
        )
