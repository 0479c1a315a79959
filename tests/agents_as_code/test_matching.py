"""Match the nodes of a definition with those of an agent."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.agents_as_code.matching import Graph, match

TYPES = "abc"
#: A node's type and params.
Node = tuple[str, int]
Edges = Collection[tuple[int, int]]


def run_match(
    defined: list[Node],
    defined_edges: Edges,
    existing: list[Node],
    existing_edges: Edges,
    fixed: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Match nodes by their position in each list."""
    matches = match(
        Graph(types={f"d{i:03}": node[0] for i, node in enumerate(defined)}, connections=_named("d", defined_edges)),
        Graph(types={f"e{i:03}": node[0] for i, node in enumerate(existing)}, connections=_named("e", existing_edges)),
        count_changed=lambda d, e: int(defined[int(d[1:])][1] != existing[int(e[1:])][1]),
        fixed={f"d{d:03}": f"e{e:03}" for d, e in (fixed or {}).items()},
    )
    return {int(d[1:]): int(e[1:]) for d, e in matches.items()}


def _named(prefix: str, edges: Edges) -> list[tuple[str, str]]:
    return [(f"{prefix}{source:03}", f"{prefix}{target:03}") for source, target in edges]


def count_operations(
    defined: list[Node], defined_edges: Edges, existing: list[Node], existing_edges: Edges, matches: Mapping[int, int]
) -> int:
    """Count created and updated nodes, and created and deleted connections."""
    nodes = sum(d not in matches or node != existing[matches[d]] for d, node in enumerate(defined))
    needed = {(matches.get(s, -1 - s), matches.get(t, -1 - t)) for s, t in defined_edges}
    kept = {(s, t) for s, t in existing_edges if s in matches.values() and t in matches.values()}
    return nodes + len(needed ^ kept)


def shuffle(nodes: list[Node], edges: Edges, rng: random.Random) -> tuple[list[Node], list[tuple[int, int]]]:
    """Return the same graph with its nodes in another order."""
    order = list(range(len(nodes)))
    rng.shuffle(order)
    return [nodes[i] for i in order], [(order.index(s), order.index(t)) for s, t in edges]


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int) -> tuple[list[Node], list[tuple[int, int]]]:
    nodes = draw(st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 1)), max_size=max_nodes))
    possible = list(combinations(range(len(nodes)), 2))
    edges = draw(st.lists(st.sampled_from(possible), unique=True, max_size=12)) if possible else []
    return nodes, edges


@settings(max_examples=300)
@given(graphs(6), graphs(6))
@example(([("a", 0)] * 3, [(0, 1)]), ([("a", 0)] * 2, [(0, 1)]))
@example(([], []), ([("a", 0)], []))
def test_existing_nodes_are_used_before_new_ones_are_created(defined: Any, existing: Any) -> None:
    matches = run_match(*defined, *existing)
    assert len(set(matches.values())) == len(matches)
    assert all(defined[0][d][0] == existing[0][e][0] for d, e in matches.items())
    for node_type in TYPES:
        counts = [sum(node[0] == node_type for node in nodes) for nodes, _ in (defined, existing)]
        assert sum(defined[0][d][0] == node_type for d in matches) == min(counts)


def agent_graph(rng: random.Random, count: int, types: str) -> tuple[list[Node], list[tuple[int, int]]]:
    """Return a graph like those of agents: each node has a source, some have two, and types and params repeat."""
    nodes = [(rng.choice(types), rng.choice([0, 0, 1, 2])) for _ in range(count)]
    edges = [(rng.randrange(max(0, i - 4), i), i) for i in range(1, count)]
    more = [(rng.randrange(max(0, i - 6), i), i) for i in range(1, count) if rng.random() < 0.3]
    return nodes, sorted({*edges, *more})


@pytest.mark.parametrize("types", ["a", "abc", "abcdefgh"])
@pytest.mark.parametrize("added", [0, 3])
def test_an_agent_that_matches_needs_no_operation(types: str, added: int) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        defined = agent_graph(rng, rng.randrange(1, 50), types)
        nodes, edges = shuffle(*defined, rng)
        for _ in range(added):
            # Nodes that a user added in the editor.
            edges.append((rng.randrange(len(nodes)), len(nodes)))
            nodes.append((rng.choice(types), 9))
        assert count_operations(*defined, nodes, edges, run_match(*defined, nodes, edges)) == 0, seed


@pytest.mark.parametrize("shape", ["chains", "stars", "tree", "no connections", "grid"])
def test_a_graph_of_equal_nodes_needs_no_operation(shape: str) -> None:
    count = 48
    edges = {
        "chains": [(i, i + 1) for i in range(count - 1) if i % 4 != 3],
        "stars": [(i - i % 6, i) for i in range(count) if i % 6],
        "tree": [((i - 1) // 2, i) for i in range(1, count)],
        "no connections": [],
        "grid": [
            (i, i + step) for i in range(count) for step in (1, 8) if i + step < count and (step == 8 or i % 8 != 7)
        ],
    }[shape]
    defined = [("a", 0)] * count, edges
    existing = shuffle(*defined, random.Random(1))
    assert count_operations(*defined, *existing, run_match(*defined, *existing)) == 0


def test_one_changed_node_and_connection_in_a_large_graph_are_two_operations() -> None:
    rng = random.Random(1)
    nodes, edges = agent_graph(rng, 50, "abcde")
    existing, existing_edges = shuffle(nodes, edges, rng)
    nodes[17] = (nodes[17][0], 5)
    changed = nodes, edges[:20] + edges[21:]
    assert count_operations(*changed, existing, existing_edges, run_match(*changed, existing, existing_edges)) == 2


CUTS: list[Node] = [("in", 0), ("cut", 60), ("cut", 30), ("out", 0)]
CHAIN = [(0, 1), (1, 2), (2, 3)]


def test_connections_decide_before_params() -> None:
    same = [("in", 0), ("cut", 30), ("cut", 30), ("out", 0)]
    assert run_match(same, CHAIN, CUTS, CHAIN) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_an_inserted_node_is_created() -> None:
    existing: list[Node] = [("in", 0), ("cut", 60), ("out", 0)]
    inserted: list[Node] = [("in", 0), ("cut", 10), ("cut", 60), ("out", 0)]
    assert run_match(inserted, CHAIN, existing, [(0, 1), (1, 2)]) == {0: 0, 2: 1, 3: 2}


def test_params_decide_between_equally_connected_nodes() -> None:
    matches = match(
        Graph(types={"p": "a", "q": "a"}, connections=[]),
        Graph(types={"1": "a", "2": "a"}, connections=[]),
        count_changed=lambda key, node_id: {("p", "1"): 2, ("p", "2"): 1, ("q", "1"): 1, ("q", "2"): 2}[key, node_id],
        fixed={},
    )
    assert matches == {"p": "2", "q": "1"}


def test_equal_nodes_are_taken_in_the_order_of_their_ids() -> None:
    types = dict.fromkeys(["2", "3", "1"], "a")
    existing = Graph(types=types, connections=[])
    defined = Graph(types={"p": "a", "q": "a"}, connections=[])
    assert match(defined, existing, count_changed=lambda d, e: 0, fixed={}) == {"p": "1", "q": "2"}


def test_fixed_matches_are_kept() -> None:
    nodes: list[Node] = [("a", 1), ("a", 0)]
    assert run_match(nodes, [], nodes, []) == {0: 0, 1: 1}
    assert run_match(nodes, [], nodes, [], {0: 1}) == {0: 1, 1: 0}
    assert run_match([("a", 0)], [], nodes, [], {0: 1}) == {0: 1}


@pytest.mark.parametrize("connected", [False, True], ids=["no connections", "chains"])
def test_hundreds_of_equal_nodes_are_matched_in_seconds(connected: bool) -> None:
    count = 399
    defined = [("a", 0)] * count, [(i, i + 1) for i in range(count - 1) if connected and i % 3 != 2]
    existing = shuffle(*defined, random.Random(1))
    before = time.process_time()
    assert count_operations(*defined, *existing, run_match(*defined, *existing)) == 0
    # In cubic time it takes more than a minute.
    assert time.process_time() - before < 20
