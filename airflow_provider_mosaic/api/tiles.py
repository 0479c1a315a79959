"""Tiles by their names: in definitions of agents, and in the parameters of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_mosaic.api.agents import AgentGraph
from airflow_provider_mosaic.api.definitions import AgentDefinition, Faults
from airflow_provider_mosaic.api.nearest import one_a_line, plain
from airflow_provider_mosaic.api.node_types import NodeType

# The documented ids of node types and nodes are UUIDs, but not every id of Mosaic is one: another form is an id where
# Mosaic itself lists it.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(word: str) -> bool:
    """
    Whether a word has the form of an id, so that it can't be a name.

    :param word: What was given for a tile.
    """
    return _ID.fullmatch(word) is not None


class NodeTypes:
    """
    The node types that there are, by their names.

    :param types: The list of node types.
    """

    def __init__(self, types: Iterable[NodeType]) -> None:
        self._by_id = {each.node_type_id.lower(): each for each in types if each.node_type_id}

    def name_of(self, type_id: str | None) -> str | None:
        """
        The name by which a node type is found again; None where it has none, or another one has it too.

        :param type_id: The node type.
        """
        known = self._by_id.get((type_id or "").lower())
        name = known.node_type_name if known else None
        return name if name and not is_id(name) and len(self._named(name)) == 1 else None

    def resolve(self, definition: AgentDefinition, faults: Faults) -> dict[str, str]:
        """
        The node type of each node of a definition.

        :param definition: The definition.
        :param faults: Gets the names that are not known, or not one node type's alone, and unknown parameters.
        :returns: Ids of node types by the keys of the nodes.
        """
        found: dict[str, str] = {}
        for node in definition.nodes:
            place = f"nodes.{node.key}.tile"
            listed_as_id = self._by_id.get(node.tile.lower())
            named = [] if is_id(node.tile) else self._named(node.tile)
            if listed_as_id is not None and not named:
                found[node.key] = listed_as_id.node_type_id or node.tile
            elif is_id(node.tile):
                # Types that the list does not have may be there all the same: that is for Mosaic to say.
                found[node.key] = node.tile.lower()
            elif not named:
                names = [each.node_type_name for each in self._by_id.values() if each.node_type_name]
                faults.add(place, node.tile, "there is no tile of this name.", unknown=node.tile, known=names)
            elif len(named) > 1:
                faults.add(place, node.tile, f"more than one tile has this name, give its id:{one_a_line(named)}")
            else:
                found[node.key] = named[0]
            known = self._by_id.get(found.get(node.key, "").lower())
            listed = None if known is None else known.param_names
            for param in () if listed is None else sorted(set(node.params) - listed):
                place = f"nodes.{node.key}.params.{param}"
                why = f"{node.tile} has no parameter of this name."
                faults.add(place, node.params[param], why, unknown=param, known=listed or ())
        return found

    def _named(self, name: str) -> list[str]:
        ids = {each.node_type_id or "": each.node_type_name or "" for each in self._by_id.values()}
        exact = [type_id for type_id, each in ids.items() if each == name]
        return exact or [type_id for type_id, each in ids.items() if plain(each) == plain(name) != ""]


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
    faults = Faults()
    for key, value in update_params.items():
        node_id = _node_of(graph, key, faults)
        if node_id in resolved:
            faults.add("update_params", key, f"this is the tile {node_id}, which is there under another name too.")
        elif node_id is not None:
            resolved[node_id] = value
    faults.raise_any("update_params")
    return resolved


def _node_of(graph: AgentGraph, key: str, faults: Faults) -> str | None:
    nodes = {node.agent_node_id: node.node_type.node_type_name or "" for node in graph.agent_nodes}
    if is_id(key) or key in nodes:
        return key
    found = [each for each, name in nodes.items() if plain(name) == plain(key) != ""]
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
