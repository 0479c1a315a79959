"""Social posts (https://docs.mosaic.so/api/social/post-social-post)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from pydantic import AliasChoices, Field, ValidationError, model_validator

from airflow_provider_mosaic.api.arguments import (
    format_time,
    id_key,
    optional,
    raise_invalid,
    validate_datetime,
    validate_filled_text,
    validate_flag,
    validate_id,
    validate_mapping,
    validate_text,
    validated_values,
)
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.models import (
    ErrorText,
    Id,
    Many,
    Model,
    Status,
    Time,
    Words,
    id_in,
    object_in,
    status_key,
    status_words,
)
from airflow_provider_mosaic.api.options import (
    POST,
    Platform,
    validate_destinations_of_post,
    validate_platforms,
    validate_post_has_content,
)
from airflow_provider_mosaic.api.paging import Listing, filters, paged, read_page
from airflow_provider_mosaic.api.post_options import ProviderOptions, validate_provider_options
from airflow_provider_mosaic.api.publication_signs import find_post_id, find_sign, has_published_result
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.api.refusals import texts_in


class PostStatus(str, enum.Enum):
    """Documented statuses of a post. Any other status is kept as text."""

    SCHEDULED = "scheduled"
    PENDING_APPROVAL = "pending_approval"
    PROCESSING = "processing"
    POSTED = "posted"
    PARTIAL_FAILURE = "partial_failure"
    FAILED = "failed"
    REJECTED = "rejected"


#: In the response to a creation or a change, these words report that Mosaic accepted the request.
_ACCEPTED = "success successful succeeded completed complete"
#: Other spellings of the documented statuses. ``failed`` has none: only the documented word means that nothing was
#: published, and that the post may be made again.
_STATUS_WORDS = status_words(
    scheduled="",
    pending_approval="",
    processing="",
    posted=f"published {_ACCEPTED}",
    partial_failure="partial partially_failed partial_success partially_succeeded partially_posted partially_published "
    "partial_complete partially_complete partial_completed partially_completed completed_with_errors "
    "completed_with_failures finished_with_errors finished_with_failures posted_with_errors published_with_errors",
    failed="",
    rejected="declined",
)
#: Undocumented final statuses. What was published is unknown.
UNCLEAR_ENDS = status_words(
    error="errored",
    failure="fail",
    timed_out="timedout timeout time_out",
    cancelled="canceled aborted",
    deleted="",
    expired="",
)

#: Statuses of a destination that does not have the post. A post that expired may have been public.
_FAILURES = frozenset({PostStatus.FAILED.value, PostStatus.REJECTED.value, *UNCLEAR_ENDS.values()} - {"expired"})
#: All spellings of these statuses.
_FAILURE_WORDS = frozenset(word for word, status in {**_STATUS_WORDS, **UNCLEAR_ENDS}.items() if status in _FAILURES)

#: Words that report a post as published or accepted.
_SUCCESS_WORDS = frozenset({*_STATUS_WORDS, "queued", "pending", "sent"} - _FAILURE_WORDS)

#: The fields of a post that show where it is published.
_PLACES = frozenset({"destinations", "results", "links"})


class Destination(Model):
    """
    A destination of a post, with its result there.

    The names of the result's fields are not documented, so the names in other endpoints are accepted too.
    """

    # A row with an odd status must not hide the others.
    lenient_fields = frozenset({"status"})

    documented_statuses = {**_STATUS_WORDS, **UNCLEAR_ENDS}

    social_connection_id: Words = None
    platform: Words = None
    account_name: Words = None
    account_username: Words = None
    status: Status | None = None
    message: ErrorText = Field(
        default=None, validation_alias=AliasChoices("message", "error", "error_message", "detail")
    )
    platform_post_id: Words = Field(default=None, validation_alias=AliasChoices("platform_post_id", "post_id"))
    post_url: Words = None

    @property
    def is_published(self) -> bool:
        """Whether the response reports the post as published there."""
        return self.status == PostStatus.POSTED or bool(self.post_url)

    @property
    def may_be_published(self) -> bool:
        """Whether the post is published there, or may be: its status is no failure, or can't be read."""
        has_other_status = bool(self.status and self.status not in _FAILURES) or "status" in self._unreadable
        return self.is_published or has_other_status

    @property
    def name(self) -> str:
        """Platform and account, for messages."""
        account = label(self.account_username or self.account_name or self.social_connection_id or "")
        platform = label(self.platform or "")
        return f"{platform or 'unknown platform'} ({account})" if account else platform or "unknown"


class Post(Model):
    """
    A post. Its text is ``post`` in requests and ``description`` in responses.

    ``status`` is the documented spelling. If the API reported another one, ``reported_status`` has it. ``error``
    and ``links``, the addresses by platform, are fields of March 2026. Mosaic does not document whether the id and the
    address on the platform are in each destination or beside them.
    """

    lenient_fields = frozenset({"platforms", *_PLACES})

    documented_statuses = {**_STATUS_WORDS, **UNCLEAR_ENDS}

    post_id: Id
    status: Status = "unknown"
    reported_status: Status | None = None
    error: ErrorText = Field(default=None, validation_alias=AliasChoices("error", "errors", "status_message"))
    description: Words = Field(default=None, validation_alias=AliasChoices("description", "post"))
    scheduled_at: Time = Field(default=None, validation_alias=AliasChoices("scheduled_at", "schedule_date"))
    created_at: Time = None
    platforms: Many[str] = ()
    destinations: Many[Destination] = ()
    results: Many[Destination] = ()
    links: Many[Destination] = ()
    platform_post_id: Words = None
    post_url: Words = None

    @model_validator(mode="before")
    @classmethod
    def _keep_results_in_platforms(cls, data: Any) -> Any:
        # The names of the platforms may come with the results there.
        platforms = data.get("platforms") if isinstance(data, Mapping) else None
        rows = platforms if isinstance(platforms, list) else [platforms]
        if any(isinstance(each, Mapping) for each in rows):
            return {**data, "platforms": None, "platform_results": platforms}
        return data

    @property
    def places(self) -> tuple[Destination, ...]:
        """All reports of where the post is. The last one has the id and the address of the post as a whole."""
        whole = Destination(
            platform=self.platforms[0] if len(self.platforms) == 1 else None,
            platform_post_id=self.platform_post_id,
            post_url=self.post_url,
        )
        return (*self.destinations, *self.results, *self.links, whole)

    @property
    def destination_results(self) -> tuple[Destination, ...]:
        """Destinations with their results. In responses of March 2026 these are in ``results``."""
        if any(destination.status or destination.message for destination in self.destinations):
            return self.destinations
        return self.results or self.destinations

    @property
    def is_published_nowhere(self) -> bool:
        """
        Whether the post has failed, and may be created again.

        Mosaic has the statuses ``failed`` and ``partial_failure``, and does not say that nothing of a failed post is
        published. The provider assumes it, unless a field shows otherwise: see :attr:`publication_sign`.
        """
        return self.status == PostStatus.FAILED and not self.publication_sign

    @property
    def publication_sign(self) -> str:
        """
        The name of a field by which a failed post may be published; empty if there is none.

        It is for example the id of the post on the platform, also in an undocumented field, or destinations that can't
        be read.
        """
        for name in sorted(self._unreadable & _PLACES):
            return name
        if self.reported_status is not None and status_key(self.reported_status) not in ("failed", ""):
            # Another status is beside that of the post: the publishing service may have published it.
            return "status"
        for item in (self, *self.places):
            # A destination may repeat the id of the post in Mosaic.
            if isinstance(item, Destination) and item.platform_post_id not in (None, "", self.post_id):
                return "platform_post_id"
            if isinstance(item, Destination) and item.may_be_published:
                return "post_url" if item.post_url else "status"
            sign = find_post_id(item.model_extra, self.post_id) or find_sign(
                item.model_extra, failures=_FAILURE_WORDS, successes=_SUCCESS_WORDS, in_results=item is not self
            )
            if sign:
                return sign
        return ""


class ListedPost(Post):
    """A row of the list of posts. Only its id is required, so that one odd row does not hide the others."""

    lenient_fields = frozenset(Post.model_fields) - {"post_id"}


def post_body(
    text: str,
    *,
    social_connection_ids: Iterable[str] | str | None,
    platforms: Iterable[Platform] | str | None,
    media_urls: Iterable[str] | str | None,
    schedule_date: datetime | str | None,
    workspace_id: str | None,
    provider_options: ProviderOptions | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the body of :func:`create_post`, validated. Its schedule may have passed."""
    validate_text("text", text)
    validate_destinations_of_post(social_connection_ids, platforms)
    body: dict[str, Any] = {"post": text, **validate_provider_options("provider_options", provider_options)}
    if social_connection_ids is not None:
        ids = POST["social_connection_ids"]("social_connection_ids", social_connection_ids)
        accounts: dict[str, str] = {}
        for each in ids:
            accounts.setdefault(id_key(each), each)
        body["destinations"] = [{"social_connection_id": connection} for connection in accounts.values()]
    if platforms is not None:
        body["platforms"] = list(dict.fromkeys(validate_platforms("platforms", platforms)))
    body |= validated_values(POST, media_urls=media_urls, workspace_id=workspace_id)
    validate_post_has_content(text, has_media=media_urls is not None)
    if schedule_date is not None:
        body["schedule_date"] = format_time(validate_datetime("schedule_date", schedule_date))
    return body


def create_post(
    text: str,
    *,
    social_connection_ids: Iterable[str] | str | None = None,
    platforms: Iterable[Platform] | str | None = None,
    media_urls: Iterable[str] | str | None = None,
    schedule_date: datetime | str | None = None,
    workspace_id: str | None = None,
    provider_options: ProviderOptions | Mapping[str, Any] | None = None,
) -> Call[Post]:
    """
    Publish or schedule a post. **It is public, and so is a second post.**

    The result is the post as Mosaic accepted it. Publishing may still fail: read the post until it has ended.
    API page: https://docs.mosaic.so/api/social/post-social-post

    :param text: May be empty if there are media.
    :param social_connection_ids: Ids of the accounts to post to.
    :param platforms: Or platforms with one connected account each: ``x``, ``linkedin``, ``instagram``, ``facebook``,
        ``tiktok``, ``youtube``.
    :param media_urls: URLs of pictures or videos. Mosaic downloads them when it *publishes* the post.
    :param schedule_date: Time to publish, with a time zone. Default: now.
    :param workspace_id: Default: the organization's primary workspace.
    :param provider_options: Options of the publishing service, sent unchanged: see
        :class:`~airflow_provider_mosaic.api.post_options.ProviderOptions`.
    :raises MosaicAmbiguousOutcomeError: The post may have been made. Look for it with :func:`list_posts`.
    """
    body = post_body(
        text,
        social_connection_ids=social_connection_ids,
        platforms=platforms,
        media_urls=media_urls,
        schedule_date=schedule_date,
        workspace_id=workspace_id,
        provider_options=provider_options,
    )
    earliest = datetime.now(timezone.utc) - timedelta(seconds=1)
    if schedule_date is not None and validate_datetime("schedule_date", schedule_date) < earliest:
        raise_invalid("schedule_date", schedule_date, "it is in the past; leave it out to publish now.")
    return Call(
        description="create the post",
        method="POST",
        path="/social/post",
        makes="post_id",
        body=body,
        read=partial(_read_created, default="processing" if schedule_date is None else "scheduled"),
        retry_safety=RetrySafety.HAS_EFFECTS,
        min_timeout=120.0,
        shows_effect=partial(has_published_result, successes=_SUCCESS_WORDS, sent=frozenset(texts_in(body))),
    )


def _read_created(data: Any, *, default: str) -> Post:
    """Return the new post. Keep its id even if the rest of the response, which is not documented, is invalid."""
    try:
        return Post.model_validate(_with_own_status(object_in(data), default))
    except ValidationError:
        return Post(post_id=id_in(data, "post_id"))


def _with_own_status(body: dict[str, Any], default: Any) -> dict[str, Any]:
    """
    Return a response with the status of the post, if it has that of the request.

    In March 2026, ``status`` was that of the request or of the publishing service, and ``tracked_status`` that of the
    post.

    :param default: The status if the request was accepted, and the response does not have that of the post.
    """
    reported, tracked = body.get("status"), body.get("tracked_status")
    is_tracked = isinstance(tracked, str) and bool(tracked) and not _is_accepted(tracked)
    if _is_accepted(reported) or (is_tracked and reported == "error"):
        return {**body, "status": tracked if is_tracked else default, "reported_status": reported}
    return body


def _is_accepted(status: Any) -> bool:
    return isinstance(status, str) and status_key(status) in _ACCEPTED.split()


def get_post(post_id: str, *, social_connection_id: str | None = None) -> Call[Post]:
    """
    Return a post with its latest status and the result at each destination.

    API page: https://docs.mosaic.so/api/social/get-social-post

    :param social_connection_id: Only the account with this id, for a post to several accounts on one platform.
    """

    def read(data: Any) -> Post:
        body = object_in(data)
        own = _with_own_status(body, default=body.get("status"))
        # An empty status counts as absent: the default is "unknown".
        return Post.model_validate({**own, "post_id": post_id, "status": own.get("status") or None})

    return Call(
        description=f"read post {post_id!r}",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        query=filters(social_connection_id=social_connection_id),
        read=read,
    )


def list_posts(
    *, status: str | None = None, platform: str | None = None, social_connection_id: str | None = None
) -> Listing[Post]:
    """
    List the posts of the organization, newest first. A row may lag behind :func:`get_post`.

    API page: https://docs.mosaic.so/api/social/get-social-posts

    :param status: Only posts with this status.
    :param platform: Only posts to this platform.
    :param social_connection_id: Only posts to this account.
    """
    status = optional(validate_filled_text)("status", status)
    return paged(
        "list the posts",
        "/social/posts",
        query=filters(status=status, platform=platform, social_connection_id=social_connection_id),
        read=read_page("posts", _read_listed, newest_first=True),
        key=lambda post: post.post_id,
    )


def _read_listed(row: dict[str, Any]) -> Post:
    return ListedPost.model_validate(_with_own_status(row, default=row.get("status")))


def update_post(
    post_id: str,
    *,
    schedule_date: datetime | str | None = None,
    approve: bool | None = None,
    disable_comments: bool | None = None,
    platform_options: Mapping[str, Any] | None = None,
    social_connection_id: str | None = None,
) -> Call[Post]:
    """
    Reschedule, approve or moderate a post. Its text, media and platforms can't be changed.

    API page: https://docs.mosaic.so/api/social/patch-social-post

    :param schedule_date: New time to publish, with a time zone. Only for a scheduled post.
    :param approve: True **publishes** a post that waits for approval. What False does is not documented.
    :param disable_comments: Close the comments if the platform can. On LinkedIn this deletes existing comments,
        according to the publishing service.
    :param platform_options: Options by platform.
    :param social_connection_id: Only for this account.
    :raises MosaicAmbiguousOutcomeError: The post may have been changed. Read it with :func:`get_post`.
    """
    switches = {"approve": approve, "disable_comments": disable_comments}
    body: dict[str, Any] = {name: validate_flag(name, value) for name, value in switches.items() if value is not None}
    if schedule_date is not None:
        body["schedule_date"] = format_time(validate_datetime("schedule_date", schedule_date))
    if platform_options is not None:
        body["platform_options"] = validate_mapping("platform_options", platform_options)
    if not body:
        raise_invalid(
            "schedule_date", None, "nothing to change: give schedule_date, approve, disable_comments or options."
        )
    if social_connection_id is not None:
        body["social_connection_id"] = validate_id("social_connection_id", social_connection_id)

    def read(data: Any) -> Post:
        post = _with_own_status(object_in(data or {}), "unknown" if schedule_date is None else "scheduled")
        return Post.model_validate({**post, "post_id": post_id})

    return Call(
        description=f"change post {post_id!r}",
        method="PATCH",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        body=body,
        read=read,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def delete_post(post_id: str, *, social_connection_id: str | None = None) -> Call[None]:
    """
    Delete a post. Its status becomes ``rejected``.

    Whether it stays in the list, and whether it is removed from platforms that have published it, is not documented.
    API page: https://docs.mosaic.so/api/social/delete-social-post

    :param social_connection_id: Only for this account.
    """
    return Call(
        description=f"delete post {post_id!r}",
        method="DELETE",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        body=filters(social_connection_id=social_connection_id) or None,
        deletes=True,
        read=lambda data: None,
    )
