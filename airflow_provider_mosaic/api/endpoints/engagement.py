"""What became of posts: metrics and comments (https://docs.mosaic.so/api/social/get-social-post-analytics)."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from airflow_provider_mosaic.api.arguments import optional_id
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.models import Id, Many, Model, Time, Words, object_in
from airflow_provider_mosaic.api.paging import Listing, Page, read_page

#: The metrics that are documented; the documented list goes on.
_METRICS = ("likes", "comments", "shares", "impressions", "views", "video_views")
#: A count is an int, as it came; what is no number is None.
Metrics = dict[str, int | float | None]


class PlatformAnalytics(Model):
    """
    The metrics of a post on one platform; which metrics there are is not documented whole. ``raw_metrics`` is what the
    platform itself has reported.
    """

    platform: Words = None
    platform_post_id: Words = None
    post_url: Words = None
    metrics: Metrics = {}
    raw_metrics: dict[str, Any] = {}

    lenient_fields = frozenset({"raw_metrics"})

    @field_validator("metrics", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        items = value.items() if isinstance(value, dict) else ()
        return {name: _number(v) for name, v in items}


def _number(value: Any) -> int | float | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


class PostAnalytics(Model):
    """The metrics of a post: in sum, and for each platform."""

    post_id: Id
    status: Words = None
    totals: Metrics = {}
    platforms: Many[PlatformAnalytics] = ()

    _numbers = field_validator("totals", mode="before")(PlatformAnalytics._numbers.__func__)  # type: ignore[attr-defined]

    def as_rows(self) -> list[dict[str, Any]]:
        """
        One row a platform, for a warehouse: whose it is, then the metrics.

        All rows have the same columns, at least those of the documented metrics; what is not reported is None. A metric
        that is called like one of the first columns is left out.
        """
        names = [*_METRICS, *self.totals, *(name for entry in self.platforms for name in entry.metrics)]
        return [
            {
                **dict.fromkeys(("post_id", "platform", "platform_post_id", "post_url")),
                **{name: entry.metrics.get(name) for name in names},
                "post_id": self.post_id,
                "platform": entry.platform,
                "platform_post_id": entry.platform_post_id,
                "post_url": entry.post_url,
            }
            for entry in self.platforms
        ]


class Comment(Model):
    """A comment on a post; replies are kept as they came."""

    comment_id: Words = None
    platform: Words = None
    platform_comment_id: Words = None
    created_at: Time = None


def get_post_analytics(post_id: str, *, social_connection_id: str | None = None) -> Call[PostAnalytics]:
    """
    The metrics of a post.

    :param post_id: The post.
    :param social_connection_id: Look at it through one account.
    """

    def read(data: Any) -> PostAnalytics:
        answer = object_in(data)
        analytics = answer.get("analytics")
        return PostAnalytics.model_validate({**(analytics if isinstance(analytics, dict) else {}), "post_id": post_id})

    return Call(
        description=f"read the analytics of post {post_id!r}",
        method="GET",
        path="/social/post/{post_id}/analytics",
        ids={"post_id": post_id},
        query={"social_connection_id": optional_id("social_connection_id", social_connection_id)},
        read=read,
    )


def list_post_comments(post_id: str, *, social_connection_id: str | None = None) -> Listing[Comment]:
    """
    Comments on a published post, newest first (https://docs.mosaic.so/api/social/get-social-post-comments).

    :param post_id: The post.
    :param social_connection_id: Look at it through one account.
    """
    through = optional_id("social_connection_id", social_connection_id)

    def page(cursor: str | None) -> Call[Page[Comment]]:
        return Call(
            description=f"list the comments on post {post_id!r}",
            method="GET",
            path="/social/post/{post_id}/comments",
            ids={"post_id": post_id},
            # No limit: the most that may be asked for is not documented, and more than it could be refused.
            query={"cursor": cursor, "social_connection_id": through},
            read=read_page("comments", Comment.model_validate),
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key=lambda comment: comment.comment_id or comment.platform_comment_id or repr(comment))
