"""The life of a task that publishes a post: once, and if asked for, until it is out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from airflow_provider_mosaic.api.arguments import raise_invalid, stamp, validate_datetime
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.candidates import SKEW, post_candidates
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.endpoints.social import Post, create_post, get_post, list_posts
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicRunFailedError,
)
from airflow_provider_mosaic.api.link_expiry import expiry_of
from airflow_provider_mosaic.api.options import POST, validate_media_of_post
from airflow_provider_mosaic.api.outcomes import Outcome, post_outcome, run_outcome
from airflow_provider_mosaic.api.reports import still_running_error
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.completion_waiter import Deferral, WaitOptions, read_started
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import NON_RETRYABLE_ERRORS, Consequences
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import (
    ExistingItems,
    StartRecord,
    TaskState,
    has_start_record,
    publishing_not_started,
)
from airflow_provider_mosaic.durable.xcoms import push_xcom
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.outputs import with_outputs
from airflow_provider_mosaic.tasks.post_waits import (
    POST_ID_KEY,
    PostWait,
    is_published_nowhere,
    push_post_urls,
    timeout_of,
)

log = logging.getLogger(__name__)

#: How long the link to an output lasts, by the documentation of GET /agent_run/{run_id}.
_LINKS_LAST = timedelta(days=7)
_LINK = re.compile(r"""https?://[^\s'"<>]+""", re.IGNORECASE)
#: How many of the newest posts are looked through for one whose answer was lost.
_NEWEST = 300
#: A present in which no schedule is past.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class PostOptions:
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
    workspace_id: str | None
    provider_options: Any = field(repr=False)
    waiting: WaitOptions
    durable: bool

    @classmethod
    def validated(
        cls, *, run_id: Any, media_urls: Any, output_ids: Any, durable: Any, schedule_date: Any, **order: Any
    ) -> PostOptions:
        """
        An order from an operator's arguments.

        :raises MosaicValidationError: One of them is wrong.
        """
        run_id = POST["run_id"]("run_id", run_id)
        validate_media_of_post(run_id=run_id, media_urls=media_urls, output_ids=output_ids)
        names = ("text", "social_connection_ids", "platforms", "workspace_id", "provider_options")
        content = {name: order.pop(name) for name in names}
        timeout = timeout_of(order.pop("timeout"), schedule_date)
        return cls(
            **content,
            run_id=run_id,
            media_urls=media_urls,
            output_ids=POST["output_ids"]("output_ids", output_ids),
            schedule_date=schedule_date,
            durable=POST["durable"]("durable", durable),
            waiting=WaitOptions.validated(timeout=timeout, **order),
        )

    def call(self, media_urls: Any, *, workspace_id: str | None = None, now: datetime | None = None) -> Call[Post]:
        """
        The request.

        :param media_urls: The media, by links that are fresh.
        :param workspace_id: The workspace where the order names none.
        :param now: Before when a schedule is in the past.
        """
        return create_post(
            self.text,
            social_connection_ids=self.social_connection_ids,
            platforms=self.platforms,
            media_urls=media_urls,
            schedule_date=self.schedule_date,
            workspace_id=workspace_id if self.workspace_id is None else self.workspace_id,
            provider_options=self.provider_options,
            now=now,
        )


class PostTask:
    """
    One slice of the task on a worker.

    :param order: What is asked for.
    :param hook: The connection.
    :param operator_class: The class of tasks that make posts.
    """

    def __init__(self, order: PostOptions, hook: MosaicHook, *, operator_class: type[Any]) -> None:
        self._order = order
        self._hook = hook
        self._operator_class = operator_class
        self._known: str | None = None
        self._answer: Post | None = None
        self.wait = PostWait(order.waiting, hook)

    def non_retryable(self, context: Mapping[str, Any]) -> tuple[type[MosaicError], ...]:
        """
        Bad ends of a post that a retry would only meet again; the wait itself knows the others.

        :param context: The task's context.
        """
        # Without a memory a retry does not go on with the post.
        return () if has_start_record(context, durable=self._order.durable) else NON_RETRYABLE_ERRORS

    def stakes(self, context: Mapping[str, Any], error: MosaicError) -> Consequences:
        """
        Return what a failure of the task means.

        :param context: The task's context.
        :param error: What happened.
        """
        post_id = self._known
        if isinstance(error, MosaicAmbiguousOutcomeError):
            return Consequences(means="", retry="looks for the post before it publishes anything", choices=())
        if post_id is None:
            return Consequences(
                means="Nothing was published by this try.",
                retry="publishes the post, unless it finds one that an earlier try has made",
                choices=("Clear this task to publish the post.",),
            )
        again = "makes the post again, since nothing of it is out"
        kept = f"continues with post {post_id!r} and publishes nothing twice"
        blind = "looks for the post that this try has made, and fails if there is one"
        remembered = has_start_record(context, durable=self._order.durable)
        return Consequences(
            means=f"Post {post_id!r} is not withdrawn: it may be out, or come out yet.",
            retry=(again if isinstance(error, MosaicPostFailedError) else kept) if remembered else blind,
            choices=(f"Look at post {post_id!r} in Mosaic. Clearing this task publishes a second post.",),
        )

    def waits_for(self, post_id: str) -> None:
        """
        After a deferral: this is the post.

        :param post_id: The post.
        """
        self._known = post_id

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Make the post, or go on with an earlier try's, and wait for it if asked to.

        :param context: The task's context.
        :returns: The post id, or how to wait for it in the triggerer.
        """
        order = self._order
        with publishing_not_started(context, "post"):
            request = [self._search_description(), order.run_id, order.output_ids]
        memory = TaskState(context, kind="post", request=request, durable=order.durable)
        record = self._create_once(context, memory).ensure()
        post_id = str(record.id)
        if (
            self._answer is not None
            and not self._order.waiting.wait_for_completion
            and post_outcome(self._answer).ended
        ):
            # The answer to the request has told the end already.
            return self.wait.finish(context, self._answer)
        return self.wait.wait(context, post_id, deadline=record.deadline, begun=record.started_at)

    def _create_or_adopt(self, context: Mapping[str, Any], post_id: str) -> None:
        self._known = post_id
        push_xcom(context, POST_ID_KEY, post_id, subject=f"post {post_id!r}")
        if self._answer is not None:
            push_post_urls(context, self._answer)

    def _search_description(self) -> dict[str, Any]:
        """The request's body, but for the links to a run's outputs; a retry may look for it after its own schedule."""
        media = ["https://outputs.invalid/"] if self._order.run_id else self._order.media_urls
        body: dict[str, Any] = self._order.call(media, now=_LONG_AGO).body
        return body

    def _can_continue(self, record: StartRecord) -> bool:
        """Whether an earlier try's post stands; only one of which nothing is out is made again."""
        post_id = str(record.id)
        try:
            post = read_started(self._hook, get_post(post_id), begun=record.started_at)
        except MosaicNotFoundError as error:
            raise MosaicNotFoundError(
                f"Post {post_id!r}, which an earlier try made, is not there any more.",
                means="It may have been out, so it is not made again: clear the task if it should be.",
            ) from error
        if is_published_nowhere(post):
            self._known = None
            log.info("Post %r of an earlier try failed, nothing of it is out: making it again.", post_id)
            return False
        log.info("Post %r of an earlier try is %s: it is not made again.", post_id, post.status)
        return True

    def _check_workspace(self) -> None:
        """
        Refuse a workspace whose posts the connection may not list: a lost answer would be looked for in vain, and the
        post made twice.
        """
        wanted, narrowed = self._order.workspace_id, self._hook.access.workspace_id
        if wanted is not None and narrowed is not None and wanted.lower() != narrowed.lower():
            raise_invalid(
                "workspace_id",
                wanted,
                f"the connection {self._hook.mosaic_conn_id!r} is narrowed to workspace {narrowed!r}. Nothing was "
                "posted. Use a connection without a workspace id, or leave the argument out.",
            )

    def _media(self) -> Any:
        """Links to the media; those of outputs are fetched now, so that they last as long as they can."""
        order = self._order
        now = datetime.now(timezone.utc)
        # For a post of now, our clock and the signer's may differ.
        due = now - SKEW if order.schedule_date is None else validate_datetime("schedule_date", order.schedule_date)
        for name in ("media_urls", "provider_options"):
            for link in _links_in(getattr(order, name)):
                _check_lasts(name, link, link, until=due)
        if order.run_id is None:
            return order.media_urls
        if due - now > _LINKS_LAST:
            raise_invalid(
                "schedule_date",
                order.schedule_date,
                "the links to a run's outputs last 7 days, and the media must be reachable when the post is published. "
                "Nothing was posted. Copy them to hosting of your own and give media_urls.",
            )
        run = with_outputs(self._hook, self._hook.get_run(order.run_id))
        outputs = {output.output_id: output.media_url for output in run.outputs}
        if order.output_ids is None:
            _check_whole(run)
        wanted = order.output_ids or list(outputs)
        if not wanted:
            raise_invalid("run_id", order.run_id, "the run has no outputs to post.")
        for output_id in wanted:
            if not outputs.get(output_id):
                why = f"run {order.run_id!r} has no such output with a file; it has:"
                raise_invalid("output_ids", output_id, why, items=list(outputs) or ["none"])
        links = [str(outputs[output_id]) for output_id in wanted]
        for output_id, link in zip(wanted, links, strict=True):
            # Whether a link that is fetched now lasts its 7 days from now on is not documented.
            _check_lasts("output_ids", output_id, link, until=due)
        return links

    def _create_once(self, context: Mapping[str, Any], memory: TaskState) -> CreateOnce:
        def begin() -> str:
            call = self._order.call(self._media(), workspace_id=self._hook.access.workspace_id)
            post = self._hook.send(call)
            log.info("Made post %r, which is %s.", post.post_id, post.status)
            self._answer = post
            return post.post_id

        def newest() -> Iterator[Post]:
            # They come first, by the documentation of GET /social/posts.
            return islice(self._hook.iterate(list_posts().all_or_error()), _NEWEST)

        def present(began: float) -> ExistingItems | None:
            try:
                return ExistingItems(ids=tuple(post.post_id for post in newest()))
            except MosaicError as error:
                log.info("The posts that are there before this one are not known: %s", error)
                return None

        def candidates(record: StartRecord) -> list[Candidate]:
            return post_candidates(
                newest(), body=self._search_description(), before=record.existing_ids, since=record.started_at
            )

        return CreateOnce(
            description="the post",
            memory=memory,
            send=begin,
            snapshot_existing=present,
            find_candidates=candidates,
            siblings=SiblingTasks(context, key=POST_ID_KEY, operator_class=self._operator_class).read,
            adopt=True,
            timeout=self._order.waiting.timeout,
            advice="Look at the posts in Mosaic.",
            check_before_start=self._check_workspace,
            can_continue=self._can_continue,
            # What is made again has its own time of publishing.
            restart_deadline=True,
            on_started=lambda post_id: self._create_or_adopt(context, post_id),
            validate_adopted=lambda post_id: self._hook.get_post(post_id),
        )


def _links_in(value: Any) -> Iterator[str]:
    """Return the links anywhere in an argument, also one that a template rendered to text."""
    if isinstance(value, str):
        yield from _LINK.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _links_in(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _links_in(item)


def _check_lasts(argument: str, named: str, link: str, *, until: datetime) -> None:
    """
    Refuse a link that shows that it no longer works when the post is published.

    :param argument: The argument that gave it.
    :param named: What that argument names it by.
    :param link: The link.
    :param until: When the post is published.
    """
    expiry = expiry_of(link)
    if expiry is not None and expiry < until:
        raise_invalid(
            argument,
            named,
            f"the link expires at {stamp(expiry)}, before the post is published: its media would be missing. Nothing "
            "was posted. Give a link that lasts longer, such as one to hosting of your own.",
        )


def _check_whole(run: Run) -> None:
    """
    Refuse to publish whatever a run has just now. A retry may find it ended well: it goes on, or can be resumed.

    :param run: The run.
    :raises MosaicRunFailedError: It has not ended, or ended badly.
    """
    verdict = run_outcome(run)
    if not verdict.ended:
        raise still_running_error(run, before="its outputs are posted, or say which ones by output_ids")
    if verdict.outcome is Outcome.PARTIAL:
        log.warning("Run %r ended partly: only its %d output(s) are posted.", run.run_id, len(run.outputs))
    if verdict.outcome is Outcome.FAILED:
        raise MosaicRunFailedError(
            f"Run {run.run_id!r} is {run.status}: what it rendered before is only posted by output_ids.",
            to_do="Resume it, or post another run.",
            run_id=run.run_id,
        )
