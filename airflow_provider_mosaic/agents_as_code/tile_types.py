"""Node types by the names that a definition uses for its tiles."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_mosaic.agents_as_code.definition import AgentDefinition
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.models import NodeType
from airflow_provider_mosaic.api.suggestions import normalize_name, one_a_line
from airflow_provider_mosaic.api.tiles import is_id


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

    def resolve(self, definition: AgentDefinition, faults: ErrorCollector) -> dict[str, str]:
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
        return exact or [type_id for type_id, each in ids.items() if normalize_name(each) == normalize_name(name) != ""]
