"""Validate definitions, and read and write them as YAML."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.agents_as_code.definition import (
    SCHEMA_PATH,
    AgentDefinition,
    DefinedNode,
    ErrorCollector,
    find_cycles,
    validate_definition,
)
from airflow_provider_mosaic.agents_as_code.definition_yaml import definition_yaml, read_definition_text
from airflow_provider_mosaic.agents_as_code.diff import plan_changes
from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.endpoints.agents import Agent, AgentGraph, AgentNode
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.models import NodeType

GOOD: dict[str, Any] = {
    "name": "Shorts maker",
    "description": "Cuts and captions",
    "visibility": "private",
    "nodes": {
        "recording": {"tile": "Video Input"},
        "cut": {"tile": "Rough Cut", "params": {"prompt": "The best minute"}},
        "captions": {"tile": "Captions", "node_id": "c2d9b6a0-0b84-4e3b-9a49-7f3a2ce1d4b8"},
    },
    "connections": [["recording", "cut", "captions"]],
}
CAPTIONS = "cdccb204-168e-4aec-aa72-480b11e74324"
CLIPS = "bcc5cb04-76b7-48e9-a344-0e8a29c19be0"


def validation_error(value: Any) -> str:
    with pytest.raises(MosaicValidationError) as error:
        validate_definition(value)
    return str(error.value)


def test_the_published_schema_is_valid() -> None:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(GOOD, schema)


def test_chains_become_connections() -> None:
    definition = validate_definition(GOOD)
    assert definition.connections == (("recording", "cut"), ("cut", "captions"))
    assert [node.key for node in definition.nodes] == ["recording", "cut", "captions"]
    assert definition.nodes[1].params == {"prompt": "The best minute"}
    assert validate_definition(json.dumps(GOOD)) == definition


def test_missing_fields_are_none() -> None:
    assert validate_definition({"nodes": {}}) == AgentDefinition(nodes=())


NODE = {"tile": "Captions"}


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ([], ["definition=[]", "must be an object"]),
        ("captions", ["definition='captions'"]),
        ({}, ["nodes is missing"]),
        ({"nodes": None}, ["nodes=None: it must be an object, not null. Leave it out instead"]),
        ({"nodes": {}, "name": ""}, ["name='': it must have at least 1 character."]),
        ({"nodes": {}, "name": "x" * 121}, ["name='xxx", "at most 120 characters"]),
        ({"nodes": {}, "description": "x" * 5001}, ["description='xxx", "at most 5000"]),
        ({"nodes": {}, "visibility": "secret"}, ["visibility='secret': it must be one of public, private."]),
        ({"nodes": {}, "conections": []}, ["conections=[]: unknown field conections. Did you mean connections?"]),
        ({"nodes": {"a b": NODE}}, ["'a b'", "a key has letters"]),
        ({"nodes": {"": NODE}}, ["nodes='': a key has letters"]),
        ({"nodes": {"a": {}}}, ["nodes.a={}: tile is missing"]),
        ({"nodes": {"a": "Captions"}}, ["nodes.a='Captions': it must be an object, not str."]),
        ({"nodes": {"a": {"tile": " "}}}, ["nodes.a.tile", "it is empty"]),
        ({"nodes": {"a": {"tile": 5}}}, ["nodes.a.tile=5: it must be text, not int."]),
        ({"nodes": {"a": {**NODE, "param": {}}}}, ["nodes.a.param={}: unknown field param. Did you mean params?"]),
        ({"nodes": {"a": {**NODE, "params": []}}}, ["nodes.a.params=[]: it must be an object, not list."]),
        ({"nodes": {}, "connections": ["a -> b"]}, ["connections[0]='a -> b': it must be a list, not str."]),
        (
            {"nodes": {"a": NODE}, "connections": [["a"]]},
            ["connections[0]=['a']: a connection needs at least two nodes."],
        ),
        ({"nodes": {"a": NODE}, "connections": [["a", 5]]}, ["connections[0][1]=5: it must be text, not int."]),
        (
            {"nodes": {"captions": NODE}, "connections": [["captions", "caption"]]},
            ["connections[0][1]='caption': no node has this key. Did you mean captions?"],
        ),
        (
            {"nodes": {"a": NODE}, "connections": [["a", "a"]]},
            ["connections[0]='a': this node is connected to itself."],
        ),
        (
            {"nodes": {"a": NODE, "b": NODE}, "connections": [["a", "b"], ["a", "b"]]},
            ["connections[1]='a -> b': connections[0] has this connection too."],
        ),
        (
            {"nodes": {"a": NODE, "b": NODE, "c": NODE}, "connections": [["a", "b", "c", "a"]]},
            ["connections='a -> b -> c -> a': this is a cycle"],
        ),
        (
            {"nodes": {"a": {**NODE, "node_id": "n"}, "b": {**NODE, "node_id": "n"}}},
            ["nodes.b.node_id='n': nodes.a has the same node_id."],
        ),
        (
            {"nodes": {"a": {**NODE, "node_id": "n"}, "b": {**NODE, "node_id": "N"}}},
            ["nodes.b.node_id='N': nodes.a has the same node_id."],
        ),
        ({"nodes": {"a": {**NODE, "params": {"p": math.nan}}}}, ["can't be written as JSON"]),
        ({"nodes": {5: NODE}}, ["nodes=5: a key must be text"]),
        ({"nodes": {"a": {**NODE, "params": {"x": [{True: 1}]}}}}, ["nodes.a.params.x[0]=True: a key must be text"]),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, (dict, str)) else "",
)
def test_an_error_has_path_value_and_fix(value: Any, parts: list[str]) -> None:
    message = validation_error(value)
    assert message.startswith("definition")
    for part in parts:
        assert part in message


def test_one_error_lists_all_schema_errors() -> None:
    message = validation_error({"name": 5, "nodes": {"a": {"tile": 1}, "b": {"tiles": "x"}}, "connections": [["a"]]})
    assert message.startswith("definition has 5 errors:")
    for part in ("name=5", "nodes.a.tile=1", "nodes.b=", "nodes.b.tiles='x'", "connections[0]"):
        assert part in message


def test_one_error_lists_all_key_errors() -> None:
    chains = [["a", "b", "a"], ["a", "gone"], ["b", "b"], ["c", "d", "c"], ["a", "b"]]
    message = validation_error({"nodes": dict.fromkeys("abcd", NODE), "connections": chains})
    assert message.startswith("definition has 5 errors:")
    for part in ("'gone'", "connected to itself", "connections[0] has", "a -> b -> a", "c -> d -> c"):
        assert part in message


def test_errors_hide_signatures_of_links() -> None:
    message = validation_error({"nodes": {}, "name": 5, "logo": "https://s.example/a.png?sig=hush"})
    assert "https://s.example/a.png" in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("connections", "cycles"),
    [
        ([], 0),
        ([("a", "b"), ("b", "c"), ("a", "c")], 0),
        ([("a", "b"), ("b", "a")], 1),
        ([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")], 2),
    ],
)
def test_every_cycle_is_found(connections: list[tuple[str, str]], cycles: int) -> None:
    assert len(list(find_cycles(connections))) == cycles


# Text

TEXT = """
# comments stay in the file
name: Shorts maker
nodes:
  recording: {tile: Video Input}
  captions:
    tile: Captions
    params: {since: 2026-01-01, caption_font_weight: "700", on_top: true, size: 12}
connections:
  - [recording, captions]
"""


def test_dates_in_yaml_are_text() -> None:
    data = read_definition_text(TEXT, name="agent.yaml")
    params = {"since": "2026-01-01", "caption_font_weight": "700", "on_top": True, "size": 12}
    assert data["nodes"]["captions"]["params"] == params
    assert validate_definition(data).connections == (("recording", "captions"),)


def test_json_is_accepted() -> None:
    assert read_definition_text(json.dumps(GOOD, indent=2), name="agent.json") == GOOD


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nodes:\n  a: {tile: x}\n  a: {tile: y}\n  b: {tile: x, tile: y}\n", ["'a'", "line 3", "'tile'", "line 4"]),
        ('{"nodes": {"a": {"tile": "x"}, "a": {"tile": "y"}}}', ["'a'", "twice"]),
        ("nodes: [", ["cannot be read"]),
        ("{nodes", ["cannot be read"]),
        ("a: 1\n---\nb: 2\n", ["cannot be read"]),
        ("nodes: !!python/object/apply:os.system [ls]", ["cannot be read"]),
        ("nodes: !!bool maybe", ["cannot be read", "KeyError"]),
        ("nodes: !!int ''", ["cannot be read", "IndexError"]),
        ("nodes: !!float _", ["cannot be read", "IndexError"]),
        ("nodes: !!timestamp soon", ["cannot be read", "AttributeError"]),
        (f"nodes: 1{':30' * 400}.0", ["cannot be read", "OverflowError"]),
    ],
    ids=[
        "keys twice",
        "keys twice in JSON",
        "cut YAML",
        "cut JSON",
        "two documents",
        "code",
        "odd boolean",
        "odd integer",
        "odd float",
        "odd time",
        "long float",
    ],
)
def test_an_error_of_the_text_names_the_file(text: str, parts: list[str]) -> None:
    with pytest.raises(MosaicValidationError, match=r"agent\.yaml") as error:
        read_definition_text(text, name="agent.yaml")
    for part in parts:
        assert part in str(error.value)


def test_a_key_may_override_a_merged_key() -> None:
    text = "nodes:\n  a: &a {tile: Captions, params: {p: 1}}\n  b: {<<: *a, params: {p: 2}}\n"
    assert read_definition_text(text, name="agent.yaml")["nodes"]["b"] == {"tile": "Captions", "params": {"p": 2}}


def test_deep_json_is_rejected() -> None:
    data = read_definition_text('{"nodes": ' + "[" * 900 + "]" * 900 + "}", name="agent.yaml")
    # Python 3.13 writes it, and the schema rejects it then.
    assert re.search("can't be written as JSON|it must be an object", validation_error(data))


def test_an_alias_of_an_enclosing_node_is_rejected() -> None:
    data = read_definition_text("nodes: &n\n  a: *n\n", name="agent.yaml")
    assert "can't be written as JSON" in validation_error(data)


def bomb(links: int, *, merged: bool = False) -> str:
    """Return YAML whose lines each refer ten times to the line before."""
    row = "{{<<: [{}]}}" if merged else "[{}]"
    lines = ["a0: &a0 " + ("{x: 1}" if merged else "[x, x]")]
    lines += [f"a{i}: &a{i} " + row.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, links)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(30),
        bomb(30, merged=True),
        "nodes: &n\n  a: *n\n" + bomb(30),
        "[" * 20_000,
        "- " * 20_000,
        '{"nodes": ' + "[" * 100_000,
        '{"nodes": ' + "9" * 5000 + "}",
        "a: 1" + ":1" * 50_000,
        "a: " + "9" * 5000,
        "a: " + "x" * (2 << 20),
        "a: 0x" + "f" * 500_000,
    ],
    ids=lambda text: text[:20],
)
def test_text_that_expands_or_takes_long_is_rejected(text: str) -> None:
    with pytest.raises(MosaicValidationError) as error:
        read_definition_text(text, name="agent.yaml")
    assert len(str(error.value)) < 1000


def test_many_aliases_of_one_node_are_accepted() -> None:
    text = "base: &b {tile: Captions}\nnodes:\n" + "".join(f"  n{i}: *b\n" for i in range(1000))
    assert len(read_definition_text(text, name="agent.yaml")["nodes"]) == 1000


def test_duplicates_are_found_among_many_keys() -> None:
    keys = ",".join(f'"k{i}":1' for i in range(50_000))
    assert len(read_definition_text(f"{{{keys}}}", name="agent.json")) == 50_000
    with pytest.raises(MosaicValidationError, match="key='k7': it occurs twice"):
        read_definition_text(f'{{{keys},"k7":2}}', name="agent.json")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_yaml_round_trip(params: dict[str, Any]) -> None:
    definition = {**GOOD, "nodes": {"captions": {"tile": "Captions", "params": params}}, "connections": []}
    assert read_definition_text(definition_yaml(definition), name="agent.yaml") == definition


@settings(max_examples=300)
@given(JSON | st.dictionaries(st.sampled_from([*GOOD, "x"]), JSON, max_size=5))
def test_any_value_is_accepted_or_raises_a_validation_error(value: Any) -> None:
    message = None
    try:
        validate_definition(value)
    except MosaicValidationError as error:
        message = str(error)
    assert message is None or message.startswith("definition")


# Tiles

TYPES = NodeTypes(
    [
        NodeType(node_type_id=CAPTIONS.upper(), node_type_name="Captions"),
        NodeType(node_type_id=CLIPS, node_type_name="Clips", params={"properties": {"num_clips": {}, "prompt": {}}}),
        NodeType(node_type_id="1", node_type_name="AI B-Roll"),
        NodeType(node_type_id="2", node_type_name="Twin"),
        NodeType(node_type_id="3", node_type_name="Twin"),
        NodeType(node_type_id="4"),
        NodeType(node_type_name="No id"),
    ]
)


def resolve(*tiles: str, **params: Any) -> dict[str, str]:
    nodes = tuple(DefinedNode(key=f"n{i}", tile=tile, params=params) for i, tile in enumerate(tiles))
    errors = ErrorCollector()
    type_ids = TYPES.resolve(AgentDefinition(nodes=nodes), errors)
    errors.raise_any("definition")
    return type_ids


def test_tiles_are_found_by_id_and_by_name_in_any_spelling() -> None:
    found = resolve(
        *("Captions", "captions", "ai b roll", "AI_B-ROLL", CLIPS.upper(), CLIPS.replace("-", "")),
        "0f0f0f0f-1111-4222-8333-444444444444",
    )
    # As Mosaic lists them.
    ids = [CAPTIONS.upper(), CAPTIONS.upper(), "1", "1", CLIPS, CLIPS, "0f0f0f0f-1111-4222-8333-444444444444"]
    assert list(found.values()) == ids


def test_a_listed_id_need_not_be_a_uuid() -> None:
    types = NodeTypes(
        [NodeType(node_type_id="nt-Abc7"), NodeType(node_type_id="nt-Abc8", node_type_name="Captions", params={})]
    )
    errors = ErrorCollector()
    nodes = [DefinedNode(key=f"n{i}", tile=tile) for i, tile in enumerate(["nt-Abc7", "nt-abc8", "Captions"])]
    definition = AgentDefinition(nodes=tuple(nodes))
    found = types.resolve(definition, errors)
    errors.raise_any("definition")
    assert found == {"n0": "nt-Abc7", "n1": "nt-Abc8", "n2": "nt-Abc8"}
    # It is sent as it is, and known again in the agent.
    plan = plan_changes(definition, found, None, remove_unknown=False)
    assert [step["node_type_id"] for step in plan.operations] == ["nt-Abc7", "nt-Abc8", "nt-Abc8"]
    made = [
        AgentNode(agent_node_id=f"m{i}", node_type=NodeType(node_type_id=found[node.key]))
        for i, node in enumerate(nodes)
    ]
    graph = AgentGraph(agent=Agent(agent_id="a"), agent_nodes=tuple(made), connections=())
    assert plan_changes(definition, found, graph, remove_unknown=True).is_empty


def test_one_error_lists_unknown_and_ambiguous_tiles() -> None:
    with pytest.raises(MosaicValidationError) as error:
        resolve("Captons", "Twin", "???", "Clip")
    message = str(error.value)
    assert "4 errors" in message
    assert "nodes.n0.tile='Captons': no tile has this name. Did you mean Captions?" in message
    assert "nodes.n1.tile='Twin': several tiles have this name. Give the id of one:\n    2\n    3\n" in message
    choices = "\n    AI B-Roll\n    Captions\n    Clips\n    Twin\n"
    assert f"nodes.n2.tile='???': no tile has this name. Known:{choices}" in message
    assert "nodes.n3.tile='Clip': no tile has this name. Did you mean Clips?" in message


def test_ids_of_ambiguous_tiles_are_shown_as_mosaic_lists_them() -> None:
    types = NodeTypes([NodeType(node_type_id=f"type_{end}", node_type_name="Twin") for end in ("01HZX9", "02AbC")])
    errors = ErrorCollector()
    types.resolve(AgentDefinition(nodes=(DefinedNode(key="n", tile="Twin", params={}),)), errors)
    with pytest.raises(MosaicValidationError, match=r"Give the id of one:\s+type_01HZX9\s+type_02AbC"):
        errors.raise_any("definition")


def test_params_are_validated_if_the_node_type_lists_them() -> None:
    assert resolve("Clips", num_clips=3) == {"n0": CLIPS}
    assert resolve("Captions", anything=3) == {"n0": CAPTIONS.upper()}
    with pytest.raises(MosaicValidationError, match=r"nodes\.n0\.params\.num_clip=3: .*Did you mean num_clips\?"):
        resolve("Clips", num_clip=3)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (None, None),
        ({}, None),
        ("a page", None),
        ([], None),
        ([{"name": "p"}, {"title": "q"}], {"p"}),
        ({"p": "text"}, {"p"}),
        ({"type": "object", "properties": {"p": {}}}, {"p"}),
    ],
    ids=str,
)
def test_params_of_a_node_type_in_every_form(listed: Any, names: set[str] | None) -> None:
    assert NodeType.model_validate({"node_type_id": "1", "params": listed}).param_names == names


def test_a_tile_name_is_exported_only_if_it_is_unique() -> None:
    assert TYPES.name_of(CAPTIONS) == "Captions"
    assert [TYPES.name_of(each) for each in ("2", "4", "5", None)] == [None] * 4


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("place", ["key", "value"])
def test_text_that_cannot_be_stored_is_rejected(text: str, place: str) -> None:
    params = {text: 1} if place == "key" else {"prompt": [text]}
    with pytest.raises(MosaicValidationError, match=r"nodes\.a\.params.*NUL or half of a surrogate pair"):
        validate_definition({"nodes": {"a": {"tile": "Clips", "params": params}}})


def test_a_hundred_errors_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suggestions for each of 20,000 errors would take minutes."""
    compared = []
    monkeypatch.setattr(
        "airflow_provider_mosaic.api.error_collector.suggest_or_list",
        lambda unknown, known: compared.append(unknown) or "",
    )
    definition = {
        "nodes": {f"n{i}": {"tile": "Rough Cut", "params": {}} for i in range(2_000)},
        "connections": [[f"x{i}", f"y{i}"] for i in range(10_000)],
    }
    with pytest.raises(MosaicValidationError) as error:
        validate_definition(definition)
    assert "has 20000 errors:" in str(error.value)
    assert str(error.value).endswith("... and 19900 more")
    assert len(compared) == 100
