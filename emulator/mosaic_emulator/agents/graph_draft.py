"""Changes of an agent's graph: operations that are applied in order, each validated against the result so far."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from pydantic import Field

from mosaic_emulator.agents.tile_params import defaults, invalid_param, missing_param
from mosaic_emulator.catalogue import INPUT_TYPE, NODE_TYPES_BY_ID, Agent, AgentNode, node_type
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.settings import Settings


class Operation(RequestBody):
    """Base class of operations."""

    op: str


class CreateNode(Operation):
    """Create a tile. The server assigns its id."""

    node_type_id: str
    temp_ref_id: str = Field("", min_length=1)
    params_used: dict[str, Any] = Field(default_factory=dict)


class UpdateNode(Operation):
    """Merge into the parameters of a tile."""

    agent_node_id: str
    params_used: dict[str, Any]


class DeleteNode(Operation):
    """Remove a tile and its connections."""

    agent_node_id: str


class ConnectionOperation(Operation):
    """Create or delete a connection. Each end is a node id, or a ``temp_ref_id`` of the same request."""

    source_agent_node_id: str | None = None
    source_temp_ref_id: str | None = None
    target_agent_node_id: str | None = None
    target_temp_ref_id: str | None = None


OPERATIONS: Final[dict[str, type[Operation]]] = {
    "create_node": CreateNode,
    "update_node": UpdateNode,
    "delete_node": DeleteNode,
    "create_connection": ConnectionOperation,
    "delete_connection": ConnectionOperation,
}
#: Builds the error for an invalid request from its text and location.
InvalidRequest = Callable[..., ApiError]


class GraphDraft:
    """A copy of an agent's graph to apply operations to."""

    def __init__(self, *, agent: Agent, settings: Settings, invalid_request: InvalidRequest) -> None:
        self._settings = settings
        self._invalid_request = invalid_request
        self.nodes = dict(agent.nodes)
        self.edges = list(agent.edges)
        self.created: list[dict[str, Any]] = []
        self.applied = 0
        self._references: dict[str, str] = {}

    def apply(self, operation: Operation) -> None:
        """
        Apply an operation.

        :raises ApiError: If the operation is invalid. The graph is unchanged.
        """
        if isinstance(operation, CreateNode):
            self._create_node(operation)
        elif isinstance(operation, UpdateNode):
            self._update_node(operation)
        elif isinstance(operation, DeleteNode):
            self._find(operation.agent_node_id)
            del self.nodes[operation.agent_node_id]
            self.edges = [edge for edge in self.edges if operation.agent_node_id not in edge]
        elif isinstance(operation, ConnectionOperation):
            edge = (
                self._endpoint(operation.source_agent_node_id, operation.source_temp_ref_id, "source"),
                self._endpoint(operation.target_agent_node_id, operation.target_temp_ref_id, "target"),
            )
            if operation.op == "create_connection":
                self._connect(edge)
            elif edge in self.edges:
                self.edges.remove(edge)
            else:
                raise ApiError(self._settings.unknown_operation_node_status, "Connection could not be found")
        self.applied += 1

    def _create_node(self, operation: CreateNode) -> None:
        reference = operation.temp_ref_id or None
        if "agent_node_id" in (operation.model_extra or {}):
            raise self._invalid_operation(operation, "agent_node_id", "is assigned by the server")
        if reference is not None and reference in self._references:
            raise self._invalid_operation(operation, "temp_ref_id", f"{reference} is used twice")
        try:
            type_id = str(uuid.UUID(operation.node_type_id))
        except ValueError as error:
            # All node types have UUIDs.
            raise self._invalid_operation(operation, "node_type_id", "is not a UUID") from error
        if type_id not in NODE_TYPES_BY_ID and self._settings.unknown_node_types == "refuse":
            raise ApiError(404, "Node type could not be found")
        node = AgentNode(str(uuid.uuid4()), node_type(type_id), dict(operation.params_used))
        self._check(operation, node)
        if self._settings.default_params:
            node = AgentNode(node.id, node.type, {**defaults(node.type), **node.params})
        self._check_required(operation, node)
        node = AgentNode(node.id, node.type, self._stored_params(node.params))
        self.nodes[node.id] = node
        if reference is not None:
            self._references[reference] = node.id
        self.created.append({"temp_ref_id": reference, "agent_node_id": node.id})

    def _update_node(self, operation: UpdateNode) -> None:
        before = self._find(operation.agent_node_id)
        self._check(operation, AgentNode(before.id, before.type, operation.params_used))
        params = self._merge_params(before.params, self._stored_params(operation.params_used))
        after = AgentNode(before.id, before.type, params)
        self._check_required(operation, after)
        self.nodes[before.id] = after

    def _stored_params(self, params: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name not in self._settings.dropped_params}

    def _merge_params(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        params = dict(old)
        for name, value in new.items():
            if value is None and self._settings.null_params == "unset":
                params.pop(name, None)
            elif self._settings.params_merge == "deep" and isinstance(value, dict) and isinstance(old.get(name), dict):
                params[name] = self._merge_params(old[name], value)
            else:
                params[name] = value
        return params

    def _connect(self, edge: tuple[str, str]) -> None:
        source, target = edge
        if edge in self.edges:
            if self._settings.repeated_connection == "refuse":
                raise self._invalid_request("These nodes are already connected", "body", "operations")
            return
        into_input = self.nodes[target].type.id == INPUT_TYPE
        # A tile of an unknown type may be a trigger. Triggers connect to a Video Input.
        if into_input and self.nodes[source].type.name and not self._settings.connections_into_inputs:
            raise self._invalid_request("Only a trigger can connect to a Video Input", "body", "operations")
        if source == target or source in self._downstream(target):
            raise self._invalid_request("The graph must not have cycles", "body", "operations")
        self.edges.append(edge)

    def _downstream(self, node_id: str) -> set[str]:
        found: set[str] = set()
        waiting = [node_id]
        while waiting:
            current = waiting.pop()
            following = {target for source, target in self.edges if source == current} - found
            found |= following
            waiting += following
        return found

    def _endpoint(self, node_id: str | None, reference: str | None, side: str) -> str:
        if (node_id is None) == (reference is None):
            raise self._invalid_request(f"{side}: exactly one of its two ids is required", "body", "operations")
        if node_id is not None:
            return self._find(node_id).id
        found = self._references.get(reference or "")
        if found is None or found not in self.nodes:
            raise self._invalid_request(
                f"{side}_temp_ref_id: {reference} was created by no earlier operation", "body", "operations"
            )
        return found

    def _find(self, node_id: str) -> AgentNode:
        node = self.nodes.get(node_id)
        if node is None:
            raise ApiError(self._settings.unknown_operation_node_status, f"Agent node {node_id} could not be found")
        return node

    def _check(self, operation: Operation, node: AgentNode) -> None:
        problem = invalid_param(node.type, node.params, self._settings)
        if problem is not None:
            raise self._invalid_operation(operation, "params_used", problem)

    def _check_required(self, operation: Operation, node: AgentNode) -> None:
        problem = missing_param(node.type, node.params, self._settings, "update")
        if problem is not None:
            raise self._invalid_operation(operation, "params_used", problem)

    def _invalid_operation(self, operation: Operation, name: str, text: str) -> ApiError:
        return self._invalid_request(f"{operation.op}: {name}: {text}", "body", "operations", name)
