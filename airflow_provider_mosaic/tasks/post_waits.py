"""Wait until a post is published, and succeed, fail or skip by its outcome. A post is never withdrawn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import validate_datetime, validate_seconds
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.posts import Post, get_post
from airflow_provider_mosaic.api.errors import MosaicPostFailedError
from airflow_provider_mosaic.api.metrics import POSTS_ENDED, count
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome
from airflow_provider_mosaic.api.poll_state import PollState, post_poll_state
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.reports import post_failure
from airflow_provider_mosaic.durable.completion_waiter import CompletionWaiter, WaitOptions
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.task_state import TaskState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.tasks.reporting import (
    POST_ID_KEY,
    POST_URLS_KEY,
    add_to_outlet_events,
    mosaic_uris,
    push_link,
    push_xcom,
    report_lineage,
)
from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

log = logging.getLogger(__name__)


class PostWait(CompletionWaiter[Post]):
    """
    The wait until a post is published or has failed.

    :param state: See :class:`CompletionWaiter`.
    :param inputs: Returns the URIs of what the post shows, for lineage.
    :param can_repeat: Returns whether a retry can create the post again.
    """

    noun = "Post"
    not_ended = "is not published"
    id_argument = "post_id"
    xcom_key = POST_ID_KEY
    kinds = ("post",)

    def __init__(
        self,
        options: WaitOptions,
        hook: MosaicHook,
        context: Mapping[str, Any],
        *,
        state: Callable[[], TaskState],
        inputs: Callable[[], Iterable[str]],
        can_repeat: Callable[[], bool],
    ) -> None:
        super().__init__(options, hook, context, state=state)
        self._inputs = inputs
        self._can_repeat = can_repeat

    def report_lineage(self, post_id: str) -> None:
        """Report the post and what it shows."""
        report_lineage(self.hook, inputs=self._inputs(), outputs=mosaic_uris(self.hook, "posts", [post_id]))

    def _read_call(self, item_id: str) -> Call[Post]:
        return get_post(item_id)

    def _poll_state(self, item_id: str, **options: Any) -> PollState[Post]:
        return post_poll_state(item_id, **options)

    def _trigger(self, item_id: str, **options: Any) -> MosaicSocialPostTrigger:
        return MosaicSocialPostTrigger(post_id=item_id, **options)

    def _count_end(self, item: Post) -> None:
        count(POSTS_ENDED, item.status)

    def finish(self, item: Post) -> str:
        """Push the URLs. Return the id of a published post, else raise or skip."""
        push_post_urls(self._context, item)
        self.report_lineage(item.post_id)
        try:
            raise_unless_posted(item, on_partial=self._options.on_partial)
        except MosaicPostFailedError as failure:
            if item.is_published_nowhere and self._can_repeat():
                # Retryable: a retry creates it again.
                raise
            raise fail_exception(failure) from None
        urls = [place.as_row() for place in public_urls(item)]
        add_to_outlet_events(self._context, post_id=item.post_id, status=item.status, post_urls=urls)
        return item.post_id

    def _give_up(self, item_id: str) -> str:
        return f"Post {item_id!r} may be published later: it was not withdrawn, and is not created again."


def raise_unless_posted(post: Post, *, on_partial: str) -> None:
    """
    Log how a post ended, and fail or skip accordingly.

    :param on_partial: What to do if only some destinations have it: ``warn``, ``fail`` or ``skip``.
    :raises MosaicPostFailedError: The post is not published, or not everywhere.
    """
    outcome = post_outcome(post).outcome
    if outcome is Outcome.SUCCESS:
        urls = public_urls(post)
        log.info("Post %r is published%s", post.post_id, ":" if urls else ".")
        for place in urls:
            log.info("  %s: %s", place.name, place.url)
        failed = [place.name for place in post.destination_results if not place.may_be_published and place.status]
        if failed:
            log.warning("Post %r is %s, but failed on: %s. Check it there.", post.post_id, post.status, listed(failed))
        return
    failure = post_failure(post)
    if outcome is Outcome.FAILED or on_partial == "fail":
        raise failure
    if on_partial == "skip":
        raise AirflowSkipException(str(failure))
    log_lines(failure.lines, level=logging.WARNING)


def push_post_urls(context: Mapping[str, Any], post: Post) -> None:
    """Push the URLs of a published post, one row for each destination that has one."""
    urls = public_urls(post)
    if not urls:
        return
    name = f"post {post.post_id!r}"
    push_xcom(context, POST_URLS_KEY, [place.as_row() for place in urls], name=name)
    push_link(context, MosaicPostLink().xcom_key, urls[0].url, name=name)


def post_timeout(timeout: Any, schedule_date: Any) -> Any:
    """Return how long to wait for a post. For a scheduled post the timeout counts from its schedule."""
    if timeout is None or schedule_date is None:
        return timeout
    ahead = validate_datetime("schedule_date", schedule_date).timestamp() - time.time()
    return validate_seconds("timeout", timeout) + max(0.0, ahead)
