"""Definitions of agents as text: YAML or JSON in, YAML out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.error_collector import ErrorCollector

#: Characters of the longest text, and values of the largest definition: a thousand nodes with a hundred parameters.
_LONGEST_TEXT, _MOST_VALUES = 1024 * 1024, 100_000
_LONGEST_INT = 400


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML's plain types, with what is written twice noted: of two equal keys, YAML silently drops the first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[tuple[str, int]] = []

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        # Before anything is made of it: merges copy what they refer to.
        if _expanded(node, {}) > _MOST_VALUES:
            raise ValueError(f"its references (*) expand to more than {_MOST_VALUES} values")
        return self.construct_document(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            # Keys that come by a merge may be there again: that is what a merge is for.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    self.twice.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node has once each reference is replaced by a copy of what it refers to."""
    if id(node) not in known:
        # A reference to what it is in counts as one value: the check of the definition refuses that.
        known[id(node)] = 1
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_expanded(each, known) for each in inner) if isinstance(inner, list) else 1
    return known[id(node)]


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Without references, and with long texts over many lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    # What is a line break for YAML alone would come back as a space.
    odd = any(sign in text for sign in "\r\x85\u2028\u2029")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else "|" if "\n" in text else None)


class _Row(list[Any]):
    """A list that stands on one line."""


def _represent_row(dumper: Any, row: _Row) -> Any:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", row, flow_style=True)


def _construct_int(loader: Any, node: Any) -> Any:
    # YAML 1.1 reads 1:30:00 as one number, in a time that grows with the square of its length.
    if len(node.value) > _LONGEST_INT:
        raise ValueError(f"a number has more than {_LONGEST_INT} characters; put it in quotes if it is text")
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Row, _represent_row)
# JSON has no dates, and a parameter that looks like one is a text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_definition_text(text: str, *, name: str) -> Any:
    """
    What a file says, as plain data; it is not checked yet.

    :param text: YAML, of which JSON is a part.
    :param name: The file, as complaints call it.
    :raises MosaicValidationError: It can't be read, or keys are there twice.
    """
    if len(text) > _LONGEST_TEXT:
        raise_invalid(
            "definition", name, f"it has {len(text)} characters, more than the {_LONGEST_TEXT} that are read."
        )
    twice: list[tuple[str, Any]] = []
    data: Any = None
    try:
        if text.lstrip().startswith("{"):
            data = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, twice))
        else:
            loader = _Loader(text)
            try:
                data = loader.get_single_data()
                twice = list(loader.twice)
            finally:
                loader.dispose()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise_invalid("definition", name, f"it can't be read: {' '.join(str(error).split())}")
    faults = ErrorCollector()
    for key, line in twice:
        faults.add("key", key, f"it is there twice in the same object{f' (line {line})' if line else ''}.")
    faults.raise_any(f"definition={name!r}")
    return data


def _object(pairs: list[tuple[str, Any]], twice: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    twice += [(key, None) for key, count in counts.items() for _ in range(count - 1)]
    return dict(pairs)


def definition_yaml(definition: Mapping[str, Any]) -> str:
    """
    A definition as the YAML of a file, in the order in which it is.

    :param definition: As :func:`~airflow_provider_mosaic.agents_as_code.export.exported` gives it.
    """
    shown = {**definition, "connections": [_Row(chain) for chain in definition.get("connections", ())]}
    written: str = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return written
