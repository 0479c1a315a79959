"""
Match the nodes of a definition with the nodes of an agent.

Mosaic stores no keys, so node types, connections and params decide. At first, each defined node has all nodes of its
type as candidates. The best candidates remain: those that lose the fewest connections, and of these those with the
fewest params to change. When a node loses candidates, only the candidates of its neighbours that were connected with
them are compared again: without that, a few hundred equal nodes would take minutes. When nothing changes any more, the
node with the fewest candidates takes one.

If an agent matches its definition, this finds the match, except in rare cases among nodes that look alike. If it does
not, the match is good, but not always the one with the fewest operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The nodes and connections of a definition or of an agent."""

    types: Mapping[str, str]
    connections: Iterable[tuple[str, str]]
    targets: dict[str, set[str]] = field(init=False, repr=False)
    sources: dict[str, set[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", {node: set() for node in self.types})
        object.__setattr__(self, "sources", {node: set() for node in self.types})
        for source, target in self.connections:
            if source in self.types and target in self.types:
                self.targets[source].add(target)
                self.sources[target].add(source)

    def neighbours(self, node: str) -> list[str]:
        """Return the nodes that a node is connected with, sorted."""
        return sorted(self.targets[node] | self.sources[node])


def match(
    defined: Graph, existing: Graph, *, count_changed: Callable[[str, str], int], fixed: Mapping[str, str]
) -> dict[str, str]:
    """
    Return the existing node of each defined node. A node that must be created is left out.

    A node is created only if no existing node of its type is left. Equal arguments give equal results.

    :param count_changed: Returns how many params of an existing node must change to match a defined node.
    :param fixed: Existing nodes by defined node, where the match is known.
    """
    matcher = _Matcher(defined, existing, count_changed, fixed)
    matcher.narrow()
    while matcher.open:
        matcher.match_next()
    return matcher.matches


class _Matcher:
    """The candidates of each defined node."""

    def __init__(
        self, defined: Graph, existing: Graph, count_changed: Callable[[str, str], int], fixed: Mapping[str, str]
    ) -> None:
        self._defined = defined
        self._existing = existing
        self._count_changed = count_changed
        self.matches = dict(fixed)
        self._used = set(fixed.values())
        self._free = {node_type: set[str]() for node_type in defined.types.values()}
        for node, node_type in existing.types.items():
            if node_type in self._free and node not in self._used:
                self._free[node_type].add(node)
        self._candidates = {
            node: {fixed[node]} if node in fixed else set(self._free[node_type])
            for node, node_type in defined.types.items()
        }
        #: The nodes to match, each with the rank of its candidates.
        self.open = {node: (0, 0) for node in defined.types if node not in fixed and self._candidates[node]}
        # Nodes whose candidates must be compared: some of them, or None for all.
        self._to_check: dict[str, set[str] | None] = dict.fromkeys(self.open)

    def narrow(self) -> None:
        """Keep the best candidates of each node to check, until no node loses candidates."""
        while self._to_check:
            node, candidates = next(iter(self._to_check.items()))
            del self._to_check[node]
            if node in self.open:
                self._keep_best(node, candidates)

    def _keep_best(self, node: str, changed: set[str] | None) -> None:
        """Remove all candidates but the best. ``changed`` are those whose rank may have changed; None means all."""
        candidates = self._candidates[node]
        if changed is not None:
            # Neighbours only lose candidates, so no rank improves. What still has the best rank stays, if there is any.
            worse = {each for each in changed & candidates if self._rank(node, each) != self.open[node]}
            if len(worse) < len(candidates):
                self._remove(node, worse)
                return
        ranks = {candidate: self._rank(node, candidate) for candidate in candidates}
        self.open[node] = best = min(ranks.values())
        self._remove(node, {candidate for candidate, rank in ranks.items() if rank != best})

    def _remove(self, node: str, candidates: set[str]) -> None:
        """Remove candidates of a node. Its neighbours must compare the candidates that are connected with them."""
        self._candidates[node] -= candidates
        for near in self._defined.neighbours(node) if candidates else ():
            # None if all candidates of the neighbour are compared anyway.
            if near in self.open and (changed := self._to_check.setdefault(near, set())) is not None:
                for candidate in candidates:
                    changed |= self._existing.targets[candidate] | self._existing.sources[candidate]

    def match_next(self) -> None:
        """Match the node with the fewest and best candidates."""
        node = min(self.open, key=lambda each: (len(self._candidates[each]), self.open[each]))
        chosen = min(self._candidates[node], key=self._count_foreign)
        del self.open[node]
        self.matches[node] = chosen
        self._used.add(chosen)
        self._remove(node, self._candidates[node] - {chosen})
        free = self._free[self._defined.types[node]]
        free.remove(chosen)
        for other in list(self.open):
            if chosen in self._candidates[other]:
                self._remove(other, {chosen})
                if not self._candidates[other]:
                    self._refill(other, free)
        self.narrow()

    def _refill(self, node: str, free: set[str]) -> None:
        """Give a node that lost its last candidate any free node of its type."""
        self._candidates[node] = set(free)
        if not free:
            del self.open[node]
        self._to_check |= dict.fromkeys([node, *self._defined.neighbours(node)])

    def _rank(self, node: str, candidate: str) -> tuple[int, int]:
        """Return how many connections the match loses, and how many params it changes."""
        lost = self._count_lost(self._defined.targets[node], self._existing.targets[candidate])
        lost += self._count_lost(self._defined.sources[node], self._existing.sources[candidate])
        return lost, self._count_changed(node, candidate)

    def _count_lost(self, defined: set[str], existing: set[str]) -> int:
        """Return how many defined neighbours, at least, match none of the existing neighbours."""
        if not defined:
            return 0
        # Two of them cannot match the same node.
        possible = [self._candidates[node] & existing for node in defined]
        return len(defined) - min(sum(map(bool, possible)), len(set().union(*possible)))

    def _count_foreign(self, candidate: str) -> tuple[int, int, str]:
        """Return how many connections a candidate has with used nodes, and in all. Equal ones are sorted by id."""
        near = self._existing.neighbours(candidate)
        return len(self._used.intersection(near)), len(near), candidate
