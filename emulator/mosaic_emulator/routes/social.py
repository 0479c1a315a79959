"""Social posts: create and read."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from mosaic_emulator.catalogue import PLATFORMS, WORKSPACE_ID, Connection
from mosaic_emulator.core.clock import parse_time
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.social.posts import POST_STATUSES, Destination, Post, outcomes_2026_json

router = APIRouter()


class DestinationBody(RequestBody):
    """A destination of a post."""

    social_connection_id: str


class PostBody(RequestBody):
    """Body of ``POST /social/post``."""

    post: str = ""
    destinations: list[DestinationBody] | None = None
    platforms: list[str] | None = None
    media_urls: list[str] = []
    schedule_date: str | None = None
    workspace_id: str | None = None
    # Options of the publishing service that Mosaic forwards (documented in March 2026). Ignored here.
    youtube_options: dict[str, Any] | None = Field(None, alias="youTubeOptions")
    tiktok_options: dict[str, Any] | None = Field(None, alias="tikTokOptions")
    instagram_options: dict[str, Any] | None = Field(None, alias="instagramOptions")
    facebook_options: dict[str, Any] | None = Field(None, alias="faceBookOptions")
    linkedin_options: dict[str, Any] | None = Field(None, alias="linkedInOptions")
    twitter_options: dict[str, Any] | None = Field(None, alias="twitterOptions")


def find_post(context: RequestContext, post_id: str) -> Post:
    """Return a post. Raise 404 if it does not exist."""
    post = context.state.posts.get(post_id)
    if post is None or not context.is_visible(post.workspace_id):
        raise ApiError(404, "Post could not be found")
    return post


@router.post("/social/post")
async def create_post(context: Context) -> Response:
    """Publish or schedule a post. There is no idempotency key: a repeated request creates a second post."""
    state, settings = context.state, context.settings
    body = context.body(PostBody)
    workspace_id = context.workspace(body.workspace_id)
    accounts = _connections(context, body)
    for url in body.media_urls:
        if not is_http_url(url):
            raise context.invalid_request("media_urls: not an http or https URL", "body", "media_urls")
    if not body.post and not body.media_urls:
        raise context.invalid_request("A post requires text or media", "body", "post")
    now = state.clock.now()
    schedule = None
    if body.schedule_date is not None:
        try:
            schedule = parse_time(body.schedule_date)
        except ValueError as error:
            raise context.invalid_request("schedule_date: not an ISO 8601 time", "body", "schedule_date") from error
        if schedule <= now and settings.past_schedule == "refuse":
            raise context.invalid_request("schedule_date: is in the past", "body", "schedule_date")
    status = "processing" if schedule is None else "scheduled"
    post = Post(
        number=next(state.numbers),
        text=body.post,
        destinations=[Destination(each) for each in accounts],
        media_urls=list(body.media_urls),
        schedule=schedule,
        created_at=now,
        updated_at=now,
        status="pending_approval" if settings.approval else status,
        workspace_id=workspace_id,
    )
    state.posts[post.id] = post
    state.counters.add("posts_made")
    state.post_publisher.add(post)
    return context.respond(_created_json(context, post))


def _created_json(context: RequestContext, post: Post) -> dict[str, Any]:
    """Return the response body of a created post."""
    written = context.state.post_json(post)
    shape = context.settings.post_create_response
    if shape == "short":
        return {"post_id": post.id, "status": written["status"]}
    if shape == "results":
        tracked = {"error": None, "tracking_id": None, "tracked_status": written["status"]}
        return {"post_id": post.id, "status": "success", **outcomes_2026_json(post), **tracked}
    return written


def _connections(context: RequestContext, body: PostBody) -> list[Connection]:
    if body.destinations is None and body.platforms is None:
        raise context.invalid_request("destinations is required", "body", "destinations")
    chosen: list[Connection] = []
    for each in body.destinations or []:
        connection = context.state.connections.get(each.social_connection_id)
        if connection is None:
            raise ApiError(404, "Social connection could not be found")
        if connection in chosen:
            raise context.invalid_request("destinations: the same account twice", "body", "destinations")
        chosen.append(connection)
    if body.platforms is not None:
        if not context.settings.platforms_allowed:
            raise context.invalid_request("platforms: unknown field", "body", "platforms")
        for platform in body.platforms:
            if platform not in PLATFORMS:
                raise context.invalid_request(
                    f"platforms: {platform} is not one of {', '.join(PLATFORMS)}", "body", "platforms"
                )
            accounts = [each for each in context.state.connections.values() if each.platform == platform]
            if not accounts:
                raise context.invalid_request(f"platforms: no {platform} account is connected", "body", "platforms")
            # A platform means its first account, unless the destinations include an account of it.
            if not any(each.platform == platform for each in chosen):
                chosen.append(accounts[0])
    if not chosen:
        raise context.invalid_request("destinations: may not be empty", "body", "destinations")
    return chosen


@router.get("/social/post/{post_id}")
async def get_post(post_id: str, context: Context) -> Response:
    """Return one post."""
    context.allow_query("social_connection_id")
    body = context.state.post_json(find_post(context, post_id))
    account = context.query("social_connection_id")
    if account is not None:
        destinations: list[dict[str, Any]] = body["destinations"]
        body["destinations"] = [each for each in destinations if each["social_connection_id"] == account]
        if not body["destinations"]:
            raise ApiError(404, "The post does not go to that account")
    return context.respond(body)


@router.get("/social/posts")
async def list_posts(context: Context) -> Response:
    """List the posts, newest first."""
    context.allow_query("limit", "cursor", "status", "platform", "social_connection_id")
    status, platform = context.query("status"), context.query("platform")
    account = context.query("social_connection_id")
    if status is not None and status not in POST_STATUSES:
        raise context.invalid_request(f"status: not one of {', '.join(POST_STATUSES)}", "query", "status")
    if platform is not None and platform not in PLATFORMS:
        raise context.invalid_request(f"platform: not one of {', '.join(PLATFORMS)}", "query", "platform")
    listed_until = time.monotonic() - context.settings.list_lag
    shows_all = context.settings.lists_without_workspace == "all"

    def matches(post: Post) -> bool:
        return (
            post.created_monotonic <= listed_until
            and context.is_visible(post.workspace_id)
            and (context.chosen_workspace or shows_all or post.workspace_id == WORKSPACE_ID)
            and (context.settings.deleted_posts_listed or not post.deleted)
            and (status is None or post.status == status)
            and (platform is None or platform in post.platforms)
            and (account is None or any(each.connection.id == account for each in post.destinations))
        )

    return context.page(
        "posts",
        context.state.posts,
        number=lambda post: post.number,
        matches=matches,
        to_json=lambda post: context.state.post_json(post, listed=True),
        default=20,
        newest_first=True,
        filters=("status", "platform", "social_connection_id"),
    )
