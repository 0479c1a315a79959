"""Avatar profiles."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from mosaic_emulator.assets.avatars import AvatarProfile
from mosaic_emulator.catalogue import WORKSPACE_ID
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.media import StoredObject
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.routes.uploads import find_upload

router = APIRouter()


class SourcesBody(RequestBody):
    """A video, or an image and an audio, each as a URL or as an upload."""

    video_url: str | None = None
    image_url: str | None = None
    audio_url: str | None = None
    video_id: str | None = None
    image_id: str | None = None
    audio_id: str | None = None


class CreateBody(RequestBody):
    """Body of ``POST /avatar-profiles/create``."""

    name: str = Field(min_length=1)
    sources: SourcesBody


@router.post("/avatar-profiles/create")
async def create_avatar_profile(context: Context) -> Response:
    """Create an avatar profile. There is no idempotency key: a repeated request creates a second profile."""
    body = context.body(CreateBody)
    found = {kind: _source(context, body.sources, kind) for kind in ("video", "image", "audio")}
    kinds = {kind for kind, (there, _) in found.items() if there}
    if "video" not in kinds and not {"image", "audio"} <= kinds:
        raise context.invalid_request("sources: a video, or an image and audio are required", "body", "sources")
    profile = AvatarProfile(name=body.name, preview=found["video"][1])
    context.state.avatars.add(profile)
    context.state.counters.add("avatars_created")
    written: dict[str, Any] = context.state.avatars.as_json(profile)
    shape = context.settings.avatar_create_response
    if shape == "wrapped":
        written = {"avatar_profile": written}
    elif shape == "id":
        written = {"id": profile.id}
    return context.respond(written, created=True)


def _source(context: RequestContext, sources: SourcesBody, kind: str) -> tuple[bool, StoredObject | None]:
    url, asset_id = getattr(sources, f"{kind}_url"), getattr(sources, f"{kind}_id")
    if url is not None and asset_id is not None:
        raise context.invalid_request(f"sources: {kind}_url and {kind}_id are alternatives", "body", "sources")
    if url is not None:
        if not is_http_url(url):
            raise context.invalid_request(
                f"sources.{kind}_url: not an http or https URL", "body", "sources", f"{kind}_url"
            )
        return True, None
    if asset_id is None:
        return False, None
    upload = find_upload(context, asset_id, kind)
    if upload is None or not upload.is_stored or (context.settings.finalize_required and not upload.finalized):
        raise ApiError(context.settings.unknown_input_status, f"{kind.capitalize()} {asset_id} could not be found")
    return True, upload.media


@router.get("/avatar-profiles")
async def list_avatar_profiles(context: Context) -> Response:
    """List the avatar profiles, without pages."""
    context.allow_query()
    avatars = context.state.avatars
    listed_until = time.monotonic() - context.settings.list_lag
    profiles = avatars.profiles.values() if _is_visible(context) else ()
    listed = [avatars.as_json(each) for each in profiles if each.created_monotonic <= listed_until]
    if context.settings.list_order == "newest":
        listed.reverse()
    return context.respond({"avatar_profiles": listed})


@router.get("/avatar-profiles/{avatar_profile_id}")
async def get_avatar_profile(avatar_profile_id: str, context: Context) -> Response:
    """Return one avatar profile."""
    context.allow_query()
    profile = context.state.avatars.profiles.get(avatar_profile_id)
    if profile is None or not _is_visible(context):
        raise ApiError(404, "Avatar profile could not be found")
    return context.respond(context.state.avatars.as_json(profile))


def _is_visible(context: RequestContext) -> bool:
    return context.settings.avatar_workspace == "organization" or context.is_visible(WORKSPACE_ID)
