"""Definitions in files: an exported definition can be read and applied again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hooks.counted import posts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import CLIPS_AGENT_ID, DEFAULT_AGENT_ID, NODE_TYPES, node_id

from airflow_provider_mosaic.agents_as_code.definition_yaml import definition_yaml, read_definition_text
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

DEFINITION: dict[str, Any] = {
    "name": "Nightly",
    "nodes": {"recording": {"tile": "Video Input"}, "captions": {"tile": "captions"}},
    "connections": [["recording", "captions"]],
}


def test_a_definition_may_be_a_yaml_or_json_file(hook: MosaicHook, tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(definition_yaml(DEFINITION))
    made = hook.apply_agent(str(path))
    path.with_suffix(".json").write_text(definition_yaml(DEFINITION))
    assert hook.apply_agent(str(path.with_suffix(".json"))).agent_id == made.agent_id


def test_an_export_with_node_ids_fits_only_its_agent(hook: MosaicHook) -> None:
    exported = hook.export_agent(CLIPS_AGENT_ID, node_ids=True)
    assert exported["nodes"]["clips"] == {"tile": "Clips", "node_id": node_id(5, 2)}
    assert exported["connections"] == [["video_input", "clips", "reframe", "captions"]]
    assert hook.apply_agent(exported, agent_id=CLIPS_AGENT_ID).operations == 0
    with pytest.raises(MosaicValidationError, match="the agent has no such node"):
        hook.apply_agent(exported, agent_id=DEFAULT_AGENT_ID)


def test_an_export_has_no_invisible_characters() -> None:
    odd = "a\u202eb\u2066\x1b[31m\x9b\xad\u200b\x85\U000e0041"
    definition = {"name": odd, "nodes": {odd: {"tile": "T", "params": {odd: f"{odd}\n{odd} {'long ' * 40}"}}}}
    text = definition_yaml(definition)
    assert text.replace("\n", "").isprintable()
    assert read_definition_text(text, name="export.yaml") == {**definition, "connections": []}


TILES = sorted(NODE_TYPES)


def texts(max_size: int) -> st.SearchStrategy[str]:
    # A definition with a NUL is rejected.
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=max_size)


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | texts(5) | st.lists(st.integers(0, 3), max_size=2)
NESTED = VALUES | st.dictionaries(texts(3), VALUES, max_size=2)
PARAMS = {
    "Clips": st.fixed_dictionaries({}, optional={"num_clips": st.integers(1, 20), "prompt": texts(5)}),
    "Captions": st.fixed_dictionaries({}, optional={"caption_style": st.sampled_from(["colored", "karaoke"])}),
    "Cinematic Captions": st.fixed_dictionaries({}, optional={"color_override": st.none(), "font1": texts(5)}),
    "AI Music": st.fixed_dictionaries({}, optional={"genre": texts(5)}),
    "Image Generation": st.fixed_dictionaries(
        {"prompt": st.sampled_from(["Sea", "A lighthouse"])}, optional={"quality": st.sampled_from(["low", "high"])}
    ),
    "Audio Generation": st.fixed_dictionaries({}, optional={"voice_id": texts(5)}),
    "Video Generation": st.fixed_dictionaries({}, optional={"prompt": texts(5), "duration": st.just("8")}),
    "Watermark": st.fixed_dictionaries({}, optional={"logo_opacity": st.integers(10, 100)}),
}


@st.composite
def definitions(draw: st.DrawFn, name: str, max_nodes: int = 50) -> dict[str, Any]:
    count = draw(st.integers(0, max_nodes))
    kinds = draw(st.lists(st.sampled_from(TILES), min_size=1, max_size=6, unique=True))
    random = draw(st.randoms(use_true_random=False))
    tiles = [random.choice(kinds) for _ in range(count)]
    some_params = {
        kind: draw(st.lists(PARAMS.get(kind, st.dictionaries(texts(4), NESTED, max_size=2)), min_size=1, max_size=3))
        for kind in kinds
    }
    density = draw(st.sampled_from([0.0, 0.03, 0.1, 0.4]))
    nodes: dict[str, Any] = {}
    for i, tile in enumerate(tiles):
        params = random.choice(some_params[tile])
        nodes[f"n{i}"] = {"tile": tile, "params": params} if params else {"tile": tile}
    connections = [
        [f"n{i}", f"n{j}"]
        for i in range(count)
        for j in range(i + 1, count)
        if tiles[j] != "Video Input" and random.random() < density
    ]
    return {"name": name, "nodes": nodes, "connections": connections}


# Thirty pairs of graphs with up to fifty nodes, each applied eight times: about ten seconds.
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=definitions("Random"), other=definitions("Random"))
def test_an_exported_definition_applies_without_changes(
    mosaic_emulator: Emulator, hook: MosaicHook, first: dict[str, Any], other: dict[str, Any]
) -> None:
    mosaic_emulator.reset()
    made = hook.apply_agent(first)
    agent_id = str(made.agent_id)
    sent = posts(mosaic_emulator)
    # A second apply.
    assert hook.apply_agent(first).operations == 0
    # Export it and apply the text to the same agent.
    exported = read_definition_text(definition_yaml(hook.export_agent(agent_id)), name="export.yaml")
    assert hook.apply_agent(exported).operations == 0
    assert posts(mosaic_emulator) == sent
    # Apply the text to another agent.
    copy = hook.apply_agent({**exported, "name": "Copy"})
    assert hook.apply_agent({**first, "name": "Copy"}, agent_id=copy.agent_id).operations == 0
    # Apply another definition to that agent.
    changed = hook.apply_agent({**other, "name": "Copy"}, unknown_nodes="remove")
    assert changed.agent_id == copy.agent_id
    assert hook.apply_agent({**other, "name": "Copy"}, unknown_nodes="remove").operations == 0
    sent = posts(mosaic_emulator)
    again = read_definition_text(definition_yaml(hook.export_agent(str(copy.agent_id))), name="export.yaml")
    assert hook.apply_agent(again, unknown_nodes="remove").operations == 0
    assert posts(mosaic_emulator) == sent
