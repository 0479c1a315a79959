"""What a task and its trigger pass to each other: deadlines, arguments and events."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import errors
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTimeoutError

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

#: Seconds after the trigger's own deadline at which Airflow ends a trigger that does not respond.
_BACKSTOP = 120.0


@dataclass(frozen=True, kw_only=True)
class Deferral:
    """
    How a task continues to wait in the triggerer: the arguments of ``BaseOperator.defer``.

    :param kwargs: Arguments of ``execute_complete``, besides the event.
    :param timeout: When Airflow ends the trigger.
    """

    trigger: BaseTrigger
    kwargs: dict[str, Any]
    timeout: timedelta | None


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


def earliest_deadline(
    context: Mapping[str, Any], *deadlines: float | None, try_started_at: float | None = None
) -> float | None:
    """
    Return the earliest of some deadlines and the end of ``execution_timeout``, in seconds since the epoch.

    ``execution_timeout`` counts from the start of the attempt. Airflow does not check it while the task is deferred.

    :param try_started_at: The start of the attempt, if a deferral passed it on.
    """
    known = [deadline for deadline in deadlines if deadline is not None]
    execution_timeout: timedelta | None = context["ti"].task.execution_timeout
    if execution_timeout is not None:
        known.append(start_of_try(context, try_started_at) + execution_timeout.total_seconds())
    return min(known, default=None)


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
