"""Agents: templates of video edits, graphs of nodes (https://docs.mosaic.so/api/agents/get-agent)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, Field, model_validator

from airflow_provider_mosaic.api.arguments import (
    not_text,
    raise_invalid,
    validate_choice,
    validate_id,
    validate_list,
    validate_mapping,
)
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.endpoints.node_types import NodeType
from airflow_provider_mosaic.api.models import Count, Id, Many, Model, Time, Words, id_in, object_in
from airflow_provider_mosaic.api.paging import Listing, paged, read_page

VIDEO_INPUT_TYPE_ID = "9451e6ff-ac7f-4317-9055-a2f35f641b29"


class Agent(Model):
    """An agent's metadata. ``agent_id`` is called ``id`` in the API's lists."""

    agent_id: Id = Field(validation_alias=AliasChoices("id", "agent_id"))
    name: Words = None
    description: Words = None
    visibility: Words = None
    created_at: Time = None
    updated_at: Time = None


class AgentNode(Model):
    """A node (tile) of an agent, with its current parameters."""

    agent_node_id: Id = Field(validation_alias=AliasChoices("agent_node_id", "id"))
    node_type: NodeType = NodeType()
    params_used: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _type_beside_the_node(cls, data: Any) -> Any:
        # The form of early 2026.
        if isinstance(data, Mapping) and "node_type" not in data and "node_type_id" in data:
            return {**data, "node_type": {name: data.get(name) for name in ("node_type_id", "node_type_name")}}
        return data


class Connection(Model):
    """A directed edge between two nodes."""

    source_agent_node_id: Id
    target_agent_node_id: Id


class AgentGraph(Model):
    """An agent with its nodes and the connections between them."""

    agent: Agent
    agent_nodes: Many[AgentNode] = Field(default=(), validation_alias=AliasChoices("agent_nodes", "nodes"))
    connections: Many[Connection] = ()

    @property
    def shows_connections(self) -> bool:
        """Whether the answer told how the nodes are connected: an earlier form of it did not."""
        return "connections" in self.model_fields_set or len(self.agent_nodes) < 2


class CreatedNode(Model):
    """Which node came of an operation with a ``temp_ref_id``."""

    temp_ref_id: Words = None
    agent_node_id: Id


class AgentChange(Model):
    """What a create or an update did."""

    agent_id: Id
    operations_applied: Count = 0
    created_nodes: Many[CreatedNode] = ()


#: The operations of an update, with the fields that each needs.
OPERATIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "create_node": (("node_type_id",),),
    "update_node": (("agent_node_id",), ("params_used",)),
    "delete_node": (("agent_node_id",),),
    "create_connection": (
        ("source_agent_node_id", "source_temp_ref_id"),
        ("target_agent_node_id", "target_temp_ref_id"),
    ),
    "delete_connection": (
        ("source_agent_node_id", "source_temp_ref_id"),
        ("target_agent_node_id", "target_temp_ref_id"),
    ),
}


def get_agent(agent_id: str) -> Call[AgentGraph]:
    """
    The graph of an agent.

    :param agent_id: The agent.
    """
    return Call(
        description=f"read agent {agent_id!r}",
        method="GET",
        path="/agent/{agent_id}",
        ids={"agent_id": agent_id},
        read=AgentGraph.model_validate,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def list_agents() -> Listing[Agent]:
    """All agents of the organization."""
    return paged(
        "list the agents", "/agents", read=read_page("agents", Agent.model_validate), key=lambda agent: agent.agent_id
    )


def get_agent_node(agent_node_id: str) -> Call[AgentNode]:
    """
    One node of any agent (https://docs.mosaic.so/api/agent-nodes/get-agent-node).

    :param agent_node_id: The node.
    """

    def read(data: Any) -> AgentNode:
        answer = object_in(data)
        return AgentNode.model_validate(answer.get("agent_node") or answer)

    return Call(
        description=f"read agent node {agent_node_id!r}",
        method="GET",
        path="/agent_nodes/{agent_node_id}",
        ids={"agent_node_id": agent_node_id},
        read=read,
    )


def create_agent(
    *,
    name: str | None = None,
    description: str | None = None,
    visibility: str | None = None,
    workspace_id: str | None = None,
) -> Call[AgentChange]:
    """
    Make an agent without nodes (https://docs.mosaic.so/api/agents/post-agent-create); they come by an update.

    :param name: Its name, 1 to 120 characters.
    :param description: Up to 5000 characters.
    :param visibility: ``public`` or ``private``.
    :param workspace_id: The workspace; None for the organization's primary one.
    """
    body = _metadata(name, description, visibility)
    if workspace_id is not None:
        body["workspace_id"] = validate_id("workspace_id", workspace_id)
    return Call(
        description=f"create agent {name!r}",
        method="POST",
        path="/agent/create",
        makes="agent_id",
        body=body,
        read=_read_change,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def update_agent(
    agent_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    visibility: str | None = None,
    operations: Iterable[Mapping[str, Any]] | None = None,
) -> Call[AgentChange]:
    """
    Change an agent's metadata, its graph, or both (https://docs.mosaic.so/api/agents/post-agent-update).

    Whether the operations are carried out all or none is not documented: read the agent again after an error.

    :param agent_id: The agent.
    :param name: A new name, 1 to 120 characters.
    :param description: A new description, up to 5000 characters.
    :param visibility: ``public`` or ``private``.
    :param operations: Changes of the graph, in order: objects with ``op`` and what it needs.
    """
    body = _metadata(name, description, visibility)
    if operations is not None:
        steps = validate_list("operations", operations)
        body["operations"] = [_checked_operation(f"operations[{i}]", step) for i, step in enumerate(steps)]
    if not body:
        raise_invalid(
            "operations", operations, "there is nothing to change: give name, description, visibility or operations."
        )
    return Call(
        description=f"update agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/update",
        ids={"agent_id": agent_id},
        body=body,
        read=lambda data: AgentChange.model_validate({**object_in(data or {}), "agent_id": agent_id}),
        max_bytes=MAX_BYTES_OF_MANY,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def delete_agent(agent_id: str) -> Call[None]:
    """
    Take an agent out of its workspace (https://docs.mosaic.so/api/agents/post-agent-delete).

    :param agent_id: The agent.
    """
    return Call(
        description=f"delete agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/delete",
        ids={"agent_id": agent_id},
        read=lambda data: None,
    )


def duplicate_agent(
    agent_id: str, *, name: str | None = None, description: str | None = None, visibility: str | None = None
) -> Call[AgentGraph]:
    """
    Copy an agent with its nodes and connections (https://docs.mosaic.so/api/agents/post-agent-duplicate).

    :param agent_id: The agent.
    :param name: The copy's name. Default: "Copy of ...".
    :param description: The copy's description. Default: the same.
    :param visibility: The copy's visibility. Default: the same.
    """
    return Call(
        description=f"duplicate agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/duplicate",
        makes="agent_id",
        ids={"agent_id": agent_id},
        body=_metadata(name, description, visibility),
        read=AgentGraph.model_validate,
        max_bytes=MAX_BYTES_OF_MANY,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def _metadata(name: str | None, description: str | None, visibility: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if name is not None:
        if not isinstance(name, str):
            raise_invalid("name", name, f"it must be text, {not_text(name)}")
        if not 1 <= len(name) <= 120:
            raise_invalid("name", name, "it must be text of 1 to 120 characters.")
        body["name"] = name
    if description is not None:
        if not isinstance(description, str):
            raise_invalid("description", description, f"it must be text, {not_text(description)}")
        if len(description) > 5000:
            raise_invalid("description", description, "it must be text of at most 5000 characters.")
        body["description"] = description
    if visibility is not None:
        body["visibility"] = validate_choice("visibility", visibility, ("public", "private"))
    return body


def _checked_operation(name: str, step: Any) -> dict[str, Any]:
    checked = validate_mapping(name, step)
    needs = OPERATIONS[validate_choice(f"{name}.op", checked.get("op"), OPERATIONS)]
    for either in needs:
        if not any(checked.get(field) is not None for field in either):
            raise_invalid(name, checked, f"{checked['op']} needs {' or '.join(either)}.")
    return checked


def _read_change(data: Any) -> AgentChange:
    # An earlier form answered with the agent's metadata instead.
    answer = object_in(data)
    if "agent_id" not in answer and isinstance(answer.get("agent"), Mapping):
        answer = {**answer, "agent_id": answer["agent"].get("id")}
    return AgentChange.model_validate({**answer, "agent_id": id_in(answer, "agent_id")})
