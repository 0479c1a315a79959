"""Agents, as far as they are read."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from airflow_provider_mosaic.emulator.answers import ApiError
from airflow_provider_mosaic.emulator.catalogue import Agent
from airflow_provider_mosaic.emulator.exchange import Asked, Exchange

router = APIRouter()


def find_agent(exchange: Exchange, agent_id: str) -> Agent:
    """
    Return an agent.

    :raises ApiError: 404 when there is none.
    """
    agent = exchange.world.agents.get(agent_id)
    if agent is None:
        raise ApiError(404, "Agent could not be found")
    return agent


@router.get("/agents")
async def list_agents(exchange: Asked) -> Response:
    """List the agents."""
    exchange.known_query("limit", "cursor")
    text = exchange.world.clock.text
    numbers = {each: place for place, each in enumerate(exchange.world.agents, 1)}
    return exchange.page(
        "agents",
        exchange.world.agents,
        number=lambda agent: numbers[agent.id],
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
    return exchange.answer(find_agent(exchange, agent_id).as_json(exchange.world.clock.text))
