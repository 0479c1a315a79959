"""Uploads: create the form, finalize, create a view link. The storage host receives the file."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.assets.uploads import MAX_FILE_SIZE, Upload
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.media import UPLOAD_BUCKET
from mosaic_emulator.routes.request_context import Context, RequestContext

router = APIRouter()


class FinalizeBody(RequestBody):
    """Body of ``finalize_upload``: exactly one id."""

    video_id: str | None = None
    audio_id: str | None = None
    image_id: str | None = None


class ViewBody(RequestBody):
    """Body of ``POST /uploads/get_view_url``."""

    asset_type: str
    asset_id: str


def known_type(asset_type: str) -> str:
    """Return the asset type in a path. Raise 404 if it is unknown."""
    if asset_type not in MAX_FILE_SIZE:
        raise ApiError(404, "Not Found")
    return asset_type


def find_upload(context: RequestContext, asset_id: str, asset_type: str) -> Upload | None:
    """Return the upload with this id and type, if the request can access its workspace."""
    upload = context.state.uploads.get(asset_id, asset_type)
    return upload if upload is not None and context.is_visible(upload.workspace_id) else None


@router.post("/uploads/{asset_type}/get_upload_url")
async def get_upload_url(asset_type: str, context: Context) -> Response:
    """Reserve an asset id and return the upload form."""
    context.require_empty_body()
    upload = context.state.uploads.reserve(known_type(asset_type), context.workspace(None))
    context.state.counters.add("uploads_started")
    return context.respond(
        {
            f"{asset_type}_id": upload.id,
            "upload_url": f"{context.state.media.base_url}/{UPLOAD_BUCKET}/",
            "upload_fields": upload.fields,
            "max_file_size_bytes": upload.max_file_size,
        }
    )


@router.post("/uploads/{asset_type}/finalize_upload")
async def finalize_upload(asset_type: str, context: Context) -> Response:
    """Turn a stored upload into an asset. Repeating the request is harmless."""
    body = context.body(FinalizeBody)
    name = f"{known_type(asset_type)}_id"
    names = {each for each in ("video_id", "audio_id", "image_id") if getattr(body, each) is not None}
    if names != {name}:
        raise context.invalid_request(f"{name} is required, and nothing else", "body", name)
    upload = find_upload(context, getattr(body, name), asset_type)
    if upload is None or (upload.expired and not upload.is_stored):
        raise ApiError(404, "Upload unknown or expired")
    if not upload.is_stored or context.fault_of_kind("finalize_lag"):
        raise ApiError(400, "The file has not been uploaded yet")
    if upload.size is not None and upload.size > upload.max_file_size:
        raise ApiError(413, "The file is too large: size")
    if not upload.finalized:
        upload.finalized = True
        context.state.counters.add("uploads_finalized")
    shape = context.settings.finalize_response
    if shape == "empty":
        return Response(status_code=204)
    if shape == "status_ok":
        return context.respond({"status": "ok"}, body_required=False)
    if shape == "file_uuid":
        file_name = upload.file_name or "file"
        return context.respond({"file_uuid": upload.id, "file_name": file_name, "url": ""}, body_required=False)
    return context.respond({name: upload.id}, body_required=False)


@router.post("/uploads/get_view_url")
async def get_view_url(context: Context) -> Response:
    """Return a short-lived link to an asset."""
    body = context.body(ViewBody)
    if body.asset_type not in MAX_FILE_SIZE:
        raise context.invalid_request("asset_type: must be video, audio or image", "body", "asset_type")
    upload = find_upload(context, body.asset_id, body.asset_type)
    if upload is None or not upload.finalized:
        raise ApiError(404, "Asset could not be found")
    # With `discard_uploads` the link refers to an object that does not exist.
    name = upload.media.name if upload.media else f"dropped/{time.time_ns()}"
    link = context.state.media.link(name, context.settings.view_seconds)
    return context.respond(
        {"asset_type": upload.type, "asset_id": upload.id, "signed_url": link, "thumbnail_url": None}
    )
