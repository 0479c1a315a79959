"""Wait for the end of a run, in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicError, MosaicValidationError
from airflow_provider_mosaic.api.runs import cancel_run, get_run
from airflow_provider_mosaic.api.verdicts import judge_run
from airflow_provider_mosaic.api.waiting import watch_run
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers.polling import wait_for_end


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
        watch = watch_run(
            self.run_id,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            noted=self.log.info,
            begun=self.begun,
        )
        hook = MosaicHook(self.mosaic_conn_id)
        yield TriggerEvent(await wait_for_end(hook, get_run(self.run_id), watch, subject_id=self.run_id))

    async def on_kill(self) -> None:
        """Cancel the run, because a person has marked or cleared the task that waits for it."""
        if not self.cancel_on_kill:
            return
        try:
            async with await MosaicHook(self.mosaic_conn_id).open_async_client() as client:
                try:
                    await client.send(cancel_run(self.run_id))
                except (MosaicConflictError, MosaicValidationError):
                    # How a run that has ended refuses to be cancelled is not documented.
                    if not judge_run(await client.send(get_run(self.run_id))).ended:
                        raise
                    self.log.info("The waiting task was killed; run %r had ended already.", self.run_id)
                else:
                    self.log.info("The waiting task was killed: run %r is cancelled.", self.run_id)
        except MosaicError as error:
            self.log.error("The waiting task was killed, but run %r may go on: %s", self.run_id, error)
