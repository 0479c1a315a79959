"""
Definitions of agents, as users write them in YAML, JSON or a DAG file.

A definition is validated against the JSON Schema beside this module. Then its keys and connections are checked. One
error lists all problems, each with its path and value.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from airflow_provider_mosaic.api.arguments import id_key, validate_mapping
from airflow_provider_mosaic.api.endpoints.agents import MAX_CONNECTIONS, MAX_NODES
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.responses import is_fit

#: The JSON Schema of a definition, for editors and other tools.
SCHEMA_PATH = Path(__file__).with_name("agent_definition.schema.json")

#: Cycles that an error lists. The time to find one grows with the number of connections.
MAX_CYCLES = 100
_TYPE_NAMES = {"string": "text", "object": "an object", "array": "a list"}


@dataclass(frozen=True, kw_only=True)
class DefinedNode:
    """
    A node of a definition.

    :param tile: Its node type, by name or id.
    :param params: The params that the definition sets. The node may have others.
    :param node_id: The node of the agent, if the definition names it.
    """

    key: str
    tile: str
    params: Mapping[str, Any] = field(default_factory=dict)
    node_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentDefinition:
    """
    A validated definition. What is None stays as it is in the agent.

    :param connections: Pairs of keys: source and target.
    :param visibility: ``public`` or ``private``.
    """

    nodes: tuple[DefinedNode, ...]
    connections: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    description: str | None = None
    visibility: str | None = None


@functools.cache
def _schema_validator() -> Any:
    # jsonschema takes 0.15 s to import, and only agents as code need it.
    import jsonschema  # type: ignore[import-untyped]

    return jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def validate_definition(value: object) -> AgentDefinition:
    """
    Return a definition as data, or raise.

    :param value: An object, or JSON text.
    :raises MosaicValidationError: The definition is wrong. The message lists every error.
    """
    raw = validate_mapping("definition", value)
    errors = ErrorCollector()
    for path, item, why in _unserializable(raw):
        errors.add(path or "definition", item, why)
    errors.raise_any("definition")
    # The schema knows lists. A DAG file may have tuples.
    document = json.loads(json.dumps(raw))
    for error in _schema_validator().iter_errors(document):
        _add_schema_error(errors, error)
    errors.raise_any("definition")
    nodes = tuple(
        DefinedNode(key=key, tile=node["tile"].strip(), params=node.get("params") or {}, node_id=node.get("node_id"))
        for key, node in document["nodes"].items()
    )
    chains = document.get("connections", [])
    connections = tuple(dict.fromkeys(pair for chain in chains for pair in pairwise(chain)))
    for what, found, most in (("nodes", nodes, MAX_NODES), ("connections", connections, MAX_CONNECTIONS)):
        if len(found) > most:
            errors.add(what, len(found), f"an agent has at most {most:,}.")
    _check_nodes(errors, nodes)
    _check_chains(errors, chains, document["nodes"])
    for cycle in islice(find_cycles(connections), MAX_CYCLES):
        errors.add("connections", " -> ".join(cycle), "this is a cycle. An agent has none.")
    errors.raise_any("definition")
    metadata = {field: document.get(field) for field in ("name", "description", "visibility")}
    return AgentDefinition(nodes=nodes, connections=connections, **metadata)


def find_cycles(connections: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield cycles until removing the first connection of each leaves none. Skip connections to the node itself."""
    left = {(source, target) for source, target in connections if source != target}
    while True:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for source, target in sorted(left):
            sorter.add(target, source)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1][:-1]
            first = cycle.index(min(cycle))
            cycle = [*cycle[first:], *cycle[:first], cycle[first]]
            left.discard((cycle[0], cycle[1]))
            yield cycle
        else:
            return


def _unserializable(value: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield keys that are not text (JSON turns YAML's ``on`` into "true"), and text that Mosaic cannot store."""
    if isinstance(value, str) and not is_fit(value):
        yield path, value, "it contains a NUL or half of a surrogate pair. Remove it."
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield path, key, "a key must be text. Put it in quotes."
            yield from _unserializable(key, path)
            yield from _unserializable(item, f"{path}.{key}".lstrip(".") if isinstance(key, str) else f"{path}[{key}]")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _unserializable(item, f"{path}[{number}]")


def _check_nodes(errors: ErrorCollector, nodes: Iterable[DefinedNode]) -> None:
    keys: dict[str, str] = {}
    for node in nodes:
        if not node.tile:
            errors.add(f"nodes.{node.key}.tile", node.tile, "it is empty. Give the tile's name or its node type id.")
        if node.node_id is not None:
            key = keys.setdefault(id_key(node.node_id), node.key)
            if key != node.key:
                errors.add(f"nodes.{node.key}.node_id", node.node_id, f"nodes.{key} has the same node_id.")


def _check_chains(errors: ErrorCollector, chains: list[list[str]], keys: Collection[str]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for i, chain in enumerate(chains):
        path = f"connections[{i}]"
        for j, key in enumerate(chain):
            if key not in keys:
                errors.add(f"{path}[{j}]", key, "no node has this key.", unknown=key, known=keys)
        for pair in pairwise(chain):
            if pair[0] == pair[1]:
                errors.add(path, pair[0], "this node is connected to itself.")
            elif pair in seen:
                errors.add(path, " -> ".join(pair), f"{seen[pair]} has this connection too.")
            seen.setdefault(pair, path)


def _add_schema_error(errors: ErrorCollector, error: Any) -> None:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).lstrip(".")
    where, value, rule = path or "the definition", error.instance, error.validator_value
    if error.validator == "required":
        for missing in rule:
            if missing not in value:
                errors.add(where, value, f"{missing} is missing.")
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for unknown in sorted(set(value) - set(known)):
            path_of_unknown = f"{path}.{unknown}".lstrip(".")
            errors.add(path_of_unknown, value[unknown], f"unknown field {unknown}.", unknown=unknown, known=known)
    elif error.validator == "type":
        actual = "null. Leave it out instead" if value is None else type(value).__name__
        errors.add(where, value, f"it must be {_TYPE_NAMES.get(rule, rule)}, not {actual}.")
    elif error.validator == "pattern":
        errors.add(where, value, "a key has letters, digits and _, and after the first character also . and -.")
    elif error.validator == "enum":
        errors.add(where, value, f"it must be one of {', '.join(rule)}.")
    elif error.validator == "minItems":
        errors.add(where, value, "a connection needs at least two nodes.")
    elif error.validator in ("minLength", "maxLength"):
        limit = "at least" if error.validator == "minLength" else "at most"
        errors.add(where, value, f"it must have {limit} {rule} character{'s' if rule != 1 else ''}.")
    else:
        errors.add(where, value, f"{error.message}.")
