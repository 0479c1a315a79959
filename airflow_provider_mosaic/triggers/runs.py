"""Wait for the end of a run, in the triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.arguments import validate_flag, validate_id
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.shared_pollers import poll_run_until_done

if TYPE_CHECKING:
    from airflow_provider_mosaic.clients.async_client import AsyncClient

#: Airflow would make a logger for each trigger, a third of all objects that a wait consists of. Whose line it is comes
#: from the context.
log = logging.getLogger(__name__)

#: Seconds between the lookups of the connection by a killed trigger; Airflow's ``[triggerer] on_kill_timeout`` is 30 s.
_LOOKUP_PAUSES = (1.0, 2.0, 4.0, 8.0)


class MosaicRunTrigger(BaseTrigger):
    """
    Wait for a run to end. It only reads; it begins nothing and, unless a person kills the task, cancels nothing.

    Its arguments and its event are kept in Airflow's database over upgrades: plain JSON, a default for each new one.
    The event is ``{"outcome": "ended", "id": ..., "status": ...}``, or its outcome is ``timeout``, or ``error`` with
    ``error`` (the exception's class), ``message`` and ``transient``.

    :param run_id: The run.
    :param mosaic_conn_id: The connection.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param deadline: When to give up, in seconds since the epoch by the wall clock, so that a restart does not prolong
        it; None for never.
    :param begun: When the waiting task started the run, in seconds since the epoch; None for a run that was started
        elsewhere. One that is new may not be found yet everywhere.
    :param cancel_on_kill: Whether the run is cancelled when a person marks or clears the deferred task (Airflow 3.3 and
        newer; which of these it was can't be told). A restart of the triggerer cancels nothing.
    """

    def __init__(
        self,
        *,
        run_id: str,
        mosaic_conn_id: str = MosaicHook.default_conn_name,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        begun: float | None = None,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.mosaic_conn_id = mosaic_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.begun = begun
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments, as Airflow keeps them."""
        return (
            "airflow_provider_mosaic.triggers.runs.MosaicRunTrigger",
            {
                "run_id": self.run_id,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "begun": self.begun,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give one event."""
        validate_id("run_id", self.run_id)
        validate_flag("cancel_on_kill", self.cancel_on_kill)
        watch = run_poll_state(
            self.run_id,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            noted=log.info,
            begun=self.begun,
        )
        event = await poll_run_until_done(self.mosaic_conn_id, self.run_id, watch)
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Cancel the run, because a person has marked or cleared the task that waits for it."""
        if not self.cancel_on_kill:
            return
        try:
            async with await self._client() as client:
                try:
                    await client.send(cancel_run(self.run_id))
                except (MosaicConflictError, MosaicValidationError, MosaicResponseError):
                    # How a run that has ended refuses to be cancelled is not documented.
                    if not run_outcome(await client.send(get_run(self.run_id))).ended:
                        raise
                    log.info("The waiting task was killed; run %r had ended already.", self.run_id)
                else:
                    log.info("The waiting task was killed: Mosaic accepted the cancel of run %r.", self.run_id)
        except MosaicError as error:
            log.error("The waiting task was killed, but run %r may go on: %s", self.run_id, error)

    async def _client(self) -> AsyncClient:
        """A client; the connection is looked up again a few times, since nobody else would cancel the run."""
        hook = MosaicHook(self.mosaic_conn_id)
        for pause in _LOOKUP_PAUSES:
            try:
                return await hook.open_async_client()
            except MosaicError as error:
                if not error.transient:
                    raise
                log.warning("Run %r is not cancelled yet. %s", self.run_id, error)
            await asyncio.sleep(pause)
        return await hook.open_async_client()
