"""The page on agents as code, and the example beside it, say what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_provider_mosaic.api.agents import AgentGraph
from airflow_provider_mosaic.api.definition_texts import read_definition_text
from airflow_provider_mosaic.api.definitions import SCHEMA_PATH, Faults, checked_definition
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.graph_changes import plan_changes
from airflow_provider_mosaic.api.node_types import NodeType
from airflow_provider_mosaic.api.tiles import NodeTypes
from airflow_provider_mosaic.emulator.catalogue import NODE_TYPES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
TYPES = NodeTypes(NodeType.model_validate(each.as_json()) for each in NODE_TYPES.values())
[YAML] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def indented(first_words: str) -> str:
    """The indented block that begins with some words."""
    [block] = re.findall(rf"^    {re.escape(first_words)}.*?(?=\n\n|\n[^ ])", PAGE, re.MULTILINE | re.DOTALL)
    return re.sub(r"^    ", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "text", [YAML, (ROOT / "example_dags" / "mosaic_agent_as_code.yaml").read_text()], ids=["page", "example"]
)
def test_a_definition_that_is_shown_is_one(text: str) -> None:
    definition = checked_definition(read_definition_text(text, name="shown.yaml"))
    faults = Faults()
    assert set(TYPES.resolve(definition, faults)) == {node.key for node in definition.nodes}
    faults.raise_any("definition")


def test_the_table_has_every_field_of_the_schema() -> None:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    fields = [*schema["properties"], *(f"nodes.*.{name}" for name in schema["$defs"]["node"]["properties"])]
    table = PAGE.partition("| field | what it says |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert sorted(re.findall(r"`([^`]+)`", "".join(cells))) == sorted(fields)


def test_the_complaint_that_is_shown_is_the_one_that_comes() -> None:
    nodes = {"captions": {"tile": "Captons"}, "cut": {"tile": "Rough"}}
    faults = Faults()
    TYPES.resolve(checked_definition({"nodes": nodes}), faults)
    with pytest.raises(MosaicValidationError) as refused:
        faults.raise_any("definition")
    assert f"MosaicValidationError: {refused.value}" == indented("MosaicValidationError: definition")


def test_the_difference_that_is_shown_is_how_it_is_told() -> None:
    definition = read_definition_text(YAML, name="shown.yaml")
    faults = Faults()
    kinds = TYPES.resolve(checked_definition(definition), faults)
    ids = {"captions": "c2d9b6a0-0b84-4e3b-9a49-7f3a2ce1d4b8"}
    there = AgentGraph.model_validate(
        {
            "agent": {"id": "0b0a6d4e-5a51-4f0d-8a6c-3d1f6d0a9c77"},
            "agent_nodes": [
                {
                    "agent_node_id": ids.get(key, key),
                    "node_type": {"node_type_id": kinds[key], "node_type_name": node["tile"]},
                    "params_used": node.get("params", {}),
                }
                for key, node in definition["nodes"].items()
            ],
            "connections": [
                {"source_agent_node_id": "recording", "target_agent_node_id": "cut"},
                {"source_agent_node_id": "cut", "target_agent_node_id": ids["captions"]},
            ],
        }
    )
    definition["nodes"]["captions"]["params"]["caption_style"] = "scaling"
    definition["nodes"]["music"] = {"tile": "AI Music"}
    definition["connections"].append(["cut", "music"])
    wanted = checked_definition({"nodes": definition["nodes"], "connections": definition["connections"]})
    plan = plan_changes(wanted, TYPES.resolve(wanted, faults), there, remove_unknown=False)
    first, *lines = indented("This changes at agent").splitlines()
    assert first.endswith(f"operations: {len(plan.operations)}.")
    assert [line.strip() for line in lines] == list(plan.lines)
