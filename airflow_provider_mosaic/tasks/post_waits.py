"""The wait until a post is out, and how its end is judged. Nothing withdraws a post."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import validate_datetime, validate_seconds
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.social import Post, PostStatus, get_post
from airflow_provider_mosaic.api.errors import MosaicPostFailedError, MosaicTimeoutError
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome
from airflow_provider_mosaic.api.poll_state import PollState, post_poll_state
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.reports import post_failure
from airflow_provider_mosaic.durable.completion_waiter import CompletionWaiter, Deadlines
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.xcoms import push_link, push_xcom
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

log = logging.getLogger(__name__)

#: XCom key under which a task pushes where its post is out.
POST_URLS_KEY = "post_urls"
#: XCom key under which a task pushes the id of its post, at once after it was made.
POST_ID_KEY = "mosaic_post_id"


class PostWait(CompletionWaiter[Post]):
    """The wait until one post is out, or is known not to come out."""

    noun = "Post"
    key = "post_id"
    id_key = POST_ID_KEY
    kinds = ("post",)

    def _read(self, subject_id: str) -> Call[Post]:
        return get_post(subject_id)

    def _poll_state(self, subject_id: str, **course: Any) -> PollState[Post]:
        return post_poll_state(subject_id, **course)

    def _trigger(self, subject_id: str, **course: Any) -> MosaicSocialPostTrigger:
        return MosaicSocialPostTrigger(post_id=subject_id, **course)

    def finish(self, context: Mapping[str, Any], post: Post) -> str:
        """
        Judge a post whose end the answer to its request has told.

        :param context: The task's context.
        :param post: The post.
        :returns: The post id.
        """
        return self._finish(context, post)

    def _finish(self, context: Mapping[str, Any], subject: Post) -> str:
        push_post_urls(context, subject)
        try:
            raise_unless_posted(subject, on_partial=self._order.on_partial)
        except MosaicPostFailedError as failure:
            if is_published_nowhere(subject):
                # A retry makes it again.
                raise
            raise fail_exception(failure) from None
        return subject.post_id

    def _timeout_error(self, context: Mapping[str, Any], subject_id: str, clocks: Deadlines) -> Exception:
        return fail_exception(
            MosaicTimeoutError(
                f"Post {subject_id!r} is not out in the time given for it.",
                means="It may come out yet: it was not withdrawn, and is not made again.",
            )
        )


def is_published_nowhere(post: Post) -> bool:
    """
    Whether a post may be made again.

    Mosaic lists ``failed`` beside ``partial_failure`` and does not say that nothing is out then: the provider assumes
    it, unless a destination shows otherwise.

    :param post: A post that has ended.
    """
    return post.status == PostStatus.FAILED and not any(destination.is_published for destination in post.outcomes)


def raise_unless_posted(post: Post, *, on_partial: str) -> None:
    """
    Say how a post ended, and fail or skip by it.

    :param post: A post that has ended.
    :param on_partial: What it means that only some destinations have it: ``warn``, ``fail`` or ``skip``.
    :raises MosaicPostFailedError: It is not out, or not everywhere.
    """
    standing = post_outcome(post).outcome
    if standing is Outcome.SUCCESS:
        urls = public_urls(post)
        log.info("Post %r is out%s", post.post_id, ":" if urls else ".")
        for place in urls:
            log.info("  %s: %s", place.name, place.url)
        return
    failure = post_failure(post)
    if standing is Outcome.FAILED or on_partial == "fail":
        raise failure
    if on_partial == "skip":
        raise AirflowSkipException(str(failure))
    log_lines(failure.lines, level=logging.WARNING)


def push_post_urls(context: Mapping[str, Any], post: Post) -> None:
    """
    Push where a post is out: one row a destination whose address Mosaic has told.

    :param context: The task's context.
    :param post: The post.
    """
    urls = public_urls(post)
    if not urls:
        return
    subject = f"post {post.post_id!r}"
    push_xcom(context, POST_URLS_KEY, [place.as_row() for place in urls], subject=subject)
    push_link(context, MosaicPostLink().xcom_key, urls[0].url, subject=subject)


def timeout_of(timeout: Any, schedule_date: Any) -> Any:
    """
    How long to wait for a post; one that is scheduled is waited for from its time on.

    :param timeout: Seconds or a timedelta, from the time of publishing.
    :param schedule_date: When it is to be published.
    """
    if timeout is None or schedule_date is None:
        return timeout
    ahead = validate_datetime("schedule_date", schedule_date).timestamp() - time.time()
    return validate_seconds("timeout", timeout) + max(0.0, ahead)
