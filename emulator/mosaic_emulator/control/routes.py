"""The emulator's own interface under ``/_emulator``: look, configure, inject, decide, reset."""

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
    """A fault to inject."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    method: str = "*"
    path: str = "*"
    times: int | None = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    options: dict[str, Any] = {}


class EndBody(BaseModel):
    """How a run is to end."""

    model_config = ConfigDict(extra="forbid")

    status: str = "completed"
    message: str | None = None
    needs_credits: bool = False
    failed: list[str] = []


def state_of(request: Request) -> State:
    """Return the emulator's state."""
    state = request.scope["mosaic.state"]
    assert isinstance(state, State)  # noqa: S101 - the wire put it there
    return state


async def json_body(request: Request) -> dict[str, Any]:
    """
    Return the object that a request to the emulator itself carries.

    :raises ValueError: when it carries none.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"the body is longer than {MAX_BODY} bytes")
    data = load_json(bytes(body))
    if not isinstance(data, dict):
        raise ValueError("the body must be a JSON object")
    return data


def bad_request(error: ValueError) -> Response:
    """Answer what is wrong with a request to the emulator itself."""
    if isinstance(error, ValidationError):
        texts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return json_response({"detail": "; ".join(texts)}, 400)
    return json_response({"detail": str(error)}, 400)


@router.get("/counts")
async def counts(request: Request) -> Response:
    """Tell the counters."""
    return json_response(state_of(request).counters.as_json())


@router.get("/runs")
async def runs(request: Request) -> Response:
    """Tell every run, oldest first."""
    state = state_of(request)
    return json_response([state.run_control_json(run) for run in state.runs.values()])


@router.get("/posts")
async def posts(request: Request) -> Response:
    """Tell every post, oldest first."""
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
    """Tell every agent with its graph, oldest first; those that are there from the start come first."""
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
    """Tell every upload, oldest first."""
    return json_response([upload.as_json() for upload in state_of(request).uploads.all()])


@router.get("/requests")
async def requests(request: Request) -> Response:
    """Tell the received requests, oldest first."""
    return json_response(state_of(request).log.as_json())


@router.get("/settings")
async def settings(request: Request) -> Response:
    """Tell the settings."""
    return json_response(state_of(request).settings.model_dump())


@router.post("/settings")
async def configure(request: Request) -> Response:
    """Change settings, all or none of them."""
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
    """Tell the faults that may still take place."""
    return json_response([asdict(each) for each in state_of(request).faults.pending()])


@router.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Forget the faults that have not taken place."""
    state_of(request).faults.clear()
    return json_response({})


@router.post("/reset")
async def reset(request: Request) -> Response:
    """Go back to the start."""
    state_of(request).reset()
    return json_response({})


@router.post("/expire_links")
async def expire_links(request: Request) -> Response:
    """Make every link that was handed out until now an expired one."""
    state_of(request).media.expire_links()
    return json_response({})


@router.post("/runs/{run_id}/finish")
async def finish_run(run_id: str, request: Request) -> Response:
    """End a run by hand."""
    state = state_of(request)
    run = state.runs.get(run_id)
    if run is None:
        return json_response({"detail": f"there is no run {run_id}"}, 404)
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
    """Make a run unknown, as if it had been deleted."""
    state = state_of(request)
    run = state.runs.pop(run_id, None)
    if run is None:
        return json_response({"detail": f"there is no run {run_id}"}, 404)
    state.engine.abandon(run)
    return json_response({})


@router.post("/triggers/{trigger_id}/fire")
async def fire_trigger(trigger_id: str, request: Request) -> Response:
    """Let something arrive at a trigger; the answer is the run that it began, or null."""
    try:
        run = fire(state_of(request), trigger_id, TriggerEvent(**await json_body(request)))
    except LookupError as error:
        return json_response({"detail": str(error.args[0])}, 404)
    except ValueError as error:
        return bad_request(error)
    return json_response(None if run is None else state_of(request).run_control_json(run))


@router.get("/connect/{token}")
async def connect(token: str, request: Request) -> Response:
    """Do what a human does behind a link for connecting an account. A link works once."""
    state = state_of(request)
    link = state.links.pop(token, None)
    if link is None:
        return json_response({"detail": "the link is used or unknown"}, 404)
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
    """Do what a human does in a checkout. It can be paid once."""
    plan = state_of(request).ledger.pay_checkout(token)
    if plan is None:
        return json_response({"detail": "the checkout is paid or unknown"}, 404)
    return json_response({"plan_id": plan.id})
