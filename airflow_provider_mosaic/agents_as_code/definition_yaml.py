"""Read definitions of agents from YAML or JSON text, and write them as YAML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.redaction import visible

#: Characters.
_MAX_TEXT = 1024 * 1024
#: A thousand nodes with a hundred params.
_MAX_VALUES = 100_000
#: Characters.
_MAX_INT = 400


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML loader that records duplicate keys. PyYAML silently drops the first of two equal keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[tuple[str, int]] = []

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        # Checked before construction, which copies what merge keys refer to.
        if _count_values(node, {}) > _MAX_VALUES:
            raise ValueError(f"its aliases (*) expand to more than {_MAX_VALUES} values")
        return self.construct_document(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            # A key may override a merged one.
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    self.duplicates.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values after all aliases are expanded."""
    if id(node) not in known:
        # An alias of an enclosing node counts as one value. The definition's validation rejects it later.
        known[id(node)] = 1
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_count_values(each, known) for each in inner) if isinstance(inner, list) else 1
    return known[id(node)]


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """YAML dumper without aliases. Text of several lines becomes a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    # In a block, YAML would read these line breaks as spaces. Only text in quotes can have escapes.
    odd = "\r" in text or visible(text) != text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else "|" if "\n" in text else None)


class _InlineList(list[Any]):
    """A list that is written on one line."""


def _represent_inline_list(dumper: Any, items: _InlineList) -> Any:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


def _construct_int(loader: Any, node: Any) -> Any:
    # YAML 1.1 reads 1:30:00 as one number. The time for it grows with the square of its length.
    if len(node.value) > _MAX_INT:
        raise ValueError(f"a number has more than {_MAX_INT} characters. Put it in quotes if it is text")
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_InlineList, _represent_inline_list)
# JSON has no dates. A param that looks like one is text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_definition_text(text: str, *, name: str) -> Any:
    """
    Parse the text of a definition. The result is not validated.

    :param text: YAML or JSON.
    :raises MosaicValidationError: The text cannot be parsed, or has duplicate keys.
    """
    if len(text) > _MAX_TEXT:
        raise_invalid("definition", name, f"it has {len(text)} characters. The limit is {_MAX_TEXT}.")
    duplicates: list[tuple[str, int]] = []
    data: Any = None
    try:
        if text.lstrip().startswith("{"):
            data = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, duplicates))
        else:
            loader = _Loader(text)
            try:
                data = loader.get_single_data()
                duplicates = loader.duplicates
            finally:
                loader.dispose()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise_invalid("definition", name, f"it cannot be read: {' '.join(str(error).split())}")
    except Exception as error:
        # PyYAML's own, for a value that does not fit its tag: KeyError, IndexError and others.
        raise_invalid("definition", name, f"it cannot be read: a value does not fit its type ({type(error).__name__}).")
    errors = ErrorCollector()
    for key, line in duplicates:
        errors.add("key", key, f"it occurs twice in the same object{f' (line {line})' if line else ''}.")
    errors.raise_any(f"definition={name!r}")
    return data


def _object(pairs: list[tuple[str, Any]], duplicates: list[tuple[str, int]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    # JSON's parser does not report lines.
    duplicates += [(key, 0) for key, count in counts.items() for _ in range(count - 1)]
    return dict(pairs)


def definition_yaml(definition: Mapping[str, Any]) -> str:
    """Return a definition as YAML, in its own order."""
    rows = [_InlineList(chain) for chain in definition.get("connections", ())]
    data = {**definition, "connections": rows}
    # PyYAML escapes no characters that change the direction of text.
    return visible(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
