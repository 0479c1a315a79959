"""Start runs of agents, resume and cancel them, and wait for their ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.api.run_inputs import INPUT_FORMS, validate_one_way
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator
from airflow_provider_mosaic.operators.waiting import RunWaitOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.tasks.existing_runs import ResumeTask
    from airflow_provider_mosaic.tasks.runs import RunTask
    from airflow_provider_mosaic.templated import Reference, Text, Texts

#: The arguments that say what a run works on, by their names in the API.
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


class MosaicRunAgentOperator(RunWaitOperator):
    """
    Start a run of an agent, once, and wait for it (https://docs.mosaic.so/api/agent-runs/post-agent-run).

    A run costs credits. A retry goes on with the run of the earlier try instead of starting another one. Where Airflow
    has no task state store (before 3.3) it can't know that run: it starts one if none can have been started, and fails
    otherwise. When the answer to the start is lost, the agent's runs are looked through before anything is sent again.
    A person who clears the task asks for a new run and gets one.

    An argument that rendered to None is refused, unless ``optional`` names it: no run is started without it. So is a
    None among the values of ``expand()``. A None in the DAG file means none, and so does one in an entry of
    ``expand_kwargs()``.

    XCom: ``mosaic_run_id`` at once after the start, and ``mosaic_agent_url``, the address of the agent's page, where
    the connection leads to Mosaic itself; ``status`` (``completed``, ``partial_complete``, ``failed``, ``cancelled``,
    or a word that Mosaic may add) and ``output_ids`` at the end of the wait, good or bad; the run id as
    ``return_value``, also of a run that ended partly.

    :param agent_id: The agent's id, as ``MosaicHook().list_agents()`` shows it. In the editor it is the last part of
        the agent's address, which Mosaic does not document.
    :param video_urls: YouTube or HTTP(S) addresses of videos. For agents with one Video Input tile, as are the next
        three.
    :param video_ids: Ids of uploaded videos.
    :param node_render_ids: Ids of outputs of earlier runs.
    :param mimir_assets: Items of a connected Mimir.
    :param video_inputs: For each Video Input tile what it gets; excludes the four above. An entry has
        ``agent_node_id``, at least one of the four lists, and may limit the source with ``input_clip_start_ms`` and
        ``input_clip_end_ms``.
    :param update_params: Parameters of nodes for this run: ``{agent_node_id: {name: value}}``. In the place of a node's
        id, its tile's name will do where the agent has one tile of that name.
    :param ignore_nodes: Nodes to leave out of this run.
    :param callback_url: Where Mosaic sends the webhooks of this run.
    :param wait_for_completion: Whether the task waits for the run's end; otherwise it ends with the start.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two looks at the run, in seconds or as a timedelta; the first looks
        come sooner.
    :param timeout: The longest time from the first try's start to the run's end; then the run is cancelled and the
        task fails without retries. None waits for ever.
    :param on_partial: What a run means that rendered some outputs and failed at others: ``fail`` (the ids of its
        outputs are in XCom all the same), ``warn`` (the task succeeds) or ``skip``.
    :param durable: Whether a retry goes on with the run of an earlier try.
    :param on_retry: What a retry does about a run that ended badly: ``resume`` it (only what is missing is done again;
        what a resume costs is not documented), start a ``new`` one, or ``fail``. What somebody else has cancelled is
        left so: the task fails at once.
    :param on_ambiguous: When a start's answer was lost and one run is found that must be it: ``adopt`` it, or ``fail``
        and leave it to a person, who can name it in an Airflow Variable; the message says how.
    :param cancel_on_kill: Whether the run is cancelled when the task is killed or out of time. For a deferred task
        that is marked or cleared, this needs Airflow 3.3 or newer.
    :param min_credits: How many credits there must be before a new run is started; they are not set aside for it.
        Without a limit there are enough. None does not look.
    :param on_short_of_credits: What too few credits mean: ``fail``, without retries, or ``skip``.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("agent_id", *_INPUTS, "min_credits", "mosaic_conn_id")
    template_fields_renderers = {"video_inputs": "json", "mimir_assets": "json", "update_params": "json"}
    operator_extra_links = (MosaicAgentLink(),)
    _creates = "run"
    _may_be_empty = dict.fromkeys(("update_params", "ignore_nodes", "callback_url", "min_credits"))
    _options = options.RUN_AGENT
    _row_label_arguments = ("video_urls", "video_ids", "node_render_ids", "agent_id")
    _effect_words = "No run was started by this try, and nothing was paid."
    _retry = "checks its arguments again"

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

    def _validate_together(self) -> None:
        validate_one_way(self.video_inputs, {form: getattr(self, form) for form in INPUT_FORMS})

    def _task(self) -> RunTask:
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.runs import RunOptions, RunTask

        order = RunOptions.validated(
            agent_id=self.agent_id,
            inputs={name: getattr(self, name) for name in _INPUTS},
            wait_for_completion=self.wait_for_completion,
            deferrable=self.deferrable,
            poll_interval=self.poll_interval,
            timeout=self.timeout,
            on_partial=self.on_partial,
            durable=self.durable,
            on_retry=self.on_retry,
            on_ambiguous=self.on_ambiguous,
            cancel_on_kill=self.cancel_on_kill,
            min_credits=self.min_credits,
            on_short_of_credits=self.on_short_of_credits,
        )
        return RunTask(order, MosaicHook(self.mosaic_conn_id), operator_class=MosaicRunAgentOperator)


class MosaicResumeRunOperator(RunWaitOperator):
    """
    Resume a run that failed or was cancelled, and wait for it
    (https://docs.mosaic.so/api/agent-runs/post-agent-run-resume).

    Mosaic queues the nodes again that failed, were cancelled or blocked, or had not started; the run's id stays. What a
    resume costs is not documented: expect credits for what is done again. A run that is going on already is only waited
    for. One that is completed, or ended partly, can't be resumed: it is taken as it is. A retry, after the run failed
    again, resumes it once more; what somebody else has cancelled meanwhile is left so, and the task fails at once.

    XCom: ``mosaic_run_id`` and ``mosaic_agent_url`` at once; ``status`` and ``output_ids`` at the end of the wait, good
    or bad; the run id as ``return_value``, also of a run that ended partly.

    :param run_id: The run.
    :param wait_for_completion: Whether the task waits for the run's end; otherwise it ends with the resume.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two looks at the run, in seconds or as a timedelta; the first looks
        come sooner.
    :param timeout: The longest time from the first try's resume to the run's end; then the run is cancelled and the
        task fails without retries. None waits for ever.
    :param on_partial: What a run means that rendered some outputs and failed at others: ``fail`` (the ids of its
        outputs are in XCom all the same), ``warn`` (the task succeeds) or ``skip``.
    :param cancel_on_kill: Whether the run is cancelled when the task is killed or out of time. For a deferred task
        that is marked or cleared, this needs Airflow 3.3 or newer.
    :param mosaic_conn_id: The connection.
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

    def _task(self) -> ResumeTask:
        from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.existing_runs import ResumeTask

        order = WaitOptions.validated(
            wait_for_completion=self.wait_for_completion,
            deferrable=self.deferrable,
            poll_interval=self.poll_interval,
            timeout=self.timeout,
            on_partial=self.on_partial,
            cancel_on_kill=self.cancel_on_kill,
        )
        return ResumeTask(order, MosaicHook(self.mosaic_conn_id), run_id=self.run_id)


class MosaicCancelRunOperator(MosaicOperator):
    """
    Cancel a run, and what would follow in it (https://docs.mosaic.so/api/agent-runs/post-agent-run-cancel).

    A run that has ended already is left as it is, which the log says. The run is read after the cancel: the task fails
    if the run is still going a minute after Mosaic accepted it, and a retry cancels it once more.

    The run id is the ``return_value``.

    :param run_id: The run.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("run_id", "mosaic_conn_id")
    _options = options.CANCEL_RUN
    _row_label_arguments = ("run_id",)
    _effect_words = "The run may keep running, and cost credits."
    _retry = "cancels the run again"

    def __init__(self, *, run_id: Text, mosaic_conn_id: Text = "mosaic_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def execute(self, context: Context) -> str:
        """
        Cancel it.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.existing_runs import cancel

        with self._validated_arguments(context):
            return cancel(MosaicHook(self.mosaic_conn_id), self._options["run_id"]("run_id", self.run_id))
