"""Avatar profiles."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from mosaic_emulator.assets.avatars import AvatarProfile
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.media import StoredObject
from mosaic_emulator.routes.request_context import Asked, RequestContext
from mosaic_emulator.routes.uploads import find_upload

router = APIRouter()


class SourcesBody(BaseModel):
    """A video, or an image and audio; each as a URL or as an upload."""

    model_config = ConfigDict(extra="allow", strict=True)

    video_url: str | None = None
    image_url: str | None = None
    audio_url: str | None = None
    video_id: str | None = None
    image_id: str | None = None
    audio_id: str | None = None


class CreateBody(BaseModel):
    """Body of ``POST /avatar-profiles/create``."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str = Field(min_length=1)
    sources: SourcesBody


@router.post("/avatar-profiles/create")
async def create_avatar_profile(exchange: Asked) -> Response:
    """Begin an avatar profile. There is no idempotency key: the same request twice is two profiles."""
    body = exchange.body(CreateBody)
    found = {kind: _source(exchange, body.sources, kind) for kind in ("video", "image", "audio")}
    given = {kind for kind, (there, _) in found.items() if there}
    if "video" not in given and not {"image", "audio"} <= given:
        raise exchange.refuse("sources: a video, or an image and audio are required", "body", "sources")
    profile = AvatarProfile(name=body.name, preview=found["video"][1])
    exchange.world.avatars.take_on(profile)
    exchange.world.tally.add("avatars_created")
    written: dict[str, Any] = exchange.world.avatars.as_json(profile)
    shape = exchange.settings.avatar_create_answer
    if shape == "wrapped":
        written = {"avatar_profile": written}
    elif shape == "id":
        written = {"id": profile.id}
    return exchange.answer(written, created=True)


def _source(exchange: RequestContext, sources: SourcesBody, kind: str) -> tuple[bool, StoredObject | None]:
    url, asset_id = getattr(sources, f"{kind}_url"), getattr(sources, f"{kind}_id")
    if url is not None and asset_id is not None:
        raise exchange.refuse(f"sources: {kind}_url and {kind}_id are alternatives", "body", "sources")
    if url is not None:
        if not is_http_url(url):
            raise exchange.refuse(f"sources.{kind}_url: not an http or https URL", "body", "sources", f"{kind}_url")
        return True, None
    if asset_id is None:
        return False, None
    upload = find_upload(exchange, asset_id, kind)
    if upload is None or not upload.usable or (exchange.settings.finalize_required and not upload.finalized):
        raise ApiError(exchange.settings.unknown_input_status, f"{kind.capitalize()} {asset_id} could not be found")
    return True, upload.media


@router.get("/avatar-profiles")
async def list_avatar_profiles(exchange: Asked) -> Response:
    """List the avatar profiles, unpaged."""
    exchange.known_query()
    desk = exchange.world.avatars
    known_until = time.monotonic() - exchange.settings.list_lag
    listed = [desk.as_json(each) for each in desk.profiles.values() if each.born <= known_until]
    if exchange.settings.list_order == "newest":
        listed.reverse()
    return exchange.answer({"avatar_profiles": listed})


@router.get("/avatar-profiles/{avatar_profile_id}")
async def get_avatar_profile(avatar_profile_id: str, exchange: Asked) -> Response:
    """Tell how a profile stands, without any object around it."""
    exchange.known_query()
    profile = exchange.world.avatars.profiles.get(avatar_profile_id)
    if profile is None:
        raise ApiError(404, "Avatar profile could not be found")
    return exchange.answer(exchange.world.avatars.as_json(profile))
