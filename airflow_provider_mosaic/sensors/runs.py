"""Wait for runs that were started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.runs import Run


class MosaicRunSensor(BaseSensorOperator):
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
    ui_color = "#e9e4fb"

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
        kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.run_id = run_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.on_partial = on_partial
        self.mosaic_conn_id = mosaic_conn_id

    def execute(self, context: Context) -> Any:
        """
        Look, and wait here or in the triggerer.

        :param context: The task's context.
        """
        if not self.deferrable:
            return super().execute(context)
        with self._skipping_softly():
            if self.poke(context):
                return self.run_id
        self._defer(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.api.arguments import checked_choice, checked_flag, checked_seconds
        from airflow_provider_mosaic.api.errors import MosaicError
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.failing import failing_at_once

        hook = MosaicHook(self.mosaic_conn_id)
        try:
            with failing_at_once():
                checked_flag("deferrable", self.deferrable)
                checked_choice("on_partial", self.on_partial, ("warn", "fail", "skip"))
                checked_seconds("poll_interval", self.poll_interval)
                run = hook.get_run(self.run_id)
        except MosaicError as error:
            if not error.transient:
                raise
            # Faults pass, and the sensor's own timeout bounds the wait.
            self.log.warning("%s Looking again later.", error)
            return False
        finally:
            hook.close()
        return PokeReturnValue(True, self.run_id) if self._ended(run) else False

    def execute_complete(self, context: Context, event: dict[str, Any] | None, run_id: str) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param run_id: The run that was waited for.
        """
        from airflow_provider_mosaic.tasks.failing import failing_at_once
        from airflow_provider_mosaic.tasks.waiting import read_event

        with failing_at_once():
            read_event(event, run_id, f"Run {run_id!r}")
        if not self.poke(context):
            # Somebody resumed it in between, or it can't be read just now.
            self._defer(context)
        return run_id

    def _ended(self, run: Run) -> bool:
        """Whether the run has ended, and not badly."""
        from airflow_provider_mosaic.api.errors import MosaicRunFailedError
        from airflow_provider_mosaic.api.verdicts import judge_run
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.failing import failing_at_once
        from airflow_provider_mosaic.tasks.runs import judge_end, nodes_of

        if not judge_run(run).ended:
            self.log.info("Run %r is %s: %s.", run.run_id, run.status, run.node_status_counts)
            return False
        with failing_at_once(MosaicRunFailedError):
            judge_end(
                run, on_partial=self.on_partial, nodes_of=lambda run: nodes_of(MosaicHook(self.mosaic_conn_id), run)
            )
        return True

    def _defer(self, context: Context) -> NoReturn:
        from airflow_provider_mosaic.api.arguments import checked_seconds
        from airflow_provider_mosaic.tasks.waiting import earliest_deadline
        from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

        self.defer(
            trigger=MosaicRunTrigger(
                run_id=self.run_id,
                mosaic_conn_id=self.mosaic_conn_id,
                poll_interval=checked_seconds("poll_interval", self.poll_interval),
                # Airflow itself looks at execution_timeout only on a worker.
                deadline=earliest_deadline(context),
            ),
            method_name="execute_complete",
            kwargs={"run_id": self.run_id},
            timeout=timedelta(seconds=self.timeout),
        )
        raise AssertionError("defer does not return")

    def _skipping_softly(self) -> Any:
        """Where the sensor does not loop by itself, the failure that ``soft_fail`` turns into a skip."""
        from contextlib import contextmanager

        from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

        @contextmanager
        def skipping() -> Any:
            try:
                yield
            except AirflowFailException as failure:
                if self.soft_fail or self.never_fail:
                    raise AirflowSkipException(f"Skipped, since the sensor may fail softly: {failure}") from failure
                raise

        return skipping()
