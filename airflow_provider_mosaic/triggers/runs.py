"""Wait for the end of a run, in the triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.arguments import validate_flag, validate_id
from airflow_provider_mosaic.api.endpoints.runs import Run, cancel_run, get_run
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.options import validate_on_partial
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.poll_state import run_poll_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.polled_waits import ENDED
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
    :param end_task: Whether the task ends here, without a worker. The event is Airflow's own then.
    :param on_partial: What a run means then that rendered some outputs and failed at others: ``fail``, ``warn`` (the
        task succeeds) or ``skip``.
    :param soft_fail: Whether a task that would fail then is skipped.
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
        end_task: bool = False,
        on_partial: str = "fail",
        soft_fail: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.mosaic_conn_id = mosaic_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.begun = begun
        self.cancel_on_kill = cancel_on_kill
        self.end_task = end_task
        self.on_partial = on_partial
        self.soft_fail = soft_fail

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
                "end_task": self.end_task,
                "on_partial": self.on_partial,
                "soft_fail": self.soft_fail,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and give one event."""
        validate_id("run_id", self.run_id)
        for name in ("cancel_on_kill", "end_task", "soft_fail"):
            validate_flag(name, getattr(self, name))
        validate_on_partial("on_partial", self.on_partial)
        watch = run_poll_state(
            self.run_id,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            noted=log.info,
            begun=self.begun,
        )
        event = await poll_run_until_done(self.mosaic_conn_id, self.run_id, watch)
        yield self._end(event) if self.end_task else TriggerEvent(event)

    def _end(self, event: dict[str, Any]) -> TriggerEvent:
        """The end of the task itself."""
        from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent

        if event["outcome"] == ENDED:
            verdict = run_outcome(Run(run_id=self.run_id, status=event["status"]))
            partial = verdict.outcome is Outcome.PARTIAL
            if verdict.outcome is Outcome.SUCCESS or (partial and self.on_partial == "warn"):
                # No XCom: Airflow would write its JSON as a text, and a dict would arrive as one.
                return TaskSuccessEvent()
            log.error("Run %r ended as %s.", self.run_id, event["status"])
            skipped = self.soft_fail or (partial and self.on_partial == "skip")
        else:
            log.error("The wait for run %r was given up: %s", self.run_id, event.get("message", "it took too long"))
            # A connection that Airflow did not return says nothing about the run, and a retry may find it.
            skipped = self.soft_fail and event.get("error") != MosaicConnectionError.__name__
        return TaskSkippedEvent() if skipped else TaskFailedEvent()

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
