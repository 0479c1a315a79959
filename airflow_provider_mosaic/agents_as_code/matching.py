"""
Which tile of an agent is which of a definition: Mosaic keeps no keys, so the graphs are laid upon each other.

Tiles of the same type are matched so that the fewest operations are left over, among these so that the fewest
parameters change. A tile that is there is always used before a new one is made. Finding the best match of two graphs is
hard in general; what is the same but for names is found first, and what is not is searched for within a bound of work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What an operation counts for, beside a parameter that it changes.
OPERATION = 1_000_000
#: Entries that the searches look at before they are content with the best that they have; some tenths of a second each.
_WORK = 200_000
#: How far around a tile the look-alikes are compared.
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Graph:
    """
    A graph with its tiles in order.

    :param types: The type of each tile.
    :param params: The parameters of each tile.
    :param edges: Pairs of places: what leads into what.
    """

    types: Sequence[str]
    params: Sequence[Mapping[str, Any]]
    edges: frozenset[tuple[int, int]]
    after: tuple[frozenset[int], ...] = field(init=False, repr=False)
    before: tuple[frozenset[int], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        places = range(len(self.types))
        after = tuple(frozenset(t for s, t in self.edges if s == place) for place in places)
        before = tuple(frozenset(s for s, t in self.edges if t == place) for place in places)
        object.__setattr__(self, "after", after)
        object.__setattr__(self, "before", before)


def match(
    wanted: Graph, there: Graph, *, differing: Callable[[int, int], int], pinned: Mapping[int, int]
) -> dict[int, int]:
    """
    Match two graphs.

    :param wanted: The graph that is to be.
    :param there: The graph that is there.
    :param differing: How many parameters of a tile that is there must change to be a wanted one.
    :param pinned: Matches that are settled, by their places.
    :returns: By the place of a wanted tile the place of the one that is there; tiles to be made are left out.
    """
    taken = set(pinned.values())
    costs: list[dict[int, int]] = []
    for w, kind in enumerate(wanted.types):
        free = [e for e, other in enumerate(there.types) if other == kind and e not in taken]
        fitting = [pinned[w]] if w in pinned else free
        changes = {e: differing(w, e) for e in fitting}
        costs.append({e: OPERATION + count if count else 0 for e, count in changes.items()})
    search = _Search(wanted, there, costs)
    found = search.same() or search.cheapest()
    return {w: e for w, e in found.items() if e < len(there.types)}


class _Search:
    """The search for one match. Tiles to be made are extra places beyond those that are there, with no edges."""

    def __init__(self, wanted: Graph, there: Graph, costs: list[dict[int, int]]) -> None:
        self._wanted = wanted
        self._there = there
        self._costs = [dict(row) for row in costs]
        self._count = len(wanted.types)
        self._work = 0
        self._lacking = self._add_places_for_new()
        nothing: frozenset[int] = frozenset()
        self._after = (*there.after, *([nothing] * self._lacking))
        self._before = (*there.before, *([nothing] * self._lacking))

    def _add_places_for_new(self) -> int:
        """Give the tiles of a type that has too few as many extra places as it lacks."""
        alike: dict[tuple[str, frozenset[int]], list[int]] = {}
        for w, row in enumerate(self._costs):
            # A pinned tile has one place of its own and lacks nothing.
            alike.setdefault((self._wanted.types[w], frozenset(row)), []).append(w)
        lacking = 0
        for (_, fitting), tiles in alike.items():
            for _ in range(len(tiles) - len(fitting)):
                for w in tiles:
                    self._costs[w][len(self._there.types) + lacking] = OPERATION
                lacking += 1
        return lacking

    # The same graph but for names

    def same(self) -> dict[int, int] | None:
        """A match that needs no operation on what is matched, if there is one and it is found."""
        domains = [{e for e, cost in row.items() if not cost} for row in self._costs]
        self._work = _WORK
        if self._lacking or not self._prune(domains, set(range(self._count))):
            return None
        return self._settle(domains)

    def _settle(self, domains: list[set[int]]) -> dict[int, int] | None:
        open_places = [w for w in range(self._count) if len(domains[w]) > 1]
        if not open_places:
            return {w: next(iter(domain)) for w, domain in enumerate(domains)}
        w = min(open_places, key=lambda place: (len(domains[place]), place))
        for e in sorted(domains[w]):
            narrowed = [set(domain) for domain in domains]
            narrowed[w] = {e}
            if self._work > 0 and self._prune(narrowed, {w}):
                found = self._settle(narrowed)
                if found is not None:
                    return found
        return None

    def _prune(self, domains: list[set[int]], dirty: set[int]) -> bool:
        """
        Take out what can't be: a tile fits only where its neighbours fit on neighbours, each on one of its own.

        :param domains: For each wanted tile where it may be; changed in place.
        :param dirty: The tiles whose domains have changed.
        :returns: Whether every tile still fits somewhere.
        """
        wanted = self._wanted
        while dirty:
            if not all(domains):
                return False
            changed = dirty
            dirty = set()
            for w in changed:
                if len(domains[w]) == 1 and not self._claim(w, domains, dirty):
                    return False
            touched = {near for w in changed for near in wanted.after[w] | wanted.before[w]} | changed
            for w in touched:
                self._work -= len(domains[w])
                after, before = wanted.after[w], wanted.before[w]
                fitting = {
                    e
                    for e in domains[w]
                    if _fit(after, self._after[e], domains) and _fit(before, self._before[e], domains)
                }
                if fitting != domains[w]:
                    domains[w] = fitting
                    dirty.add(w)
        return all(domains)

    def _claim(self, w: int, domains: list[set[int]], dirty: set[int]) -> bool:
        """Tell the others that a tile has its place: nobody else is there, and what is not connected stays apart."""
        (e,) = domains[w]
        for other, domain in enumerate(domains):
            if other == w:
                continue
            left = domain - {e}
            left = left & self._after[e] if other in self._wanted.after[w] else left - self._after[e]
            left = left & self._before[e] if other in self._wanted.before[w] else left - self._before[e]
            if left != domain:
                domains[other] = left
                dirty.add(other)
                if not left:
                    return False
        return True

    # The cheapest match

    def cheapest(self) -> dict[int, int]:
        """The match with the fewest operations that was found."""
        hints = self._hints()
        self._work = _WORK
        best = self._improved(self._descend(dict(enumerate(self._costs)), {}, hints))
        self._bound = self._total(best)
        self._best = best
        self._branch(dict(enumerate(self._costs)), {}, 0, hints)
        return self._best

    def _branch(
        self, table: dict[int, dict[int, int]], chosen: dict[int, int], cost: int, hints: list[dict[int, int]]
    ) -> None:
        """Try all that could still be cheaper, the likeliest first."""
        if not table:
            if cost < self._bound:
                self._bound, self._best = cost, dict(chosen)
            return
        w = self._next(table, hints)
        row = table[w]
        floor = cost + sum(min(other.values(), default=0) for place, other in table.items() if place != w)
        tried_new = False
        for e in sorted(row, key=lambda place: (row[place], hints[w].get(place, _ROUNDS + 1), place)):
            if floor + row[e] >= self._bound or self._work <= 0:
                return
            if e >= len(self._there.types):
                # All places for new tiles are alike.
                if tried_new:
                    continue
                tried_new = True
            narrowed = self._narrowed(table, w, e)
            if all(narrowed.values()):
                self._branch(narrowed, {**chosen, w: e}, cost + row[e], hints)

    def _descend(
        self, table: dict[int, dict[int, int]], chosen: dict[int, int], hints: list[dict[int, int]]
    ) -> dict[int, int]:
        """The likeliest place for one tile after the other."""
        while table:
            w = self._next(table, hints)
            row = table[w]
            e = min(row, key=lambda place: (row[place], hints[w].get(place, _ROUNDS + 1), place))
            chosen[w] = e
            table = self._narrowed(table, w, e)
        return chosen

    def _next(self, table: dict[int, dict[int, int]], hints: list[dict[int, int]]) -> int:
        """The tile about whose place there is the least doubt."""

        def doubt(w: int) -> tuple[int, int, int, int]:
            ranked = sorted((cost, hints[w].get(e, _ROUNDS + 1)) for e, cost in table[w].items())[:2]
            if len(ranked) < 2:
                return (-1, 0, 0, w)
            (cost, hint), (second, second_hint) = ranked
            return (hint, cost - second, hint - second_hint, w)

        return min(table, key=doubt)

    def _narrowed(self, table: dict[int, dict[int, int]], w: int, e: int) -> dict[int, dict[int, int]]:
        """The costs of what is left once a tile has its place."""
        after, before = self._after[e], self._before[e]
        narrowed: dict[int, dict[int, int]] = {}
        for other, row in table.items():
            if other == w:
                continue
            out, into = other in self._wanted.after[w], other in self._wanted.before[w]
            self._work -= len(row)
            narrowed[other] = {
                place: cost + OPERATION * ((out != (place in after)) + (into != (place in before)))
                for place, cost in row.items()
                if place != e
            }
        return narrowed

    def _total(self, chosen: Mapping[int, int]) -> int:
        nodes = sum(self._costs[w][e] for w, e in chosen.items())
        return nodes + OPERATION * (sum(self._mismatches(w, chosen, ()) for w in chosen) // 2)

    def _mismatches(self, w: int, chosen: Mapping[int, int], leaving_out: Sequence[int]) -> int:
        """How many connections of a tile with others would have to be made or cut."""
        after, before, e = self._wanted.after[w], self._wanted.before[w], chosen[w]
        out, into = self._after[e], self._before[e]
        return sum(
            ((other in after) != (place in out)) + ((other in before) != (place in into))
            for other, place in chosen.items()
            if other != w and other not in leaving_out
        )

    def _improved(self, chosen: dict[int, int]) -> dict[int, int]:
        """The match after all exchanges of two places, and moves to free ones, that make it cheaper."""

        def around(*tiles: int) -> int:
            own = sum(self._costs[w][chosen[w]] for w in tiles)
            return own + OPERATION * sum(self._mismatches(w, chosen, tiles[:i]) for i, w in enumerate(tiles))

        better = True
        while better and self._work > 0:
            better = False
            for w in range(self._count):
                holders = {place: other for other, place in chosen.items()}
                for e in self._costs[w]:
                    other, mine = holders.get(e), chosen[w]
                    if e == mine or (other is not None and mine not in self._costs[other]):
                        continue
                    tiles = (w,) if other is None else (w, other)
                    self._work -= 4 * self._count
                    before = around(*tiles)
                    chosen[w] = e
                    if other is not None:
                        chosen[other] = mine
                    if around(*tiles) < before:
                        better = True
                        holders = {place: tile for tile, place in chosen.items()}
                        continue
                    chosen[w] = mine
                    if other is not None:
                        chosen[other] = e
        return chosen

    def _hints(self) -> list[dict[int, int]]:
        """For each wanted tile and each place how soon their surroundings differ: 0 where they look alike."""
        ours, theirs = _surroundings(self._wanted), _surroundings(self._there)
        return [
            {
                e: _ROUNDS - next((i for i in range(_ROUNDS) if ours[i][w] != theirs[i][e]), _ROUNDS)
                for e in row
                if e < len(self._there.types)
            }
            for w, row in enumerate(self._costs)
        ]


def _fit(wanted: frozenset[int], there: frozenset[int], domains: list[set[int]]) -> bool:
    """Whether each of some tiles fits on one of its own among some others."""
    if len(wanted) > len(there):
        return False
    holder: dict[int, int] = {}

    def place(w: int, refused: set[int]) -> bool:
        for e in there & domains[w]:
            if e not in refused:
                refused.add(e)
                if e not in holder or place(holder[e], refused):
                    holder[e] = w
                    return True
        return False

    return all(place(w, set()) for w in wanted)


def _surroundings(graph: Graph) -> list[list[int]]:
    """Each tile's looks: by itself, with its neighbours, with theirs."""
    own = zip(graph.types, graph.params, strict=True)
    rounds = [[hash((kind, repr(sorted(params.items())))) for kind, params in own]]
    for _ in range(_ROUNDS - 1):
        last = rounds[-1]

        def around(near: frozenset[int], last: list[int] = last) -> tuple[int, ...]:
            return tuple(sorted(last[place] for place in near))

        rounds.append(
            [hash((last[i], around(graph.before[i]), around(graph.after[i]))) for i in range(len(graph.types))]
        )
    return rounds
