"""The ASGI application: counts and logs each request, applies faults, and calls the routes."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from mosaic_emulator.asgi.browser_access import browser_rejection
from mosaic_emulator.control.page_routes import PATHS as PAGE_PATHS
from mosaic_emulator.control.page_routes import router as page_router
from mosaic_emulator.control.routes import PREFIX as CONTROL_PREFIX
from mosaic_emulator.control.routes import router as control_router
from mosaic_emulator.core import connection_faults
from mosaic_emulator.core.failure_log import FailureLog
from mosaic_emulator.core.faults import Fault
from mosaic_emulator.core.json_bodies import MAX_BODY, load_json
from mosaic_emulator.core.request_log import log_entry, mask_signatures
from mosaic_emulator.core.responses import ApiError, error_response, json_response
from mosaic_emulator.routes import API_ROUTERS
from mosaic_emulator.routes.request_context import RequestContext
from mosaic_emulator.state import State

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NO_ROUTE: Final = "(no route)"
HTML: Final = (
    b"<!DOCTYPE html><html><head><title>Bad gateway</title></head>"
    b"<body><center><h1>Something went wrong</h1></center><hr><center>cloudfront</center></body></html>\n"
)
ERROR_FAULTS: Final = {
    "not_found": ApiError(404, "Not found"),
    "unauthorized": ApiError(401, "Invalid API key"),
    "forbidden": ApiError(403, "Forbidden"),
    "rate_limit": ApiError(429, "Too many requests"),
}


@dataclass
class BufferedResponse:
    """A response before it is sent."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @classmethod
    def of(cls, response: Response) -> BufferedResponse:
        """Convert a response of Starlette."""
        return cls(response.status_code, list(response.raw_headers), bytes(response.body))

    def with_body(self, body: bytes, content_type: bytes | None = None) -> BufferedResponse:
        """Return this response with another body."""
        headers = [(name, value) for name, value in self.headers if name != b"content-length"]
        if content_type is not None:
            headers = [(name, value) for name, value in headers if name != b"content-type"]
            headers.append((b"content-type", content_type))
        return BufferedResponse(self.status, headers, body)


class FaultMiddleware:
    """The application that the API's server runs."""

    def __init__(self, *, state: State, own_names: Collection[str] = (), failures: FailureLog | None = None) -> None:
        self._state = state
        #: Host names of the control interface, in lower case.
        self._own_names = {each.lower() for each in own_names}
        self._failures = failures or FailureLog()
        self._app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
        for router in API_ROUTERS:
            self._app.include_router(router)
        self._app.include_router(control_router)
        self._app.include_router(page_router)
        self._app.add_exception_handler(ApiError, self._handle_api_error)
        self._app.add_exception_handler(HTTPException, self._handle_http_error)
        # From the routers: not all versions of FastAPI list the routes of included routers in the application.
        self._routes = [route for router in API_ROUTERS for route in router.routes]
        self._delayed_tasks: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Release all requests that hang."""
        self._closing.set()
        for task in self._delayed_tasks:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            return
        scope["mosaic.state"] = self._state
        if _is_control_path(scope["method"], scope["path"]):
            await self._serve_control(scope, receive, send)
            return
        template = self._route_template(scope)
        entry = log_entry(
            host="api",
            method=scope["method"],
            path=scope["path"],
            template=template,
            query=scope["query_string"].decode("latin-1"),
            headers=((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
        )
        self._state.counters.request(scope["method"], template)
        self._state.log.add(entry)
        body = await _read(receive)
        if body is None:
            entry.finish(None)
            return
        if body:
            try:
                entry.body = mask_signatures(load_json(body))
            except ValueError:
                entry.body = None
        fault = self._state.faults.take(scope["method"], scope["path"], template)
        if fault is not None:
            entry.fault = fault.kind
            self._state.counters.fault(fault.kind)
        response = await self._serve(scope, body, fault, receive, send)
        entry.finish(response.status if response else None)

    async def _serve_control(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        rejection = browser_rejection(scope["method"], headers, self._own_names)
        if rejection is not None:
            await json_response({"detail": rejection}, 403)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as failure:
            # The framework has already sent a 500.
            self._failures.write(f"The emulator failed at {scope['method']} {scope['path']}", failure)

    async def _serve(
        self, scope: Scope, body: bytes, fault: Fault | None, receive: Receive, send: Send
    ) -> BufferedResponse | None:
        """Serve a request with its fault. Return the response, or None if none was sent completely."""
        if fault is None:
            response = await self._call_routes(scope, body, None)
            await self._send(response, send)
            return response
        replacement = self._replacement(fault, scope)
        if replacement is not None and not _has_effect(fault):
            self._schedule_effect(fault, scope, body)
            await self._send(replacement, send)
            return replacement
        transport = scope.get("mosaic.transport")
        if await self._interrupt("before", fault, transport, receive):
            return None
        response = await self._call_routes(scope, body, fault)
        if await self._interrupt("after", fault, transport, receive):
            return None
        if fault.kind == "truncated_json" and fault.option("how", "short") == "short":
            await self._send(response, send, only=_half(response.body))
            await self._close_connection(transport, receive)
            return None
        response = replacement or _changed(response, fault)
        chunks = fault.option("pieces", 10) if fault.kind == "slow_body" else 1
        await self._send(response, send, chunks=chunks, pause=fault.option("seconds", 2.0) / chunks)
        return response

    def _replacement(self, fault: Fault, scope: Scope) -> BufferedResponse | None:
        """Return the response that a fault sends instead of the API's, if any."""
        if fault.kind in ERROR_FAULTS:
            response = error_response(
                ERROR_FAULTS[fault.kind], self._state.settings, fault.retry_after(self._state.clock.now())
            )
            return BufferedResponse.of(response)
        if fault.kind == "redirect":
            location = fault.option("location", f"{self._state.media.base_url}/redirected{scope['path']}")
            return BufferedResponse(fault.option("status", 307), [(b"location", str(location).encode())])
        if fault.kind == "server_error":
            return self._server_error(fault)
        if fault.kind == "html":
            return BufferedResponse(200).with_body(HTML, b"text/html; charset=utf-8")
        if fault.kind == "refusal":
            error = fault.option("error", "The request was refused")
            return BufferedResponse.of(json_response({"success": False, "error": error}))
        if fault.kind == "empty":
            return BufferedResponse(fault.option("status", 200))
        return None

    async def _interrupt(self, when: str, fault: Fault, transport: Any, receive: Receive) -> bool:
        """Close the connection if the fault does so before or after the effect. Return whether it did."""
        if fault.kind == "response_lost" and when == "after":
            await self._close_connection(transport, receive)
            return True
        if fault.kind not in ("hang", "reset") or fault.option("when", "before") != when:
            return False
        if fault.kind == "hang":
            if await self._hang(fault, receive):
                return False
            await self._close_connection(transport, receive)
            return True
        connection_faults.reset(transport)
        await _wait_for_disconnect(receive)
        return True

    def _schedule_effect(self, fault: Fault, scope: Scope, body: bytes) -> None:
        delay = fault.option("effect_after")
        if delay is not None:
            task = asyncio.create_task(self._call_routes_later(delay, dict(scope), body))
            self._delayed_tasks.add(task)
            task.add_done_callback(self._delayed_tasks.discard)

    async def _call_routes_later(self, delay: float, scope: Scope, body: bytes) -> None:
        await asyncio.sleep(delay)
        await self._call_routes(scope, body, None)

    def _server_error(self, fault: Fault) -> BufferedResponse:
        status = fault.option("status", 500)
        headers = fault.retry_after(self._state.clock.now())
        if fault.option("body", "json") == "html":
            response = BufferedResponse(status).with_body(HTML, b"text/html")
            response.headers += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            return response
        error = ApiError(status, "Something went wrong", code="internal_server_error")
        return BufferedResponse.of(error_response(error, self._state.settings, headers))

    async def _hang(self, fault: Fault, receive: Receive) -> bool:
        """
        Delay a request by the option ``seconds``, or without it until the client disconnects.

        :returns: Whether to process the request afterwards.
        """
        seconds = fault.option("seconds")
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._closing.wait())}
        if seconds is None:
            waits.add(asyncio.create_task(_wait_for_disconnect(receive)))
        done, waiting = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return not done

    async def _close_connection(self, transport: Any, receive: Receive) -> None:
        transport.close()
        await _wait_for_disconnect(receive)

    async def _call_routes(self, scope: Scope, body: bytes, fault: Fault | None) -> BufferedResponse:
        """Call the routes and capture their response."""
        response = BufferedResponse(500)
        chunks: list[bytes] = []
        inner_scope = copy.copy(scope)

        def context(request: Request) -> RequestContext:
            return RequestContext(request=request, state=self._state, body=body, fault=fault)

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def capture(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = list(message.get("headers", []))
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        inner_scope["mosaic.context"] = context
        try:
            await self._app(inner_scope, receive, capture)
        except Exception as failure:
            # An error of the emulator must not look like a response of Mosaic.
            self._failures.write(f"The emulator failed at {scope['method']} {scope['path']}", failure)
            error = ApiError(500, f"The emulator failed: {type(failure).__name__}", code="emulator_failed")
            return BufferedResponse.of(error_response(error, self._state.settings))
        response.body = b"".join(chunks)
        return response

    async def _send(
        self, response: BufferedResponse, send: Send, *, only: bytes | None = None, chunks: int = 1, pause: float = 0.0
    ) -> None:
        headers = [(name, value) for name, value in response.headers if name not in (b"content-length", b"date")]
        headers.append((b"date", self._state.clock.http_date().encode()))
        if response.status != 204:
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if only is not None:
            await send({"type": "http.response.body", "body": only, "more_body": True})
            return
        if chunks > 1 and response.body:
            size = -(-len(response.body) // chunks)
            for start in range(0, len(response.body), size):
                await send(
                    {"type": "http.response.body", "body": response.body[start : start + size], "more_body": True}
                )
                await asyncio.sleep(pause)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    def _route_template(self, scope: Scope) -> str:
        other_method = NO_ROUTE
        for route in self._routes:
            match, _ = route.matches(scope)
            path = str(getattr(route, "path", NO_ROUTE))
            if match is Match.FULL:
                return path
            # A known path with another method: 405.
            if match is Match.PARTIAL and other_method == NO_ROUTE:
                other_method = path
        return other_method

    async def _handle_api_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 - registered for it only
        return error_response(error, self._state.settings)

    async def _handle_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it only
        refusal = ApiError(error.status_code, str(error.detail))
        return error_response(refusal, self._state.settings, dict(error.headers or {}))


def _has_effect(fault: Fault) -> bool:
    """Return whether a request has its effect although its response is replaced."""
    return fault.kind == "empty" or bool(fault.option("effect", False))


def _half(body: bytes) -> bytes:
    return body[: max(len(body) // 2, 1)]


def _changed(response: BufferedResponse, fault: Fault) -> BufferedResponse:
    """Return the API's response as a fault changes it."""
    if fault.kind == "unknown_status":
        return response.with_body(_with_status(response.body, fault.option("status", "under_review")))
    if fault.kind == "truncated_json":
        return response.with_body(_half(response.body))
    return response


def _is_control_path(method: str, path: str) -> bool:
    """Return whether a request is for the control interface or the page."""
    if path in PAGE_PATHS:
        return method in ("GET", "HEAD")
    return path == CONTROL_PREFIX or path.startswith(f"{CONTROL_PREFIX}/")


async def _read(receive: Receive) -> bytes | None:
    """
    Read the body of a request.

    :returns: The body, or None if the client disconnected.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _wait_for_disconnect(receive: Receive) -> None:
    """Wait until the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _with_status(body: bytes, status: str) -> bytes:
    try:
        data = json.loads(body)
    except ValueError:
        return body
    if not isinstance(data, dict):
        return body
    listed = [each for name in ("runs", "posts", "avatar_profiles") for each in data.get(name, [])]
    for each in [data, *listed]:
        if "status" in each:
            each["status"] = status
    return json.dumps(data).encode()
