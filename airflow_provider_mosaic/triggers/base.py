"""Base class of the triggers that wait for one thing."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.poll_state import PollOptions
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.log_thread import log_in_thread
from airflow_provider_mosaic.triggers.polled_waits import Wait
from airflow_provider_mosaic.triggers.shared_pollers import poll_until_done

#: One logger for all waits: ``BaseTrigger.log`` would be a logger for each, a third of the objects of a wait. Airflow
#: takes the task of a log line from the context.
log = logging.getLogger(__name__)
_log_info, _log_warning = partial(log_in_thread, log.info), partial(log_in_thread, log.warning)


@dataclass(kw_only=True, eq=False, repr=False)
class WaitTrigger(BaseTrigger):
    """
    Wait for one thing to end, and fire one event. The wait only reads; only ``MosaicRunTrigger.on_kill`` sends a
    change.

    The fields are the arguments. Airflow keeps them as JSON in its database, also over an upgrade of this provider:
    each new one needs a default.

    The event is ``{"outcome": "ended", "id": ..., "status": ...}``. After the deadline it is
    ``{"outcome": "timeout", "id": ...}``. If the status could not be read, the outcome is ``error``, and the event has
    ``error`` (the class of the exception), ``message`` and ``transient`` instead of the status.

    :param mosaic_conn_id: The connection.
    :param poll_interval: Longest pause between two polls, in seconds. The first pauses are shorter.
    :param deadline: End of the wait, in seconds since the epoch; None waits without a limit. A restart of the triggerer
        does not extend it.
    """

    mosaic_conn_id: str = MosaicHook.default_conn_name
    poll_interval: float = 30.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments for Airflow's database."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {each.name: getattr(self, each.name) for each in fields(self)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the event."""
        yield TriggerEvent(await poll_until_done(self.mosaic_conn_id, self._wait()))

    @abstractmethod
    def _wait(self) -> Wait[Any]:
        """Return what the poller polls."""

    @property
    def _poll_options(self) -> PollOptions:
        return {"poll_interval": self.poll_interval, "deadline": self.deadline, "log": _log_info, "warn": _log_warning}
