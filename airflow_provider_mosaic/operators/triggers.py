"""Say which YouTube channels start an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.templated import Text, Texts


class MosaicYouTubeTriggerOperator(MosaicOperator):
    """
    Make the YouTube channels of an agent's trigger those that are wanted
    (https://docs.mosaic.so/api/triggers/post-add-youtube-channels).

    Channels that are missing are added, ones that are at another trigger of the agent are moved, ones that are not
    wanted are removed; the triggers are read again after each change. Where all is as it should be, nothing is sent.
    From then on Mosaic starts a run, which costs credits, whenever one of them publishes a video.

    A channel that is given by its address or handle is known again by the handle that Mosaic tells of it, which may
    come late; until then it is sent again, which changes nothing. Ids (``UC...``) are sure.

    The list of trigger ids, which is one as a rule, is the ``return_value``; XCom ``mosaic_agent_url`` has the address
    of the agent's page, where the connection leads to Mosaic itself.

    :param agent_id: The agent.
    :param youtube_channels: All channels that the trigger should have: ids, addresses or handles.
    :param filter_options: Which videos it takes, as ``{"duration": {"min_seconds": ..., "max_seconds": ...}}``; either
        limit may be left out. It also says which trigger of the agent is meant: the one with the same limits.
    :param callback_url: Where the webhooks of its runs go: ``unchanged`` leaves that as it is, a None in the DAG file
        removes it; one that another task gave is refused.
    :param exclusive: Whether the agent's other triggers lose their channels, and so go away.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "youtube_channels",
        "filter_options",
        "callback_url",
        "mosaic_conn_id",
    )
    template_fields_renderers = {"filter_options": "json"}
    _may_be_empty = {"callback_url": "unchanged"}
    _options = options.YOUTUBE_TRIGGER
    _row_label_arguments = ("agent_id", "youtube_channels")
    operator_extra_links = (MosaicAgentLink(),)
    _effect_words = "Mosaic continues to start runs, which cost credits, for the channels that the triggers have now."
    _retry = "compares the channels again and changes only what differs"

    def __init__(
        self,
        *,
        agent_id: Text,
        youtube_channels: Texts,
        filter_options: Mapping[str, Any] | Text | None = None,
        callback_url: Text | None = "unchanged",
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
        """
        Make it so.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.links import push_agent_link
        from airflow_provider_mosaic.tasks.youtube import DesiredTrigger, YouTubeTask

        with self._validated_arguments(context):
            wanted = DesiredTrigger.validated(
                agent_id=self.agent_id,
                youtube_channels=self.youtube_channels,
                filter_options=self.filter_options,
                callback_url=self.callback_url,
                exclusive=self.exclusive,
            )
            hook = MosaicHook(self.mosaic_conn_id)
            push_agent_link(context, hook, wanted.agent_id, subject=f"agent {wanted.agent_id!r}")
            return YouTubeTask(hook, wanted).reconcile()
