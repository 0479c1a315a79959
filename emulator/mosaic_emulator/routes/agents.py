"""Reads of agents."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import Agent
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Context, RequestContext

router = APIRouter()


def find_agent(context: RequestContext, agent_id: str) -> Agent:
    """Return an agent. Raise 404 if it does not exist."""
    agent = context.state.agents.get(agent_id)
    if agent is None or not context.is_visible(agent.workspace_id):
        raise ApiError(404, "Agent could not be found")
    return agent


@router.get("/agents")
async def list_agents(context: Context) -> Response:
    """List the agents."""
    context.allow_query("limit", "cursor")
    text = context.state.clock.text
    listed_until = time.monotonic() - context.settings.list_lag
    return context.page(
        "agents",
        context.state.agents,
        number=lambda agent: agent.number,
        matches=lambda agent: agent.created_monotonic <= listed_until and context.is_visible(agent.workspace_id),
        to_json=lambda agent: {
            "id": agent.id,
            "name": agent.name,
            "description": agent.description,
            "created_at": text(agent.created_at),
            "updated_at": text(agent.updated_at),
        },
    )


@router.get("/agent/{agent_id}")
async def get_agent(agent_id: str, context: Context) -> Response:
    """Return one agent with its graph."""
    agent = find_agent(context, agent_id)
    return context.respond(agent.as_json(context.state.clock.text, form=context.settings.agent_response))


@router.get("/agent_nodes/{agent_node_id}")
async def get_agent_node(agent_node_id: str, context: Context) -> Response:
    """Return one tile of any agent."""
    for agent in context.state.agents.values():
        if agent_node_id in agent.nodes and context.is_visible(agent.workspace_id):
            return context.respond({"agent_node": agent.nodes[agent_node_id].as_json()})
    if context.settings.runtime_node_ids:
        for run in context.state.runs.values():
            for node in run.nodes.values():
                if node.id == agent_node_id and context.is_visible(run.agent.workspace_id):
                    written = {**node.template.as_json(), "agent_node_id": node.id, "params_used": node.params}
                    return context.respond({"agent_node": written})
    raise ApiError(404, "Agent node could not be found")
