"""Publish a post once, and wait until it is published if that is requested."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.arguments import Validator, id_key, raise_invalid, validate_datetime
from airflow_provider_mosaic.api.candidates import post_candidates
from airflow_provider_mosaic.api.endpoints.posts import Post, get_post, list_posts, post_body
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.metrics import OUTCOMES_AMBIGUOUS, POSTS_CREATED, count
from airflow_provider_mosaic.api.options import validate_media_of_post
from airflow_provider_mosaic.api.outcomes import post_outcome
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.completion_waiter import WaitOptions
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import NON_RETRYABLE_ERRORS, Consequences
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.reads import read_started
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import StartRecord, can_save_state
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.post_media import media_links
from airflow_provider_mosaic.tasks.post_waits import PostWait, post_timeout, push_post_urls
from airflow_provider_mosaic.tasks.reporting import POST_ID_KEY, add_to_outlet_events, mosaic_uris, push_item, push_xcom

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

#: The number of newest posts that are searched for a lost one.
_MAX_SEARCHED = 300


@dataclass(frozen=True, kw_only=True)
class PostOptions(WaitOptions):
    """
    The validated arguments of a :class:`~airflow_provider_mosaic.operators.social.MosaicSocialPostOperator`.

    :param content: The arguments of :func:`post_body`, which validates them, without the media.
    """

    content: Mapping[str, Any] = field(repr=False)
    media_urls: Any = field(repr=False)
    run_id: str | None
    output_ids: Any
    durable: bool

    @classmethod
    def validated(cls, known: Mapping[str, Validator], /, **arguments: Any) -> Self:
        """
        Validate an operator's arguments. The timeout counts from the time of publishing.

        :raises MosaicValidationError: One of them is invalid.
        """
        validate_media_of_post(**{name: arguments[name] for name in ("run_id", "media_urls", "output_ids")})
        timeout = post_timeout(arguments["timeout"], arguments["content"]["schedule_date"])
        return super().validated(known, **{**arguments, "timeout": timeout})

    @property
    def is_overdue(self) -> bool:
        """Whether the post has a schedule that has passed: Mosaic does not accept it again."""
        schedule = self.content["schedule_date"]
        return schedule is not None and validate_datetime("schedule_date", schedule) <= datetime.now(timezone.utc)


class PostTask:
    """The task of ``MosaicSocialPostOperator``, in one execution."""

    def __init__(self, options: PostOptions, hook: MosaicHook, context: Mapping[str, Any]) -> None:
        self.options = options
        self.hook = hook
        self.context = context
        self._creation: CreatePost | None = None
        # Whether a retry knows the post.
        self._is_saved = can_save_state(context, durable=options.durable)
        self.wait = PostWait(
            options,
            hook,
            context,
            state=lambda: CreatePost(self).state,
            inputs=self._lineage_inputs,
            can_repeat=lambda: not options.is_overdue,
        )

    def prepare(self) -> None:
        """Build the request of the creation. Raise if an argument is invalid."""
        self._creation = CreatePost(self)

    def start(self) -> str:
        """Create the post or continue with that of an earlier attempt. Wait for it if requested. Return its id."""
        creation = self._creation
        assert creation is not None  # noqa: S101 - prepare() was called
        record = creation.ensure()
        post_id = str(record.id)
        if not self.options.wait_for_completion:
            post = creation.response or self._read_best_effort(post_id)
            if post is not None and post_outcome(post).ended:
                # The task fails or succeeds by the end of the post without a wait.
                return self.wait.finish(post)
        return self.wait.wait(post_id, deadline=record.deadline, started_at=record.started_at)

    def _read_best_effort(self, post_id: str) -> Post | None:
        """Read a post that a search found. Lists may show an older status."""
        try:
            return self.hook.get_post(post_id)
        except MosaicError as error:
            log.warning("Post %r could not be read. The task does not know whether it failed. %s", post_id, error)
            return None

    def _lineage_inputs(self) -> Iterator[str]:
        """Yield the URIs of the outputs that the post shows. Read the run if the post shows all of them."""
        options = self.options
        if options.run_id is not None:
            output_ids = options.output_ids or self.hook.get_run(options.run_id).output_ids
            yield from mosaic_uris(self.hook, "outputs", output_ids)

    def non_retryable(self) -> tuple[type[MosaicError], ...]:
        """Return more errors that a retry would meet again. The wait itself handles the failures of a post."""
        # Without saved state a retry does not know the post: fail also after a refusal that lasted for a whole wait.
        unsaved = () if self._is_saved else NON_RETRYABLE_ERRORS
        return (MosaicRunPartialError, *unsaved)

    def consequences(self, error: MosaicError) -> Consequences:
        """Return what an error of the task means."""
        post_id = self.wait.item_id
        was_sent_before = self._creation is not None and self._creation.was_sent_before
        if isinstance(error, MosaicAmbiguousOutcomeError):
            # The error itself contains what it means and what to do.
            return Consequences(means="", retry=self._retry_effect, choices=())
        # Without a creation, the task continues after a deferral, and has a post.
        if post_id is None and self._creation is not None:
            return Consequences(
                means="This attempt published nothing.",
                retry=self._retry_effect,
                choices=() if was_sent_before else ("Clear this task to publish the post.",),
            )
        post = f"post {post_id!r}" if post_id else "its post"
        choices: tuple[str, ...] = (f"Check {post} in Mosaic. Clearing this task publishes a second post.",)
        if post_id and not isinstance(error, MosaicPostFailedError):
            choices = (f"Check {post} in Mosaic.", *ManualAdoption(self.context, kind="post").continue_hint(post_id))
        return Consequences(
            means=f"{post[0].upper()}{post[1:]} is not withdrawn: it may be published, now or later.",
            retry=self._retry_effect_on(post_id, error),
            choices=choices,
        )

    def _retry_effect_on(self, post_id: str | None, error: MosaicError) -> str:
        """Return what a retry does with the post of this attempt, whose id may be unknown: see ``Consequences``."""
        failed = isinstance(error, MosaicPostFailedError)
        if not self._is_saved:
            adoption = ManualAdoption(self.context, kind="post", durable=self.options.durable)
            adopts = adoption.adopt_effect(post_id) if post_id else ""
            if adopts and not failed:
                return adopts
            if self.options.durable and not adopts:
                return "searches for the post of this attempt, and fails if it finds one"
        if failed:
            return "creates the post again, because it is not published anywhere"
        if not self.options.durable:
            return "publishes a second post, because durable=False"
        return f"continues with {f'post {post_id!r}' if post_id else 'its post'} and publishes nothing twice"

    @property
    def _retry_effect(self) -> str:
        """What a retry does if no post is known, as the end of a sentence."""
        if self.options.durable:
            return "publishes the post, unless it finds one of an earlier attempt"
        return "publishes the post and does not search for an earlier one, because durable=False"


class CreatePost(CreateOnce):
    """The creation of the post."""

    metric = POSTS_CREATED
    advice = "Check the posts in Mosaic."
    # The deadline counts from the time of publishing.
    restart_deadline = True

    def __init__(self, task: PostTask) -> None:
        options = self._options = task.options
        media = ["https://outputs.invalid/"] if options.run_id else options.media_urls
        # The request without the links to a run's outputs. A schedule that has passed is valid here: a retry may search
        # for the post then.
        self._body = post_body(**options.content, media_urls=media)
        request = [self._body, options.run_id, options.output_ids]
        super().__init__(
            task.context,
            kind="post",
            request=request,
            durable=options.durable,
            description="the post",
            timeout=options.timeout,
        )
        self._hook = task.hook
        self._wait = task.wait
        #: The post as the response to its creation has it, or as a retry read it.
        self.response: Post | None = None

    def send(self) -> str:
        """Create the post and return its id."""
        options = self._options
        workspace_id = options.content["workspace_id"] or self._hook.access.workspace_id
        content = {**options.content, "workspace_id": workspace_id}
        post = self.response = self._hook.create_post(**content, media_urls=media_links(self._hook, options))
        log.info("Created post %r, which is %s.", post.post_id, post.status)
        return post.post_id

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        """Add the newest posts."""
        return replace(record, existing_ids=tuple(post.post_id for post in self._newest()))

    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        """Return the posts with the same content that did not exist before."""
        newest = self._newest()
        # The first response shows the server's clock.
        first = list(islice(newest, 1))
        since = record.started_at - max(0.0, record.clock_ahead, self.clock_ahead())
        return post_candidates(chain(first, newest), body=self._body, before=record.existing_ids, since=since)

    def clock_ahead(self) -> float:
        """Return the lead of this machine's clock by the newest response."""
        return self._hook.client.clock_ahead

    def siblings(self) -> SiblingTasks:
        """Return the tasks that create posts."""
        return SiblingTasks(self._context, kind="post", key=POST_ID_KEY)

    def check_before_start(self) -> None:
        """Raise for a workspace that the connection can't list: a search would miss the post, and publish it twice."""
        requested, connected = self._options.content["workspace_id"], self._hook.access.workspace_id
        if requested is not None and connected is not None and id_key(requested) != id_key(connected):
            raise_invalid(
                "workspace_id",
                requested,
                f"the connection {self._hook.mosaic_conn_id!r} is restricted to workspace {connected!r}. Nothing was "
                "posted. Use a connection without a workspace id, or leave the argument out.",
            )

    def can_continue(self, record: StartRecord) -> bool:
        """Return whether to continue with the post of an earlier attempt. If it is published nowhere, repeat it."""
        post_id, post = str(record.id), self._read_earlier(record)
        if post.is_published_nowhere and self._options.is_overdue:
            log.info("Post %r of an earlier attempt failed, and its schedule_date has passed.", post_id)
        elif post.is_published_nowhere:
            log.info("Post %r of an earlier attempt failed and is not published anywhere. Creating it again.", post_id)
            return False
        else:
            log.info("Post %r of an earlier attempt is %s. It is not created again.", post_id, post.status)
        # Also without a wait, the task ends by it.
        self.response = post
        return True

    def on_changed(self, record: StartRecord) -> None:
        """Raise unless the post of an earlier attempt with another request is published nowhere."""
        post_id = str(record.id)
        if not self._read_earlier(record).is_published_nowhere:
            count(OUTCOMES_AMBIGUOUS)
            raise MosaicAmbiguousOutcomeError(
                f"An earlier attempt created post {post_id!r} with other arguments.",
                means="It may be published, now or later, so this attempt publishes no second one.",
                to_do=(
                    *self.adoption.continue_hint(post_id),
                    "Use templates that are the same in each attempt, such as {{ ts }} or {{ logical_date }}.",
                ),
                candidates=[post_id],
            )
        log.info("Post %r of an earlier attempt failed and is not published anywhere. Creating another one.", post_id)

    def _read_earlier(self, record: StartRecord) -> Post:
        post_id = str(record.id)
        try:
            return read_started(self._hook, get_post(post_id), name=f"Post {post_id!r}", started_at=record.started_at)
        except MosaicNotFoundError as error:
            raise MosaicNotFoundError(
                f"Post {post_id!r} of an earlier attempt does not exist any more.",
                means="It may have been published, so it is not created again.",
            ) from error

    def on_started(self, id: str) -> None:
        """Push the id, and the URLs if the response has them."""
        self._wait.item_id = id
        add_to_outlet_events(self._context, post_id=id)
        push_xcom(self._context, POST_ID_KEY, id, name=f"post {id!r}")
        push_item(self._context, self._hook, "post", id)
        if not self._options.wait_for_completion:
            self._wait.report_lineage(id)
        if self.response is not None:
            push_post_urls(self._context, self.response)

    def on_replaced(self, id: str) -> None:
        """Withdraw the id of the post that is not continued."""
        self._wait.item_id = None
        push_xcom(self._context, POST_ID_KEY, None, name=f"post {id!r}")

    def validate_adopted(self, id: str) -> None:
        """Raise if there is no such post."""
        self._hook.get_post(id)

    def _newest(self) -> Iterator[Post]:
        listings = [list_posts().all_or_error()]
        if workspace_id := self._options.content["workspace_id"]:
            # It is not documented whether a list without a workspace has the posts of all workspaces.
            listings.append(listings[0].in_workspace(workspace_id))
        known: set[str] = set()
        for listing in listings:
            # The documentation of GET /social/posts says that they come first.
            for post in islice(self._hook.iterate(listing), _MAX_SEARCHED):
                if post.post_id not in known:
                    known.add(post.post_id)
                    yield post
