"""Existing posts: change, delete, analytics, comments."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.core.clock import parse_time
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.routes.social import find_post
from mosaic_emulator.social import engagement
from mosaic_emulator.social.posts import Destination, Post

router = APIRouter()

#: Fields that cannot be changed. Always rejected, with any ``unknown_body_fields``.
FIXED: Final = frozenset({"post", "description", "media_urls", "platforms", "destinations"})
#: Known ``platform_options`` by platform. Any option is accepted for other platforms.
OPTIONS: Final = {"x": frozenset[str](), "linkedin": {"disable_comments"}, "instagram": {"disable_comments"}}


class PatchBody(RequestBody):
    """Body of ``PATCH /social/post/{post_id}``."""

    schedule_date: str | None = None
    approve: bool | None = None
    disable_comments: bool | None = None
    platform_options: dict[str, dict[str, Any]] | None = None
    social_connection_id: str | None = None


class OlderPatchBody(PatchBody):
    """Body with the additional fields of early 2026."""

    scheduled_pause: bool | None = None
    notes: str | None = None


class DeleteBody(RequestBody):
    """Body of ``DELETE /social/post/{post_id}``. ``social_connection_id`` may be in the query instead."""

    social_connection_id: str | None = None
    mark_manual_deleted: bool | None = None


def _destinations(context: RequestContext, post: Post, connection_id: str | None) -> list[Destination]:
    """Return the destinations that a request targets. Raise 404 if the account is not a destination of the post."""
    found = [each for each in post.destinations if connection_id in (None, each.connection.id)]
    if not found:
        raise ApiError(404, "The post does not go to that account")
    return found


def _wrong_state(context: RequestContext, post: Post, what: str) -> ApiError:
    status = context.state.post_json(post)["status"]
    return ApiError(context.settings.wrong_post_state_status, f"The post is {status} and can't be {what}")


@router.patch("/social/post/{post_id}")
async def change_post(post_id: str, context: Context) -> Response:
    """Change the schedule, the approval or the platform options of a post. Its content cannot be changed."""
    state = context.state
    post = find_post(context, post_id)
    body = context.body(OlderPatchBody if context.settings.patch_extras else PatchBody)
    for name in sorted(FIXED & set(body.model_extra or {})):
        raise context.invalid_request(f"{name}: can't be changed; create a new post", "body", name)
    if not body.model_fields_set - {"social_connection_id"}:
        raise context.invalid_request("A field to change is required")
    targets = _destinations(context, post, body.social_connection_id)
    moment = None
    if body.schedule_date is not None:
        try:
            moment = parse_time(body.schedule_date)
        except ValueError as error:
            raise context.invalid_request("schedule_date: not an ISO 8601 time", "body", "schedule_date") from error
        if post.status != "scheduled" and not (post.status == "pending_approval" and body.approve):
            raise _wrong_state(context, post, "rescheduled")
        if moment <= state.clock.now() and context.settings.past_schedule == "refuse":
            raise context.invalid_request("schedule_date: is in the past", "body", "schedule_date")
    if body.approve is not None and post.status != "pending_approval":
        raise _wrong_state(context, post, "approved")
    meant = _comment_targets(context, body, targets)
    # The request is valid. Apply it.
    if body.approve is not None:
        post.schedule = moment or post.schedule
        state.post_publisher.set_approval(post, approved=body.approve)
    elif moment is not None:
        state.post_publisher.reschedule(post, moment)
    for each in meant:
        options = (body.platform_options or {}).get(each.connection.platform, {})
        disable = options.get("disable_comments", body.disable_comments)
        if disable is not None:
            each.comments_disabled = bool(disable)
        post.options[each.connection.id] = {**post.options.get(each.connection.id, {}), **options}
    post.updated_at = state.clock.now()
    state.counters.add("posts_updated")
    shape = context.settings.patch_response
    written = state.post_json(post)
    if shape == "success":
        tracked = {"tracking_id": None, "tracked_status": written["status"]}
        return context.respond({"post_id": post.id, "status": "success", **tracked}, body_required=False)
    response = written if shape == "post" else {"post_id": post.id, "status": written["status"]}
    return context.respond(response, body_required=False)


def _comment_targets(context: RequestContext, body: PatchBody, targets: list[Destination]) -> list[Destination]:
    """
    Return the destinations whose comments or options to change.

    :raises ApiError: If the destinations are ambiguous, or do not support the change.
    """
    if body.disable_comments is None and body.platform_options is None:
        return []
    platforms = [each.connection.platform for each in targets]
    options = body.platform_options or {}
    for platform in options:
        if platform not in platforms:
            raise context.invalid_request(
                f"platform_options: the post does not go to {platform}", "body", "platform_options"
            )
    # platform_options select the destinations if the post has one account per platform.
    by_options = bool(options) and body.disable_comments is None
    meant = [each for each in targets if not by_options or each.connection.platform in options]
    if len(meant) > (len(options) if by_options else 1):
        raise context.invalid_request("social_connection_id: the destination is ambiguous", "body")
    if body.disable_comments is not None and platforms[0] not in context.settings.comment_platforms:
        raise context.invalid_request(f"disable_comments: not on {platforms[0]}", "body", "disable_comments")
    for platform, options_of_platform in options.items():
        known = OPTIONS.get(platform)
        for name in sorted(options_of_platform):
            if known is not None and name not in known:
                raise context.invalid_request(
                    f"platform_options.{platform}.{name}: unknown", "body", "platform_options"
                )
    return meant


@router.delete("/social/post/{post_id}")
async def delete_post(post_id: str, context: Context) -> Response:
    """Delete a post, or one of its destinations. A deleted post has the status ``rejected``."""
    state, settings = context.state, context.settings
    context.allow_query("social_connection_id")
    post = find_post(context, post_id)
    body = context.body(DeleteBody)
    asked = {each for each in (body.social_connection_id, context.query("social_connection_id")) if each is not None}
    if len(asked) > 1:
        raise context.invalid_request(
            "social_connection_id: the body and the query differ", "body", "social_connection_id"
        )
    targets = _destinations(context, post, asked.pop() if asked else None)
    response = {"post_id": post.id, "status": "rejected"}
    if post.status == "rejected":
        if settings.repeated_post_delete == 200:
            return context.respond(response, body_required=False)
        raise ApiError(settings.repeated_post_delete, "The post is already rejected")
    if post.status == "processing":
        raise _wrong_state(context, post, "deleted while it is being published")
    for each in targets:
        is_undeletable = each.status == "posted" and each.connection.platform in settings.undeletable_platforms
        if is_undeletable and not body.mark_manual_deleted:
            raise _wrong_state(context, post, f"deleted on {each.connection.platform}")
    state.post_publisher.delete(post, targets)
    state.counters.add("posts_deleted")
    return context.respond(response, body_required=False)


@router.get("/social/post/{post_id}/analytics")
async def get_post_analytics(post_id: str, context: Context) -> Response:
    """Return the analytics of a published post."""
    context.allow_query("social_connection_id")
    post, destinations = _published(context, post_id)
    body = engagement.analytics_json(post, destinations)
    if context.settings.analytics_post_id:
        body["post_id"] = post.id
    return context.respond(body)


@router.get("/social/post/{post_id}/comments")
async def list_post_comments(post_id: str, context: Context) -> Response:
    """List the comments of a published post with their replies, newest first."""
    context.allow_query("social_connection_id", "limit", "cursor")
    post, destinations = _published(context, post_id)
    return context.page(
        "comments",
        engagement.comments(post, destinations, context.settings.comments),
        number=lambda comment: comment.number,
        to_json=lambda comment: comment.as_json(context.state.clock.optional),
        filters=("social_connection_id",),
        newest_first=True,
    )


def _published(context: RequestContext, post_id: str) -> tuple[Post, list[Destination]]:
    post = find_post(context, post_id)
    connection_id = context.query("social_connection_id")
    _destinations(context, post, connection_id)
    found = engagement.published_destinations(post, connection_id)
    if not found and context.settings.unpublished_status != 200:
        raise ApiError(context.settings.unpublished_status, "The post is not published")
    return post, found
