"""Node types: the catalog of tiles (https://docs.mosaic.so/api/agent-nodes/get-agent-nodes)."""

from __future__ import annotations

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.models import NodeType, read_list, read_object


def list_node_types() -> Call[tuple[NodeType, ...]]:
    """
    Return all node types that the organization may use, in one response.

    API page: https://docs.mosaic.so/api/agent-nodes/get-agent-nodes
    """
    return Call(
        description="list the node types",
        method="GET",
        path="/node_types",
        read=read_list("node_types", NodeType),
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_node_type(node_type_id: str) -> Call[NodeType]:
    """Return one node type. API page: https://docs.mosaic.so/api/node-types/get-node-type"""
    return Call(
        description=f"read node type {node_type_id!r}",
        method="GET",
        path="/node_type/{node_type_id}",
        ids={"node_type_id": node_type_id},
        read=read_object(NodeType, within="node_type"),
    )
