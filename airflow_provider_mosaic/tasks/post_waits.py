"""The wait until a post is out, and how its end is judged. Nothing withdraws a post."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import checked_moment, checked_seconds
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicPostFailedError, MosaicTimeoutError
from airflow_provider_mosaic.api.public_urls import public_urls
from airflow_provider_mosaic.api.reports import post_failure
from airflow_provider_mosaic.api.social import Post, PostStatus, get_post
from airflow_provider_mosaic.api.verdicts import Standing, judge_post
from airflow_provider_mosaic.api.waiting import Watch, watch_post
from airflow_provider_mosaic.links import MosaicPostLink
from airflow_provider_mosaic.tasks.bookkeeping import push_link, push_xcom
from airflow_provider_mosaic.tasks.failing import fail_exception, log_lines
from airflow_provider_mosaic.tasks.waiting import Clocks, EndWait
from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

log = logging.getLogger(__name__)

#: XCom key under which a task pushes where its post is out.
POST_URLS_KEY = "post_urls"
#: XCom key under which a task pushes the id of its post, at once after it was made.
POST_ID_KEY = "mosaic_post_id"


class PostWait(EndWait[Post]):
    """The wait until one post is out, or is known not to come out."""

    noun = "Post"
    key = "post_id"
    id_key = POST_ID_KEY
    kinds = ("post",)

    def _read(self, subject_id: str) -> Call[Post]:
        return get_post(subject_id)

    def _watch(self, subject_id: str, **course: Any) -> Watch[Post]:
        return watch_post(subject_id, **course)

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
            judge_post_end(subject, on_partial=self._order.on_partial)
        except MosaicPostFailedError as failure:
            if is_out_nowhere(subject):
                # A retry makes it again.
                raise
            raise fail_exception(failure) from None
        return subject.post_id

    def _given_up(self, context: Mapping[str, Any], subject_id: str, clocks: Clocks) -> Exception:
        return fail_exception(
            MosaicTimeoutError(
                f"Post {subject_id!r} is not out in the time given for it.",
                means="It may come out yet: it was not withdrawn, and is not made again.",
            )
        )


def is_out_nowhere(post: Post) -> bool:
    """
    Whether a post may be made again.

    Mosaic lists ``failed`` beside ``partial_failure`` and does not say that nothing is out then: the provider assumes
    it, unless a destination shows otherwise.

    :param post: A post that has ended.
    """
    return post.status == PostStatus.FAILED and not any(destination.is_out for destination in post.outcomes)


def judge_post_end(post: Post, *, on_partial: str) -> None:
    """
    Say how a post ended, and fail or skip by it.

    :param post: A post that has ended.
    :param on_partial: What it means that only some destinations have it: ``warn``, ``fail`` or ``skip``.
    :raises MosaicPostFailedError: It is not out, or not everywhere.
    """
    standing = judge_post(post).standing
    if standing is Standing.GOOD:
        urls = public_urls(post)
        log.info("Post %r is out%s", post.post_id, ":" if urls else ".")
        for place in urls:
            log.info("  %s: %s", place.name, place.url)
        return
    failure = post_failure(post)
    if standing is Standing.BAD or on_partial == "fail":
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
    ahead = checked_moment("schedule_date", schedule_date).timestamp() - time.time()
    return checked_seconds("timeout", timeout) + max(0.0, ahead)
