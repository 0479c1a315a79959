"""Social posts and the accounts they go to (https://docs.mosaic.so/api/social/post-social-post)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from airflow_provider_mosaic.api.arguments import (
    optional_id,
    optional_text,
    raise_invalid,
    stamp,
    validate_datetime,
    validate_flag,
    validate_id,
    validate_ids,
    validate_mapping,
    validate_text,
    validate_url,
    validate_urls,
)
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.models import (
    Id,
    Many,
    Model,
    Status,
    Time,
    Words,
    id_in,
    list_in,
    object_in,
    status_words,
)
from airflow_provider_mosaic.api.options import (
    Platform,
    validate_destinations_of_post,
    validate_platforms,
    validate_post_has_content,
)
from airflow_provider_mosaic.api.paging import Listing, paged, read_page
from airflow_provider_mosaic.api.post_options import ProviderOptions, validate_provider_options
from airflow_provider_mosaic.api.redaction import label


class PostStatus(str, enum.Enum):
    """The documented statuses of a post; any other is kept as the text it is."""

    SCHEDULED = "scheduled"
    PENDING_APPROVAL = "pending_approval"
    PROCESSING = "processing"
    POSTED = "posted"
    PARTIAL_FAILURE = "partial_failure"
    FAILED = "failed"
    REJECTED = "rejected"


#: Other words for them, in any case. Only the documented ``failed`` says that nothing is out, so that it may be posted
#: again: no other word is taken for it.
_STATUS_WORDS = status_words(
    scheduled="",
    pending_approval="",
    processing="",
    posted="published success successful succeeded completed complete",
    partial_failure="partially_failed partial_success partially_succeeded partially_posted partial partial_complete",
    failed="",
    rejected="declined",
)
#: Ends of which it is not known what is out.
UNCLEAR_ENDS = status_words(
    error="errored", failure="fail", timed_out="timedout timeout time_out", cancelled="canceled aborted", deleted=""
)


class SocialConnection(Model):
    """A connected account. ``connected`` is known only when the connection is read by itself."""

    social_connection_id: Id
    platform: Words = None
    connected: bool | None = None
    account_name: Words = None
    account_username: Words = None
    profile_url: Words = None


class Destination(Model):
    """
    Where a post goes, and what became of it there. How the result's fields are called is not documented, so that the
    names that other endpoints use are all read.
    """

    documented_statuses = {**_STATUS_WORDS, **UNCLEAR_ENDS}

    social_connection_id: Words = None
    platform: Words = None
    account_name: Words = None
    account_username: Words = None
    status: Status | None = None
    message: Words = Field(default=None, validation_alias=AliasChoices("message", "error", "error_message", "detail"))
    platform_post_id: Words = Field(default=None, validation_alias=AliasChoices("platform_post_id", "post_id"))
    post_url: Words = None

    @property
    def is_published(self) -> bool:
        """Whether the post is out there, by what the answer shows."""
        return self.status in ("posted", "success", "published") if self.status else bool(self.post_url)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        account = label(self.account_username or self.account_name or self.social_connection_id or "")
        platform = label(self.platform or "")
        return f"{platform or 'unknown platform'} ({account})" if account else platform or "unknown"


class Post(Model):
    """A post. The text is ``post`` in a request and ``description`` in an answer."""

    lenient_fields = frozenset({"platforms", "destinations", "results", "links"})

    documented_statuses = {**_STATUS_WORDS, **UNCLEAR_ENDS}

    post_id: Id
    #: As it is documented where it is one of those in another spelling; ``reported_status`` has the API's own then.
    status: Status = "unknown"
    reported_status: Status | None = None
    description: Words = Field(default=None, validation_alias=AliasChoices("description", "post"))
    scheduled_at: Time = Field(default=None, validation_alias=AliasChoices("scheduled_at", "schedule_date"))
    created_at: Time = None
    platforms: Many[str] = ()
    destinations: Many[Destination] = ()
    results: Many[Destination] = ()
    #: Addresses by platform, as an older form has them beside the results.
    links: Many[Destination] = ()

    @property
    def outcomes(self) -> tuple[Destination, ...]:
        """The destinations with what became of the post there; an older form kept that in ``results``."""
        return (
            self.destinations
            if any(d.status or d.message for d in self.destinations)
            else (self.results or self.destinations)
        )


def list_social_connections() -> Call[tuple[SocialConnection, ...]]:
    """The connected accounts. No paging is documented: the provider takes one answer for all of them."""

    def read(data: Any) -> tuple[SocialConnection, ...]:
        return tuple(SocialConnection.model_validate(item) for item in list_in(data, "connected_accounts"))

    return Call(
        description="list the social connections",
        method="GET",
        path="/social/connections",
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_social_connection(social_connection_id: str) -> Call[SocialConnection]:
    """
    One connected account, with whether it is connected still.

    :param social_connection_id: The connection.
    """

    def read(data: Any) -> SocialConnection:
        return SocialConnection.model_validate({**object_in(data), "social_connection_id": social_connection_id})

    return Call(
        description=f"read social connection {social_connection_id!r}",
        method="GET",
        path="/social/connections/{social_connection_id}",
        ids={"social_connection_id": social_connection_id},
        read=read,
    )


def create_post(
    text: str,
    *,
    social_connection_ids: Iterable[str] | str | None = None,
    platforms: Iterable[Platform] | str | None = None,
    media_urls: Iterable[str] | str | None = None,
    schedule_date: datetime | str | None = None,
    workspace_id: str | None = None,
    provider_options: ProviderOptions | Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Call[Post]:
    """
    Publish or schedule a post. **It is public, and so is a second one.** Where it is unknown whether a post was made,
    the hook raises ``MosaicAmbiguousOutcomeError``: look into the list of posts before you send it again.

    :param text: What it says; may be empty where there are media.
    :param social_connection_ids: The accounts it goes to.
    :param platforms: Or the platforms (``x``, ``linkedin``, ``instagram``, ``facebook``, ``tiktok``, ``youtube``),
        where each has one account.
    :param media_urls: Addresses of pictures or videos, to be reachable when the post is *published*.
    :param schedule_date: When to publish, with a time zone; None for now.
    :param workspace_id: The workspace; None for the organization's primary one.
    :param provider_options: Fields of the publishing service, sent beside the others as they are: see
        :class:`~airflow_provider_mosaic.api.post_options.ProviderOptions`.
    :param now: The present, for tests.
    :raises MosaicValidationError: An argument is wrong in itself.
    :raises MosaicAmbiguousOutcomeError: Whether it was made is unknown; look with :func:`list_posts`.
    """
    validate_text("text", text)
    validate_destinations_of_post(social_connection_ids, platforms)
    body: dict[str, Any] = {"post": text, **validate_provider_options("provider_options", provider_options)}
    if social_connection_ids is not None:
        ids = list(dict.fromkeys(validate_ids("social_connection_ids", social_connection_ids)))
        body["destinations"] = [{"social_connection_id": connection} for connection in ids]
    if platforms is not None:
        body["platforms"] = list(dict.fromkeys(validate_platforms("platforms", platforms)))
    if media_urls is not None:
        body["media_urls"] = validate_urls("media_urls", media_urls)
    validate_post_has_content(text, has_media=media_urls is not None)
    if schedule_date is not None:
        moment = validate_datetime("schedule_date", schedule_date)
        if moment < (now or datetime.now(timezone.utc)) - timedelta(seconds=1):
            raise_invalid("schedule_date", schedule_date, "it is in the past; leave it out to publish now.")
        body["schedule_date"] = stamp(moment)
    if workspace_id is not None:
        body["workspace_id"] = validate_id("workspace_id", workspace_id)
    return Call(
        description="create the post",
        method="POST",
        path="/social/post",
        makes="post_id",
        body=body,
        read=_read_made,
        retry_safety=RetrySafety.HAS_EFFECTS,
        patience=120.0,
    )


def _read_made(data: Any) -> Post:
    """The post that was made: its id must not be lost to a detail of an answer whose newest form is not documented."""
    try:
        return Post.model_validate(data)
    except ValidationError:
        return Post(post_id=id_in(data, "post_id"))


def get_post(post_id: str, *, social_connection_id: str | None = None) -> Call[Post]:
    """
    The state of a post, with the freshest status (https://docs.mosaic.so/api/social/get-social-post).

    :param post_id: The post.
    :param social_connection_id: Look at it through one account.
    """

    def read(data: Any) -> Post:
        answer = object_in(data)
        if not answer.get("status"):
            answer.pop("status", None)
        return Post.model_validate({**answer, "post_id": post_id})

    return Call(
        description=f"read post {post_id!r}",
        method="GET",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        query={"social_connection_id": optional_id("social_connection_id", social_connection_id)},
        read=read,
    )


def list_posts(
    *, status: str | None = None, platform: str | None = None, social_connection_id: str | None = None
) -> Listing[Post]:
    """
    Posts of the organization, newest first. A row may lag behind :func:`get_post`.

    :param status: Only posts in this status.
    :param platform: Only posts to this platform.
    :param social_connection_id: Only posts to this account.
    """
    query = {
        "status": optional_text("status", status),
        "platform": optional_text("platform", platform),
        "social_connection_id": optional_id("social_connection_id", social_connection_id),
    }
    return paged(
        "list the posts",
        "/social/posts",
        query=query,
        read=read_page("posts", Post.model_validate),
        key=lambda post: post.post_id,
    )


class ConnectLink(Model):
    """Where a person connects an account; it makes no connection by itself."""

    platform: Words = None
    connect_url: str = Field(repr=False)


def create_connect_link(
    platform: str, *, connection_name: str | None = None, redirect_url: str | None = None
) -> Call[ConnectLink]:
    """
    A link that a person opens to connect an account (https://docs.mosaic.so/api/social/post-social-connections).

    :param platform: The platform.
    :param connection_name: What to call the account during the setup.
    :param redirect_url: Where the person is sent afterwards.
    """
    body = {"platform": validate_id("platform", platform)}
    if connection_name is not None:
        body["connection_name"] = optional_text("connection_name", connection_name) or ""
    if redirect_url is not None:
        body["redirect_url"] = validate_url("redirect_url", redirect_url)
    return Call(
        description=f"make a link to connect {platform!r}",
        method="POST",
        path="/social/connections",
        makes="social_connection_id",
        body=body,
        read=ConnectLink.model_validate,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def delete_social_connection(social_connection_id: str) -> Call[None]:
    """
    Disconnect an account (https://docs.mosaic.so/api/social/delete-social-connection).

    :param social_connection_id: The connection.
    """
    return Call(
        description=f"delete social connection {social_connection_id!r}",
        method="DELETE",
        path="/social/connections/{social_connection_id}",
        ids={"social_connection_id": social_connection_id},
        read=lambda data: None,
    )


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
    Reschedule, approve or moderate a post; its text, media and platforms can't be changed
    (https://docs.mosaic.so/api/social/patch-social-post).

    :param post_id: The post.
    :param schedule_date: A new time; only while it is scheduled.
    :param approve: True releases a post that waits for approval. What False does is not documented.
    :param disable_comments: Close its comments, where the platform can. On LinkedIn this deletes those that there are,
        by the documentation of the publishing service.
    :param platform_options: Options by platform.
    :param social_connection_id: Only for this account.
    """
    switches = {"approve": approve, "disable_comments": disable_comments}
    body: dict[str, Any] = {name: validate_flag(name, value) for name, value in switches.items() if value is not None}
    if schedule_date is not None:
        body["schedule_date"] = stamp(validate_datetime("schedule_date", schedule_date))
    if platform_options is not None:
        body["platform_options"] = validate_mapping("platform_options", platform_options)
    if not body:
        raise_invalid(
            "schedule_date", None, "nothing to change: give schedule_date, approve, disable_comments or options."
        )
    if social_connection_id is not None:
        body["social_connection_id"] = validate_id("social_connection_id", social_connection_id)
    return Call(
        description=f"change post {post_id!r}",
        method="PATCH",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        body=body,
        read=lambda data: Post.model_validate({**object_in(data or {}), "post_id": post_id}),
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def delete_post(post_id: str, *, social_connection_id: str | None = None) -> Call[None]:
    """
    Delete a post; its status is ``rejected`` then (https://docs.mosaic.so/api/social/delete-social-post). Whether it
    stays in the list, and what becomes of it on platforms where it is out already, is not documented.

    :param post_id: The post.
    :param social_connection_id: Only at this account.
    """
    body: dict[str, str] | None = None
    if social_connection_id is not None:
        body = {"social_connection_id": validate_id("social_connection_id", social_connection_id)}
    return Call(
        description=f"delete post {post_id!r}",
        method="DELETE",
        path="/social/post/{post_id}",
        ids={"post_id": post_id},
        body=body,
        read=lambda data: None,
    )
