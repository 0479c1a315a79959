"""Wait for runs that were started elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.sensors.base import CompletionSensor

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_mosaic.api.endpoints.runs import Run
    from airflow_provider_mosaic.api.outcomes import Judgement
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.templated import Text
    from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger


class MosaicRunSensor(CompletionSensor):
    """
    Wait for the end of a run, whoever started it (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    It only looks: it never starts and never cancels a run. A run that ended badly fails the sensor without retries,
    since another look would show the same; with ``soft_fail`` it is skipped.

    XCom: ``status`` and ``output_ids`` at the end, good or bad, and ``mosaic_agent_url``, the address of the page of
    the run's agent, where the connection leads to Mosaic itself; the run id as ``return_value``, also of a run that
    ended partly.

    :param run_id: The run.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta; in the triggerer the first ones are
        shorter. Without a triggerer it is the sensor's ``poke_interval``.
    :param timeout: Airflow's own: how long the sensor waits before it fails, or with ``soft_fail`` is skipped.
    :param on_partial: What a run means that rendered some outputs and failed at others: ``fail`` (the ids of its
        outputs are in XCom all the same), ``warn`` (the sensor succeeds) or ``skip``.
    :param mosaic_conn_id: The connection.
    :param start_from_trigger: Whether the wait begins in the triggerer, so that a worker is needed once, for the end
        (Airflow 3.3 and newer; elsewhere it begins on a worker). ``run_id`` may be a constant, a template over
        ``dag_run.conf``, or ``{{ ti.xcom_pull(task_ids="...", map_indexes=-1) }}``. The output of a task
        (``upstream.output``) and an ``xcom_pull`` without ``map_indexes`` are refused, and so is a mapped task.
    :param end_from_trigger: Whether the task also ends in the triggerer: with ``start_from_trigger`` it needs no worker
        at all. There is no ``return_value`` then, the reason of a failure stands in the triggerer's log only, and a run
        that ended badly is looked at again by each retry. ``outlets`` and ``on_success_callback`` are refused, since
        Airflow leaves them out; where a plugin listens to tasks, Airflow refuses the DAG.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")
    _options = options.RUN_SENSOR
    _row_label_arguments = ("run_id",)
    operator_extra_links = (MosaicAgentLink(),)
    _noun = "Run"
    _key = "run_id"

    def __init__(
        self,
        *,
        run_id: Text,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        on_partial: options.OnPartial = "fail",
        mosaic_conn_id: Text = "mosaic_default",
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            deferrable=True if start_from_trigger is True or end_from_trigger is True else deferrable,
            poll_interval=poll_interval,
            mosaic_conn_id=mosaic_conn_id,
            **kwargs,
        )
        self.run_id = run_id
        self.on_partial = on_partial
        self.start_from_trigger = start_from_trigger
        # Airflow looks for it by this name: it refuses it together with listeners, which would not hear of the end.
        self.end_from_trigger = end_from_trigger
        self._validate_constants()
        if end_from_trigger is True:
            from airflow_provider_mosaic.sensors.without_worker import check_nothing_is_lost

            check_nothing_is_lost(outlets=self.outlets, on_success_callback=self.on_success_callback)
        if start_from_trigger is True:
            self.start_trigger_args = self._start_arguments()

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Begin a mapped task, unless its items would be begun or ended otherwise than they ask for.

        :param kwargs: What all items share.
        :raises MosaicValidationError: It includes what a mapped task can't have.
        """
        from airflow_provider_mosaic.sensors.without_worker import check_mapped

        begun = super().partial(**kwargs)
        check_mapped(begun.kwargs)
        return begun

    def execute(self, context: Context) -> Any:
        """
        Look, and wait here or in the triggerer.

        :param context: The task's context.
        """
        if self.start_from_trigger is True:
            from airflow_provider_mosaic.durable.failures import fail_without_retry
            from airflow_provider_mosaic.sensors.without_worker import check_no_item

            with fail_without_retry():
                check_no_item(self, context["ti"].map_index)
        return super().execute(context)

    def _read(self, hook: MosaicHook) -> Run:
        return hook.get_run(self._id)

    def _outcome(self, subject: Run) -> Judgement:
        from airflow_provider_mosaic.api.outcomes import run_outcome

        return run_outcome(subject)

    def _words(self, subject: Run) -> str:
        return f"{subject.status}: {subject.node_status_counts}"

    def _finish(self, context: Context, subject: Run, hook: MosaicHook) -> None:
        from airflow_provider_mosaic.api.errors import MosaicRunPartialError
        from airflow_provider_mosaic.durable.xcoms import push_xcom
        from airflow_provider_mosaic.links import push_agent_link
        from airflow_provider_mosaic.tasks.outputs import with_outputs
        from airflow_provider_mosaic.tasks.run_waits import nodes_of, push_end, raise_unless_successful

        run = with_outputs(hook, subject)
        push_end(context, run)
        push_agent_link(context, hook, run.agent_id, subject=f"run {run.run_id!r}")
        try:
            raise_unless_successful(run, on_partial=self.on_partial, nodes_of=lambda run: nodes_of(hook, run))
        except MosaicRunPartialError:
            # A user who takes what there is marks the task as success: what follows finds the run then.
            push_xcom(context, "return_value", run.run_id, subject=f"run {run.run_id!r}")
            raise

    def _trigger_class(self) -> type[MosaicRunTrigger]:
        from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger

        return MosaicRunTrigger

    def _trigger_arguments(self) -> dict[str, Any]:
        return {**self._subject(), **self._end_arguments()}

    def _start_arguments(self) -> StartTriggerArgs:
        from airflow_provider_mosaic.api.arguments import validate_seconds
        from airflow_provider_mosaic.sensors.without_worker import start_arguments

        return start_arguments(
            "airflow_provider_mosaic.triggers.runs.MosaicRunTrigger",
            templated={"run_id": self.run_id, "mosaic_conn_id": self.mosaic_conn_id},
            plain={
                "poll_interval": validate_seconds("poll_interval", self.poll_interval),
                **self._end_arguments(),
            },
            timeout=self.timeout,
        )

    def _end_arguments(self) -> dict[str, Any]:
        if not self.end_from_trigger:
            return {}
        return {"end_task": True, "on_partial": self.on_partial, "soft_fail": bool(self.soft_fail or self.never_fail)}
