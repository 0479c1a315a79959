"""Start, resume and cancel runs of agents, and wait for their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.api.run_inputs import INPUT_FORMS, validate_one_way
from airflow_provider_mosaic.links import MosaicAgentLink, MosaicPageLink
from airflow_provider_mosaic.operators.base import MosaicOperator, WaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.base import Reference, Text, Texts
    from airflow_provider_mosaic.tasks.runs import ResumeTask, RunTask

#: The inputs of a run, by their names in the API.
_INPUTS = (
    "video_urls",
    "video_ids",
    "node_render_ids",
    "mimir_assets",
    "video_inputs",
    "update_params",
    "ignore_nodes",
    "callback_url",
)


class MosaicRunAgentOperator(WaitingOperator):
    """
    Start a run of an agent once, and wait for its end (https://docs.mosaic.so/api/agent-runs/post-agent-run).

    A run costs credits. A retry continues with the run of the earlier attempt instead of starting a second one. If the
    response to the start is lost, the runs of the agent are searched before anything is sent again. An Airflow without
    a task state store (before 3.3) does not know the run of an earlier attempt: a retry there starts a run only if the
    earlier attempt cannot have started one, and fails otherwise. A cleared task starts a new run.

    An argument that rendered to None is rejected before a run is started, unless ``optional`` names it. A None among
    the values of ``expand()`` is rejected too. A None in the DAG file, or in an entry of ``expand_kwargs()``, means
    "none".

    XCom: ``mosaic_run_id``, as soon as the run is started; ``mosaic_agent_url``, the URL of the agent's page, if the
    connection points to Mosaic itself. At the end of the wait, also after a failure: ``status`` (``completed``,
    ``partial_complete``, ``failed``, ``cancelled``, or a value that Mosaic adds), ``output_ids``, and ``needs_credits``
    (true) if the run is short of credits. The run id is the ``return_value``, also of a partly successful run.

    Errors: ``MosaicRunFailedError`` if the run fails, or one of its subclasses ``MosaicRunPartialError``,
    ``MosaicRunCancelledError`` and ``MosaicNeedsCreditsError``. Without retries: ``MosaicTimeoutError`` after
    ``timeout``, ``MosaicAmbiguousOutcomeError`` if it is unknown whether a run was started, ``MosaicValidationError``
    for a wrong argument, and ``MosaicNotFoundError`` for a missing agent.

    :param agent_id: The agent's id, as ``MosaicHook().list_agents()`` returns it. In the editor it is the last part of
        the URL, which Mosaic does not document.
    :param video_urls: YouTube or HTTP(S) URLs of videos. This and the next three are for agents with one Video Input
        tile.
    :param video_ids: Ids of uploaded videos.
    :param node_render_ids: Ids of outputs of earlier runs.
    :param mimir_assets: Items of a connected Mimir.
    :param video_inputs: The inputs of each Video Input tile, instead of the four above. An entry has ``agent_node_id``
        and at least one of the four lists. ``input_clip_start_ms`` and ``input_clip_end_ms`` may limit the source.
    :param update_params: Parameters of nodes for this run: ``{agent_node_id: {name: value}}``. The name of a tile can
        replace the node's id if the agent has one tile of that name.
    :param ignore_nodes: Nodes to leave out of this run.
    :param callback_url: The HTTPS URL to which Mosaic sends the webhooks of this run; ``airflow`` for the receiver
        inside Airflow (``docs/webhooks.md``).
    :param wait_for_completion: Whether to wait for the run's end. Otherwise the task ends as soon as the run is
        started.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two polls, in seconds or as a timedelta. The first pauses are
        shorter.
    :param timeout: The longest time from the first attempt's start to the run's end, in seconds or as a timedelta. Then
        the run is cancelled, and the task fails without retries. None waits without limit.
    :param on_partial: How the task ends if the run rendered some outputs and failed at others: ``fail`` (the output ids
        are in XCom nevertheless), ``warn`` (the task succeeds) or ``skip``.
    :param durable: Whether a retry continues with the run of an earlier attempt. With ``False`` it starts a second run,
        which is paid too.
    :param on_retry: What a retry does if that run failed: ``resume`` it (Mosaic repeats only what is missing; the cost
        of a resume is not documented), start a ``new`` one, or ``fail``. A run that was cancelled outside Airflow stays
        cancelled, and the task fails without retries.
    :param on_ambiguous: What to do if the response to the start was lost and a search found exactly one run that can be
        it: ``adopt`` that run, or ``fail`` for manual review. The error says how to name the run in an Airflow
        Variable.
    :param cancel_on_kill: Whether to cancel the run when the task is killed or times out. For a deferred task that is
        marked, cleared or ended with its DAG run, this needs Airflow 3.3 or newer.
    :param min_credits: The balance that is required before a new run is started. It is not reserved. An organization
        without a limit always has enough. None skips the check.
    :param on_short_of_credits: How the task ends if the balance is lower: ``fail``, without retries, or ``skip``. It
        always fails if an earlier attempt started a run with other arguments.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("agent_id", *_INPUTS, "min_credits", "mosaic_conn_id")
    template_fields_renderers = {"video_inputs": "json", "mimir_assets": "json", "update_params": "json"}
    operator_extra_links = (MosaicAgentLink(),)
    _creates = "run"
    _may_be_empty = dict.fromkeys(("update_params", "ignore_nodes", "callback_url", "min_credits"))
    _options = options.RUN_AGENT
    _row_label_arguments = ("video_urls", "video_ids", "node_render_ids", "agent_id")
    _failure_effect = "This attempt started no run and paid nothing."
    _retry_effect = "checks its arguments again"

    def __init__(
        self,
        *,
        agent_id: Text,
        video_urls: Texts | None = None,
        video_ids: Texts | None = None,
        node_render_ids: Texts | None = None,
        mimir_assets: Iterable[Mapping[str, Any] | Reference] | Text | None = None,
        video_inputs: Iterable[Mapping[str, Any] | Reference] | Text | None = None,
        update_params: Mapping[str, Mapping[str, Any] | Text] | Text | None = None,
        ignore_nodes: Texts | None = None,
        callback_url: Text | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = timedelta(hours=24),
        on_partial: options.OnPartial = "fail",
        durable: bool = True,
        on_retry: options.OnRetry = "resume",
        on_ambiguous: options.OnAmbiguous = "adopt",
        cancel_on_kill: bool = True,
        min_credits: float | Text | None = None,
        on_short_of_credits: options.OnShortOfCredits = "fail",
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.video_urls = video_urls
        self.video_ids = video_ids
        self.node_render_ids = node_render_ids
        self.mimir_assets = mimir_assets
        self.video_inputs = video_inputs
        self.update_params = update_params
        self.ignore_nodes = ignore_nodes
        self.callback_url = callback_url
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_partial = on_partial
        self.durable = durable
        self.on_retry = on_retry
        self.on_ambiguous = on_ambiguous
        self.cancel_on_kill = cancel_on_kill
        self.min_credits = min_credits
        self.on_short_of_credits = on_short_of_credits
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def _validate_combinations(self) -> None:
        validate_one_way(self.video_inputs, {form: getattr(self, form) for form in INPUT_FORMS})

    def _task(self, context: Context) -> RunTask:
        from airflow_provider_mosaic.tasks.runs import RunOptions, RunTask

        arguments = self._arguments()
        inputs = {name: arguments.pop(name) for name in _INPUTS}
        run_options = RunOptions.validated(self._options, inputs=inputs, **arguments)
        return RunTask(run_options, self._open_hook(), context)


class MosaicResumeRunOperator(WaitingOperator):
    """
    Resume a run that failed or was cancelled, and wait for its end
    (https://docs.mosaic.so/api/agent-runs/post-agent-run-resume).

    Mosaic queues the nodes again that failed, were cancelled, were blocked or had not started. The run keeps its id.
    The cost of a resume is not documented: expect credits for the repeated nodes. For a run that is still running, the
    task only waits. A run that is completed or partly successful cannot be resumed: the task takes its result as it is.
    A retry resumes the run once more if it failed again. If it was cancelled outside Airflow since, it stays cancelled,
    and the task fails without retries; before Airflow 3.3 the task cannot know that, and resumes it.

    XCom: ``mosaic_run_id`` and ``mosaic_agent_url`` at once. At the end of the wait, also after a failure: ``status``,
    ``output_ids``, and ``needs_credits`` (true) if the run is short of credits. The run id is the ``return_value``,
    also of a partly successful run.

    Errors: ``MosaicRunFailedError`` if the run fails again, or one of its subclasses ``MosaicRunPartialError``,
    ``MosaicRunCancelledError`` and ``MosaicNeedsCreditsError``. Without retries: ``MosaicTimeoutError`` after
    ``timeout``, ``MosaicNotFoundError`` for a missing run, and ``MosaicValidationError`` for a wrong argument.

    :param run_id: The run.
    :param wait_for_completion: Whether to wait for the run's end. Otherwise the task ends as soon as the run is
        resumed.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two polls, in seconds or as a timedelta. The first pauses are
        shorter.
    :param timeout: The longest time from the first attempt's resume to the run's end, in seconds or as a timedelta.
        Then the run is cancelled, and the task fails without retries. None waits without limit.
    :param on_partial: How the task ends if the run rendered some outputs and failed at others: ``fail`` (the output ids
        are in XCom nevertheless), ``warn`` (the task succeeds) or ``skip``.
    :param cancel_on_kill: Whether to cancel the run when the task is killed or times out. For a deferred task that is
        marked, cleared or ended with its DAG run, this needs Airflow 3.3 or newer.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")
    operator_extra_links = (MosaicAgentLink(),)
    _options = options.RESUME_RUN
    _row_label_arguments = ("run_id",)

    def __init__(
        self,
        *,
        run_id: Text,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = timedelta(hours=24),
        on_partial: options.OnPartial = "fail",
        cancel_on_kill: bool = True,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_partial = on_partial
        self.cancel_on_kill = cancel_on_kill
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def _task(self, context: Context) -> ResumeTask:
        from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
        from airflow_provider_mosaic.tasks.runs import ResumeTask

        arguments = self._arguments()
        run_id = arguments.pop("run_id")
        wait_options = WaitOptions.validated(self._options, **arguments)
        return ResumeTask(wait_options, self._open_hook(), context, run_id=run_id)


class MosaicCancelRunOperator(MosaicOperator):
    """
    Cancel a run and all its nodes that have not ended (https://docs.mosaic.so/api/agent-runs/post-agent-run-cancel).

    A run that has ended already is left as it is; the log says so. The task reads the run after the cancel, and fails
    if it still runs a minute after Mosaic accepted the cancel. A retry cancels it once more.

    The run id is the ``return_value``.

    Errors: ``MosaicError`` if the run still runs. Without retries: ``MosaicNotFoundError`` for a missing run.

    :param run_id: The run.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")
    operator_extra_links = (MosaicPageLink(),)
    _options = options.CANCEL_RUN
    _row_label_arguments = ("run_id",)
    _failure_effect = "The run may keep running, and cost credits."
    _retry_effect = "cancels the run again"

    def __init__(self, *, run_id: Text, mosaic_conn_id: Text = "mosaic_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def execute(self, context: Context) -> str:
        """Cancel the run."""
        from airflow_provider_mosaic.tasks.reporting import push_item
        from airflow_provider_mosaic.tasks.run_cancels import cancel

        with self._executing(context):
            hook = self._open_hook()
            run_id = cancel(hook, self._options["run_id"]("run_id", self.run_id))
            push_item(context, hook, "run", run_id)
            return run_id
