"""Tile names in the parameters of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.endpoints.agents import AgentGraph
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.suggestions import normalize_name, one_a_line

# The documented ids of node types and nodes are UUIDs, but not every id of Mosaic is one: another form is an id where
# Mosaic itself lists it.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(word: str) -> bool:
    """
    Whether a word has the form of an id, so that it can't be a name.

    :param word: What was given for a tile.
    """
    return _ID.fullmatch(word) is not None


def has_names(update_params: Mapping[str, Any]) -> bool:
    """
    Whether parameters of a run name tiles otherwise than by their ids.

    :param update_params: Parameters by tile.
    """
    return not all(map(is_id, update_params))


def by_node_id(update_params: Mapping[str, Any], graph: AgentGraph) -> dict[str, Any]:
    """
    Parameters of a run with the ids of tiles in the place of their names.

    :param update_params: Parameters by tile.
    :param graph: The agent.
    :raises MosaicValidationError: The agent has no tile of a name, or more than one.
    """
    resolved: dict[str, Any] = {}
    faults = ErrorCollector()
    for key, value in update_params.items():
        node_id = _node_of(graph, key, faults)
        if node_id in resolved:
            faults.add("update_params", key, f"this is the tile {node_id}, which is there under another name too.")
        elif node_id is not None:
            resolved[node_id] = value
    faults.raise_any("update_params")
    return resolved


def _node_of(graph: AgentGraph, key: str, faults: ErrorCollector) -> str | None:
    nodes = {node.agent_node_id: node.node_type.node_type_name or "" for node in graph.agent_nodes}
    if is_id(key) or key in nodes:
        return key
    found = [each for each, name in nodes.items() if normalize_name(name) == normalize_name(key) != ""]
    if len(found) == 1:
        return found[0]
    agent = f"agent {graph.agent.agent_id!r}"
    if found:
        many = f"{agent} has more than one tile of this name, give the id:{one_a_line(found)}"
        faults.add("update_params", key, many)
    else:
        names = filter(None, nodes.values())
        faults.add("update_params", key, f"{agent} has no tile of this name.", unknown=key, known=names)
    return None
