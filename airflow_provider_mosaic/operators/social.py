"""Publish posts, and read what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.operators.base import MosaicOperator
from airflow_provider_mosaic.operators.waiting import WaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.post_options import ProviderOptions
    from airflow_provider_mosaic.tasks.posts import PostTask
    from airflow_provider_mosaic.templated import Reference, Text, Texts


class MosaicSocialPostOperator(WaitingOperator):
    """
    Publish a post, or schedule it, once (https://docs.mosaic.so/api/social/post-social-post).

    A post is public. A retry never makes a post again of which something is out or may come out: only one whose status
    is ``failed`` and that shows to be out nowhere. Mosaic does not say whether it tries such a post again by itself;
    the provider assumes that it does not. When the answer is lost, the list of posts is looked through before anything
    is sent again; so it is by a retry on an Airflow without a task state store (before 3.3), which can't remember the
    earlier try.

    An argument that rendered to None is refused, unless ``optional`` names it: nothing is published without it. So is a
    None among the values of ``expand()``. A None in the DAG file means none, and so does one in an entry of
    ``expand_kwargs()``.

    XCom: ``mosaic_post_id`` at once; ``post_urls``, where it is out, once the task knows: a list with ``platform``,
    ``account`` and ``url`` of each destination whose address Mosaic tells, mostly only after
    ``wait_for_completion=True``; the post id as ``return_value``.

    :param text: What it says; may be empty where there are media.
    :param social_connection_ids: The connected accounts it goes to.
    :param platforms: Or the platforms, where each has one account: ``x``, ``linkedin``, ``instagram``, ``facebook``,
        ``tiktok``, ``youtube``.
    :param media_urls: Addresses of media, reachable for anyone when the post is published. A signed link that shows
        that it ends before is refused.
    :param run_id: Or a run whose outputs are the media; their links are fetched when the post is made. They last 7
        days, so that a later ``schedule_date`` is refused, and so is one after the end that a link shows.
    :param output_ids: Which of its outputs. Default: all; then the run must have ended, and not badly.
    :param schedule_date: When to publish, with a time zone: a datetime or ISO 8601 text. Default: now.
    :param workspace_id: The workspace that the post belongs to. Default: the connection's, else the organization's
        primary one.
    :param provider_options: Options of the platforms, such as
        ``{"youTubeOptions": {"title": "Episode 7", "visibility": "public"}}``. They are sent beside the other fields as
        they are. Mosaic's documentation of March 2026 says that it forwards them to Ayrshare, whose names they have
        (https://www.ayrshare.com/docs/apis/post/social-networks/youtube); whether it still does is not documented.
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
        "workspace_id",
        "provider_options",
        "mosaic_conn_id",
    )
    operator_extra_links = (MosaicPostLink(),)
    template_fields_renderers = {"provider_options": "json"}
    _creates = "post"
    _may_be_empty = dict.fromkeys(("output_ids", "schedule_date", "workspace_id", "provider_options"))
    _options = options.POST
    _row_label_arguments = ("platforms", "run_id", "media_urls", "text")
    _effect_words = "Nothing was published by this try."
    _retry = "checks its arguments again"

    def __init__(
        self,
        *,
        text: Text,
        social_connection_ids: Texts | None = None,
        platforms: Iterable[options.Platform | Reference] | Text | None = None,
        media_urls: Texts | None = None,
        run_id: Text | None = None,
        output_ids: Texts | None = None,
        schedule_date: datetime | Text | None = None,
        workspace_id: Text | None = None,
        provider_options: ProviderOptions | Mapping[str, Any] | Text | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = timedelta(hours=2),
        on_partial: options.OnPartial = "fail",
        durable: bool = True,
        mosaic_conn_id: Text = "mosaic_default",
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
        self.workspace_id = workspace_id
        self.provider_options = provider_options
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_partial = on_partial
        self.durable = durable
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def _validate_together(self) -> None:
        options.validate_destinations_of_post(self.social_connection_ids, self.platforms)
        options.validate_media_of_post(run_id=self.run_id, media_urls=self.media_urls, output_ids=self.output_ids)
        if isinstance(self.text, str):
            has_media = self.media_urls is not None or self.run_id is not None
            options.validate_post_has_content(self.text, has_media=has_media)

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
        return self._resume(context, event, post_id, deadline=deadline, began=began)

    def _task(self) -> PostTask:
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.posts import PostOptions, PostTask

        order = PostOptions.validated(
            text=self.text,
            social_connection_ids=self.social_connection_ids,
            platforms=self.platforms,
            media_urls=self.media_urls,
            run_id=self.run_id,
            output_ids=self.output_ids,
            schedule_date=self.schedule_date,
            workspace_id=self.workspace_id,
            provider_options=self.provider_options,
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
    ``platform_post_id``, ``post_url``, and a column for each metric. All rows have the same columns, at least
    ``likes``, ``comments``, ``shares``, ``impressions``, ``views`` and ``video_views``; a metric that is not known is
    None. The XCom ``totals`` has the sums over all platforms. How late the metrics come is not documented, and they
    change: read them again tomorrow.

    :param post_id: The post.
    :param social_connection_id: Only what one account tells of it.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("post_id", "social_connection_id", "mosaic_conn_id")
    _may_be_empty = {"social_connection_id": None}
    _options = options.POST_ANALYTICS
    _row_label_arguments = ("post_id",)
    _effect_words = "The task only reads: nothing was paid or published."
    _retry = "reads the metrics again"

    def __init__(
        self,
        *,
        post_id: Text,
        social_connection_id: Text | None = None,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.post_id = post_id
        self.social_connection_id = social_connection_id
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """
        Read them.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        with self._validated_arguments(context):
            given = {"social_connection_id": self.social_connection_id, "post_id": self.post_id}
            ids = {name: self._options[name](name, value) for name, value in given.items()}
            found = MosaicHook(self.mosaic_conn_id).get_post_analytics(**ids)
        rows = found.as_rows()
        context["ti"].xcom_push(key="totals", value=found.totals)
        self.log.info("Post %r has metrics of %d platform(s).", self.post_id, len(rows))
        return rows
