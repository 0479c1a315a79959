"""The life of a task that publishes a post: once, and if asked for, until it is out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import (
    checked_choice,
    checked_flag,
    checked_id,
    checked_ids,
    checked_moment,
    checked_seconds,
    refuse,
)
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.api.lookup import Candidate, post_candidates
from airflow_provider_mosaic.api.reports import post_failure
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.api.social import Post, PostStatus, create_post, get_post
from airflow_provider_mosaic.api.verdicts import Standing, judge_post
from airflow_provider_mosaic.api.waiting import watch_post
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.failing import fail_exception
from airflow_provider_mosaic.tasks.memory import Record, TaskMemory
from airflow_provider_mosaic.tasks.once import Once
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.tasks.siblings import read_siblings
from airflow_provider_mosaic.tasks.waiting import (
    Deferral,
    backstop,
    earliest_deadline,
    read_begun,
    read_event,
    wait_on_worker,
)
from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

log = logging.getLogger(__name__)

#: XCom key under which a task pushes the id of its post, at once after it was made.
POST_ID_KEY = "mosaic_post_id"

#: How long the link to an output lasts, by the documentation of GET /agent_run/{run_id}.
_LINKS_LAST = timedelta(days=7)
#: How many of the newest posts are looked through for one whose answer was lost.
_NEWEST = 300
#: A present in which no schedule is past.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
_AMBIGUOUS_ADVICE = "Look at the posts in Mosaic. If it is not there, clear this task to post it."


@dataclass(frozen=True, kw_only=True)
class PostOrder:
    """
    What an operator was asked for, checked. The meanings are those of
    :class:`~airflow_provider_mosaic.operators.social.MosaicSocialPostOperator`.
    """

    text: str = field(repr=False)
    social_connection_ids: Any
    platforms: Any
    media_urls: Any = field(repr=False)
    run_id: str | None
    output_ids: Any
    schedule_date: Any
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float | None
    on_partial: str
    durable: bool

    @classmethod
    def checked(cls, *, poll_interval: Any, timeout: Any, **order: Any) -> PostOrder:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        for flag in ("wait_for_completion", "deferrable", "durable"):
            checked_flag(flag, order[flag])
        checked_choice("on_partial", order["on_partial"], ("warn", "fail", "skip"))
        if order["run_id"] is not None:
            checked_id("run_id", order["run_id"])
            if order["media_urls"] is not None:
                refuse("media_urls", order["media_urls"], "give it or run_id, not both.")
        elif order["output_ids"] is not None:
            refuse("output_ids", order["output_ids"], "it needs run_id: the run that rendered them.")
        if order["output_ids"] is not None:
            order["output_ids"] = checked_ids("output_ids", order["output_ids"])
        return cls(
            poll_interval=checked_seconds("poll_interval", poll_interval),
            timeout=None if timeout is None else checked_seconds("timeout", timeout),
            **order,
        )

    def call(self, media_urls: Any, *, now: datetime | None = None) -> Call[Post]:
        """
        The request.

        :param media_urls: The media, by links that are fresh.
        :param now: Before when a schedule is in the past.
        """
        return create_post(
            self.text,
            social_connection_ids=self.social_connection_ids,
            platforms=self.platforms,
            media_urls=media_urls,
            schedule_date=self.schedule_date,
            now=now,
        )


class PostTask:
    """
    One slice of the task on a worker.

    :param order: What is asked for.
    :param hook: The connection.
    :param operator_class: The class of tasks that make posts.
    """

    def __init__(self, order: PostOrder, hook: MosaicHook, *, operator_class: type[Any]) -> None:
        self._order = order
        self._hook = hook
        self._operator_class = operator_class

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Make the post, or go on with an earlier try's, and wait for it if asked to.

        :param context: The task's context.
        :returns: The post id, or how to wait for it in the triggerer.
        """
        order = self._order
        memory = TaskMemory(
            context, kind="post", request=[self._sought(), order.run_id, order.output_ids], durable=order.durable
        )
        record = self._post_of(memory, self._once(context, memory))
        post_id = str(record.id)
        context["ti"].xcom_push(key=POST_ID_KEY, value=post_id)
        if not order.wait_for_completion:
            return post_id
        return self._wait(context, post_id, deadline=record.deadline, begun=record.began)

    def go_on(
        self, context: Mapping[str, Any], event: Mapping[str, Any] | None, post_id: str, deadline: float | None
    ) -> str | Deferral:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param post_id: The post that was waited for.
        :param deadline: The order's own deadline, in seconds since the epoch.
        """
        try:
            read_event(event, post_id, f"Post {post_id!r}")
        except MosaicTimeoutError:
            raise self._out_of_time(post_id)  # noqa: B904 - it has its cause
        return self._wait(context, post_id, deadline=deadline)

    # Which post

    def _post_of(self, memory: TaskMemory, once: Once) -> Record:
        record = memory.recall()
        if record is None:
            return once.start()
        if record.id is None:
            return once.go_on(record)
        return record if self._reattaches(record.id, record.began) else once.start()

    def _sought(self) -> dict[str, Any]:
        """The request's body, but for the links to a run's outputs; a retry may look for it after its own schedule."""
        media = ["https://outputs.invalid/"] if self._order.run_id else self._order.media_urls
        body: dict[str, Any] = self._order.call(media, now=_LONG_AGO).body
        return body

    def _reattaches(self, post_id: str, begun: float) -> bool:
        """Whether an earlier try's post stands; only one of which nothing is out is made again."""
        try:
            post = read_begun(self._hook, get_post(post_id), begun=begun)
        except MosaicNotFoundError as error:
            raise MosaicNotFoundError(
                f"Post {post_id!r}, which an earlier try made, is not there any more. It may have been out, so it is "
                "not made again: clear the task if it should be."
            ) from error
        if post.status == PostStatus.FAILED:
            log.info("Post %r of an earlier try failed, nothing of it is out: making it again.", post_id)
            return False
        log.info("Post %r of an earlier try is %s: it is not made again.", post_id, post.status)
        return True

    def _media(self) -> Any:
        """Links to the media; those of outputs are fetched now, so that they last as long as they can."""
        order = self._order
        if order.run_id is None:
            return order.media_urls
        if order.schedule_date is not None:
            moment = checked_moment("schedule_date", order.schedule_date)
            if moment - datetime.now(timezone.utc) > _LINKS_LAST:
                refuse(
                    "schedule_date",
                    order.schedule_date,
                    "the links to a run's outputs last 7 days, and the media must be reachable when the post is "
                    "published. Copy them to hosting of your own and give media_urls.",
                )
        run = with_outputs(self._hook, self._hook.get_run(order.run_id))
        outputs = {output.output_id: output.video_url for output in run.outputs}
        wanted = order.output_ids or list(outputs)
        if not wanted:
            refuse("run_id", order.run_id, "the run has no outputs to post.")
        for output_id in wanted:
            if not outputs.get(output_id):
                known = ", ".join(outputs) or "none"
                refuse("output_ids", output_id, f"run {order.run_id!r} has no such video; it has {known}.")
        return [outputs[output_id] for output_id in wanted]

    def _once(self, context: Mapping[str, Any], memory: TaskMemory) -> Once:
        def begin() -> str:
            post = self._hook.send(self._order.call(self._media()))
            log.info("Made post %r, which is %s.", post.post_id, post.status)
            return post.post_id

        def newest() -> Iterator[Post]:
            # They come first, by the documentation of GET /social/posts.
            return islice(self._hook.list_posts(), _NEWEST)

        def present(began: float) -> tuple[str, ...] | None:
            try:
                return tuple(post.post_id for post in newest())
            except MosaicError as error:
                log.info("The posts that are there before this one are not known: %s", error)
                return None

        def candidates(record: Record) -> list[Candidate]:
            return post_candidates(newest(), body=self._sought(), before=record.before or (), since=record.began)

        return Once(
            what="the post",
            memory=memory,
            begin=begin,
            present=present,
            candidates=candidates,
            siblings=lambda: read_siblings(context, key=POST_ID_KEY, operator_class=self._operator_class),
            adopt=True,
            timeout=self._order.timeout,
            advice=_AMBIGUOUS_ADVICE,
        )

    # Waiting and the end

    def _wait(
        self, context: Mapping[str, Any], post_id: str, *, deadline: float | None, begun: float | None = None
    ) -> str | Deferral:
        first_to_run_out = earliest_deadline(context, deadline)
        watch = watch_post(
            post_id,
            poll_interval=self._order.poll_interval,
            deadline=first_to_run_out,
            noted=log.info,
            begun=begun,
        )
        call = get_post(post_id)
        if not self._order.deferrable:
            post = wait_on_worker(self._hook, call, watch)
            if post is None:
                raise self._out_of_time(post_id)
            return self._finish(post)
        try:
            post = self._hook.send(call, retries=ONCE)
        except MosaicError as error:
            watch.failed(error)
        else:
            if watch.saw(post).ended:
                return self._finish(post)
        if watch.expired:
            raise self._out_of_time(post_id)
        return Deferral(
            trigger=MosaicSocialPostTrigger(
                post_id=post_id,
                mosaic_conn_id=self._hook.mosaic_conn_id,
                poll_interval=self._order.poll_interval,
                deadline=first_to_run_out,
                begun=begun,
            ),
            kwargs={"post_id": post_id, "deadline": deadline},
            timeout=backstop(first_to_run_out, self._order.poll_interval),
        )

    def _finish(self, post: Post) -> str:
        try:
            judge_post_end(post, on_partial=self._order.on_partial)
        except MosaicPostFailedError as failure:
            if post.status == PostStatus.FAILED:
                # Nothing is out: a retry makes it again.
                raise
            raise fail_exception(failure) from failure
        return post.post_id

    def _out_of_time(self, post_id: str) -> Exception:
        return fail_exception(
            MosaicTimeoutError(
                f"Post {post_id!r} is not out in the time given for it. It may come out yet: it was not withdrawn, and "
                "is not made again."
            )
        )


def judge_post_end(post: Post, *, on_partial: str) -> None:
    """
    Say how a post ended, and fail or skip by it.

    :param post: A post that has ended.
    :param on_partial: What it means that only some destinations have it: ``warn``, ``fail`` or ``skip``.
    :raises MosaicPostFailedError: It is not out, or not everywhere.
    """
    standing = judge_post(post).standing
    if standing is Standing.GOOD:
        log.info("Post %r is out.", post.post_id)
        return
    failure = post_failure(post)
    if standing is Standing.BAD or on_partial == "fail":
        raise failure
    if on_partial == "skip":
        raise AirflowSkipException(str(failure))
    log.warning("%s", failure)


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
