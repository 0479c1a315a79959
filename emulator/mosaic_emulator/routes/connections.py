"""Connected accounts: listed, linked, disconnected."""

from __future__ import annotations

import secrets

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from mosaic_emulator.catalogue import PLATFORMS, Connection
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.request_context import Asked, RequestContext

router = APIRouter()


class LinkBody(BaseModel):
    """Body of ``POST /social/connections``."""

    model_config = ConfigDict(extra="allow", strict=True)

    platform: str
    connection_name: str | None = None
    redirect_url: str | None = None


def find_connection(exchange: RequestContext, connection_id: str) -> Connection:
    """
    Return a connection.

    :raises ApiError: 404 when there is none.
    """
    connection = exchange.world.connections.get(connection_id)
    if connection is None:
        raise ApiError(404, "Social connection could not be found")
    return connection


@router.get("/social/connections")
async def list_connections(exchange: Asked) -> Response:
    """List the connected accounts, unpaged."""
    exchange.known_query()
    return exchange.answer({"connected_accounts": [each.as_json() for each in exchange.world.connections.values()]})


@router.post("/social/connections")
async def link_connection(exchange: Asked) -> Response:
    """Hand out a link that a human opens. No connection exists before that."""
    world, settings = exchange.world, exchange.settings
    body = exchange.body(LinkBody)
    if body.platform not in PLATFORMS:
        raise exchange.refuse(f"platform: not one of {', '.join(PLATFORMS)}", "body", "platform")
    if body.redirect_url is not None and not is_http_url(body.redirect_url):
        raise exchange.refuse("redirect_url: not an http or https URL", "body", "redirect_url")
    if settings.max_connections is not None and len(world.connections) >= settings.max_connections:
        raise ApiError(settings.connection_limit_status, "No further account may be connected")
    token = f"v1.{secrets.token_urlsafe(24)}"
    world.links[token] = body.model_dump(include={"platform", "connection_name", "redirect_url"})
    world.tally.add("connection_links")
    return exchange.answer(
        {"platform": body.platform, "connect_url": f"{exchange.request.base_url}_emulator/connect/{token}"}
    )


@router.get("/social/connections/{social_connection_id}")
async def get_connection(social_connection_id: str, exchange: Asked) -> Response:
    """Tell one connection, and whether it is connected."""
    found = find_connection(exchange, social_connection_id)
    return exchange.answer(
        {
            "connected": found.id not in exchange.settings.disconnected,
            **found.as_json(),
            "username": found.username,
            "display_name": found.name,
            "user_image": None,
        }
    )


@router.delete("/social/connections/{social_connection_id}")
async def delete_connection(social_connection_id: str, exchange: Asked) -> Response:
    """Disconnect an account. What is scheduled to it will fail there."""
    exchange.no_body()
    world = exchange.world
    found = world.deleted_connections.get(social_connection_id)
    if found is None or exchange.settings.repeated_delete != 200:
        found = find_connection(exchange, social_connection_id)
        del world.connections[found.id]
        world.deleted_connections[found.id] = found
        world.tally.add("connections_deleted")
    answer = {"success": True, "platform": found.platform, "social_connection_id": found.id}
    return exchange.answer(answer, news=False)
