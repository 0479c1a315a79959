"""Changes of agents: create, update, delete, duplicate."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from mosaic_emulator.agents.graph_draft import OPERATIONS, GraphDraft, Operation
from mosaic_emulator.catalogue import Agent, AgentNode
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.agents import find_agent
from mosaic_emulator.routes.request_context import Context, RequestContext

router = APIRouter()

#: Fields of early 2026. Always rejected, with any ``unknown_body_fields``.
GRAPH_FIELDS: Final = frozenset({"graph", "nodes", "connections", "create_video_input_node"})


class Metadata(RequestBody):
    """Metadata of an agent. A missing field is not changed."""

    name: str = Field("", min_length=1, max_length=120)
    description: str = Field("", max_length=5000)
    visibility: Literal["public", "private"] = "private"


class CreateBody(Metadata):
    """Body of ``POST /agent/create``."""

    workspace_id: str | None = None


class UpdateBody(Metadata):
    """Body of ``POST /agent/{agent_id}/update``."""

    operations: list[dict[str, Any]] = Field(default_factory=list)


def _no_graph(context: RequestContext, body: Metadata) -> None:
    for name in sorted(GRAPH_FIELDS & set(body.model_extra or {})):
        raise context.invalid_request(f"{name}: a graph is only changed by operations", "body", name)


def _add(context: RequestContext, agent: Agent) -> None:
    agent.created_monotonic = time.monotonic()
    context.state.agents[agent.id] = agent


def _new_agent(context: RequestContext, name: str, description: str, visibility: str, workspace_id: str) -> Agent:
    now = context.state.clock.now()
    return Agent(
        id=str(uuid.uuid4()),
        name=name,
        description=description,
        nodes={},
        edges=[],
        number=next(context.state.numbers),
        created_at=now,
        updated_at=now,
        visibility=visibility,
        workspace_id=workspace_id,
    )


def _change_response(
    context: RequestContext, agent: Agent, applied: int, created: list[dict[str, Any]]
) -> dict[str, Any]:
    body: dict[str, Any] = {"success": True, "agent_id": agent.id}
    if context.settings.agent_change_response != "metadata":
        body |= {"operations_applied": applied, "created_nodes": created}
    if context.settings.agent_change_response != "operations":
        body |= {**agent.metadata_json(context.state.clock.text), "workspace_id": agent.workspace_id}
    return body


@router.post("/agent/create")
async def create_agent(context: Context) -> Response:
    """Create an agent without tiles."""
    body = context.optional_body(CreateBody)
    _no_graph(context, body)
    workspace_id = context.workspace(body.workspace_id)
    names = {each.name for each in context.state.agents.values() if each.workspace_id == workspace_id}
    if body.name in names and context.settings.repeated_agent_name == "refuse":
        raise ApiError(409, "An agent with this name already exists")
    agent = _new_agent(context, body.name or "Untitled agent", body.description, body.visibility, workspace_id)
    _add(context, agent)
    context.state.counters.add("agents_created")
    return context.respond(_change_response(context, agent, 0, []), created=True)


@router.api_route("/agent/{agent_id}/update", methods=["POST", "PATCH"])
async def update_agent(agent_id: str, context: Context) -> Response:
    """Change an agent's metadata, and its graph by operations."""
    state, settings = context.state, context.settings
    agent = find_agent(context, agent_id)
    body = context.body(UpdateBody)
    _no_graph(context, body)
    sent = body.model_fields_set & {"name", "description", "visibility", "operations"}
    if not sent:
        raise context.invalid_request("One of name, description, visibility and operations is required")
    if settings.max_operations is not None and len(body.operations) > settings.max_operations:
        raise context.invalid_request(f"operations: at most {settings.max_operations}", "body", "operations")
    draft = GraphDraft(agent=agent, settings=settings, invalid_request=context.invalid_request)
    refusal: ApiError | None = None
    try:
        for place, each in enumerate(body.operations):
            draft.apply(_operation(context, each, place))
    except ApiError as error:
        if settings.atomic_operations:
            raise
        refusal = error
    for name in sent - {"operations"}:
        setattr(agent, name, getattr(body, name))
    agent.nodes, agent.edges = draft.nodes, draft.edges
    if draft.applied or sent - {"operations"}:
        agent.updated_at = max(state.clock.now(), agent.updated_at)
        state.counters.add("agents_updated")
    if refusal is not None:
        raise refusal
    return context.respond(_change_response(context, agent, draft.applied, draft.created))


def _operation(context: RequestContext, data: dict[str, Any], place: int) -> Operation:
    model = OPERATIONS.get(str(data.get("op")))
    if model is None:
        known = ", ".join(OPERATIONS)
        raise context.invalid_request(
            f"operations.{place}.op: must be one of {known}", "body", "operations", str(place), "op"
        )
    return context.parse(model, data, "operations", str(place))


@router.api_route("/agent/{agent_id}/delete", methods=["POST", "DELETE"])
async def delete_agent(agent_id: str, context: Context) -> Response:
    """Delete an agent with its tiles and triggers. Its runs are kept."""
    context.require_empty_body()
    state = context.state
    response = {"success": True, "agent_id": agent_id, "message": "Agent removed"}
    if agent_id in state.deleted_agents and context.settings.repeated_delete == 200:
        return context.respond(response, body_required=False)
    agent = find_agent(context, agent_id)
    del state.agents[agent.id]
    state.deleted_agents.add(agent.id)
    state.triggers.remove_agent(agent.id)
    if context.settings.delete_cancels_runs:
        for run in state.runs.values():
            if run.agent is agent and run.active:
                state.engine.cancel(run)
    state.counters.add("agents_deleted")
    return context.respond(response, body_required=False)


@router.post("/agent/{agent_id}/duplicate")
async def duplicate_agent(agent_id: str, context: Context) -> Response:
    """Copy an agent. The copy and its tiles get new ids."""
    source = find_agent(context, agent_id)
    body = context.optional_body(Metadata)
    sent = body.model_fields_set
    copy = _new_agent(
        context,
        # A name has at most 120 characters.
        body.name if "name" in sent else f"Copy of {source.name}"[:120],
        body.description if "description" in sent else source.description,
        body.visibility if "visibility" in sent else source.visibility,
        source.workspace_id,
    )
    ids = {each: str(uuid.uuid4()) for each in source.nodes}
    copy.nodes = {ids[each.id]: AgentNode(ids[each.id], each.type, dict(each.params)) for each in source.nodes.values()}
    copy.edges = [(ids[start], ids[end]) for start, end in source.edges]
    _add(context, copy)
    if context.settings.duplicate_triggers:
        context.state.triggers.copy_to(source.id, copy.id)
    context.state.counters.add("agents_duplicated")
    written = copy.as_json(context.state.clock.text, form=context.settings.agent_response)
    return context.respond(written, created=True)
