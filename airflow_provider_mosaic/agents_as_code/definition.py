"""
What an agent is to be, as a person writes it: an :class:`AgentDefinition`, checked whole before anything is sent.

The form is the JSON Schema beside this module. Beyond the form, its keys must make sense together. All faults are told
at once, each with its place and its value, so that a definition is mended in one go.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow_provider_mosaic.api.arguments import validate_mapping
from airflow_provider_mosaic.api.decoding import is_fit
from airflow_provider_mosaic.api.error_collector import ErrorCollector

#: Where the definition's JSON Schema is, for editors and other tools.
SCHEMA_PATH = Path(__file__).with_name("agent_definition.schema.json")

_WORDS = {"string": "text", "object": "an object", "array": "a list"}


@dataclass(frozen=True, kw_only=True)
class DefinedNode:
    """
    A tile of a definition.

    :param key: The name that the definition has for it.
    :param tile: Its node type, by name or id.
    :param params: The parameters that must hold.
    :param node_id: The node of the agent that is meant, if that is said.
    """

    key: str
    tile: str
    params: Mapping[str, Any] = field(default_factory=dict)
    node_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentDefinition:
    """
    What an agent is to be. None leaves a part of it as it is.

    :param nodes: Its tiles.
    :param connections: What leads into what, by key.
    :param name: Its name.
    :param description: Its description.
    :param visibility: ``public`` or ``private``.
    """

    nodes: tuple[DefinedNode, ...]
    connections: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    description: str | None = None
    visibility: str | None = None


@functools.cache
def _validator() -> Any:
    # It takes a sixth of a second to load, and only agents as code need it.
    import jsonschema  # type: ignore[import-untyped]

    return jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def validate_definition(value: object, *, name: str = "definition") -> AgentDefinition:
    """
    A definition from what YAML, JSON or a DAG file has.

    :param value: An object, or text that is one in JSON.
    :param name: The argument's name.
    :raises MosaicValidationError: Something is wrong with it; the message has every fault.
    """
    given = validate_mapping(name, value)
    faults = ErrorCollector()
    for place, key in _keys_that_are_no_text(given):
        faults.add(place or name, key, "a key must be text: put it in quotes.")
    for place, text in _unfit_texts(given):
        faults.add(place or name, text, "it has a NUL or half of a surrogate pair: remove it.")
    faults.raise_any(name)
    # Through JSON, tuples of a DAG file are the lists that they will be.
    document = json.loads(json.dumps(given))
    for error in _validator().iter_errors(document):
        _tell(faults, error)
    faults.raise_any(name)
    nodes = tuple(
        DefinedNode(key=key, tile=node["tile"].strip(), params=node.get("params") or {}, node_id=node.get("node_id"))
        for key, node in document["nodes"].items()
    )
    chains = document.get("connections", [])
    _check_keys(faults, nodes, chains)
    connections = tuple(dict.fromkeys(link for chain in chains for link in pairwise(chain)))
    for cycle in cycles(connections):
        faults.add("connections", " -> ".join(cycle), "this goes round in a circle; an agent must not.")
    faults.raise_any(name)
    about = {part: document.get(part) for part in ("name", "description", "visibility")}
    return AgentDefinition(nodes=nodes, connections=connections, **about)


def cycles(connections: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """
    The circles that connections make, so many that without one connection of each there are none.

    :param connections: What leads into what. What leads into itself is none of these.
    """
    left = {(source, target) for source, target in connections if source != target}
    while True:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for source, target in sorted(left):
            sorter.add(target, source)
        try:
            sorter.prepare()
        except CycleError as error:
            circle: list[str] = error.args[1][:-1]
            first = circle.index(min(circle))
            circle = [*circle[first:], *circle[:first], circle[first]]
            left.discard((circle[0], circle[1]))
            yield circle
        else:
            return


def _keys_that_are_no_text(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    # JSON would make texts of them: YAML's on is true, and 1 would meet "1".
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    for key, item in inner:
        if isinstance(value, Mapping) and not isinstance(key, str):
            yield place, key
        yield from _keys_that_are_no_text(
            item, f"{place}.{key}".lstrip(".") if isinstance(key, str) else f"{place}[{key}]"
        )


def _unfit_texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and not is_fit(value):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unfit_texts(key, place)
            yield from _unfit_texts(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _unfit_texts(item, f"{place}[{number}]")


def _check_keys(faults: ErrorCollector, nodes: tuple[DefinedNode, ...], chains: list[list[str]]) -> None:
    """What the form can't say: which keys there are, and that nothing is there twice."""
    keys = [node.key for node in nodes]
    meant: dict[str, str] = {}
    for node in nodes:
        if not node.tile:
            faults.add(f"nodes.{node.key}.tile", node.tile, "it is empty: give the tile's name or the id of its type.")
        if node.node_id is not None:
            other = meant.setdefault(node.node_id, node.key)
            if other != node.key:
                faults.add(f"nodes.{node.key}.node_id", node.node_id, f"nodes.{other} is that node already.")
    seen: dict[tuple[str, str], str] = {}
    for i, chain in enumerate(chains):
        place = f"connections[{i}]"
        for j, key in enumerate(chain):
            if key not in keys:
                faults.add(f"{place}[{j}]", key, "there is no node with this key.", unknown=key, known=keys)
        for link in pairwise(chain):
            if link[0] == link[1]:
                faults.add(place, link[0], "this tile leads into itself.")
            elif link in seen:
                faults.add(place, " -> ".join(link), f"this connection is in {seen[link]} already.")
            seen.setdefault(link, place)


def _tell(faults: ErrorCollector, error: Any) -> None:
    """A fault of the form in the words of the other complaints."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).lstrip(".")
    where, value, rule = place or "the definition", error.instance, error.validator_value
    if error.validator == "required":
        for missing in rule:
            if missing not in value:
                faults.add(where, value, f"it has no {missing}, which it needs.")
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for unknown in sorted(set(value) - set(known)):
            spot = f"{place}.{unknown}".lstrip(".")
            faults.add(spot, value[unknown], f"there is no field {unknown} here.", unknown=unknown, known=known)
    elif error.validator == "type":
        came = "nothing: leave it out" if value is None else type(value).__name__
        faults.add(where, value, f"it must be {_WORDS.get(rule, rule)}, not {came}.")
    elif error.validator == "pattern":
        faults.add(where, value, "a key has letters, digits, and . _ - after the first of them.")
    elif error.validator == "enum":
        faults.add(where, value, f"it must be one of {', '.join(rule)}.")
    elif error.validator == "minItems":
        faults.add(where, value, "a connection has two tiles at least.")
    elif error.validator in ("minLength", "maxLength"):
        limit = "at least" if error.validator == "minLength" else "at most"
        faults.add(where, value, f"it must have {limit} {rule} character{'s' if rule != 1 else ''}.")
    else:
        faults.add(where, value, f"{error.message}.")
