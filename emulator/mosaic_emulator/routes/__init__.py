"""The endpoints of the API, one module per resource. To add one, add a function with ``@router``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from mosaic_emulator.routes import (
    account,
    agent_changes,
    agents,
    avatars,
    billing,
    connections,
    node_types,
    observability,
    post_changes,
    runs,
    social,
    storage,
    triggers,
    uploads,
)

#: The documented API.
API_ROUTERS: tuple[APIRouter, ...] = (
    account.router,
    agents.router,
    agent_changes.router,
    runs.router,
    observability.router,
    node_types.router,
    triggers.router,
    storage.router,
    uploads.router,
    avatars.router,
    connections.router,
    social.router,
    post_changes.router,
    billing.router,
)


def endpoints() -> list[tuple[str, str]]:
    """Return method and path template of every endpoint of the documented API that is served."""
    return [
        (method, route.path)
        for router in API_ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]
