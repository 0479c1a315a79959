"""Publish posts, and read their metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.operators.base import MosaicOperator, WaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.post_options import ProviderOptions
    from airflow_provider_mosaic.base import Reference, Text, Texts
    from airflow_provider_mosaic.tasks.posts import PostTask


#: The arguments that describe the post, without its media.
_CONTENT = ("text", "social_connection_ids", "platforms", "schedule_date", "workspace_id", "provider_options")


class MosaicSocialPostOperator(WaitingOperator):
    """
    Publish or schedule a post once (https://docs.mosaic.so/api/social/post-social-post).

    A post is public. A retry creates a post again only if the first one has the status ``failed`` and no destination
    shows it; never if it is or may become public. Mosaic does not document whether it retries a failed post by itself;
    the provider assumes that it does not. If the response is lost, the list of posts is searched before anything is
    sent again. A retry on an Airflow without a task state store (before 3.3), which cannot remember the earlier
    attempt, searches the list too.

    An argument that rendered to None is rejected before anything is published, unless ``optional`` names it. A
    None among the values of ``expand()`` is rejected too. A None in the DAG file, or in an entry of
    ``expand_kwargs()``, means "none".

    XCom: ``mosaic_post_id``, as soon as the post is created; ``post_urls``, once Mosaic reports them (usually only with
    ``wait_for_completion=True``): a list with ``platform``, ``account`` and ``url`` of each destination. The post id is
    the ``return_value``.

    Errors: ``MosaicPostFailedError`` if the post fails; a retry follows only if the post is public nowhere. Without
    retries: ``MosaicTimeoutError`` after ``timeout``, ``MosaicAmbiguousOutcomeError`` if it is unknown whether the
    post was created, and ``MosaicValidationError`` for a wrong argument.

    :param text: The text of the post. It may be empty if there are media.
    :param social_connection_ids: The connected accounts to post to.
    :param platforms: Instead of ``social_connection_ids``, the platforms, if each has one account: ``x``, ``linkedin``,
        ``instagram``, ``facebook``, ``tiktok``, ``youtube``.
    :param media_urls: The URLs of the media. Anyone must be able to read them when the post is published. A signed URL
        that shows an earlier expiry is rejected.
    :param run_id: Instead of ``media_urls``, a run: its outputs are the media. Their links are read when the post is
        created and last 7 days. A ``schedule_date`` after that, or after an expiry that a link shows, is rejected.
    :param output_ids: The outputs of the run to post. Default: all outputs of a completed run; a run that still runs,
        ended partly, failed or was cancelled is rejected.
    :param schedule_date: When to publish, with a time zone: a datetime or ISO 8601 text. Default: now.
    :param workspace_id: The workspace of the post. Default: that of the connection, or else the organization's primary
        workspace.
    :param provider_options: Options of the platforms, such as
        ``{"youTubeOptions": {"title": "Episode 7", "visibility": "public"}}``. They are sent unchanged beside the other
        fields. Mosaic's documentation of March 2026 says that they are forwarded to Ayrshare and have its names
        (https://www.ayrshare.com/docs/apis/post/social-networks/youtube). Whether this still holds is not documented.
    :param wait_for_completion: Whether to wait until the post is public. Otherwise the task ends as soon as the post is
        created.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The longest pause between two polls, in seconds or as a timedelta. The first pauses are
        shorter.
    :param timeout: The longest wait from the time of publishing on, in seconds or as a timedelta. Then the task fails
        without retries; the post is not withdrawn. None waits without limit.
    :param on_partial: How the task ends if the post is public on some destinations and failed on others: ``fail``,
        ``warn`` (the task succeeds) or ``skip``.
    :param durable: Whether a retry continues with the post of an earlier attempt. With ``False`` it publishes a second
        post.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = (*_CONTENT, "media_urls", "run_id", "output_ids", "mosaic_conn_id")
    operator_extra_links = (MosaicPostLink(),)
    template_fields_renderers = {"provider_options": "json"}
    _creates = "post"
    _may_be_empty = dict.fromkeys(("output_ids", "schedule_date", "workspace_id", "provider_options"))
    _options = options.POST
    _row_label_arguments = ("platforms", "run_id", "media_urls", "text")
    _failure_effect = "This attempt published nothing."
    _retry_effect = "checks its arguments again"

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

    def _validate_combinations(self) -> None:
        options.validate_destinations_of_post(self.social_connection_ids, self.platforms)
        options.validate_media_of_post(run_id=self.run_id, media_urls=self.media_urls, output_ids=self.output_ids)
        if isinstance(self.text, str):
            has_media = self.media_urls is not None or self.run_id is not None
            options.validate_post_has_content(self.text, has_media=has_media)

    def _task(self, context: Context) -> PostTask:
        from airflow_provider_mosaic.tasks.posts import PostOptions, PostTask

        arguments = self._arguments()
        content = {name: arguments.pop(name) for name in _CONTENT}
        post_options = PostOptions.validated(self._options, content=content, **arguments)
        return PostTask(post_options, self._open_hook(), context)


class MosaicPostAnalyticsOperator(MosaicOperator):
    """
    Read the metrics of a post (https://docs.mosaic.so/api/social/get-social-post-analytics).

    The ``return_value`` is a list with one row per platform, ready for a warehouse: ``post_id``, ``platform``,
    ``platform_post_id``, ``post_url``, and a column for each metric. All rows have the same columns, at least
    ``likes``, ``comments``, ``shares``, ``impressions``, ``views`` and ``video_views``. An unknown metric is None. XCom
    ``totals`` has the sums over all platforms. The delay of the metrics is not documented, and they change: read them
    again later.

    Errors: without retries, ``MosaicNotFoundError`` for a missing post and ``MosaicValidationError`` for a wrong id.

    :param post_id: The post.
    :param social_connection_id: Restrict the metrics to one connected account. Default: all accounts of the post.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("post_id", "social_connection_id", "mosaic_conn_id")
    _may_be_empty = {"social_connection_id": None}
    _options = options.POST_ANALYTICS
    _row_label_arguments = ("post_id",)
    _failure_effect = "The task only reads: nothing was paid or published."
    _retry_effect = "reads the metrics again"

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
        """Read the metrics."""
        with self._executing(context):
            ids = {name: self._options[name](name, value) for name, value in self._arguments().items()}
            analytics = self._open_hook().get_post_analytics(**ids)
        rows = analytics.as_rows()
        context["ti"].xcom_push(key="totals", value=analytics.totals)
        self.log.info("Post %r has metrics from %d platform(s).", self.post_id, len(rows))
        return rows
