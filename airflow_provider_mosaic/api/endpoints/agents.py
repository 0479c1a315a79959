"""
Agents: templates of video edits, as graphs of nodes (https://docs.mosaic.so/api/agents/get-agent); and the catalog of
their tiles, the node types (https://docs.mosaic.so/api/agent-nodes/get-agent-nodes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, Field, model_validator

from airflow_provider_mosaic.api.arguments import (
    id_key,
    raise_invalid,
    validate_choice,
    validate_id,
    validate_list,
    validate_mapping,
    validate_text,
)
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse, RetrySafety
from airflow_provider_mosaic.api.error_collector import ErrorCollector, normalize_name, one_a_line
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import (
    Count,
    Id,
    Many,
    Model,
    NodeType,
    Time,
    Words,
    id_in,
    object_in,
    read_object,
)
from airflow_provider_mosaic.api.paging import Listing, paged, read_list, read_page
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.run_inputs import is_id

#: Most nodes of an agent, connections, and node types. Agents in Mosaic have some tens. The time to compare an agent
#: with its definition grows with the square.
MAX_NODES, MAX_CONNECTIONS, _MAX_NODE_TYPES = 2_000, 10_000, 2_000

# What to do if a response does not show the whole agent.
_CHECK_AGENT = "Check the agent in the editor. If it has no nodes, delete it: an apply by its name creates it again."
_DELETE_CONNECTIONS = (
    "Try again in some minutes. If the error remains, delete these connections with the operation delete_connection of "
    "MosaicHook.update_agent."
)


class Agent(Model):
    """Metadata of an agent. The API calls ``agent_id`` ``id``, and lists no ``visibility``."""

    agent_id: Id = Field(validation_alias=AliasChoices("id", "agent_id"))
    name: Words = None
    description: Words = None
    visibility: Words = None
    created_at: Time = None
    updated_at: Time = None


class AgentNode(Model):
    """A node (tile) of an agent. ``params_used`` are its current parameters."""

    agent_node_id: Id = Field(validation_alias=AliasChoices("agent_node_id", "id"))
    node_type: NodeType = Field(default_factory=NodeType)
    params_used: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _nest_flat_node_type(cls, data: Any) -> Any:
        # Shape of March 2026.
        if isinstance(data, Mapping) and data.get("node_type") is None and "node_type_id" in data:
            return {**data, "node_type": {name: data.get(name) for name in ("node_type_id", "node_type_name")}}
        return data


class Connection(Model):
    """A directed edge between two nodes."""

    source_agent_node_id: Id
    target_agent_node_id: Id


class AgentGraph(Model):
    """An agent with its nodes and the connections between them."""

    agent: Agent
    agent_nodes: Many[AgentNode] = Field(
        default=(), validation_alias=AliasChoices("agent_nodes", "nodes"), max_length=MAX_NODES
    )
    connections: Many[Connection] = Field(default=(), max_length=MAX_CONNECTIONS)

    @property
    def unlisted_ends(self) -> list[str]:
        """The nodes that have connections and are not listed."""
        ends = {end for each in self.connections for end in (each.source_agent_node_id, each.target_agent_node_id)}
        return sorted(ends - {node.agent_node_id for node in self.agent_nodes})

    def raise_if_incomplete(self, event: str, *, means: str = "", is_new: bool = False) -> None:
        """
        Raise if the response does not show the whole graph: a node that is not shown would be created again.

        :param event: What fails then, as the start of a sentence.
        :param is_new: Whether the agent was just created without nodes. A server may leave out an empty list.
        :raises MosaicResponseError: It is incomplete.
        """
        gap, to_do = self._gap(is_new=is_new)
        if gap:
            raise MosaicResponseError(
                f"{event}: the response {gap}.",
                means=means,
                to_do=to_do,
                # A later read may show the nodes.
                transient=bool(self.unlisted_ends),
                effect_unknown=False,
            )

    def _gap(self, *, is_new: bool) -> tuple[str, str]:
        """Return what the response does not show, and what to do about it; empty texts if it shows the whole graph."""
        if "agent_nodes" not in self.model_fields_set and not is_new:
            return "does not show its nodes", _CHECK_AGENT
        untyped = [node.agent_node_id for node in self.agent_nodes if not node.node_type.node_type_id]
        if untyped:
            return f"does not show the type of these nodes: {listed(untyped)}", _CHECK_AGENT
        if "connections" not in self.model_fields_set and len(self.agent_nodes) > 1:
            # Responses of March 2026.
            return f"does not show how its {len(self.agent_nodes)} nodes are connected", _CHECK_AGENT
        ends = self.unlisted_ends
        if ends:
            return f"has connections of nodes that it does not show: {listed(ends)}", _DELETE_CONNECTIONS
        return "", ""


class CreatedNode(Model):
    """Id of a node that an operation with this ``temp_ref_id`` created."""

    temp_ref_id: Words = None
    agent_node_id: Id


class AgentChange(Model):
    """Result of creating or updating an agent."""

    agent_id: Id
    operations_applied: Count = 0
    created_nodes: Many[CreatedNode] = ()


#: Operations of an update, each with its required fields; one field of each tuple is enough.
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
    Return an agent with its nodes, their parameters and the connections between them.

    API page: https://docs.mosaic.so/api/agents/get-agent

    :raises MosaicNotFoundError: The agent does not exist, or was deleted.
    """
    return Call(
        description=f"read agent {agent_id!r}",
        path="/agent/{agent_id}",
        ids={"agent_id": agent_id},
        read=read_object(AgentGraph),
        max_bytes=MAX_BYTES_OF_MANY,
    )


def list_agents() -> Listing[Agent]:
    """List all agents of the organization, without their graphs. API page: https://docs.mosaic.so/api/agents/get-agents"""
    return paged(
        "list the agents", "/agents", read=read_page("agents", Agent.model_validate), key=lambda agent: agent.agent_id
    )


def get_agent_node(agent_node_id: str) -> Call[AgentNode]:
    """
    Return one node of any agent, with its parameters.

    API page: https://docs.mosaic.so/api/agent-nodes/get-agent-node

    :param agent_node_id: Id of a node of an agent, not of a run.
    """
    return Call(
        description=f"read agent node {agent_node_id!r}",
        path="/agent_nodes/{agent_node_id}",
        ids={"agent_node_id": agent_node_id},
        read=read_object(AgentNode, within="agent_node"),
    )


def create_agent(
    *,
    name: str | None = None,
    description: str | None = None,
    visibility: str | None = None,
    workspace_id: str | None = None,
) -> Call[AgentChange]:
    """
    Create an agent without nodes. Add nodes with :func:`update_agent`.

    Mosaic accepts several agents with the same name, so a repeated call creates a second agent.
    API page: https://docs.mosaic.so/api/agents/post-agent-create

    :param name: 1 to 120 characters. The default is Mosaic's.
    :param description: Up to 5000 characters.
    :param visibility: ``public`` or ``private``.
    :param workspace_id: Default: the organization's primary workspace.
    :raises MosaicAmbiguousOutcomeError: The agent may have been created. Look for it with :func:`list_agents`.
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
    Change an agent's metadata, its graph, or both.

    Whether all operations are applied or none is not documented: read the agent again after an error.
    API page: https://docs.mosaic.so/api/agents/post-agent-update

    :param name: New name, 1 to 120 characters.
    :param description: New description, up to 5000 characters.
    :param visibility: ``public`` or ``private``.
    :param operations: Changes of the graph, in order: objects with ``op`` (``create_node``, ``update_node``,
        ``delete_node``, ``create_connection`` or ``delete_connection``) and its fields. The ``temp_ref_id`` of a new
        node stands for its id in later operations.
    :raises MosaicAmbiguousOutcomeError: The agent may have been changed.
    """
    body = _metadata(name, description, visibility)
    if operations is not None:
        steps = validate_list("operations", operations)
        body["operations"] = [_validate_operation(f"operations[{i}]", step) for i, step in enumerate(steps)]
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
    Remove an agent from its workspace.

    What happens to its running runs and its triggers is not documented.
    API page: https://docs.mosaic.so/api/agents/post-agent-delete
    """
    return Call(
        description=f"delete agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/delete",
        ids={"agent_id": agent_id},
        deletes=True,
        read=lambda data: None,
    )


def duplicate_agent(
    agent_id: str, *, name: str | None = None, description: str | None = None, visibility: str | None = None
) -> Call[AgentGraph]:
    """
    Copy an agent with its nodes and connections, and return the copy. All ids in it are new.

    Whether triggers are copied is not documented.
    API page: https://docs.mosaic.so/api/agents/post-agent-duplicate

    :param name: Name of the copy. Default: "Copy of ...".
    :param description: Default: that of the original.
    :param visibility: Default: that of the original.
    :raises MosaicAmbiguousOutcomeError: The copy may have been created. Look for it with :func:`list_agents`.
    """
    return Call(
        description=f"duplicate agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/duplicate",
        makes="agent_id",
        ids={"agent_id": agent_id},
        body=_metadata(name, description, visibility),
        read=read_object(AgentGraph),
        max_bytes=MAX_BYTES_OF_MANY,
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def list_node_types() -> Call[tuple[NodeType, ...]]:
    """
    Return all node types that the organization may use, in one response.

    API page: https://docs.mosaic.so/api/agent-nodes/get-agent-nodes
    """

    def read(data: Any) -> tuple[NodeType, ...]:
        types = read_list("node_types", NodeType)(data)
        if len(types) > _MAX_NODE_TYPES:
            raise InvalidResponse(f"it has more than {_MAX_NODE_TYPES} node types")
        return types

    return Call(
        description="list the node types",
        path="/node_types",
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_node_type(node_type_id: str) -> Call[NodeType]:
    """Return one node type. API page: https://docs.mosaic.so/api/node-types/get-node-type"""
    return Call(
        description=f"read node type {node_type_id!r}",
        path="/node_type/{node_type_id}",
        ids={"node_type_id": node_type_id},
        read=read_object(NodeType, within="node_type"),
    )


def by_node_id(update_params: Mapping[str, Any], graph: AgentGraph) -> dict[str, Any]:
    """
    Return params by node id.

    :raises MosaicValidationError: No tile, or more than one, has a name.
    """
    resolved: dict[str, Any] = {}
    errors = ErrorCollector()
    for key, value in update_params.items():
        node_id = _find_node(graph, key, errors)
        if node_id in resolved:
            errors.add("update_params", key, f"this is tile {node_id}, which another key names too.")
        elif node_id is not None:
            resolved[node_id] = value
    errors.raise_any("update_params")
    return resolved


def _find_node(graph: AgentGraph, key: str, errors: ErrorCollector) -> str | None:
    names = {node.agent_node_id: node.node_type.node_type_name or "" for node in graph.agent_nodes}
    if key in names:
        return key
    listed_ids = {id_key(node_id): node_id for node_id in names}
    if is_id(key) or id_key(key) in listed_ids:
        return listed_ids.get(id_key(key), key)
    plain = normalize_name(key)
    found = [node_id for node_id, name in names.items() if plain and normalize_name(name) == plain]
    if len(found) == 1:
        return found[0]
    agent = f"agent {graph.agent.agent_id!r}"
    if found:
        several = f"{agent} has several tiles of this name. Give the id of one:{one_a_line(found)}"
        errors.add("update_params", key, several)
    else:
        known = filter(None, names.values())
        errors.add("update_params", key, f"{agent} has no tile of this name.", unknown=key, known=known)
    return None


def _metadata(name: str | None, description: str | None, visibility: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if name is not None:
        if not 1 <= len(validate_text("name", name)) <= 120:
            raise_invalid("name", name, "it must be text of 1 to 120 characters.")
        body["name"] = name
    if description is not None:
        if len(validate_text("description", description)) > 5000:
            raise_invalid("description", description, "it must be text of at most 5000 characters.")
        body["description"] = description
    if visibility is not None:
        body["visibility"] = validate_choice("visibility", visibility, ("public", "private"))
    return body


def _validate_operation(name: str, step: Any) -> dict[str, Any]:
    checked = validate_mapping(name, step)
    needs = OPERATIONS[validate_choice(f"{name}.op", checked.get("op"), OPERATIONS)]
    for either in needs:
        if not any(checked.get(field) is not None for field in either):
            raise_invalid(name, checked, f"{checked['op']} needs {' or '.join(either)}.")
    return checked


def _read_change(data: Any) -> AgentChange:
    # Responses of March 2026 have the agent's metadata instead.
    body = object_in(data)
    agent = body.get("agent")
    holder = agent if body.get("agent_id") is None and isinstance(agent, Mapping) else body
    return AgentChange.model_validate({**body, "agent_id": id_in(holder, "agent_id", "id")})
