"""Export an agent as its definition."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.arguments import validate_flag
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph, AgentNode, get_agent, list_node_types

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.paging import ApiClient


def export_agent(client: ApiClient, agent_id: str, *, node_ids: bool) -> dict[str, Any]:
    """
    Return the definition of an agent.

    :param node_ids: Whether to include the ids of the nodes. The definition then fits only this agent.
    :raises MosaicResponseError: The response does not show the whole graph.
    """
    validate_flag("node_ids", node_ids)
    graph = client.send(get_agent(agent_id))
    graph.raise_if_incomplete(f"Agent {agent_id!r} cannot be exported")
    types = client.send(list_node_types())
    return define_agent(graph, NodeTypes(types), node_ids=node_ids)


def define_agent(graph: AgentGraph, types: NodeTypes, *, node_ids: bool = False) -> dict[str, Any]:
    """
    Return the definition of an agent. Its nodes are in topological order.

    :param node_ids: Whether to include the ids of the nodes. The definition then fits only this agent.
    """
    nodes = _sort_nodes(graph)
    keys = _name_keys(nodes)
    definition: dict[str, Any] = {
        field: value
        for field in ("name", "description", "visibility")
        if (value := getattr(graph.agent, field)) and (field != "visibility" or value in ("public", "private"))
    }
    definition["nodes"] = {}
    for node in nodes:
        type_id = node.node_type.node_type_id or ""
        defined: dict[str, Any] = {"tile": types.name_of(type_id) or type_id}
        if node_ids:
            defined["node_id"] = node.agent_node_id
        if node.params_used:
            defined["params"] = dict(node.params_used)
        definition["nodes"][keys[node.agent_node_id]] = defined
    edges = [(keys[each.source_agent_node_id], keys[each.target_agent_node_id]) for each in graph.connections]
    chains = list(_join_chains(edges, keys.values()))
    return {**definition, "connections": chains} if chains else definition


def _sort_nodes(graph: AgentGraph) -> list[AgentNode]:
    """Return the nodes, sources before targets."""
    nodes = {node.agent_node_id: node for node in graph.agent_nodes}
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for each in graph.connections:
        sorter.add(each.target_agent_node_id, each.source_agent_node_id)
    try:
        order = [node_id for node_id in sorter.static_order() if node_id in nodes]
    except CycleError:
        order = list(nodes)
    return [nodes[node_id] for node_id in order]


def _name_keys(nodes: Iterable[AgentNode]) -> dict[str, str]:
    """Return a key for each node id, such as ``captions`` and ``captions_2``."""
    keys: dict[str, str] = {}
    used: set[str] = set()
    numbers: dict[str, int] = {}
    for node in nodes:
        name = re.sub(r"[^a-z0-9]+", "_", (node.node_type.node_type_name or "tile").lower()).strip("_") or "tile"
        key, number = name, numbers.get(name, 1)
        while key in used:
            number += 1
            key = f"{name}_{number}"
        used.add(key)
        numbers[name] = number
        keys[node.agent_node_id] = key
    return keys


def _join_chains(edges: Iterable[tuple[str, str]], order: Iterable[str]) -> Iterator[list[str]]:
    """Yield the connections, joined to long chains."""
    left: dict[str, list[str]] = {}
    for source, target in dict.fromkeys(edges):
        left.setdefault(source, []).append(target)
    for start in order:
        while left.get(start):
            chain = [start]
            while left.get(chain[-1]):
                chain.append(left[chain[-1]].pop(0))
            yield chain
