"""The page at ``/``, its style and icon, and the media that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from mosaic_emulator.control import page_html
from mosaic_emulator.control.routes import PREFIX, state_of
from mosaic_emulator.core.responses import json_response
from mosaic_emulator.media import StoredObject

#: Paths of the page outside of the control interface. Requests to them are neither counted nor logged.
PATHS: Final = frozenset({"/", "/favicon.ico"})
#: Allows only the page's own style and media: no scripts, forms or frames.
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
STYLE: Final = Path(__file__).with_name("page.css")
ICON: Final = Path(__file__).with_name("icon.svg")

router = APIRouter()


@router.api_route("/", methods=["GET", "HEAD"])
async def show(request: Request) -> Response:
    """Return the page."""
    url = f"http://{request.headers['host']}"
    text = page_html.render_page(state_of(request), url=url, refresh="refresh" in request.query_params)
    return HTMLResponse(text, headers=HEADERS)


@router.get("/favicon.ico")
@router.get(f"{PREFIX}/icon.svg")
async def show_icon() -> Response:
    """Return the icon."""
    return FileResponse(ICON, media_type="image/svg+xml", headers=HEADERS)


@router.get(f"{PREFIX}/page.css")
async def show_style() -> Response:
    """Return the style sheet."""
    return FileResponse(STYLE, media_type="text/css", headers=HEADERS)


@router.get(f"{PREFIX}/runs/{{run_id}}/outputs/{{output_id}}/{{part}}")
async def show_output(run_id: str, output_id: str, part: str, request: Request) -> Response:
    """Return an output or its thumbnail. Does not count as a download."""
    run = state_of(request).runs.get(run_id)
    found = next((each for each in run.outputs if each.id == output_id), None) if run else None
    if found is None:
        return json_response({"detail": "The output does not exist."}, 404)
    return _media({"media": found.video, "thumbnail": found.thumbnail}.get(part))


@router.get(f"{PREFIX}/uploads/{{asset_id}}/media")
async def show_asset(asset_id: str, request: Request) -> Response:
    """Return an asset."""
    upload = state_of(request).uploads.get(asset_id)
    return _media(upload.media if upload else None)


def _media(stored: StoredObject | None) -> Response:
    if stored is None or not stored.path.exists():
        return json_response({"detail": "The file does not exist."}, 404)
    kind = page_html.media_type(stored)
    headers = dict(HEADERS)
    if kind not in page_html.SHOWN:
        kind, headers["Content-Disposition"] = "application/octet-stream", "attachment"
    return FileResponse(stored.path, media_type=kind, headers=headers)
