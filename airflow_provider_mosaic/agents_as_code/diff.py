"""
From the agent that is there to the one that is defined: the fewest operations, and what they change, in words.

An :class:`AgentPlan` is pure: it is made of a definition and of what the API says about the agent, and made again of
what the API says afterwards, to see what has taken effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_mosaic.agents_as_code.definition import AgentDefinition, DefinedNode, cycles
from airflow_provider_mosaic.agents_as_code.matching import Graph, match
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph, AgentNode
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.redaction import one_line

_NOT_THERE = object()


@dataclass(frozen=True, kw_only=True)
class AgentPlan:
    """
    What must be done to an agent.

    :param about: What of its name, description and visibility changes.
    :param operations: The operations on its graph, in order; a new node's ``temp_ref_id`` is its key.
    :param node_ids: The nodes that are there, by the keys of the definition.
    :param lines: The changes in words, one line each.
    :param unknown: Nodes that the definition does not have, in words.
    """

    about: Mapping[str, str]
    operations: tuple[dict[str, Any], ...] = field(repr=False)
    node_ids: Mapping[str, str]
    lines: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the agent is as it should be."""
        return not self.about and not self.operations


def plan_changes(
    definition: AgentDefinition,
    type_ids: Mapping[str, str],
    graph: AgentGraph | None,
    *,
    remove_unknown: bool,
    known: Mapping[str, str] | None = None,
) -> AgentPlan:
    """
    Plan the changes that make an agent what its definition says.

    :param definition: The definition.
    :param type_ids: The node type of each of its nodes, by key.
    :param graph: The agent; None for one that is still to be made.
    :param remove_unknown: Whether nodes that the definition does not have are deleted.
    :param known: Nodes by key, as an earlier plan and the answer to its operations have it.
    :raises MosaicValidationError: The definition does not fit this agent; the message has every fault.
    """
    there = {node.agent_node_id: node for node in graph.agent_nodes} if graph else {}
    connections = graph.connections if graph else ()
    edges = dict.fromkeys((each.source_agent_node_id, each.target_agent_node_id) for each in connections)
    node_ids = _matched(definition, type_ids, there, edges, known or {})
    keys = {node_id: key for key, node_id in node_ids.items()}
    unknown = {node_id: node for node_id, node in there.items() if node_id not in keys}
    if not remove_unknown:
        _check_circles(definition, node_ids, unknown, edges)

    steps = _Steps(definition, there, node_ids)
    for source, target in edges:
        ends = (keys.get(source, ""), keys.get(target, ""))
        if all(ends) and ends not in definition.connections:
            steps.disconnect(*ends)
    if remove_unknown:
        for node in unknown.values():
            steps.delete(node)
    for defined in definition.nodes:
        if defined.key in node_ids:
            steps.update(defined, there[node_ids[defined.key]])
        else:
            steps.create(defined, type_ids[defined.key])
    for source, target in definition.connections:
        if (node_ids.get(source), node_ids.get(target)) not in edges:
            steps.connect(source, target)
    about, words = _about(definition, graph)
    return AgentPlan(
        about=about,
        operations=tuple(steps.operations),
        node_ids={node.key: node_ids[node.key] for node in definition.nodes if node.key in node_ids},
        lines=tuple(one_line(line, longest=1_000) for line in (*words, *steps.lines)),
        unknown=tuple(one_line(_named(node)) for node in unknown.values()),
    )


def lacks(wanted: Any, there: Any) -> bool:
    """
    Whether a parameter is not what it should be. What an object holds besides counts for nothing, and null is nothing.

    :param wanted: What it should be.
    :param there: What it is.
    """
    if wanted is None:
        return there is not None and there is not _NOT_THERE
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return any(lacks(value, there.get(name, _NOT_THERE)) for name, value in wanted.items())
    if isinstance(wanted, bool) or isinstance(there, bool):
        # To Python, true is 1.
        return wanted is not there
    if isinstance(wanted, list) and isinstance(there, list):
        return len(wanted) != len(there) or any(map(lacks, wanted, there))
    return bool(wanted != there)


def _differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return [name for name, value in wanted.items() if lacks(value, there.get(name, _NOT_THERE))]


def _whole(wanted: Any, there: Any) -> Any:
    """What is sent for a parameter: with what its object holds besides, as the depth of Mosaic's merge is not known."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return {**there, **{name: _whole(value, there.get(name)) for name, value in wanted.items()}}
    return wanted


class _Steps:
    """Operations with their words, in an order in which each of them is possible."""

    def __init__(
        self, definition: AgentDefinition, there: Mapping[str, AgentNode], node_ids: Mapping[str, str]
    ) -> None:
        self._tiles = {node.key: node.tile for node in definition.nodes}
        self._there = there
        self._node_ids = node_ids
        self.operations: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def create(self, node: DefinedNode, type_id: str) -> None:
        step: dict[str, Any] = {"op": "create_node", "temp_ref_id": node.key, "node_type_id": type_id}
        if node.params:
            step["params_used"] = dict(node.params)
        self._add(step, f"+ {node.key}: {node.tile}{_shown(node.params) if node.params else ''}")

    def update(self, node: DefinedNode, there: AgentNode) -> None:
        names = _differing(node.params, there.params_used)
        if not names:
            return
        before = {name: there.params_used.get(name) for name in names}
        params = {name: _whole(node.params[name], before[name]) for name in names}
        changes = ", ".join(f"{name}{_shown(before[name])} ->{_shown(node.params[name])}" for name in names)
        step = {"op": "update_node", "agent_node_id": there.agent_node_id, "params_used": params}
        self._add(step, f"~ {node.key} ({_named(there)}): {changes}")

    def delete(self, node: AgentNode) -> None:
        self._add({"op": "delete_node", "agent_node_id": node.agent_node_id}, f"- {_named(node)}")

    def connect(self, source: str, target: str) -> None:
        ends = {**self._end("source", source), **self._end("target", target)}
        self._add({"op": "create_connection", **ends}, f"+ {source} -> {target}")

    def disconnect(self, source: str, target: str) -> None:
        ends = {**self._end("source", source), **self._end("target", target)}
        self._add({"op": "delete_connection", **ends}, f"- {source} -> {target}")

    def _end(self, end: str, key: str) -> dict[str, str]:
        node_id = self._node_ids.get(key)
        return {f"{end}_temp_ref_id": key} if node_id is None else {f"{end}_agent_node_id": node_id}

    def _add(self, operation: dict[str, Any], line: str) -> None:
        self.operations.append(operation)
        self.lines.append(line)


def _matched(
    definition: AgentDefinition,
    type_ids: Mapping[str, str],
    there: Mapping[str, AgentNode],
    edges: Iterable[tuple[str, str]],
    known: Mapping[str, str],
) -> dict[str, str]:
    """The nodes that are there, by the keys of the definition."""
    keys = [node.key for node in definition.nodes]
    ids = list(there)
    faults = ErrorCollector()
    pinned: dict[int, int] = {}
    for place, node in enumerate(definition.nodes):
        meant = node.node_id or known.get(node.key, "")
        if meant in there and _type_of(there[meant]) == type_ids[node.key].lower():
            pinned[place] = ids.index(meant)
        elif node.node_id is not None and meant in there:
            why = f"this node of the agent is a {_named(there[meant])}, not a {node.tile}."
            faults.add(f"nodes.{node.key}.node_id", node.node_id, why)
        elif node.node_id is not None:
            faults.add(
                f"nodes.{node.key}.node_id", node.node_id, "the agent has no such node: leave it out to make one."
            )
    faults.raise_any("definition")
    numbers, places = {key: i for i, key in enumerate(keys)}, {node_id: i for i, node_id in enumerate(ids)}
    matched = match(
        Graph(
            types=[type_ids[key].lower() for key in keys],
            params=[node.params for node in definition.nodes],
            edges=frozenset((numbers[source], numbers[target]) for source, target in definition.connections),
        ),
        Graph(
            types=[_type_of(node) for node in there.values()],
            params=[node.params_used for node in there.values()],
            edges=frozenset((places[s], places[t]) for s, t in edges if s in places and t in places),
        ),
        differing=lambda w, e: len(_differing(definition.nodes[w].params, there[ids[e]].params_used)),
        pinned=pinned,
    )
    return {keys[w]: ids[e] for w, e in matched.items()}


def _check_circles(
    definition: AgentDefinition,
    node_ids: Mapping[str, str],
    unknown: Mapping[str, AgentNode],
    edges: Iterable[tuple[str, str]],
) -> None:
    """What is kept and what is wanted may together go round in a circle."""
    names = {node_id: key for key, node_id in node_ids.items()} | {each: _named(node) for each, node in unknown.items()}
    kept = [(names[s], names[t]) for s, t in edges if (s in unknown or t in unknown) and s in names and t in names]
    faults = ErrorCollector()
    for circle in cycles([*definition.connections, *sorted(kept)]):
        why = "with tiles that the definition does not have, this goes round in a circle: define them, or remove them."
        faults.add("connections", " -> ".join(circle), why)
    faults.raise_any("definition")


def _about(definition: AgentDefinition, graph: AgentGraph | None) -> tuple[dict[str, str], list[str]]:
    about: dict[str, str] = {}
    lines: list[str] = []
    for part in ("name", "description", "visibility"):
        wanted: str | None = getattr(definition, part)
        there: str | None = getattr(graph.agent, part) if graph else None
        # An agent that does not say who may see it is nobody's but its owner's; spaces at the ends may not be kept.
        usual = "private" if part == "visibility" else ""
        if wanted is not None and wanted.strip() != (there or usual).strip():
            about[part] = wanted
            lines.append(f"~ {part}:{_shown(there)} ->{_shown(wanted)}" if graph else f"+ {part}:{_shown(wanted)}")
    return about, lines


def _type_of(node: AgentNode) -> str:
    return (node.node_type.node_type_id or "").lower()


def _named(node: AgentNode) -> str:
    return f"{node.node_type.node_type_name or 'tile'} {node.agent_node_id}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not _NOT_THERE else "nothing"
    return f" {text if len(text) <= 160 else text[:160] + '…'}"
