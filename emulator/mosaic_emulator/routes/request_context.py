"""The context of a request: authorization, parsing and responses."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from mosaic_emulator.account.scopes import needed_scope
from mosaic_emulator.catalogue import WORKSPACE_ID, WORKSPACES
from mosaic_emulator.core.clock import parse_time
from mosaic_emulator.core.faults import Fault
from mosaic_emulator.core.json_bodies import load_json
from mosaic_emulator.core.responses import ApiError, apply_shape, json_response
from mosaic_emulator.settings import Settings
from mosaic_emulator.state import State

Body = TypeVar("Body", bound=BaseModel)
Item = TypeVar("Item")

DAY: Final = timedelta(days=1)


class RequestContext:
    """The first parameter of every route function: the request, the state and the response helpers."""

    def __init__(self, *, request: Request, state: State, body: bytes, fault: Fault | None) -> None:
        self.request = request
        self.state = state
        self._body = body
        self.fault = fault

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.state.settings

    def fault_of_kind(self, kind: str) -> Fault | None:
        """Return the fault of this request if it is of this kind."""
        return self.fault if self.fault is not None and self.fault.kind == kind else None

    def invalid_request(self, detail: str, *location: str) -> ApiError:
        """Build the error for an invalid request."""
        return ApiError(self.settings.validation_status, detail, location=location or ("body",))

    # Request

    def authorize(self) -> None:
        """
        Check the API key and its scopes.

        :raises ApiError: 401 or 403.
        """
        headers = self.request.headers
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = headers.get("x-api-key", "") if self.settings.accept_x_api_key else ""
        if key.strip() != self.state.api_key:
            raise ApiError(401, "Invalid API key")
        if self.chosen_workspace not in (None, *WORKSPACES):
            raise ApiError(403, "The workspace does not belong to this organization")
        scopes = self.settings.scopes
        template = getattr(self.request.scope.get("route"), "path", "")
        required = needed_scope(self.request.method, template)
        if scopes is None or required is None:
            return
        scope, confirmed = required
        if scope not in scopes and (confirmed or self.settings.unconfirmed_scopes == "enforce"):
            raise ApiError(403, f"The API key lacks the scope {scope}")

    def body(self, model: type[Body]) -> Body:
        """
        Parse the JSON body. No body is the same as an empty object.

        :raises ApiError: If it is invalid.
        """
        try:
            data = load_json(self._body) if self._body.strip() else {}
        except ValueError as error:
            raise self.invalid_request("The body is not valid JSON") from error
        return self.parse(model, data)

    def parse(self, model: type[Body], data: Any, *within: str) -> Body:
        """
        Parse a part of the body.

        :param within: Location of the part in the body.
        :raises ApiError: If it is invalid.
        """
        if not isinstance(data, dict):
            raise self.invalid_request(f"{'.'.join(within) or 'The body'} must be a JSON object", "body", *within)
        try:
            read = model.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            position = (*within, *(str(each) for each in first["loc"]))
            raise self.invalid_request(f"{'.'.join(position)}: {first['msg']}", "body", *position) from error
        unknown = _unknown_fields(read)
        if unknown and self.settings.unknown_body_fields == "refuse":
            position = (*within, unknown[0])
            raise self.invalid_request(f"{'.'.join(position)}: unknown field", "body", *position)
        return read

    def optional_body(self, model: type[Body]) -> Body:
        """Parse a body without required fields. ``empty_bodies`` decides whether it may be missing."""
        if not self._body.strip() and self.settings.empty_bodies == "refuse":
            raise self.invalid_request("A JSON body is required")
        return self.body(model)

    def require_empty_body(self) -> None:
        """Require no body, or an empty object."""
        self.body(EmptyBody)

    def query(self, name: str) -> str | None:
        """Return a query parameter."""
        return self.request.query_params.get(name)

    def allow_query(self, *names: str) -> None:
        """Reject other query parameters."""
        for name in self.request.query_params:
            if name not in names and self.settings.unknown_body_fields == "refuse":
                raise self.invalid_request(f"{name}: unknown parameter", "query", name)

    def query_time(self, name: str, *, whole_day: bool = False) -> datetime | None:
        """
        Parse a time in the query.

        :param whole_day: Whether a date without a time means the end of that day.
        """
        text = self.query(name)
        if text is None:
            return None
        try:
            moment = parse_time(text)
        except ValueError as error:
            raise self.invalid_request(f"{name}: not an ISO 8601 time", "query", name) from error
        return moment + DAY - timedelta(milliseconds=1) if whole_day and len(text.strip()) == 10 else moment

    def query_int(self, name: str, default: int, low: int, high: int) -> int:
        """Parse an integer in the query."""
        text = self.query(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise self.invalid_request(f"{name}: not a number", "query", name) from error
        if not low <= number <= high:
            raise self.invalid_request(f"{name}: must be between {low} and {high}", "query", name)
        return number

    # Workspaces

    @property
    def chosen_workspace(self) -> str | None:
        """The workspace in the header ``X-Workspace-Id``."""
        return self.request.headers.get("x-workspace-id")

    def workspace(self, matches: str | None) -> str:
        """
        Return the requested workspace, else that of the header, else the primary one.

        :param requested: Workspace id in the body or the query.
        :raises ApiError: If the workspace is unknown, or the header differs.
        """
        if matches not in (None, *WORKSPACES):
            raise ApiError(self.settings.unknown_workspace_status, "Workspace could not be found")
        if matches is not None and self.chosen_workspace not in (None, matches):
            raise self.invalid_request("workspace_id: differs from X-Workspace-Id", "body", "workspace_id")
        return matches or self.chosen_workspace or WORKSPACE_ID

    def is_visible(self, workspace_id: str) -> bool:
        """Return whether the request can access a workspace."""
        narrows = self.settings.workspace_header == "narrows"
        return not narrows or self.chosen_workspace in (None, workspace_id)

    def is_listed(self, workspace_id: str) -> bool:
        """Return whether an observability list includes a workspace, by header and query."""
        return self.chosen_workspace in (None, workspace_id) and self.query("workspace_id") in (None, workspace_id)

    # Response

    def respond(self, body: Any, *, body_required: bool = True, created: bool = False) -> Response:
        """
        Build the response of a success.

        :param body_required: Whether the client needs the body. If not, ``success_status`` may be 204.
        :param created: Whether ``created_status`` applies.
        """
        status = 200 if self.request.method == "GET" else self.settings.success_status
        if created and status == 200:
            status = self.settings.created_status
        if status == 204:
            if not body_required:
                return Response(status_code=204)
            status = 200
        return json_response(apply_shape(body, self.settings), status)

    def page(
        self,
        key: str,
        items: dict[str, Item],
        *,
        number: Callable[[Item], int],
        to_json: Callable[[Item], Any],
        matches: Callable[[Item], bool] = lambda item: True,
        default: int = 25,
        filters: tuple[str, ...] = (),
        newest_first: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> Response:
        """
        Build the response for one page of a list.

        :param items: All items by id, oldest first.
        :param number: Returns the increasing number of an item, which cursors contain.
        :param matches: Returns whether an item is in the list.
        :param filters: Names of the query parameters that a cursor is bound to.
        :param newest_first: Whether to ignore the setting ``list_order``.
        :param extra: Further fields of the response.
        """
        limit = self.query_int("limit", default, 1, 100)
        fingerprint = hashlib.sha256(
            json.dumps([key, self.request.url.path, [self.query(name) for name in filters]]).encode()
        ).hexdigest()[:16]
        newest_first = newest_first or self.settings.list_order == "newest"
        ordered: Iterator[Item] = reversed(items.values()) if newest_first else iter(items.values())
        cursor = self.query("cursor")
        if cursor is not None:
            position = self._cursor_position(cursor, fingerprint)
            if not self.fault_of_kind("duplicate_page"):
                is_after = position.__gt__ if newest_first else position.__lt__
                ordered = (each for each in ordered if is_after(number(each)))
        # Stop at the first item of the next page: there may be thousands more.
        found = list(itertools.islice((each for each in ordered if matches(each)), limit + 1))
        shown = found[:limit]
        following = None
        if len(found) > limit:
            following = _encode({"n": number(shown[-1]), "f": fingerprint})
        if self.fault_of_kind("repeated_cursor") and shown:
            following = cursor or _encode({"n": number(shown[0]) + (1 if newest_first else -1), "f": fingerprint})
        written = [to_json(each) for each in shown]
        return self.respond({**(extra or {}), key: written, self.settings.cursor_key: following})

    def _cursor_position(self, cursor: str, fingerprint: str) -> int:
        try:
            data = load_json(base64.urlsafe_b64decode(cursor.encode()))
            position, bound_to = int(data["n"]), data["f"]
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise self.invalid_request("cursor: not valid", "query", "cursor") from error
        if bound_to != fingerprint:
            raise self.invalid_request("cursor: belongs to other filters", "query", "cursor")
        return position


class EmptyBody(BaseModel):
    """Body of an endpoint without fields."""

    model_config = {"extra": "allow"}


def _unknown_fields(model: BaseModel) -> list[str]:
    found = list(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                found += [f"{name}.{inner}" for inner in _unknown_fields(each)]
    return found


def _encode(data: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode()


def _context(request: Request) -> RequestContext:
    context = request.scope["mosaic.context"](request)
    assert isinstance(context, RequestContext)  # noqa: S101 - set by FaultMiddleware
    context.authorize()
    return context


#: The type of each route function's parameter ``context``.
Context = Annotated[RequestContext, Depends(_context)]
