"""Agents, as far as they are read."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.catalogue import Agent
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Asked, RequestContext

router = APIRouter()


def find_agent(exchange: RequestContext, agent_id: str) -> Agent:
    """
    Return an agent.

    :raises ApiError: 404 when there is none.
    """
    agent = exchange.world.agents.get(agent_id)
    if agent is None or not exchange.is_visible(agent.workspace_id):
        raise ApiError(404, "Agent could not be found")
    return agent


@router.get("/agents")
async def list_agents(exchange: Asked) -> Response:
    """List the agents."""
    exchange.known_query("limit", "cursor")
    text = exchange.world.clock.text
    known_until = time.monotonic() - exchange.settings.list_lag
    return exchange.page(
        "agents",
        exchange.world.agents,
        number=lambda agent: agent.number,
        wanted=lambda agent: agent.born <= known_until and exchange.is_visible(agent.workspace_id),
        write=lambda agent: {
            "id": agent.id,
            "name": agent.name,
            "description": agent.description,
            "created_at": text(agent.created_at),
            "updated_at": text(agent.updated_at),
        },
    )


@router.get("/agent/{agent_id}")
async def get_agent(agent_id: str, exchange: Asked) -> Response:
    """Tell one agent's graph."""
    agent = find_agent(exchange, agent_id)
    return exchange.answer(agent.as_json(exchange.world.clock.text, form=exchange.settings.agent_answer))


@router.get("/agent_nodes/{agent_node_id}")
async def get_agent_node(agent_node_id: str, exchange: Asked) -> Response:
    """Tell one tile of any agent."""
    for agent in exchange.world.agents.values():
        if agent_node_id in agent.nodes and exchange.is_visible(agent.workspace_id):
            return exchange.answer({"agent_node": agent.nodes[agent_node_id].as_json()})
    if exchange.settings.runtime_node_ids:
        for run in exchange.world.runs.values():
            for node in run.nodes.values():
                if node.id == agent_node_id and exchange.is_visible(run.agent.workspace_id):
                    written = {**node.template.as_json(), "agent_node_id": node.id, "params_used": node.params}
                    return exchange.answer({"agent_node": written})
    raise ApiError(404, "Agent node could not be found")
