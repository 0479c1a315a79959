"""Wait for posts that were made elsewhere."""

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

    from airflow_provider_mosaic.api.endpoints.social import Post
    from airflow_provider_mosaic.api.outcomes import Judgement
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook
    from airflow_provider_mosaic.templated import Text
    from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger


class MosaicSocialPostSensor(CompletionSensor):
    """
    Wait until a post is out, whoever made it (https://docs.mosaic.so/api/social/get-social-post).

    It only looks: it never makes, changes or withdraws a post. A scheduled post is waited for until its time and
    beyond, so the sensor's ``timeout`` must reach that far. A post that did not come out fails the sensor without
    retries, since another look would show the same; with ``soft_fail`` it is skipped.

    The post id is the ``return_value``; XCom ``post_urls`` has where it is out, as far as Mosaic tells it.

    :param post_id: The post.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta; in the triggerer the first ones are
        shorter. Without a triggerer it is the sensor's ``poke_interval``.
    :param timeout: Airflow's own: how long the sensor waits before it fails, or with ``soft_fail`` is skipped.
    :param on_partial: What a post means that is out on some destinations and failed on others: ``fail``, ``warn`` (the
        sensor succeeds) or ``skip``.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("post_id", "mosaic_conn_id")
    _options = options.POST_SENSOR
    _row_label_arguments = ("post_id",)
    operator_extra_links = (MosaicPostLink(),)
    _noun = "Post"
    _key = "post_id"

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

    def _outcome(self, subject: Post) -> Judgement:
        from airflow_provider_mosaic.api.outcomes import post_outcome

        return post_outcome(subject)

    def _finish(self, context: Context, subject: Post, hook: MosaicHook) -> None:
        from airflow_provider_mosaic.tasks.post_waits import push_post_urls, raise_unless_posted

        push_post_urls(context, subject)
        raise_unless_posted(subject, on_partial=self.on_partial)

    def _trigger_class(self) -> type[MosaicSocialPostTrigger]:
        from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

        return MosaicSocialPostTrigger
