"""From a live agent to the definition that would make it so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph, AgentNode


def exported(graph: AgentGraph, types: NodeTypes, *, node_ids: bool = False) -> dict[str, Any]:
    """
    The definition of an agent, as plain data in the order in which a person would write it.

    :param graph: The agent.
    :param types: The node types that there are.
    :param node_ids: Whether each node's id stands in it, so that it means the nodes of this agent and no other's.
    """
    nodes = _in_order(graph)
    keys = _keys(nodes)
    definition: dict[str, Any] = {
        part: value
        for part in ("name", "description", "visibility")
        if (value := getattr(graph.agent, part)) and (part != "visibility" or value in ("public", "private"))
    }
    definition["nodes"] = {}
    for node in nodes:
        type_id = node.node_type.node_type_id or ""
        written: dict[str, Any] = {"tile": types.name_of(type_id) or type_id}
        if node_ids:
            written["node_id"] = node.agent_node_id
        if node.params_used:
            written["params"] = dict(node.params_used)
        definition["nodes"][keys[node.agent_node_id]] = written
    edges = [
        (keys[each.source_agent_node_id], keys[each.target_agent_node_id])
        for each in graph.connections
        if each.source_agent_node_id in keys and each.target_agent_node_id in keys
    ]
    chains = list(_chains(edges, keys.values()))
    return {**definition, "connections": chains} if chains else definition


def _in_order(graph: AgentGraph) -> list[AgentNode]:
    """The nodes, what leads in first."""
    nodes = {node.agent_node_id: node for node in graph.agent_nodes}
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for each in graph.connections:
        sorter.add(each.target_agent_node_id, each.source_agent_node_id)
    try:
        order = [node_id for node_id in sorter.static_order() if node_id in nodes]
    except CycleError:
        order = list(nodes)
    return [nodes[node_id] for node_id in order]


def _keys(nodes: Iterable[AgentNode]) -> dict[str, str]:
    """A key for each node, after its tile's name; those of the same name are numbered."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for node in nodes:
        name = re.sub(r"[^a-z0-9]+", "_", (node.node_type.node_type_name or "tile").lower()).strip("_") or "tile"
        key, number = name, 1
        while key in taken:
            number += 1
            key = f"{name}_{number}"
        taken.add(key)
        keys[node.agent_node_id] = key
    return keys


def _chains(edges: Iterable[tuple[str, str]], order: Iterable[str]) -> Iterator[list[str]]:
    """All connections, in as long chains as follow by themselves."""
    left: dict[str, list[str]] = {}
    for source, target in dict.fromkeys(edges):
        left.setdefault(source, []).append(target)
    for start in order:
        while left.get(start):
            chain = [start]
            while left.get(chain[-1]):
                chain.append(left[chain[-1]].pop(0))
            yield chain
