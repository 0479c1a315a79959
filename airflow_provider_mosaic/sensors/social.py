"""Wait for posts that another task or user created."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.sensors.base import CompletionSensor

if TYPE_CHECKING:
    from airflow.sdk import Context
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.endpoints.posts import Post
    from airflow_provider_mosaic.api.poll_state import PollOptions, PollState
    from airflow_provider_mosaic.base import Text
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class MosaicSocialPostSensor(CompletionSensor):
    """
    Wait until a post is public (https://docs.mosaic.so/api/social/get-social-post).

    The sensor only reads: it never creates, changes or withdraws a post. The wait for a scheduled post lasts beyond its
    time, so give the sensor a ``timeout`` that reaches further. A failed post stays failed: the sensor fails without
    retries, or is skipped with ``soft_fail``.

    The post id is the ``return_value``. XCom ``post_urls`` has the URLs of the post, as far as Mosaic reports them.

    Errors, without retries: ``MosaicPostFailedError`` if the post fails; ``MosaicNotFoundError`` for a missing post.

    :param post_id: The post.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. In the triggerer the first pauses
        are shorter; on a worker it is the sensor's ``poke_interval``.
    :param timeout: Airflow's ``timeout`` of sensors, in seconds or as a timedelta: then the sensor fails, or is skipped
        with ``soft_fail``.
    :param on_partial: How the task ends if the post is public on some destinations and failed on others: ``fail``,
        ``warn`` (the sensor succeeds) or ``skip``.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("post_id", "mosaic_conn_id")
    _options = options.POST_SENSOR
    _row_label_arguments = ("post_id",)
    _trigger_class = "airflow_provider_mosaic.triggers.social.MosaicSocialPostTrigger"
    operator_extra_links = (MosaicPostLink(),)
    _id_argument = "post_id"

    def __init__(
        self,
        *,
        post_id: Text,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        on_partial: options.OnPartial = "fail",
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, poll_interval=poll_interval, mosaic_conn_id=mosaic_conn_id, **kwargs)
        self.post_id = post_id
        self.on_partial = on_partial
        self._validate_constants()

    def _read(self, hook: MosaicHook) -> Post:
        return hook.get_post(self._id)

    def _poll_state(self, **options: Unpack[PollOptions]) -> PollState[Post]:
        from airflow_provider_mosaic.api.poll_state import post_poll_state

        return post_poll_state(self._id, **options)

    def _finish(self, context: Context, item: Post, hook: MosaicHook) -> None:
        from airflow_provider_mosaic.tasks.post_waits import push_post_urls, raise_unless_posted
        from airflow_provider_mosaic.tasks.reporting import push_item

        push_item(context, hook, "post", item.post_id)
        push_post_urls(context, item)
        raise_unless_posted(item, on_partial=self.on_partial)
