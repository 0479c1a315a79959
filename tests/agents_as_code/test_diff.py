"""Plan the operations that make an agent match its definition, and export an agent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.agents_as_code.definition import validate_definition
from airflow_provider_mosaic.agents_as_code.diff import AgentPlan, differs, plan_changes
from airflow_provider_mosaic.agents_as_code.export import define_agent
from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicValidationError
from airflow_provider_mosaic.api.models import NodeType

TILES = ["Video Input", "Cut", "Captions", "Music"]
TYPES = NodeTypes([NodeType(node_type_id=tile.lower(), node_type_name=tile) for tile in TILES])


def agent(nodes: dict[str, Any], *edges: tuple[str, str], **metadata: Any) -> AgentGraph:
    """Return an agent. Its nodes are tiles, or pairs of tile and params, by id."""

    def node(node_id: str, tile: Any) -> dict[str, Any]:
        name, params = tile if isinstance(tile, tuple) else (tile, {})
        kind = {"node_type_id": name.lower(), "node_type_name": name}
        return {"agent_node_id": node_id, "node_type": kind, "params_used": params}

    return AgentGraph.model_validate(
        {
            "agent": {"id": "agent", "name": "A", "description": "", "visibility": None, **metadata},
            "agent_nodes": [node(*each) for each in nodes.items()],
            "connections": [{"source_agent_node_id": s, "target_agent_node_id": t} for s, t in edges],
        }
    )


def plan(definition: dict[str, Any], graph: AgentGraph | None, *, remove: bool = False, **known: str) -> AgentPlan:
    checked = validate_definition(definition)
    types = {node.key: node.tile.lower() for node in checked.nodes}
    return plan_changes(checked, types, graph, remove_unknown=remove, known=known)


def defined(nodes: dict[str, Any], *chains: list[str], **more: Any) -> dict[str, Any]:
    written = {key: {"tile": tile} if isinstance(tile, str) else tile for key, tile in nodes.items()}
    return {"nodes": written, "connections": list(chains), **more}


CHAIN = agent({"1": "Video Input", "2": ("Cut", {"length": 60}), "3": "Captions"}, ("1", "2"), ("2", "3"))
SAME = defined({"in": "Video Input", "cut": "Cut", "text": "Captions"}, ["in", "cut", "text"])


def ops(made: AgentPlan) -> list[str]:
    return [step["op"] for step in made.operations]


def test_nodes_are_created_before_their_connections() -> None:
    made = plan(SAME, None)
    assert ops(made) == ["create_node"] * 3 + ["create_connection"] * 2
    assert made.operations[0] == {"op": "create_node", "temp_ref_id": "in", "node_type_id": "video input"}
    assert made.operations[3] == {"op": "create_connection", "source_temp_ref_id": "in", "target_temp_ref_id": "cut"}
    assert made.node_ids == {}


def test_an_agent_that_matches_needs_no_operation() -> None:
    made = plan({**SAME, "name": "A", "description": "", "visibility": "private"}, CHAIN)
    assert made.is_empty
    assert made.changes == ()
    assert made.node_ids == {"in": "1", "cut": "2", "text": "3"}


def test_only_what_differs_is_changed() -> None:
    nodes = {"in": "Video Input", "cut": {"tile": "Cut", "params": {"length": 30}}, "music": "Music"}
    made = plan(defined(nodes, ["in", "cut", "music"], name="B"), CHAIN, remove=True)
    assert made.metadata == {"name": "B"}
    assert made.operations == (
        {"op": "delete_node", "agent_node_id": "3"},
        {"op": "update_node", "agent_node_id": "2", "params_used": {"length": 30}},
        {"op": "create_node", "temp_ref_id": "music", "node_type_id": "music"},
        {"op": "create_connection", "source_agent_node_id": "2", "target_temp_ref_id": "music"},
    )
    assert made.changes == (
        '~ name: "A" -> "B"',
        "- Captions 3",
        "~ cut (Cut 2): length 60 -> 30",
        "+ music: Music",
        "+ cut -> music",
    )


def test_connections_are_deleted_before_others_are_created() -> None:
    reordered = defined({"in": "Video Input", "cut": "Cut", "text": "Captions"}, ["in", "text", "cut"])
    made = plan(reordered, CHAIN)
    assert made.operations == (
        {"op": "delete_connection", "source_agent_node_id": "1", "target_agent_node_id": "2"},
        {"op": "delete_connection", "source_agent_node_id": "2", "target_agent_node_id": "3"},
        {"op": "create_connection", "source_agent_node_id": "1", "target_agent_node_id": "3"},
        {"op": "create_connection", "source_agent_node_id": "3", "target_agent_node_id": "2"},
    )


ADDED = agent(
    {"1": "Video Input", "2": ("Cut", {"length": 60}), "3": "Captions", "4": "Music"},
    ("1", "2"), ("2", "3"), ("2", "4"), ("4", "3"),
)  # fmt: skip


def test_an_added_node_is_kept_with_its_connections() -> None:
    made = plan(SAME, ADDED)
    assert made.is_empty
    assert made.unknown == ("Music 4",)


def test_an_added_node_is_removed_on_request() -> None:
    made = plan(SAME, ADDED, remove=True)
    assert made.operations == ({"op": "delete_node", "agent_node_id": "4"},)


def test_a_cycle_through_a_kept_node_is_rejected() -> None:
    reordered = defined({"in": "Video Input", "cut": "Cut", "text": "Captions"}, ["in", "text", "cut"])
    with pytest.raises(MosaicValidationError, match=r"text -> cut.*Music 4.*does not have"):
        plan(reordered, ADDED)
    assert "delete_node" in ops(plan(reordered, ADDED, remove=True))


def test_only_named_params_change() -> None:
    graph = agent({"1": ("Cut", {"length": 60, "style": {"a": 1, "b": 2}, "tone": None})})

    def changed(**params: Any) -> Any:
        made = plan(defined({"cut": {"tile": "Cut", "params": params}}), graph)
        return made.operations[0]["params_used"] if made.operations else {}

    assert changed() == changed(length=60) == changed(tone=None, other=None) == changed(style={"b": 2}) == {}
    assert changed(length=None) == {"length": None}
    # The whole object is sent: whether Mosaic merges nested objects is not documented.
    assert changed(style={"b": 3}) == {"style": {"a": 1, "b": 3}}
    assert changed(length=True) == {"length": True}


@pytest.mark.parametrize(
    ("defined_value", "existing", "expected"),
    [
        (1, 1.0, False),
        (1, True, True),
        (0, False, True),
        ("1", 1, True),
        ([1, 2], [1, 2], False),
        ([1, 2], [2, 1], True),
        ([1], [1, 2], True),
        ([True], [1], True),
        ([[True]], [[1]], True),
        ([{"a": 1}], [{"a": 1, "filled": 0}], False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, True),
        ({}, None, True),
        (None, 0, True),
        ("Cut it.\n", "Cut it.", False),
        ("Cut it.", "Cut  it.", True),
    ],
)
def test_param_comparison(defined_value: Any, existing: Any, expected: bool) -> None:
    assert differs(defined_value, existing) is expected


def test_node_id_fixes_the_match() -> None:
    graph = agent({"1": ("Cut", {"length": 60}), "2": ("Cut", {"length": 30})})
    cut = {"tile": "Cut", "params": {"length": 60}}
    assert plan(defined({"cut": cut}), graph).node_ids == {"cut": "1"}
    made = plan(defined({"cut": {**cut, "node_id": "2"}}), graph)
    assert made.node_ids == {"cut": "2"}
    assert made.operations == ({"op": "update_node", "agent_node_id": "2", "params_used": {"length": 60}},)


def test_node_id_may_be_spelled_in_another_way() -> None:
    uuid = "b0000004-0000-4000-8000-00000000000a"
    graph = agent({"1": "Cut", uuid: "Cut"})
    for node_id in (uuid.upper(), uuid.replace("-", "")):
        assert plan(defined({"cut": {"tile": "Cut", "node_id": node_id}}), graph).node_ids == {"cut": uuid}


def test_one_error_lists_all_wrong_node_ids() -> None:
    nodes = {"a": {"tile": "Cut", "node_id": "3"}, "b": {"tile": "Cut", "node_id": "gone"}}
    with pytest.raises(MosaicValidationError) as error:
        plan(defined(nodes), CHAIN)
    assert "nodes.a.node_id='3': this node of the agent is a Captions 3, not a Cut." in str(error.value)
    assert "nodes.b.node_id='gone': the agent has no such node" in str(error.value)


def test_known_nodes_are_kept() -> None:
    graph = agent({"1": "Cut", "2": "Cut"})
    assert plan(defined({"a": "Cut"}), graph, a="2").node_ids == {"a": "2"}
    # The known node is gone.
    assert plan(defined({"a": "Cut"}), graph, a="gone").node_ids == {"a": "1"}


def test_changes_hide_signatures_and_shorten_values() -> None:
    params = {"logo": "https://s.example/a.png?sig=hush", "prompt": "x" * 500}
    [line] = plan(defined({"cut": {"tile": "Cut", "params": params}}), None).changes
    assert "hush" not in line
    assert len(line) < 250


def test_change_at_the_end_of_a_long_value_is_shown() -> None:
    link = f"https://s.example/{'a' * 200}.png?sig=hush"
    long = f"{'Cut it. ' * 40}{link}"
    graph = agent({"1": ("Cut", {"prompt": f"{long} at the end {'z' * 500}"})}, description=f"{long} end")
    wanted = {"tile": "Cut", "params": {"prompt": f"{long} at the start {'z' * 500}"}}
    about, prompt = plan(defined({"cut": wanted}, description=f"{long} start"), graph).changes
    assert "end" in about.partition("->")[0]
    assert "start" in about.partition("->")[2]
    assert " at the end " in prompt.partition("->")[0]
    assert " at the start " in prompt.partition("->")[2]
    assert "hush" not in about + prompt
    assert len(prompt) < 400


def test_an_export_has_nodes_in_topological_order() -> None:
    graph = agent(
        {"9": "Captions", "1": "Video Input", "2": ("Cut", {"length": 60}), "3": "Captions", "4": "Nameless"},
        ("1", "2"), ("2", "3"), ("2", "9"), ("9", "4"),
        description="All of it", visibility="public",
    )  # fmt: skip
    assert define_agent(graph, TYPES) == {
        "name": "A",
        "description": "All of it",
        "visibility": "public",
        "nodes": {
            "video_input": {"tile": "Video Input"},
            "cut": {"tile": "Cut", "params": {"length": 60}},
            "captions": {"tile": "Captions"},
            "captions_2": {"tile": "Captions"},
            "nameless": {"tile": "nameless"},
        },
        "connections": [["video_input", "cut", "captions"], ["cut", "captions_2", "nameless"]],
    }
    assert define_agent(graph, TYPES, node_ids=True)["nodes"]["cut"]["node_id"] == "2"
    assert "connections" not in define_agent(agent({"1": "Cut"}), TYPES)


def test_the_response_of_early_2026_has_types_but_no_connections() -> None:
    nodes = [{"id": "1", "node_type_id": "cut", "node_type_name": "Cut", "params_used": {}}, {"id": "2"}]
    older = AgentGraph.model_validate({"agent": {"id": "agent"}, "nodes": nodes})
    assert [node.node_type.node_type_name for node in older.agent_nodes] == ["Cut", None]
    assert older.agent_nodes[0].node_type.node_type_id == "cut"
    with pytest.raises(MosaicResponseError, match="type of these nodes: 2"):
        older.raise_if_incomplete("Agent")
    with pytest.raises(MosaicResponseError, match="how its 2 nodes are connected"):
        AgentGraph.model_validate({"agent": {"id": "agent"}, "nodes": [nodes[0]] * 2}).raise_if_incomplete("Agent")
    CHAIN.raise_if_incomplete("Agent")
    # A single node has no connections.
    AgentGraph.model_validate({"agent": {"id": "agent"}, "nodes": nodes[:1]}).raise_if_incomplete("Agent")


@pytest.mark.parametrize(
    ("nodes", "gap", "to_do"),
    [
        ({}, "does not show its nodes", "Check the agent in the editor"),
        ({"nodes": [{"id": "1"}]}, "type of these nodes: 1", "Check the agent in the editor"),
        ({"nodes": []}, "connections of nodes that it does not show: 1, 2", "delete these connections"),
    ],
)
def test_the_advice_is_about_the_gap_that_an_error_names(nodes: dict[str, Any], gap: str, to_do: str) -> None:
    connections = [{"source_agent_node_id": "1", "target_agent_node_id": "2"}]
    graph = AgentGraph.model_validate({"agent": {"id": "agent"}, **nodes, "connections": connections})
    with pytest.raises(MosaicResponseError, match=gap) as error:
        graph.raise_if_incomplete("Agent")
    advice = " ".join(error.value.to_do)
    assert to_do in advice
    assert ("these connections" in advice) == ("connections" in gap)
    assert error.value.transient
