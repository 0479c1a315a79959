"""Whose key it is."""

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
from mosaic_emulator.routes.request_context import Asked

router = APIRouter()


@router.get("/whoami")
async def whoami(exchange: Asked) -> Response:
    """Tell the organization of the key, or the user as in 2025."""
    text = exchange.world.clock.text
    used, exchange.world.key_used_at = exchange.world.key_used_at, exchange.world.clock.now()
    body: dict[str, Any]
    if exchange.settings.whoami == "user":
        body = {"user_id": USER_ID, "email": "someone@example.org", "is_admin": True, "api_key_id": USER_ID}
    else:
        body = {
            "organization_id": ORGANIZATION_ID,
            "organization_name": ORGANIZATION_NAME,
            "organization_slug": ORGANIZATION_SLUG,
        }
    body |= {"created_at": text(BEGINNING), "last_used_at": text(used)}
    if exchange.settings.whoami == "organization":
        body["scopes"] = exchange.settings.scopes
    return exchange.answer(body)
