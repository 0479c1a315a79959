"""Resolve tile names in the parameters of a run to node ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.endpoints.agents import AgentGraph
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.suggestions import normalize_name, one_a_line

# Documented ids of node types and nodes are UUIDs. Ids of another form are recognized if the agent has such a node.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(word: str) -> bool:
    """Return whether a text is a UUID, which is never a tile name."""
    return _ID.fullmatch(word) is not None


def has_names(update_params: Mapping[str, Any]) -> bool:
    """Return whether any tile in the parameters of a run is given by its name."""
    return not all(map(is_id, update_params))


def by_node_id(update_params: Mapping[str, Any], graph: AgentGraph) -> dict[str, Any]:
    """
    Return the parameters of a run by node id.

    :param update_params: Parameters by id or name of a tile.
    :raises MosaicValidationError: The agent has no tile with a name, or several.
    """
    resolved: dict[str, Any] = {}
    errors = ErrorCollector()
    for key, value in update_params.items():
        node_id = _node_of(graph, key, errors)
        if node_id in resolved:
            errors.add("update_params", key, f"this is the tile {node_id}, which has another entry.")
        elif node_id is not None:
            resolved[node_id] = value
    errors.raise_any("update_params")
    return resolved


def _node_of(graph: AgentGraph, key: str, errors: ErrorCollector) -> str | None:
    nodes = {node.agent_node_id: node.node_type.node_type_name or "" for node in graph.agent_nodes}
    if is_id(key) or key in nodes:
        return key
    found = [each for each, name in nodes.items() if normalize_name(name) == normalize_name(key) != ""]
    if len(found) == 1:
        return found[0]
    agent = f"agent {graph.agent.agent_id!r}"
    if found:
        many = f"{agent} has more than one tile of this name. Use the id:{one_a_line(found)}"
        errors.add("update_params", key, many)
    else:
        names = filter(None, nodes.values())
        errors.add("update_params", key, f"{agent} has no tile of this name.", unknown=key, known=names)
    return None
