"""
Compare an agent with its definition, and plan the operations that change what differs.

Nothing here sends a request. After an update, :func:`plan_changes` compares the agent again, and shows what is left.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_provider_mosaic.agents_as_code.definition import MAX_CYCLES, AgentDefinition, DefinedNode, find_cycles
from airflow_provider_mosaic.agents_as_code.matching import Graph, match
from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph, AgentNode
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.file_links import fingerprint
from airflow_provider_mosaic.api.redaction import label, one_line, redact
from airflow_provider_mosaic.api.text_match import is_same_name

_MISSING = object()
#: Characters of a value in a change, and before the first difference of two long values.
_MAX_TEXT, _BEFORE_DIFFERENCE = 160, 20


@dataclass(frozen=True, kw_only=True)
class AgentPlan:
    """
    The changes that an agent needs.

    :param operations: The operations on its graph, in order. The ``temp_ref_id`` of a new node is its key.
    :param node_ids: Ids of its existing nodes, by key.
    :param changes: The changes as text, one line each.
    :param unknown_nodes: Existing nodes that are not in the definition.
    """

    metadata: Mapping[str, str]
    operations: tuple[dict[str, Any], ...] = field(repr=False)
    node_ids: Mapping[str, str]
    changes: tuple[str, ...]
    unknown_nodes: tuple[AgentNode, ...] = field(repr=False)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The nodes that are not in the definition, as text."""
        return tuple(one_line(_label(node)) for node in self.unknown_nodes)

    @property
    def is_empty(self) -> bool:
        """Whether the agent matches its definition."""
        return not self.metadata and not self.operations

    @property
    def digest(self) -> str:
        """The same for the same changes. Their text is cut, and hides secrets."""
        return fingerprint([self.metadata, self.operations])

    @property
    def keys_to_create(self) -> list[str]:
        """The keys of the nodes that do not exist yet."""
        return list(self._types_to_create)

    @property
    def _types_to_create(self) -> dict[str, str]:
        creations = [step for step in self.operations if step["op"] == "create_node"]
        return {step["temp_ref_id"]: id_key(step["node_type_id"]) for step in creations}

    def created_twice(self, left: AgentPlan) -> list[str]:
        """
        Return the new nodes of a type, as text, if the update added more of that type than this plan creates.

        :param left: The plan after the update.
        """
        before = {node.agent_node_id for node in self.unknown_nodes}
        added = [node for node in left.unknown_nodes if node.agent_node_id not in before]
        types = self._types_to_create
        twice = set(types.values()).intersection(map(_type_key, added))
        own = [f"{key} {left.node_ids[key]}" for key in types if types[key] in twice and key in left.node_ids]
        return own + [one_line(_label(node)) for node in added if _type_key(node) in twice]


def plan_changes(
    definition: AgentDefinition,
    type_ids: Mapping[str, str],
    graph: AgentGraph | None,
    *,
    remove_unknown: bool,
    known: Mapping[str, str] | None = None,
) -> AgentPlan:
    """
    Plan the changes that make an agent match its definition.

    :param graph: The agent. None for an agent that does not exist yet.
    :param remove_unknown: Whether to delete nodes that are not in the definition.
    :param known: Node ids by key, from an earlier plan and the response to its operations.
    :raises MosaicValidationError: The definition does not fit this agent. The message lists every error.
    """
    nodes = {node.agent_node_id: node for node in graph.agent_nodes} if graph else {}
    connections = graph.connections if graph else ()
    edges = dict.fromkeys((each.source_agent_node_id, each.target_agent_node_id) for each in connections)
    node_ids = _match_nodes(definition, type_ids, nodes, edges, known or {})
    keys = {node_id: key for key, node_id in node_ids.items()}
    unknown = {node_id: node for node_id, node in nodes.items() if node_id not in keys}
    if not remove_unknown:
        _check_cycles(definition, keys, unknown, edges)

    # Connections are deleted first: at no time does the graph have a cycle.
    steps = _Operations(node_ids)
    for source, target in edges:
        ends = (keys.get(source, ""), keys.get(target, ""))
        if all(ends) and ends not in definition.connections:
            steps.change_connection("delete", *ends)
    if remove_unknown:
        for node in unknown.values():
            steps.delete(node)
    for defined in definition.nodes:
        if defined.key in node_ids:
            steps.update(defined, nodes[node_ids[defined.key]])
        else:
            steps.create(defined, type_ids[defined.key])
    for source, target in definition.connections:
        if (node_ids.get(source), node_ids.get(target)) not in edges:
            steps.change_connection("create", source, target)
    metadata, changes = _compare_metadata(definition, graph)
    return AgentPlan(
        metadata=metadata,
        operations=tuple(steps.operations),
        node_ids={node.key: node_ids[node.key] for node in definition.nodes if node.key in node_ids},
        changes=tuple(one_line(line, longest=1_000) for line in (*changes, *steps.lines)),
        unknown_nodes=tuple(unknown.values()),
    )


def differs(defined: Any, existing: Any) -> bool:
    """
    Return whether a param must change.

    Other entries of an object do not count, null equals a missing param, and spaces around a text do not count: Mosaic
    may strip them, for example the line break at the end of a block in YAML.
    """
    if defined is None:
        return existing is not None and existing is not _MISSING
    if isinstance(defined, Mapping) and isinstance(existing, Mapping):
        return any(differs(value, existing.get(name, _MISSING)) for name, value in defined.items())
    if isinstance(defined, bool) or isinstance(existing, bool):
        # In Python, True equals 1.
        return defined is not existing
    if isinstance(defined, list) and isinstance(existing, list):
        return len(defined) != len(existing) or any(map(differs, defined, existing))
    if isinstance(defined, str) and isinstance(existing, str):
        return defined.strip() != existing.strip()
    return bool(defined != existing)


def _changed_params(defined: Mapping[str, Any], existing: Mapping[str, Any]) -> list[str]:
    return [name for name, value in defined.items() if differs(value, existing.get(name, _MISSING))]


def _merged(defined: Any, existing: Any) -> Any:
    """Return the value to send. Whether Mosaic merges nested objects is not documented, so the rest is sent too."""
    if isinstance(defined, Mapping) and isinstance(existing, Mapping):
        return {**existing, **{name: _merged(value, existing.get(name)) for name, value in defined.items()}}
    return defined


class _Operations:
    """Collect the operations, each with its line of text."""

    def __init__(self, node_ids: Mapping[str, str]) -> None:
        self._node_ids = node_ids
        self.operations: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def create(self, node: DefinedNode, type_id: str) -> None:
        operation: dict[str, Any] = {"op": "create_node", "temp_ref_id": node.key, "node_type_id": type_id}
        if node.params:
            operation["params_used"] = dict(node.params)
        self._add(operation, f"+ {node.key}: {node.tile}{_text(node.params) if node.params else ''}")

    def update(self, node: DefinedNode, existing: AgentNode) -> None:
        names = _changed_params(node.params, existing.params_used)
        if not names:
            return
        before = {name: existing.params_used.get(name) for name in names}
        params = {name: _merged(node.params[name], before[name]) for name in names}
        changes = ", ".join(f"{name}{_change(before[name], node.params[name])}" for name in names)
        operation = {"op": "update_node", "agent_node_id": existing.agent_node_id, "params_used": params}
        self._add(operation, f"~ {node.key} ({_label(existing)}): {changes}")

    def delete(self, node: AgentNode) -> None:
        self._add({"op": "delete_node", "agent_node_id": node.agent_node_id}, f"- {_label(node)}")

    def change_connection(self, verb: str, source: str, target: str) -> None:
        ends = {**self._end("source", source), **self._end("target", target)}
        sign = "+" if verb == "create" else "-"
        self._add({"op": f"{verb}_connection", **ends}, f"{sign} {source} -> {target}")

    def _end(self, end: str, key: str) -> dict[str, str]:
        node_id = self._node_ids.get(key)
        return {f"{end}_temp_ref_id": key} if node_id is None else {f"{end}_agent_node_id": node_id}

    def _add(self, operation: dict[str, Any], line: str) -> None:
        self.operations.append(operation)
        self.lines.append(line)


def _match_nodes(
    definition: AgentDefinition,
    type_ids: Mapping[str, str],
    nodes: Mapping[str, AgentNode],
    edges: Collection[tuple[str, str]],
    known: Mapping[str, str],
) -> dict[str, str]:
    """Return the existing nodes by key."""
    types = {key: id_key(type_id) for key, type_id in type_ids.items()}
    existing_types = {node_id: _type_key(node) for node_id, node in nodes.items()}
    fixed: dict[str, str] = {}
    listed_ids = {id_key(node_id): node_id for node_id in nodes}
    errors = ErrorCollector()
    for node in definition.nodes:
        node_id = node.node_id or known.get(node.key, "")
        if node_id not in nodes:
            node_id = listed_ids.get(id_key(node_id), node_id)
        path = f"nodes.{node.key}.node_id"
        if existing_types.get(node_id) == types[node.key]:
            fixed[node.key] = node_id
        elif node.node_id is not None and node_id in nodes:
            errors.add(path, node_id, f"this node of the agent is a {_label(nodes[node_id])}, not a {node.tile}.")
        elif node.node_id is not None:
            errors.add(path, node_id, "the agent has no such node. Remove the node_id to create one.")
    errors.raise_any("definition")
    params = {node.key: node.params for node in definition.nodes}
    return match(
        Graph(types=types, connections=definition.connections),
        Graph(types=existing_types, connections=edges),
        count_changed=lambda key, node_id: len(_changed_params(params[key], nodes[node_id].params_used)),
        fixed=fixed,
    )


def _check_cycles(
    definition: AgentDefinition,
    keys: Mapping[str, str],
    unknown: Mapping[str, AgentNode],
    edges: Collection[tuple[str, str]],
) -> None:
    """Raise if kept nodes and the definition together have a cycle."""
    names = {**keys, **{node_id: _label(node) for node_id, node in unknown.items()}}
    kept = [(names[s], names[t]) for s, t in edges if (s in unknown or t in unknown) and s in names and t in names]
    errors = ErrorCollector()
    for cycle in islice(find_cycles([*definition.connections, *sorted(kept)]), MAX_CYCLES):
        why = "this is a cycle with tiles that the definition does not have. Define them or remove them."
        errors.add("connections", " -> ".join(cycle), why)
    errors.raise_any("definition")


def _compare_metadata(definition: AgentDefinition, graph: AgentGraph | None) -> tuple[dict[str, str], list[str]]:
    metadata: dict[str, str] = {}
    changes: list[str] = []
    for name in ("name", "description", "visibility"):
        defined: str | None = getattr(definition, name)
        existing: str | None = getattr(graph.agent, name) if graph else None
        # Mosaic may strip spaces. An agent without a visibility is private.
        default = "private" if name == "visibility" else ""
        if defined is None or (name == "name" and is_same_name(existing or "", defined)):
            continue
        if defined.strip() != (existing or default).strip():
            metadata[name] = defined
            changes.append(f"~ {name}:{_change(existing, defined)}" if graph else f"+ {name}:{_text(defined)}")
    return metadata, changes


def _type_key(node: AgentNode) -> str:
    return id_key(node.node_type.node_type_id or "")


def _label(node: AgentNode) -> str:
    return f"{label(node.node_type.node_type_name or 'tile')} {node.agent_node_id}"


def _text(value: Any) -> str:
    """Return a space and the value as JSON, cut to 160 characters."""
    return f" {_cut(json.dumps(value, ensure_ascii=False), 0)}"


def _change(before: Any, after: Any) -> str:
    """Return both values as JSON. Of long ones, a part that differs."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (before, after)]
    start = 0
    if max(map(len, texts)) > _MAX_TEXT:
        # Redacted first: half of a link is not recognized as a link.
        texts = [redact(text) for text in texts]
        same = next((at for at, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
        start = same - _BEFORE_DIFFERENCE if same > _MAX_TEXT - _BEFORE_DIFFERENCE else 0
    return f" {_cut(texts[0], start)} -> {_cut(texts[1], start)}"


def _cut(text: str, start: int) -> str:
    end = start + _MAX_TEXT
    return f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"
