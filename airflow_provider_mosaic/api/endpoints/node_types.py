"""Node types: the catalog of tiles (https://docs.mosaic.so/api/agent-nodes/get-agent-nodes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.models import Model, Words, read_list, read_object


class NodeType(Model):
    """
    A kind of tile. The API documents its parameters only on the page at ``params_docs_url``; ``params`` holds them if a
    response lists them.
    """

    node_type_id: Words = None
    node_type_name: Words = None
    docs_url: Words = None
    params_docs_url: Words = None
    params: dict[str, Any] | None = None

    lenient_fields = frozenset({"params"})

    @field_validator("params", mode="before")
    @classmethod
    def _params_by_name(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {row["name"]: row for row in value if isinstance(row, Mapping) and isinstance(row.get("name"), str)}
        properties = value.get("properties") if isinstance(value, Mapping) else None
        return properties if isinstance(properties, Mapping) else value

    @property
    def param_names(self) -> frozenset[str] | None:
        """Names of the tile's parameters; None if the response does not list them."""
        return frozenset(self.params) if self.params else None


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
    """
    Return one node type.

    API page: https://docs.mosaic.so/api/node-types/get-node-type
    """
    return Call(
        description=f"read node type {node_type_id!r}",
        method="GET",
        path="/node_type/{node_type_id}",
        ids={"node_type_id": node_type_id},
        read=read_object(NodeType, within="node_type"),
    )
