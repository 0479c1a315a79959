"""Replace tile names by node ids in the ``update_params`` of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.endpoints.agents import AgentGraph
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.suggestions import normalize_name, one_a_line

# The documented ids of node types and nodes are UUIDs. Text of another form is an id only if Mosaic lists it.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(text: str) -> bool:
    """Return whether text has the form of an id, so that it is not a name."""
    return _ID.fullmatch(text) is not None


def has_names(update_params: Mapping[str, Any]) -> bool:
    """Return whether any tile may be named by something other than its id."""
    return not all(map(is_id, update_params))


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
    if is_id(key) or key in names:
        return key
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
