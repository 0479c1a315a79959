"""A post on the page of its task: its text, and its result and metrics at each destination."""

from __future__ import annotations

from airflow_provider_mosaic.api.endpoints.engagement import PostAnalytics, get_post_analytics
from airflow_provider_mosaic.api.endpoints.social import Destination, Post
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.redaction import label, redact
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import PostDestination, PostDetails, message_of
from airflow_provider_mosaic.tasks.items import TaskItem

#: Seconds for which the metrics of a post are used.
_METRICS_MAX_AGE = 300.0
#: Characters of the text of a post.
_LONGEST_TEXT = 10_000


async def post_details(reads: MosaicReads, item: TaskItem, post: Post) -> PostDetails:
    """Return what the page shows of a post."""
    metrics = await _metrics(reads, item, post)
    public = {place.url for place in public_urls(post)}
    rows = {row.platform: row.metrics for row in metrics.platforms} if metrics else {}
    destinations = [_destination(each, public, rows) for each in post.outcomes]
    return PostDetails(
        id=post.post_id,
        status=label(post.status),
        outcome=post_outcome(post).outcome.value,
        text=None if post.description is None else redact(post.description, longest=_LONGEST_TEXT),
        scheduled_at=post.scheduled_at,
        created_at=post.created_at,
        destinations=tuple(sorted(destinations, key=lambda each: each.status != "failed" and each.error is None)),
    )


def _destination(
    destination: Destination, public: set[str], metrics: dict[str | None, dict[str, int | float | None]]
) -> PostDestination:
    account = destination.account_username or destination.account_name
    numbers = metrics.get(destination.platform, {}) if destination.platform else {}
    return PostDestination(
        platform=label(destination.platform) if destination.platform else None,
        account=label(account) if account else None,
        status=label(destination.status) if destination.status else None,
        url=destination.post_url if destination.post_url in public else None,
        error=message_of(destination.message),
        metrics={label(name): number for name, number in numbers.items() if number is not None},
    )


async def _metrics(reads: MosaicReads, item: TaskItem, post: Post) -> PostAnalytics | None:
    """Return the metrics of a published post; None if they can't be read."""
    if post_outcome(post).outcome not in (Outcome.SUCCESS, Outcome.PARTIAL):
        return None
    reading = await reads.read(item.conn_id, get_post_analytics(item.id), max_age=_METRICS_MAX_AGE)
    return reading.value
