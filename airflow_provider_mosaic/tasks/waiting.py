"""What operators and sensors share about waiting: the loop on a worker, the deadline, and how an event is read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError, MosaicTimeoutError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.waiting import SETTLING, Watch
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

S = TypeVar("S")
log = logging.getLogger(__name__)

#: How much later than the trigger's own deadline Airflow gives up on a trigger that says nothing at all.
_BACKSTOP = 120.0
#: Seconds between the looks for what may be new.
_NEW_PAUSES = (1.0, 2.0, 4.0, 8.0)


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


def wait_on_worker(
    hook: MosaicHook, call: Call[S], watch: Watch[S], *, stopped: Callable[[], bool] = lambda: False
) -> S | None:
    """
    Look, take in, sleep, until what is waited for has ended.

    :param hook: The connection.
    :param call: Reads what is waited for.
    :param watch: The course of the wait.
    :param stopped: Whether the task was killed meanwhile.
    :returns: What has ended; None when the deadline passed or the task was killed.
    :raises MosaicError: It can't be read, for good.
    """
    while not stopped():
        try:
            subject = hook.send(call, retries=ONCE)
        except MosaicError as error:
            watch.failed(error)
        else:
            if watch.saw(subject).ended:
                return subject
        if watch.expired:
            return None
        time.sleep(watch.pause())
    return None


def read_begun(hook: MosaicHook, call: Call[S], *, begun: float) -> S:
    """
    Read what an earlier try began. That it is not there is only believed once it has had time to be found everywhere.

    :param hook: The connection.
    :param call: Reads it.
    :param begun: When it was begun, in seconds since the epoch.
    :raises MosaicNotFoundError: It is not there.
    """
    pause = 1.0
    while True:
        try:
            return hook.send(call)
        except MosaicNotFoundError:
            left = begun + SETTLING - time.time()
            if left <= 0:
                raise
            time.sleep(min(pause, left))
            pause *= 2


def read_new(read: Callable[[], S]) -> S:
    """
    Read what somebody else may have begun a moment ago. That it is not there is believed after a quarter of a minute.

    :param read: Reads it.
    :raises MosaicNotFoundError: It is not there.
    """
    for pause in _NEW_PAUSES:
        try:
            return read()
        except MosaicNotFoundError:
            time.sleep(pause)
    return read()


def earliest_deadline(context: Mapping[str, Any], *deadlines: float | None) -> float | None:
    """
    The first of all clocks to run out, in seconds since the epoch.

    ``execution_timeout`` counts from the start of the task's try even while it is deferred, when nobody else looks.

    :param context: The task's context.
    :param deadlines: Other clocks.
    """
    clocks = [deadline for deadline in deadlines if deadline is not None]
    ti = context["ti"]
    limit: timedelta | None = ti.task.execution_timeout
    if limit is not None:
        began = ti.start_date.timestamp() if ti.start_date else time.time()
        clocks.append(began + limit.total_seconds())
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
