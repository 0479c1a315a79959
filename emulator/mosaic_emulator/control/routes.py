"""The control interface under ``/_emulator``: read the state, change settings, inject faults, finish runs, reset."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from mosaic_emulator.catalogue import Connection
from mosaic_emulator.control.trigger_events import TriggerEvent, fire
from mosaic_emulator.core.faults import Fault
from mosaic_emulator.core.json_bodies import MAX_BODY, load_json
from mosaic_emulator.core.responses import json_response
from mosaic_emulator.state import State

PREFIX = "/_emulator"

router = APIRouter(prefix=PREFIX)


class FaultBody(BaseModel):
    """Body of ``POST /_emulator/faults``."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    method: str = "*"
    path: str = "*"
    times: int | None = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    options: dict[str, Any] = {}


class EndBody(BaseModel):
    """Body of ``POST /_emulator/runs/{run_id}/finish``."""

    model_config = ConfigDict(extra="forbid")

    status: str = "completed"
    message: str | None = None
    needs_credits: bool = False
    failed: list[str] = []


def state_of(request: Request) -> State:
    """Return the emulator's state."""
    state = request.scope["mosaic.state"]
    assert isinstance(state, State)  # noqa: S101 - set by FaultMiddleware
    return state


async def json_body(request: Request) -> dict[str, Any]:
    """
    Return the JSON object in the body of a request.

    :raises ValueError: If the body is not a JSON object.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"The body is longer than {MAX_BODY} bytes.")
    data = load_json(bytes(body))
    if not isinstance(data, dict):
        raise ValueError("The body must be a JSON object.")
    return data


def bad_request(error: ValueError) -> Response:
    """Return a 400 that describes the error."""
    if isinstance(error, ValidationError):
        texts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return json_response({"detail": "; ".join(texts)}, 400)
    return json_response({"detail": str(error)}, 400)


@router.get("/counts")
async def counts(request: Request) -> Response:
    """Return the counters."""
    return json_response(state_of(request).counters.as_json())


@router.get("/runs")
async def runs(request: Request) -> Response:
    """Return all runs, oldest first."""
    state = state_of(request)
    return json_response([state.run_control_json(run) for run in state.runs.values()])


@router.get("/posts")
async def posts(request: Request) -> Response:
    """Return all posts, oldest first."""
    state = state_of(request)
    return json_response(
        [
            {
                **state.post_json(post, listed=True),
                "published": post.published,
                "media_urls": post.media_urls,
                "platform_options": post.options,
                "schedule_date": post.schedule.isoformat() if post.schedule else None,
            }
            for post in state.posts.values()
        ]
    )


@router.get("/agents")
async def agents(request: Request) -> Response:
    """Return all agents with their graphs, oldest first."""
    state = state_of(request)
    return json_response(
        [
            {**graph.pop("agent"), **graph}
            for graph in (
                agent.as_json(state.clock.text) for agent in sorted(state.agents.values(), key=lambda each: each.number)
            )
        ]
    )


@router.get("/uploads")
async def uploads(request: Request) -> Response:
    """Return all uploads, oldest first."""
    return json_response([upload.as_json() for upload in state_of(request).uploads.all()])


@router.get("/requests")
async def requests(request: Request) -> Response:
    """Return the received requests, oldest first."""
    return json_response(state_of(request).log.as_json())


@router.get("/settings")
async def settings(request: Request) -> Response:
    """Return the settings."""
    return json_response(state_of(request).settings.model_dump())


@router.post("/settings")
async def configure(request: Request) -> Response:
    """Change settings. If any is invalid, none is changed."""
    try:
        state_of(request).configure(await json_body(request))
    except ValueError as error:
        return bad_request(error)
    return json_response(state_of(request).settings.model_dump())


@router.post("/faults")
async def inject(request: Request) -> Response:
    """Inject a fault."""
    try:
        state_of(request).faults.inject(Fault(**FaultBody(**await json_body(request)).model_dump()))
    except ValueError as error:
        return bad_request(error)
    return json_response({})


@router.get("/faults")
async def faults(request: Request) -> Response:
    """Return the faults that can still occur."""
    return json_response([asdict(each) for each in state_of(request).faults.pending()])


@router.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Remove all faults."""
    state_of(request).faults.clear()
    return json_response({})


@router.post("/reset")
async def reset(request: Request) -> Response:
    """Reset the emulator to its state at the start."""
    state_of(request).reset()
    return json_response({})


@router.post("/expire_links")
async def expire_links(request: Request) -> Response:
    """Expire all signed links created so far."""
    state_of(request).media.expire_links()
    return json_response({})


@router.post("/runs/{run_id}/finish")
async def finish_run(run_id: str, request: Request) -> Response:
    """Finish a run now."""
    state = state_of(request)
    run = state.runs.get(run_id)
    if run is None:
        return json_response({"detail": f"Run {run_id} does not exist."}, 404)
    try:
        end = EndBody(**await json_body(request))
    except ValueError as error:
        return bad_request(error)
    await state.engine.finish_now(
        run, end.status, message=end.message, needs_credits=end.needs_credits, failed=end.failed
    )
    return json_response(state.run_control_json(run))


@router.delete("/runs/{run_id}")
async def forget_run(run_id: str, request: Request) -> Response:
    """Delete a run, so that the API responds 404."""
    state = state_of(request)
    run = state.runs.pop(run_id, None)
    if run is None:
        return json_response({"detail": f"Run {run_id} does not exist."}, 404)
    state.engine.abandon(run)
    return json_response({})


@router.post("/triggers/{trigger_id}/fire")
async def fire_trigger(trigger_id: str, request: Request) -> Response:
    """Fire a trigger. Return the run that it started, or null."""
    try:
        run = fire(state_of(request), trigger_id, TriggerEvent(**await json_body(request)))
    except LookupError as error:
        return json_response({"detail": str(error.args[0])}, 404)
    except ValueError as error:
        return bad_request(error)
    return json_response(None if run is None else state_of(request).run_control_json(run))


@router.get("/connect/{token}")
async def connect(token: str, request: Request) -> Response:
    """Connect an account, as a user does in the browser. A link works once."""
    state = state_of(request)
    link = state.links.pop(token, None)
    if link is None:
        return json_response({"detail": "The link is used or unknown."}, 404)
    username = f"account{len(state.connections) + len(state.deleted_connections) + 1}"
    connection = Connection(
        id=str(uuid.uuid4()),
        platform=link["platform"],
        name=link["connection_name"] or f"Another {link['platform']} account",
        username=username,
        profile_url=f"https://{link['platform']}.example/{username}",
    )
    state.connections[connection.id] = connection
    state.counters.add("connections_added")
    if link["redirect_url"]:
        return Response(status_code=303, headers={"Location": link["redirect_url"]})
    return json_response(connection.as_json())


@router.get("/checkout/{token}")
async def pay_checkout(token: str, request: Request) -> Response:
    """Pay a checkout, as a user does in the browser. It can be paid once."""
    plan = state_of(request).ledger.pay_checkout(token)
    if plan is None:
        return json_response({"detail": "The checkout is paid or unknown."}, 404)
    return json_response({"plan_id": plan.id})
