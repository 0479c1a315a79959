"""Agents, as far as they are changed: create, update, delete, duplicate."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from mosaic_emulator.agents.graph_draft import OPERATIONS, Draft, Operation
from mosaic_emulator.catalogue import Agent, AgentNode
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.agents import find_agent
from mosaic_emulator.routes.request_context import Asked, RequestContext

router = APIRouter()

#: Of the forms of early 2026. Whatever becomes of unknown fields, these are refused.
GRAPH_FIELDS: Final = frozenset({"graph", "nodes", "connections", "create_video_input_node"})


class Metadata(BaseModel):
    """What can be said of an agent beside its graph; what is not sent stays."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str = Field("", min_length=1, max_length=120)
    description: str = Field("", max_length=5000)
    visibility: Literal["public", "private"] = "private"


class CreateBody(Metadata):
    """Body of ``POST /agent/create``."""

    workspace_id: str | None = None


class UpdateBody(Metadata):
    """Body of ``POST /agent/{agent_id}/update``."""

    operations: list[dict[str, Any]] = Field(default_factory=list)


def _no_graph(exchange: RequestContext, body: Metadata) -> None:
    for name in sorted(GRAPH_FIELDS & set(body.model_extra or {})):
        raise exchange.refuse(f"{name}: a graph is changed by operations only", "body", name)


def _add(exchange: RequestContext, agent: Agent) -> None:
    agent.born = time.monotonic()
    exchange.world.agents[agent.id] = agent


def _new_agent(exchange: RequestContext, name: str, description: str, visibility: str, workspace_id: str) -> Agent:
    now = exchange.world.clock.now()
    return Agent(
        id=str(uuid.uuid4()),
        name=name,
        description=description,
        nodes={},
        edges=[],
        number=next(exchange.world.numbers),
        created_at=now,
        updated_at=now,
        visibility=visibility,
        workspace_id=workspace_id,
    )


def _change_answer(
    exchange: RequestContext, agent: Agent, applied: int, created: list[dict[str, Any]]
) -> dict[str, Any]:
    body: dict[str, Any] = {"success": True, "agent_id": agent.id}
    if exchange.settings.agent_change_answer != "metadata":
        body |= {"operations_applied": applied, "created_nodes": created}
    if exchange.settings.agent_change_answer != "operations":
        body |= {**agent.metadata_json(exchange.world.clock.text), "workspace_id": agent.workspace_id}
    return body


@router.post("/agent/create")
async def create_agent(exchange: Asked) -> Response:
    """Make an agent without any tile."""
    body = exchange.optional_body(CreateBody)
    _no_graph(exchange, body)
    workspace_id = exchange.workspace(body.workspace_id)
    names = {each.name for each in exchange.world.agents.values() if each.workspace_id == workspace_id}
    if body.name in names and exchange.settings.repeated_agent_name == "refuse":
        raise ApiError(409, "An agent of this name is there already")
    agent = _new_agent(exchange, body.name or "Untitled agent", body.description, body.visibility, workspace_id)
    _add(exchange, agent)
    exchange.world.tally.add("agents_created")
    return exchange.answer(_change_answer(exchange, agent, 0, []), created=True)


@router.api_route("/agent/{agent_id}/update", methods=["POST", "PATCH"])
async def update_agent(agent_id: str, exchange: Asked) -> Response:
    """Change what is said of an agent, and its graph by operations in their order."""
    world, settings = exchange.world, exchange.settings
    agent = find_agent(exchange, agent_id)
    body = exchange.body(UpdateBody)
    _no_graph(exchange, body)
    sent = body.model_fields_set & {"name", "description", "visibility", "operations"}
    if not sent:
        raise exchange.refuse("One of name, description, visibility and operations is required")
    if settings.max_operations is not None and len(body.operations) > settings.max_operations:
        raise exchange.refuse(f"operations: at most {settings.max_operations}", "body", "operations")
    draft = Draft(agent=agent, settings=settings, refuse=exchange.refuse)
    refusal: ApiError | None = None
    try:
        for place, each in enumerate(body.operations):
            draft.apply(_operation(exchange, each, place))
    except ApiError as error:
        if settings.atomic_operations:
            raise
        refusal = error
    for name in sent - {"operations"}:
        setattr(agent, name, getattr(body, name))
    agent.nodes, agent.edges = draft.nodes, draft.edges
    if draft.applied or sent - {"operations"}:
        agent.updated_at = max(world.clock.now(), agent.updated_at)
        world.tally.add("agents_updated")
    if refusal is not None:
        raise refusal
    return exchange.answer(_change_answer(exchange, agent, draft.applied, draft.created))


def _operation(exchange: RequestContext, data: dict[str, Any], place: int) -> Operation:
    model = OPERATIONS.get(str(data.get("op")))
    if model is None:
        known = ", ".join(OPERATIONS)
        raise exchange.refuse(f"operations.{place}.op: must be one of {known}", "body", "operations", str(place), "op")
    return exchange.read(model, data, "operations", str(place))


@router.api_route("/agent/{agent_id}/delete", methods=["POST", "DELETE"])
async def delete_agent(agent_id: str, exchange: Asked) -> Response:
    """Take an agent out of its workspace, with its tiles and triggers; its runs stay on record."""
    exchange.no_body()
    world = exchange.world
    gone = {"success": True, "agent_id": agent_id, "message": "Agent removed"}
    if agent_id in world.deleted_agents and exchange.settings.repeated_delete == 200:
        return exchange.answer(gone, news=False)
    agent = find_agent(exchange, agent_id)
    del world.agents[agent.id]
    world.deleted_agents.add(agent.id)
    world.triggers.forget(agent.id)
    if exchange.settings.delete_cancels_runs:
        for run in world.runs.values():
            if run.agent is agent and run.active:
                world.engine.cancel(run)
    world.tally.add("agents_deleted")
    return exchange.answer(gone, news=False)


@router.post("/agent/{agent_id}/duplicate")
async def duplicate_agent(agent_id: str, exchange: Asked) -> Response:
    """Copy an agent, with fresh ids for it and all of its tiles."""
    source = find_agent(exchange, agent_id)
    body = exchange.optional_body(Metadata)
    sent = body.model_fields_set
    copy = _new_agent(
        exchange,
        # A copy of a name that is as long as a name may be is cut.
        body.name if "name" in sent else f"Copy of {source.name}"[:120],
        body.description if "description" in sent else source.description,
        body.visibility if "visibility" in sent else source.visibility,
        source.workspace_id,
    )
    ids = {each: str(uuid.uuid4()) for each in source.nodes}
    copy.nodes = {ids[each.id]: AgentNode(ids[each.id], each.type, dict(each.params)) for each in source.nodes.values()}
    copy.edges = [(ids[start], ids[end]) for start, end in source.edges]
    _add(exchange, copy)
    if exchange.settings.duplicate_triggers:
        exchange.world.triggers.copy(source.id, copy.id)
    exchange.world.tally.add("agents_duplicated")
    written = copy.as_json(exchange.world.clock.text, form=exchange.settings.agent_answer)
    return exchange.answer(written, created=True)
