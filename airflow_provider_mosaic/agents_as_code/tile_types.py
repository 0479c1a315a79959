"""Find node types by the tile names of a definition."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_mosaic.agents_as_code.definition import AgentDefinition, DefinedNode
from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.error_collector import ErrorCollector, normalize_name, one_a_line
from airflow_provider_mosaic.api.models import NodeType
from airflow_provider_mosaic.api.run_inputs import is_id


class NodeTypes:
    """The node types of Mosaic."""

    def __init__(self, types: Iterable[NodeType]) -> None:
        self._by_id = {id_key(each.node_type_id): each for each in types if each.node_type_id}
        # Ids by exact name, and by a name without differences of spelling.
        self._ids: dict[str, list[str]] = {}
        self._similar_ids: dict[str, list[str]] = {}
        for each in self._by_id.values():
            name = each.node_type_name or ""
            for key, ids in ((name, self._ids), (normalize_name(name), self._similar_ids)):
                ids.setdefault(key, []).append(each.node_type_id or "")

    def name_of(self, type_id: str | None) -> str | None:
        """Return the name of a node type, or None if the name does not identify it."""
        node_type = self._by_id.get(id_key(type_id or ""))
        name = node_type.node_type_name if node_type else None
        return name if name and not is_id(name) and len(self._find(name)) == 1 else None

    def resolve(self, definition: AgentDefinition, errors: ErrorCollector) -> dict[str, str]:
        """
        Return the node type ids of a definition, by key.

        :param errors: Collects unknown and ambiguous tiles, and unknown params.
        """
        type_ids: dict[str, str] = {}
        for node in definition.nodes:
            type_id = self._resolve_tile(node, errors)
            if type_id is None:
                continue
            type_ids[node.key] = type_id
            node_type = self._by_id.get(id_key(type_id))
            known = None if node_type is None else node_type.param_names
            for param in () if known is None else sorted(set(node.params) - known):
                path = f"nodes.{node.key}.params.{param}"
                why = f"{node.tile} has no param of this name."
                errors.add(path, node.params[param], why, unknown=param, known=known or ())
        return type_ids

    def _resolve_tile(self, node: DefinedNode, errors: ErrorCollector) -> str | None:
        listed = self._by_id.get(id_key(node.tile))
        if is_id(node.tile):
            # The list may be incomplete, so Mosaic validates unknown ids.
            return (listed and listed.node_type_id) or node.tile.lower()
        path = f"nodes.{node.key}.tile"
        type_ids = self._find(node.tile)
        if len(type_ids) == 1:
            return type_ids[0]
        if type_ids:
            errors.add(path, node.tile, f"several tiles have this name. Give the id of one:{one_a_line(type_ids)}")
        elif listed is not None:
            # An id that is not a UUID.
            return listed.node_type_id
        else:
            names = [each.node_type_name for each in self._by_id.values() if each.node_type_name]
            errors.add(path, node.tile, "no tile has this name.", unknown=node.tile, known=names)
        return None

    def _find(self, name: str) -> list[str]:
        """Return the ids of the node types with exactly this name, or else with one that is spelled alike."""
        plain = normalize_name(name)
        return self._ids.get(name) or (self._similar_ids.get(plain, []) if plain else [])
