"""Set the YouTube channels that start runs of an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.base import Text, Texts


class MosaicYouTubeTriggerOperator(MosaicOperator):
    """
    Set the YouTube channels of an agent's trigger (https://docs.mosaic.so/api/triggers/post-add-youtube-channels).

    The task adds missing channels, moves channels that another trigger of the agent has, removes the others, and reads
    the triggers again after each change. If nothing differs, nothing is sent. From then on Mosaic starts a run, which
    costs credits, whenever one of the channels publishes a video.

    A channel that the trigger shares with another trigger is moved too. If an add does not move it, the task removes it
    from all triggers and adds it again, unless the trigger would lose its callback. If the second add fails, the
    channel is in no trigger until the task adds it, and the error names it. A channel of a trigger with another filter
    than a duration is moved only with ``exclusive=True``. Otherwise the task fails, before it sends anything if the
    channel is given by its id.

    Other limits in ``filter_options`` select another trigger, or create one. With ``callback_url="unchanged"``, a new
    trigger gets the callback of the triggers that list its channels now. The task fails before it sends anything if
    their callbacks differ, or if Mosaic does not list one. To have no callback, set ``callback_url=None``.

    If Mosaic accepts a ``callback_url`` and does not list it as it was sent, the task logs a warning, and each run of
    the task sends it again.

    A channel given by its URL or handle is recognized by the handle that Mosaic reports, which may come late, or in
    the URL by which Mosaic lists the channel. Until then each run of the task sends the channel again, which changes
    nothing. Ids (``UC...``) are recognized unless Mosaic lists the channel only by a handle.

    The ``return_value`` is the list of trigger ids, usually one. XCom ``mosaic_agent_url`` is the URL of the agent's
    page, if the connection points to Mosaic itself.

    Errors: ``MosaicError`` if the triggers do not match after the changes; a retry compares again. Without retries:
    ``MosaicNotFoundError`` for a missing agent, and ``MosaicValidationError`` for a wrong argument.

    :param agent_id: The agent.
    :param youtube_channels: All channels of the trigger: ids, URLs or handles.
    :param filter_options: The videos that start a run, as
        ``{"duration": {"min_seconds": ..., "max_seconds": ...}}``; either limit may be left out. It also selects the
        trigger: the one of the agent with the same limits.
    :param callback_url: The receiver of the webhooks of its runs. ``airflow`` is the receiver inside Airflow
        (``docs/webhooks.md``). ``unchanged`` keeps the present one. A None in the DAG file removes it; a None from
        another task is rejected.
    :param exclusive: Whether to remove all channels from the agent's other triggers, which deletes these triggers.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "youtube_channels",
        "filter_options",
        "callback_url",
        "mosaic_conn_id",
    )
    template_fields_renderers = {"filter_options": "json"}
    operator_extra_links = (MosaicAgentLink(),)
    _may_be_empty = {"callback_url": options.KEEP_CALLBACK}
    _options = options.YOUTUBE_TRIGGER
    _row_label_arguments = ("agent_id", "youtube_channels")
    _failure_effect = "Mosaic continues to start runs, which cost credits, for the channels that the triggers have now."
    _retry_effect = "compares the channels again and changes only what differs"

    def __init__(
        self,
        *,
        agent_id: Text,
        youtube_channels: Texts,
        filter_options: Mapping[str, Any] | Text | None = None,
        callback_url: Text | None = options.KEEP_CALLBACK,
        exclusive: bool = False,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.youtube_channels = youtube_channels
        self.filter_options = filter_options
        self.callback_url = callback_url
        self.exclusive = exclusive
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def execute(self, context: Context) -> list[str]:
        """Set the channels."""
        from airflow_provider_mosaic.api.youtube_channels import DesiredTrigger
        from airflow_provider_mosaic.tasks.reporting import push_agent_link
        from airflow_provider_mosaic.tasks.youtube import YouTubeTask
        from airflow_provider_mosaic.webhook_address import webhook_url

        with self._executing(context):
            arguments = self._arguments()
            if arguments["callback_url"] == options.AIRFLOW_CALLBACK:
                arguments["callback_url"] = webhook_url(self.mosaic_conn_id)
            desired = DesiredTrigger.validated(**arguments)
            hook = self._open_hook()
            push_agent_link(context, hook, desired.agent_id, name=f"agent {desired.agent_id!r}")
            return YouTubeTask(hook, desired).reconcile()
