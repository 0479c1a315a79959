"""Agents: templates of video edits, graphs of nodes (https://docs.mosaic.so/api/agents/get-agent)."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.models import Model, Time, Words
from airflow_provider_mosaic.api.node_types import NodeType
from airflow_provider_mosaic.api.paging import PAGE_LIMIT, Listing, Page, read_page

VIDEO_INPUT_TYPE_ID = "9451e6ff-ac7f-4317-9055-a2f35f641b29"


class Agent(Model):
    """An agent's metadata. ``agent_id`` is called ``id`` in the API's lists."""

    agent_id: str = Field(validation_alias=AliasChoices("id", "agent_id"))
    name: Words = None
    description: Words = None
    visibility: Words = None
    created_at: Time = None
    updated_at: Time = None


class AgentNode(Model):
    """A node (tile) of an agent, with its current parameters."""

    agent_node_id: str = Field(validation_alias=AliasChoices("agent_node_id", "id"))
    node_type: NodeType = NodeType()
    params_used: dict[str, Any] = {}


class Connection(Model):
    """A directed edge between two nodes."""

    source_agent_node_id: str
    target_agent_node_id: str


class AgentGraph(Model):
    """An agent with its nodes and the connections between them."""

    agent: Agent
    agent_nodes: tuple[AgentNode, ...] = Field(default=(), validation_alias=AliasChoices("agent_nodes", "nodes"))
    connections: tuple[Connection, ...] = ()


def get_agent(agent_id: str) -> Call[AgentGraph]:
    """
    The graph of an agent.

    :param agent_id: The agent.
    """
    return Call(
        what=f"read agent {agent_id!r}",
        method="GET",
        path="/agent/{agent_id}",
        ids={"agent_id": agent_id},
        read=AgentGraph.model_validate,
    )


def list_agents() -> Listing[Agent]:
    """All agents of the organization."""

    def page(cursor: str | None) -> Call[Page[Agent]]:
        return Call(
            what="list the agents",
            method="GET",
            path="/agents",
            query={"limit": PAGE_LIMIT, "cursor": cursor},
            read=read_page("agents", Agent.model_validate),
        )

    return Listing(page, key=lambda agent: agent.agent_id)
