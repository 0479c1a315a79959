"""Node types: the kinds of tiles that agents are made of (https://docs.mosaic.so/api/agent-nodes/get-agent-nodes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.models import Model, Words, list_in, object_in


class NodeType(Model):
    """
    A kind of tile. Its parameters are documented on the page at ``params_docs_url`` only; ``params`` is read should an
    answer list them all the same.
    """

    node_type_id: Words = None
    node_type_name: Words = None
    docs_url: Words = None
    params_docs_url: Words = None
    params: dict[str, Any] | None = None

    lenient_fields = frozenset({"params"})

    @field_validator("params", mode="before")
    @classmethod
    def _rows_are_named(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {row["name"]: row for row in value if isinstance(row, Mapping) and isinstance(row.get("name"), str)}
        properties = value.get("properties") if isinstance(value, Mapping) else None
        return properties if isinstance(properties, Mapping) else value

    @property
    def param_names(self) -> frozenset[str] | None:
        """The parameters that the tile may have, where an answer lists them; None where it does not, as documented."""
        return frozenset(self.params) if self.params else None


def list_node_types() -> Call[tuple[NodeType, ...]]:
    """All node types that the organization may use; the API gives them in one answer."""

    def read(data: Any) -> tuple[NodeType, ...]:
        return tuple(NodeType.model_validate(item) for item in list_in(data, "node_types"))

    return Call(
        description="list the node types", method="GET", path="/node_types", read=read, max_bytes=MAX_BYTES_OF_MANY
    )


def get_node_type(node_type_id: str) -> Call[NodeType]:
    """
    One node type.

    :param node_type_id: The node type.
    """

    def read(data: Any) -> NodeType:
        answer = object_in(data)
        return NodeType.model_validate(answer.get("node_type") or answer)

    return Call(
        description=f"read node type {node_type_id!r}",
        method="GET",
        path="/node_type/{node_type_id}",
        ids={"node_type_id": node_type_id},
        read=read,
    )
