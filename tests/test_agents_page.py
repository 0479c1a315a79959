"""The examples in docs/agents.md and example_dags are valid, and the shown output is the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mosaic_emulator.catalogue import NODE_TYPES

from airflow_provider_mosaic.agents_as_code.definition import SCHEMA_PATH, validate_definition
from airflow_provider_mosaic.agents_as_code.definition_yaml import read_definition_text
from airflow_provider_mosaic.agents_as_code.diff import plan_changes
from airflow_provider_mosaic.agents_as_code.tile_types import NodeTypes
from airflow_provider_mosaic.api.endpoints.agents import AgentGraph
from airflow_provider_mosaic.api.error_collector import ErrorCollector
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.models import NodeType

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
TYPES = NodeTypes(NodeType.model_validate(each.as_json()) for each in NODE_TYPES.values())
[YAML] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def code_block(start: str) -> str:
    """Return the indented block that starts with some words."""
    [block] = re.findall(rf"^    {re.escape(start)}.*?(?=\n\n|\n[^ ])", PAGE, re.MULTILINE | re.DOTALL)
    return re.sub(r"^    ", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "text", [YAML, (ROOT / "example_dags" / "mosaic_agent_as_code.yaml").read_text()], ids=["page", "example"]
)
def test_definitions_are_valid(text: str) -> None:
    definition = validate_definition(read_definition_text(text, name="shown.yaml"))
    errors = ErrorCollector()
    assert set(TYPES.resolve(definition, errors)) == {node.key for node in definition.nodes}
    errors.raise_any("definition")


def test_the_table_has_every_field_of_the_schema() -> None:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    fields = [*schema["properties"], *(f"nodes.*.{name}" for name in schema["$defs"]["node"]["properties"])]
    table = PAGE.partition("| field | meaning |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert sorted(re.findall(r"`([^`]+)`", "".join(cells))) == sorted(fields)


def test_the_shown_error_is_the_real_one() -> None:
    nodes = {"captions": {"tile": "Captons"}, "cut": {"tile": "Rough"}}
    errors = ErrorCollector()
    TYPES.resolve(validate_definition({"nodes": nodes}), errors)
    with pytest.raises(MosaicValidationError) as error:
        errors.raise_any("definition")
    assert f"MosaicValidationError: {error.value}" == code_block("MosaicValidationError: definition has")


def test_the_shown_changes_are_the_real_ones() -> None:
    definition = read_definition_text(YAML, name="shown.yaml")
    errors = ErrorCollector()
    type_ids = TYPES.resolve(validate_definition(definition), errors)
    ids = {"captions": "c2d9b6a0-0b84-4e3b-9a49-7f3a2ce1d4b8"}
    graph = AgentGraph.model_validate(
        {
            "agent": {"id": "0b0a6d4e-5a51-4f0d-8a6c-3d1f6d0a9c77"},
            "agent_nodes": [
                {
                    "agent_node_id": ids.get(key, key),
                    "node_type": {"node_type_id": type_ids[key], "node_type_name": node["tile"]},
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
    changed = validate_definition({"nodes": definition["nodes"], "connections": definition["connections"]})
    plan = plan_changes(changed, TYPES.resolve(changed, errors), graph, remove_unknown=False)
    first, *lines = code_block("Agent '").splitlines()
    assert first.endswith(f"operations: {len(plan.operations)}.")
    assert [line.strip() for line in lines] == list(plan.changes)
