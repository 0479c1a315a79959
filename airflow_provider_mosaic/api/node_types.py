"""Node types: the kinds of tiles that agents are made of (https://docs.mosaic.so/api/agent-nodes/get-agent-nodes)."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.models import Model, Words, list_in, object_in


class NodeType(Model):
    """A kind of tile. Its parameters are documented on the page at ``params_docs_url`` only."""

    node_type_id: Words = None
    node_type_name: Words = None
    docs_url: Words = None
    params_docs_url: Words = None


def list_node_types() -> Call[tuple[NodeType, ...]]:
    """All node types that the organization may use; the API gives them in one answer."""

    def read(data: Any) -> tuple[NodeType, ...]:
        return tuple(NodeType.model_validate(item) for item in list_in(data, "node_types"))

    return Call(what="list the node types", method="GET", path="/node_types", read=read)


def get_node_type(node_type_id: str) -> Call[NodeType]:
    """
    One node type.

    :param node_type_id: The node type.
    """

    def read(data: Any) -> NodeType:
        answer = object_in(data)
        return NodeType.model_validate(answer.get("node_type") or answer)

    return Call(
        what=f"read node type {node_type_id!r}",
        method="GET",
        path="/node_type/{node_type_id}",
        ids={"node_type_id": node_type_id},
        read=read,
    )
