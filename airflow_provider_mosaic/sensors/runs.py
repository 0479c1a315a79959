"""Wait for runs that another task or user started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.api.arguments import raise_invalid, validate_seconds
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.sensors.base import CompletionSensor

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import StartTriggerArgs
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.endpoints.runs import Run
    from airflow_provider_mosaic.api.poll_state import PollOptions, PollState
    from airflow_provider_mosaic.base import Text
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook

_XCOM_PULL = re.compile(r"\bxcom_pull\s*\(")


class MosaicRunSensor(CompletionSensor):
    """
    Wait for the end of a run (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    The sensor only reads: it never starts or cancels a run, and any task or user may have started it. A failed or
    cancelled run fails the sensor without retries, since a retry would read the same; with ``soft_fail`` it is skipped.

    XCom at the end, also after a failure: ``status``; ``output_ids``; ``needs_credits`` (true) if the run is short of
    credits; ``mosaic_agent_url``, the URL of the page of the run's agent, if the connection points to Mosaic itself.
    The run id is the ``return_value``, also of a partly successful run.

    Errors, without retries: ``MosaicRunFailedError`` if the run fails, or one of its subclasses
    ``MosaicRunPartialError``, ``MosaicRunCancelledError`` and ``MosaicNeedsCreditsError``; ``MosaicNotFoundError`` for
    a missing run.

    :param run_id: The run.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. In the triggerer the first pauses
        are shorter; on a worker it is the sensor's ``poke_interval``.
    :param timeout: Airflow's ``timeout`` of sensors, in seconds or as a timedelta: then the sensor fails, or is skipped
        with ``soft_fail``.
    :param on_partial: How the task ends if the run rendered some outputs and failed at others: ``fail`` (the output ids
        are in XCom nevertheless), ``warn`` (the sensor succeeds) or ``skip``.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    :param start_from_trigger: Whether the wait starts in the triggerer, so that the task needs a worker only once, at
        the end (Airflow 3.3 and newer; before, the wait starts on a worker). ``run_id`` may be a constant, a template
        over ``dag_run.conf``, or ``{{ ti.xcom_pull(task_ids="...", map_indexes=-1) }}``. Rejected are the output of
        a task (``upstream.output``), an ``xcom_pull`` without ``map_indexes``, and a mapped task.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")
    _options = options.RUN_SENSOR
    _row_label_arguments = ("run_id",)
    _trigger_class = "airflow_provider_mosaic.triggers.runs.MosaicRunTrigger"
    operator_extra_links = (MosaicAgentLink(),)
    _id_argument = "run_id"

    def __init__(
        self,
        *,
        run_id: Text,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        on_partial: options.OnPartial = "fail",
        mosaic_conn_id: Text = "mosaic_default",
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            deferrable=True if start_from_trigger is True else deferrable,
            poll_interval=poll_interval,
            mosaic_conn_id=mosaic_conn_id,
            **kwargs,
        )
        self.run_id = run_id
        self.on_partial = on_partial
        self.start_from_trigger = start_from_trigger
        self._validate_constants()
        if start_from_trigger is True:
            self.start_trigger_args = self._start_trigger_args()

    @classmethod
    def _validate_partial(cls, kwargs: Mapping[str, Any]) -> None:
        if kwargs.get("start_from_trigger") is True:
            _reject_mapped_start()

    def execute(self, context: Context) -> Any:
        """Wait on a worker; or poll once, and defer."""
        if self.start_from_trigger is True and self.get_closest_mapped_task_group() is None:
            from airflow_provider_mosaic.durable.failures import fail_without_retry

            # default_args and expand_kwargs() can set start_from_trigger where partial() does not see it.
            map_index = context["ti"].map_index
            with fail_without_retry():
                if map_index is not None and map_index >= 0:
                    _reject_mapped_start()
        return super().execute(context)

    def _start_trigger_args(self) -> StartTriggerArgs:
        """Return the trigger that the scheduler starts instead of a worker. The triggerer renders its arguments."""
        from airflow.triggers.base import StartTriggerArgs

        for name in self.template_fields:
            _validate_for_triggerer(name, getattr(self, name))
        return StartTriggerArgs(
            trigger_cls=self._trigger_class,
            next_method="execute_complete",
            trigger_kwargs={
                "run_id": self.run_id,
                "mosaic_conn_id": self.mosaic_conn_id,
                "poll_interval": validate_seconds("poll_interval", self.poll_interval),
            },
            timeout=timedelta(seconds=self.timeout),
        )

    def _read(self, hook: MosaicHook) -> Run:
        return hook.get_run(self._id)

    def _poll_state(self, **options: Unpack[PollOptions]) -> PollState[Run]:
        from airflow_provider_mosaic.api.poll_state import run_poll_state

        return run_poll_state(self._id, **options)

    def _finish(self, context: Context, item: Run, hook: MosaicHook) -> None:
        from airflow_provider_mosaic.tasks.reporting import push_run_links
        from airflow_provider_mosaic.tasks.run_ends import push_end, raise_unless_successful, with_outputs

        run = with_outputs(hook, item)
        push_end(context, run)
        push_run_links(context, hook, run.run_id, run.agent_id)
        raise_unless_successful(context, hook, run, on_partial=self.on_partial)


def _validate_for_triggerer(name: str, value: Any) -> None:
    """Raise for a value that a triggerer can't render: the task would fail there, or stay deferred."""
    if not isinstance(value, str):
        raise_invalid(
            name,
            value,
            "it must be text or a template. A triggerer does not resolve the output of another task, nor the argument "
            "of a mapped task group: write {{ ti.xcom_pull(task_ids='...', map_indexes=-1) }}, in a mapped group with "
            "map_indexes=ti.map_index, or leave start_from_trigger out.",
        )
    if _XCOM_PULL.search(value) and "map_indexes" not in value:
        # The triggerer can't read the response, and the task would stay deferred forever.
        raise_invalid(
            name,
            value,
            "in a triggerer xcom_pull needs map_indexes: write map_indexes=-1 for a task that is not mapped.",
        )


def _reject_mapped_start() -> None:
    raise_invalid(
        "start_from_trigger",
        True,
        "Airflow starts each item of a mapped task on a worker. Leave it out, or set it to False if default_args set "
        "it: the wait itself holds no worker.",
    )
