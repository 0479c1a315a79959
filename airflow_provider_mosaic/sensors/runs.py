"""Wait for runs that were started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.sensors.waiting import EndSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.runs import Run
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger


class MosaicRunSensor(EndSensor):
    """
    Wait for the end of a run, whoever started it (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    It only looks: it never starts and never cancels a run. A run that ended badly fails the sensor without retries,
    since another look would show the same; with ``soft_fail`` it is skipped.

    The run id is the ``return_value``.

    :param run_id: The run.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta; in the triggerer the first ones are
        shorter. Without a triggerer it is the sensor's ``poke_interval``.
    :param timeout: Airflow's own: how long the sensor waits before it fails, or with ``soft_fail`` is skipped.
    :param on_partial: What a run means that rendered some outputs and failed at others: ``warn`` (the sensor succeeds),
        ``fail`` or ``skip``.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")

    def __init__(
        self,
        *,
        run_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        on_partial: Literal["warn", "fail", "skip"] = "warn",
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, poll_interval=poll_interval, mosaic_conn_id=mosaic_conn_id, **kwargs)
        self.run_id = run_id
        self.on_partial = on_partial

    def execute_complete(self, context: Context, event: dict[str, Any] | None, run_id: str) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param run_id: The run that was waited for.
        """
        came: str = self._go_on(context, event, run_id, f"Run {run_id!r}")
        return came

    def _check(self) -> None:
        from airflow_provider_mosaic.api.arguments import checked_choice

        checked_choice("on_partial", self.on_partial, ("warn", "fail", "skip"))

    def _read(self, hook: MosaicHook) -> Run:
        return hook.get_run(self.run_id)

    def _ended(self, subject: Run) -> bool:
        from airflow_provider_mosaic.api.errors import MosaicRunFailedError
        from airflow_provider_mosaic.api.verdicts import judge_run
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.failing import failing_at_once
        from airflow_provider_mosaic.tasks.runs import judge_end, nodes_of

        if not judge_run(subject).ended:
            self.log.info("Run %r is %s: %s.", subject.run_id, subject.status, subject.node_status_counts)
            return False
        with failing_at_once(MosaicRunFailedError):
            judge_end(
                subject, on_partial=self.on_partial, nodes_of=lambda run: nodes_of(MosaicHook(self.mosaic_conn_id), run)
            )
        return True

    def _result(self, subject: Run) -> str:
        return self.run_id

    def _trigger(self, *, poll_interval: float, deadline: float | None) -> MosaicRunTrigger:
        from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

        return MosaicRunTrigger(
            run_id=self.run_id,
            mosaic_conn_id=self.mosaic_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
        )

    def _subject(self) -> dict[str, Any]:
        return {"run_id": self.run_id}
