"""The API key and its organization."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import (
    BEGINNING,
    ORGANIZATION_ID,
    ORGANIZATION_NAME,
    ORGANIZATION_SLUG,
    USER_ID,
)
from mosaic_emulator.routes.request_context import Context

router = APIRouter()


@router.get("/whoami")
async def whoami(context: Context) -> Response:
    """Return the organization of the key, or the user as the API did in 2025."""
    text = context.state.clock.text
    used, context.state.key_used_at = context.state.key_used_at, context.state.clock.now()
    body: dict[str, Any]
    if context.settings.whoami == "user":
        body = {"user_id": USER_ID, "email": "someone@example.org", "is_admin": True, "api_key_id": USER_ID}
    else:
        body = {
            "organization_id": ORGANIZATION_ID,
            "organization_name": ORGANIZATION_NAME,
            "organization_slug": ORGANIZATION_SLUG,
        }
    body |= {"created_at": text(BEGINNING), "last_used_at": text(used)}
    if context.settings.whoami == "organization":
        body["scopes"] = context.settings.scopes
    return context.respond(body)
