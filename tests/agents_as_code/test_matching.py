"""Which tile is which: the match that leaves the fewest operations, held against trying out all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations, product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.agents_as_code.matching import OPERATION, Graph, match

KINDS = "abc"


def graph(types: str, edges: Any = (), params: Any = None) -> Graph:
    return Graph(types=list(types), params=params or [{} for _ in types], edges=frozenset(edges))


def differing(wanted: Graph, there: Graph) -> Any:
    return lambda w, e: int(wanted.params[w] != there.params[e])


def matched(wanted: Graph, there: Graph, pinned: Mapping[int, int] | None = None) -> dict[int, int]:
    return match(wanted, there, differing=differing(wanted, there), pinned=pinned or {})


def operations(wanted: Graph, there: Graph, chosen: Mapping[int, int]) -> int:
    """What a match costs: nodes that are made or updated, connections that are made or cut."""
    nodes = sum(w not in chosen or wanted.params[w] != there.params[chosen[w]] for w in range(len(wanted.types)))
    moved = {(chosen.get(s, -1 - s), chosen.get(t, -1 - t)) for s, t in wanted.edges}
    kept = {(s, t) for s, t in there.edges if s in chosen.values() and t in chosen.values()}
    return nodes + len(moved ^ kept)


def all_matches(wanted: Graph, there: Graph) -> Iterator[dict[int, int]]:
    """Every match that uses as many tiles of each type as there can be used."""
    ways = []
    for kind in sorted(set(wanted.types)):
        ours = [i for i, each in enumerate(wanted.types) if each == kind]
        theirs = [i for i, each in enumerate(there.types) if each == kind]
        size = min(len(ours), len(theirs))
        ways.append(
            [
                list(zip(some, others, strict=True))
                for some in combinations(ours, size)
                for others in permutations(theirs, size)
            ]
        )
    for chosen in product(*ways):
        yield {w: e for pairs in chosen for w, e in pairs}


@st.composite
def graphs(draw: st.DrawFn, most: int) -> Graph:
    types = draw(st.text(alphabet=KINDS, max_size=most))
    possible = list(combinations(range(len(types)), 2))
    edges = draw(st.lists(st.sampled_from(possible), unique=True, max_size=8)) if possible else []
    params = draw(st.lists(st.sampled_from([{}, {"p": 1}]), min_size=len(types), max_size=len(types)))
    return graph(types, edges, params)


@settings(max_examples=300, deadline=None)
@given(graphs(5), graphs(5))
@example(graph("aaa", [(0, 1)]), graph("aa", [(0, 1)]))
@example(graph(""), graph("a"))
def test_no_other_match_takes_fewer_operations(wanted: Graph, there: Graph) -> None:
    found = matched(wanted, there)
    assert len(set(found.values())) == len(found)
    assert all(wanted.types[w] == there.types[e] for w, e in found.items())
    cheapest = min(operations(wanted, there, other) for other in all_matches(wanted, there))
    assert operations(wanted, there, found) == cheapest


@st.composite
def shuffled(draw: st.DrawFn, most: int) -> tuple[Graph, Graph]:
    """A graph and the same one with its tiles in another order."""
    count = draw(st.integers(0, most))
    types = draw(st.lists(st.sampled_from(KINDS[: draw(st.integers(1, 3))]), min_size=count, max_size=count))
    random = draw(st.randoms(use_true_random=False))
    density = draw(st.sampled_from([0.02, 0.05, 0.2, 0.5]))
    edges = [pair for pair in combinations(range(count), 2) if random.random() < density]
    params = [{"p": random.randrange(draw(st.just(3)))} if random.random() < 0.3 else {} for _ in types]
    places = list(range(count))
    random.shuffle(places)
    there = Graph(
        types=[types[places.index(i)] for i in range(count)],
        params=[params[places.index(i)] for i in range(count)],
        edges=frozenset((places[s], places[t]) for s, t in edges),
    )
    return graph("".join(types), edges, params), there


@settings(max_examples=60, deadline=None)
@given(shuffled(50))
def test_the_same_graph_in_another_order_needs_no_operation(pair: tuple[Graph, Graph]) -> None:
    wanted, there = pair
    found = matched(wanted, there)
    assert operations(wanted, there, found) == 0


@settings(max_examples=40, deadline=None)
@given(shuffled(40), st.data())
def test_what_a_person_added_is_not_mistaken_for_what_is_defined(
    pair: tuple[Graph, Graph], data: st.DataObject
) -> None:
    wanted, there = pair
    more = data.draw(st.text(alphabet=KINDS, max_size=4))
    count = len(there.types)
    possible = [(s, t) for s in range(count) for t in range(count, count + len(more))]
    edges = data.draw(st.lists(st.sampled_from(possible), unique=True, max_size=6)) if possible else []
    bigger = Graph(
        types=[*there.types, *more],
        params=[*there.params, *({"added": True} for _ in more)],
        edges=there.edges | frozenset(edges),
    )
    assert operations(wanted, bigger, matched(wanted, bigger)) == 0


@pytest.mark.parametrize("shape", ["chains", "stars", "tree", "apart", "grid"])
def test_graphs_that_look_alike_everywhere_are_matched_all_the_same(shape: str) -> None:
    count = 48
    edges = {
        "chains": [(i, i + 1) for i in range(count - 1) if i % 4 != 3],
        "stars": [(i - i % 6, i) for i in range(count) if i % 6],
        "tree": [((i - 1) // 2, i) for i in range(1, count)],
        "apart": [],
        "grid": [
            (i, i + step) for i in range(count) for step in (1, 8) if i + step < count and (step == 8 or i % 8 != 7)
        ],
    }[shape]
    places = [(i * 29 + 7) % count for i in range(count)]
    wanted = graph("a" * count, edges)
    there = graph("a" * count, [(places[s], places[t]) for s, t in edges])
    assert operations(wanted, there, matched(wanted, there)) == 0


def test_one_change_in_a_large_graph_stays_one_change() -> None:
    count = 50
    edges = [((i * 7) % i, i) for i in range(1, count)] + [(i, i + 5) for i in range(0, count - 5, 3)]
    types = "".join("abcde"[i * i % 5] for i in range(count))
    wanted = graph(types, set(edges), [{"p": i % 4} for i in range(count)])
    params = [dict(each) for each in wanted.params]
    params[17] = {"p": "changed"}
    there = graph(types, set(edges) - {edges[20]}, params)
    assert operations(wanted, there, matched(wanted, there)) == 2


def test_of_equal_matches_the_one_that_changes_fewer_parameters_is_taken() -> None:
    wanted = graph("aa", params=[{"p": 1, "q": 1}, {"p": 2, "q": 2}])
    there = graph("aa", params=[{"p": 2, "q": 0}, {"p": 1, "q": 0}])

    def count(w: int, e: int) -> int:
        return sum(there.params[e][name] != value for name, value in wanted.params[w].items())

    assert match(wanted, there, differing=count, pinned={}) == {0: 1, 1: 0}
    assert OPERATION > 1


def test_a_pinned_tile_is_that_one_whatever_it_costs() -> None:
    wanted, there = graph("aa", params=[{"p": 1}, {}]), graph("aa", params=[{"p": 1}, {}])
    assert matched(wanted, there) == {0: 0, 1: 1}
    assert matched(wanted, there, {0: 1}) == {0: 1, 1: 0}
    assert matched(graph("a"), graph("aa"), {0: 1}) == {0: 1}
