"""Publish posts, and read what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.operators.given import MosaicOperator
from airflow_provider_mosaic.operators.waiting import EndWaitOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.tasks.posts import PostTask


class MosaicSocialPostOperator(EndWaitOperator):
    """
    Publish a post, or schedule it, once (https://docs.mosaic.so/api/social/post-social-post).

    A post is public. A retry never makes a post again of which something is out or may come out: only one that failed
    everywhere. When the answer is lost, the list of posts is looked through before anything is sent again; so it is by
    a retry on an Airflow without a task state store (before 3.3), which can't remember the earlier try.

    An argument that another task should have given, and that came to nothing, is refused: nothing is published without
    it. So is a None among the values of ``expand()``. A None in the DAG file means none, and so does one in an entry of
    ``expand_kwargs()``.

    XCom: ``mosaic_post_id`` at once; ``post_urls``, where it is out, once the task knows: a list with ``platform``,
    ``account`` and ``url`` of each destination whose address Mosaic tells, mostly only after
    ``wait_for_completion=True``; the post id as ``return_value``.

    :param text: What it says; may be empty where there are media.
    :param social_connection_ids: The connected accounts it goes to.
    :param platforms: Or the platforms, where each has one account: ``x``, ``linkedin``, ``instagram``, ``facebook``,
        ``tiktok``, ``youtube``.
    :param media_urls: Addresses of media, reachable for anyone when the post is published.
    :param run_id: Or a run whose outputs are the media; their links are fetched when the post is made.
    :param output_ids: Which of its outputs. Default: all; then the run must have ended, and not badly.
    :param schedule_date: When to publish, with a time zone: a datetime or ISO 8601 text. Default: now.
    :param wait_for_completion: Whether the task waits until the post is out.
    :param deferrable: Whether it waits in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two looks, in seconds or as a timedelta.
    :param timeout: How long to wait from the time of publishing on; then the task fails, and the post is left alone.
    :param on_partial: What a post means that is out on some destinations and failed on others: ``fail``, ``warn`` (the
        task succeeds) or ``skip``.
    :param durable: Whether a retry goes on with the post of an earlier try.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = (
        "text",
        "social_connection_ids",
        "platforms",
        "media_urls",
        "run_id",
        "output_ids",
        "schedule_date",
        "mosaic_conn_id",
    )
    operator_extra_links = (MosaicPostLink(),)
    _begins = "post"
    _means = "Nothing was published by this try."
    _retry = "checks its arguments again"

    def __init__(
        self,
        *,
        text: str,
        social_connection_ids: Iterable[str] | str | None = None,
        platforms: Iterable[str] | str | None = None,
        media_urls: Iterable[str] | str | None = None,
        run_id: str | None = None,
        output_ids: Iterable[str] | str | None = None,
        schedule_date: datetime | str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = timedelta(hours=2),
        on_partial: Literal["warn", "fail", "skip"] = "fail",
        durable: bool = True,
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.social_connection_ids = social_connection_ids
        self.platforms = platforms
        self.media_urls = media_urls
        self.run_id = run_id
        self.output_ids = output_ids
        self.schedule_date = schedule_date
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_partial = on_partial
        self.durable = durable
        self.mosaic_conn_id = mosaic_conn_id

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None,
        post_id: str | None = None,
        deadline: float | None = None,
        began: float | None = None,
    ) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param post_id: The post that was waited for; None for the event's.
        :param deadline: When to stop waiting, in seconds since the epoch.
        :param began: When the try began, in seconds since the epoch.
        """
        return self._go_on(context, event, post_id, deadline=deadline, began=began)

    def _task(self) -> PostTask:
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.posts import PostOrder, PostTask

        order = PostOrder.checked(
            text=self.text,
            social_connection_ids=self.social_connection_ids,
            platforms=self.platforms,
            media_urls=self.media_urls,
            run_id=self.run_id,
            output_ids=self.output_ids,
            schedule_date=self.schedule_date,
            wait_for_completion=self.wait_for_completion,
            deferrable=self.deferrable,
            poll_interval=self.poll_interval,
            timeout=self.timeout,
            on_partial=self.on_partial,
            durable=self.durable,
        )
        return PostTask(order, MosaicHook(self.mosaic_conn_id), operator_class=MosaicSocialPostOperator)


class MosaicPostAnalyticsOperator(MosaicOperator):
    """
    Read the metrics of a post (https://docs.mosaic.so/api/social/get-social-post-analytics).

    The ``return_value`` is a list with one row a platform, ready for a warehouse: ``post_id``, ``platform``,
    ``platform_post_id``, ``post_url``, and each metric that Mosaic tells as a column. A metric that is not known is
    None. Metrics come late and change: read them again tomorrow.

    :param post_id: The post.
    :param social_connection_id: Only what one account tells of it.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("post_id", "social_connection_id", "mosaic_conn_id")
    _means = "The task only reads: nothing was paid or published."
    _retry = "reads the metrics again"

    def __init__(
        self,
        *,
        post_id: str,
        social_connection_id: str | None = None,
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.post_id = post_id
        self.social_connection_id = social_connection_id
        self.mosaic_conn_id = mosaic_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """
        Read them.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.api.arguments import checked_id
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        with self._taking_arguments(context):
            if self.social_connection_id is not None:
                checked_id("social_connection_id", self.social_connection_id)
            hook = MosaicHook(self.mosaic_conn_id)
            rows = hook.get_post_analytics(self.post_id, social_connection_id=self.social_connection_id).as_rows()
        self.log.info("Post %r has metrics of %d platform(s).", self.post_id, len(rows))
        return rows
