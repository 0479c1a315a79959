"""JSON responses and errors of the API, in the shapes that the settings choose."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.responses import Response

from mosaic_emulator.settings import Settings

#: Fields that may have no value, with their value for ``optional_fields="empty"``.
OPTIONAL_FIELDS: Final[dict[str, Any]] = {
    "status_message": "",
    "thumbnail_url": "",
    "premiere_prproj_url": "",
    "sources": [],
    "errors": [],
    "triggered_by": {},
    # An empty list would mean no scope at all. Null means unrestricted.
    "scopes": None,
    "last_used_at": "",
    "scheduled_at": "",
    "visibility": "",
    "description": "",
    "docs_url": "",
    "params_docs_url": "",
    "account_name": "",
    "account_username": "",
    "profile_url": "",
    "user_image": "",
    "platform_post_id": "",
    "post_url": "",
    "error": "",
    "message": "",
    "callback_url": "",
    "filter_options": {},
    "channel_name": "",
    "channel_handle": "",
    "subscriber_count": "",
    "video_preview_url": "",
    "canceled_at": "",
}
#: Objects that are passed through unchanged.
VERBATIM: Final = frozenset({"upload_fields", "params_used", "update_params", "filter_options", "raw_metrics"})

CODES: Final[dict[int, str]] = {
    400: "validation_error",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "request_error",
    409: "conflict",
    413: "file_too_large",
    422: "parameter_out_of_range",
    429: "rate_limit",
    500: "internal_server_error",
}


class ApiError(Exception):
    """An error response of the API."""

    def __init__(self, status: int, detail: str, *, code: str | None = None, location: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or CODES.get(status, "request_error")
        self.location = location


def error_body(error: ApiError, settings: Settings) -> dict[str, Any]:
    """Return the body of an error, according to the settings."""
    detail: Any = error.detail
    if settings.detail_shape == "list":
        detail = [{"loc": list(error.location or ("body",)), "msg": error.detail, "type": error.code}]
    elif settings.detail_shape == "object":
        detail = {"message": error.detail, "code": error.code}
    body: dict[str, Any] = {"detail": detail}
    if settings.error_codes:
        body["error"] = error.code
    return body


def apply_shape(value: Any, settings: Settings) -> Any:
    """Apply the settings for optional fields, spellings and unknown fields to a response body."""
    if isinstance(value, list):
        return [apply_shape(each, settings) for each in value]
    if not isinstance(value, dict):
        return value
    shaped: dict[str, Any] = {}
    for key, each in value.items():
        if key in VERBATIM and (each or key not in OPTIONAL_FIELDS):
            shaped[key] = each
        elif key == "needs_credits":
            if settings.needs_credits_key != "absent":
                shaped[settings.needs_credits_key] = each
        elif key in OPTIONAL_FIELDS and each in (None, "", [], {}) and settings.optional_fields != "documented":
            if settings.optional_fields != "absent":
                shaped[key] = None if settings.optional_fields == "null" else OPTIONAL_FIELDS[key]
        else:
            shaped[key] = apply_shape(each, settings)
    if settings.extra_fields:
        shaped["x_unknown"] = {"from": "the emulator", "list": [1, None, "x"]}
    return shaped


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Build a JSON response."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def error_response(error: ApiError, settings: Settings, headers: dict[str, str] | None = None) -> Response:
    """Build the response of an error."""
    return json_response(error_body(error, settings), error.status, headers)
