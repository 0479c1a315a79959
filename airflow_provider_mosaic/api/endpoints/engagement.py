"""Metrics and comments of posts (https://docs.mosaic.so/api/social/get-social-post-analytics)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator
from typing_extensions import Self

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.models import Id, Many, Model, Time, Words, read_object
from airflow_provider_mosaic.api.paging import Listing, Page, filters, read_page
from airflow_provider_mosaic.api.public_urls import is_public
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.api.responses import MAX_VALUES
from airflow_provider_mosaic.api.rows import all_fields

#: The beginning of the documented list of metrics; the rest of the page could not be read.
_METRICS = ("likes", "comments", "shares", "impressions", "views", "video_views")


def _number(value: Any) -> int | float | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    # Databases store integers in 64 bits.
    return value if isinstance(value, float) or abs(value) < 2**63 else None


def _numbers(value: Any) -> dict[str, int | float | None]:
    return {label(name): _number(each) for name, each in value.items()} if isinstance(value, dict) else {}


#: Metrics by name. Values that are not numbers are None.
Metrics = Annotated[dict[str, int | float | None], BeforeValidator(_numbers)]


class PlatformAnalytics(Model):
    """Metrics of a post on one platform. ``raw_metrics`` is what the platform itself reported."""

    platform: Words = None
    platform_post_id: Words = None
    post_url: Words = None
    metrics: Metrics = {}
    raw_metrics: dict[str, Any] = {}

    lenient_fields = frozenset({"raw_metrics"})


class PostAnalytics(Model):
    """Metrics of a post: totals, and by platform."""

    post_id: Id
    status: Words = None
    totals: Metrics = {}
    platforms: Many[PlatformAnalytics] = ()

    @model_validator(mode="after")
    def _limit_rows(self) -> Self:
        # A response of 1 MiB could make rows with a billion values.
        if len(self.platforms) * len(self._metric_names) > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES:,} metrics")
        return self

    @property
    def _metric_names(self) -> dict[str, None]:
        names = (*_METRICS, *self.totals, *(name for entry in self.platforms for name in entry.metrics))
        return dict.fromkeys(names)

    def as_rows(self) -> list[dict[str, Any]]:
        """
        Return one row a platform, for a warehouse.

        All rows have the same columns: ``post_id``, ``platform``, ``platform_post_id``, ``post_url``, then the metrics,
        at least the documented ones. A metric that is not reported is None. A metric with the name of one of the first
        four columns is left out. An address that is signed or invalid is None.
        """
        names = self._metric_names
        return [
            {
                **dict.fromkeys(("post_id", "platform", "platform_post_id", "post_url")),
                **{name: entry.metrics.get(name) for name in names},
                "post_id": self.post_id,
                "platform": _label(entry.platform),
                "platform_post_id": _label(entry.platform_post_id),
                "post_url": entry.post_url if entry.post_url and is_public(entry.post_url) else None,
            }
            for entry in self.platforms
        ]


def _label(text: str | None) -> str | None:
    return None if text is None else label(text)


class Comment(Model):
    """A comment on a post. Replies are in ``model_extra``."""

    comment_id: Words = None
    platform: Words = None
    platform_comment_id: Words = None
    created_at: Time = None


def get_post_analytics(post_id: str, *, social_connection_id: str | None = None) -> Call[PostAnalytics]:
    """
    Return the metrics of a post: totals, and by platform.

    API page: https://docs.mosaic.so/api/social/get-social-post-analytics

    :param social_connection_id: Only the account with this id, for a post to several accounts on one platform.
    """
    return Call(
        description=f"read the analytics of post {post_id!r}",
        path="/social/post/{post_id}/analytics",
        ids={"post_id": post_id},
        query=filters(social_connection_id=social_connection_id),
        read=read_object(PostAnalytics, within="analytics", post_id=post_id),
    )


def list_post_comments(post_id: str, *, social_connection_id: str | None = None) -> Listing[Comment]:
    """
    List the comments on a published post, newest first.

    API page: https://docs.mosaic.so/api/social/get-social-post-comments

    :param social_connection_id: Only the account with this id, for a post to several accounts on one platform.
    """
    query = filters(social_connection_id=social_connection_id)

    def page(cursor: str | None) -> Call[Page[Comment]]:
        return Call(
            description=f"list the comments on post {post_id!r}",
            path="/social/post/{post_id}/comments",
            ids={"post_id": post_id},
            # Without a limit: the largest one is not documented, and Mosaic could reject more.
            query={**query, "cursor": cursor},
            read=read_page("comments", Comment.model_validate),
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key=_comment_key)


def _comment_key(comment: Comment) -> str:
    # Two platforms may use the same id: the documented order ends with these three fields.
    ids = (comment.comment_id, comment.platform_comment_id)
    return f"{comment.platform} {ids}" if any(ids) else all_fields(comment)
