"""Social connections: list, create a link, delete."""

from __future__ import annotations

import secrets

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import PLATFORMS, Connection
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.request_context import Context, RequestContext

router = APIRouter()


class LinkBody(RequestBody):
    """Body of ``POST /social/connections``."""

    platform: str
    connection_name: str | None = None
    redirect_url: str | None = None


def find_connection(context: RequestContext, connection_id: str) -> Connection:
    """Return a connection. Raise 404 if it does not exist."""
    connection = context.state.connections.get(connection_id)
    if connection is None:
        raise ApiError(404, "Social connection could not be found")
    return connection


@router.get("/social/connections")
async def list_connections(context: Context) -> Response:
    """List the connected accounts, without pages."""
    context.allow_query()
    return context.respond({"connected_accounts": [each.as_json() for each in context.state.connections.values()]})


@router.post("/social/connections")
async def link_connection(context: Context) -> Response:
    """Return a link to connect an account. The connection exists once a user has opened the link."""
    state, settings = context.state, context.settings
    body = context.body(LinkBody)
    if body.platform not in PLATFORMS:
        raise context.invalid_request(f"platform: not one of {', '.join(PLATFORMS)}", "body", "platform")
    if body.redirect_url is not None and not is_http_url(body.redirect_url):
        raise context.invalid_request("redirect_url: not an http or https URL", "body", "redirect_url")
    if settings.max_connections is not None and len(state.connections) >= settings.max_connections:
        raise ApiError(settings.connection_limit_status, "The maximum number of accounts is connected")
    token = f"v1.{secrets.token_urlsafe(24)}"
    state.links[token] = body.model_dump(include={"platform", "connection_name", "redirect_url"})
    state.counters.add("connection_links")
    return context.respond(
        {"platform": body.platform, "connect_url": f"{context.request.base_url}_emulator/connect/{token}"}
    )


@router.get("/social/connections/{social_connection_id}")
async def get_connection(social_connection_id: str, context: Context) -> Response:
    """Return one connection, and whether it is connected."""
    found = find_connection(context, social_connection_id)
    return context.respond(
        {
            "connected": found.id not in context.settings.disconnected,
            **found.as_json(),
            "username": found.username,
            "display_name": found.name,
            "user_image": None,
        }
    )


@router.delete("/social/connections/{social_connection_id}")
async def delete_connection(social_connection_id: str, context: Context) -> Response:
    """Delete a connection. Scheduled posts fail at its account."""
    context.require_empty_body()
    state = context.state
    found = state.deleted_connections.get(social_connection_id)
    if found is None or context.settings.repeated_delete != 200:
        found = find_connection(context, social_connection_id)
        del state.connections[found.id]
        state.deleted_connections[found.id] = found
        state.counters.add("connections_deleted")
    response = {"success": True, "platform": found.platform, "social_connection_id": found.id}
    return context.respond(response, body_required=False)
