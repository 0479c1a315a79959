"""The life of a task that publishes a post: once, and if asked for, until it is out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from airflow_provider_mosaic.api.arguments import checked_flag, checked_id, checked_ids, checked_moment, refuse
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError, MosaicRunFailedError
from airflow_provider_mosaic.api.lookup import post_candidates
from airflow_provider_mosaic.api.reports import still_going_on
from airflow_provider_mosaic.api.runs import Run
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.api.social import Post, PostStatus, create_post, get_post, list_posts
from airflow_provider_mosaic.api.verdicts import Standing, judge_run
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.bookkeeping import push_xcom
from airflow_provider_mosaic.tasks.failing import HOPELESS
from airflow_provider_mosaic.tasks.memory import Before, Record, TaskMemory, remembers, telling_if_blank
from airflow_provider_mosaic.tasks.once import Once
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.tasks.post_waits import POST_ID_KEY, PostWait, timeout_of
from airflow_provider_mosaic.tasks.siblings import SiblingTasks
from airflow_provider_mosaic.tasks.waiting import Deferral, WaitOrder, read_begun

log = logging.getLogger(__name__)

#: How long the link to an output lasts, by the documentation of GET /agent_run/{run_id}.
_LINKS_LAST = timedelta(days=7)
#: How many of the newest posts are looked through for one whose answer was lost.
_NEWEST = 300
#: A present in which no schedule is past.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


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
    waiting: WaitOrder
    durable: bool

    @classmethod
    def checked(
        cls, *, run_id: Any, media_urls: Any, output_ids: Any, durable: Any, schedule_date: Any, **order: Any
    ) -> PostOrder:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        if run_id is not None:
            checked_id("run_id", run_id)
            if media_urls is not None:
                refuse("media_urls", media_urls, "give it or run_id, not both.")
        elif output_ids is not None:
            refuse("output_ids", output_ids, "it needs run_id: the run that rendered them.")
        content = {name: order.pop(name) for name in ("text", "social_connection_ids", "platforms")}
        timeout = timeout_of(order.pop("timeout"), schedule_date)
        return cls(
            **content,
            run_id=run_id,
            media_urls=media_urls,
            output_ids=None if output_ids is None else checked_ids("output_ids", output_ids),
            schedule_date=schedule_date,
            durable=checked_flag("durable", durable),
            waiting=WaitOrder.checked(timeout=timeout, **order),
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
        self.wait = PostWait(order.waiting, hook)

    def hopeless(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """
        Bad ends of a post that a retry would only meet again; the wait itself knows the others.

        :param context: The task's context.
        """
        # Without a memory a retry does not go on with the post.
        return () if remembers(context, durable=self._order.durable) else HOPELESS

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Make the post, or go on with an earlier try's, and wait for it if asked to.

        :param context: The task's context.
        :returns: The post id, or how to wait for it in the triggerer.
        """
        order = self._order
        with telling_if_blank(context, "post"):
            request = [self._sought(), order.run_id, order.output_ids]
        memory = TaskMemory(context, kind="post", request=request, durable=order.durable)
        record = self._once(context, memory).ensure()
        post_id = str(record.id)
        return self.wait.wait(context, post_id, deadline=record.deadline, begun=record.began)

    def _sought(self) -> dict[str, Any]:
        """The request's body, but for the links to a run's outputs; a retry may look for it after its own schedule."""
        media = ["https://outputs.invalid/"] if self._order.run_id else self._order.media_urls
        body: dict[str, Any] = self._order.call(media, now=_LONG_AGO).body
        return body

    def _stands(self, record: Record) -> bool:
        """Whether an earlier try's post stands; only one of which nothing is out is made again."""
        post_id = str(record.id)
        try:
            post = read_begun(self._hook, get_post(post_id), begun=record.began)
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
        if order.output_ids is None:
            _check_whole(run)
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
            return islice(self._hook.iterate(list_posts().all_or_error()), _NEWEST)

        def present(began: float) -> Before | None:
            try:
                return Before(ids=tuple(post.post_id for post in newest()))
            except MosaicError as error:
                log.info("The posts that are there before this one are not known: %s", error)
                return None

        def candidates(record: Record) -> list[Candidate]:
            return post_candidates(newest(), body=self._sought(), before=record.before, since=record.began)

        return Once(
            what="the post",
            memory=memory,
            begin=begin,
            present=present,
            candidates=candidates,
            siblings=SiblingTasks(context, key=POST_ID_KEY, operator_class=self._operator_class).look,
            adopt=True,
            timeout=self._order.waiting.timeout,
            advice="Look at the posts in Mosaic.",
            stands=self._stands,
            # What is made again has its own time of publishing.
            new_clock=True,
            tell=lambda post_id: push_xcom(context, POST_ID_KEY, post_id, subject=f"post {post_id!r}"),
            may_be=lambda post_id: self._hook.get_post(post_id),
        )


def _check_whole(run: Run) -> None:
    """
    Refuse to publish whatever a run has just now. A retry may find it ended well: it goes on, or can be resumed.

    :param run: The run.
    :raises MosaicRunFailedError: It has not ended, or ended badly.
    """
    verdict = judge_run(run)
    if not verdict.ended:
        raise still_going_on(run, before="its outputs are posted, or say which ones by output_ids")
    if verdict.standing is Standing.BAD:
        raise MosaicRunFailedError(
            f"Run {run.run_id!r} is {run.status}: what it rendered before is only posted by output_ids. Resume it, or "
            "post another run.",
            run_id=run.run_id,
        )
