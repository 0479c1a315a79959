"""Agents, node types and definitions that try to hold a worker or the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from clients.servers import HostileServer, answer
from clients.transports import access_to

from airflow_provider_mosaic.agents_as_code.apply import AgentApply, AppliedAgent, ApplyOptions
from airflow_provider_mosaic.agents_as_code.definition import validate_definition
from airflow_provider_mosaic.agents_as_code.export import export_agent
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.clients.sync_client import SyncClient

pytestmark = pytest.mark.hostile

NODES, CONNECTIONS = 2_000, 10_000


def an_agent(connections: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a response for the largest agent: all nodes have one type."""
    return {
        "agent": {"id": "a", "name": "Mine"},
        "agent_nodes": [
            {"agent_node_id": f"n{number}", "node_type": {"node_type_id": "t", "node_type_name": "Tile"}}
            for number in range(NODES)
        ],
        "connections": [{"source_agent_node_id": s, "target_agent_node_id": t} for s, t in connections],
    }


#: Connections of the largest agent.
SHAPES: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "cycles of two": lambda: [
        pair
        for number in range(CONNECTIONS // 2)
        for a, b in [(f"n{number % NODES}", f"n{(number * 7 + 1) % NODES}")]
        for pair in [(a, b), (b, a)]
    ],
    "a star": lambda: [("n0", f"n{number % NODES}") for number in range(CONNECTIONS)],
}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block needs more seconds of a core."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_largest_agent_is_exported_in_time(shape: Callable[[], list[tuple[str, str]]]) -> None:
    types = {"node_types": [{"node_type_id": f"t{number}", "node_type_name": "Tile"} for number in range(2_000)]}
    with (
        HostileServer(answer(200, an_agent(shape())), answer(200, types)) as server,
        SyncClient(access_to(server.url)) as client,
        within(10),
    ):
        definition = export_agent(client, "a", node_ids=False)
    assert len(definition["nodes"]) == NODES
    assert {"tile", "tile_2", f"tile_{NODES}"} <= definition["nodes"].keys()


# Compares 2,000 nodes: two to seven seconds.
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("unknown_nodes", ["keep", "remove"])
def test_the_largest_agent_is_compared_in_time(shape: Callable[[], list[tuple[str, str]]], unknown_nodes: str) -> None:
    keys = [f"k{number}" for number in range(50)]
    definition = {"name": "Mine", "nodes": {key: {"tile": "t"} for key in keys}, "connections": [keys]}
    options = ApplyOptions.validated(definition, agent_id="a", unknown_nodes=unknown_nodes, dry_run=True)
    types = {"node_types": [{"node_type_id": "t", "node_type_name": "Tile"}]}
    with (
        HostileServer(answer(200, an_agent(shape())), answer(200, types)) as server,
        SyncClient(access_to(server.url)) as client,
        within(20),
    ):
        applied = _apply(client, options)
    assert applied is None or len(applied.node_ids) == 50


def _apply(client: Any, options: ApplyOptions) -> AppliedAgent | None:
    try:
        return AgentApply(client, options, workspace_id=None).apply()
    except MosaicValidationError:
        # The kept nodes of the agent have cycles.
        return None


@pytest.mark.parametrize(
    "connections",
    [
        [pair for n in range(5_000) for pair in ([f"k{n}", f"k{n + 1}"], [f"k{n + 1}", f"k{n}"])],
        [[f"y{n}", f"z{n}"] for n in range(8_000)],
    ],
    ids=["cycles", "unknown keys"],
)
def test_large_wrong_definitions_are_rejected_in_time(connections: list[list[str]]) -> None:
    nodes = {f"k{number}": {"tile": "T"} for number in range(12_000)}
    with within(20), pytest.raises(MosaicValidationError, match="nodes=12000: an agent has at most 2,000"):
        validate_definition({"nodes": nodes, "connections": connections})
