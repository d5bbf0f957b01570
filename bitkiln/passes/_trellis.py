"""The cheapest choice for each layer under budgets, exactly: a shortest path with resources.

Layers follow each other, each takes one of its options, and what lies between two of them depends on the lanes of both.
Prices of the resources (Lagrange multipliers) give a bound and nearly always a solution; what they leave open, a search
over all partial choices decides that no other one dominates and that the bound does  (Handler and Zang, 1980).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Indices = NDArray[np.int64]

PRICE_ROUNDS = 60
MOST_LABELS = 4000
_SMALL = 1e-9


@dataclass(frozen=True)
class Option:
    """One way to build a layer: it takes `simd` lanes and gives `pe`, needs `cost`, and adds `value` to what is to be
    small."""

    simd: int
    pe: int
    cost: tuple[float, ...]
    value: float


@dataclass(frozen=True)
class Choice:
    """A layer: the values it takes, the one it gives, and its options."""

    sources: tuple[str, ...]
    node: str
    options: tuple[Option, ...]


Join = Callable[[str, int, int], tuple[float, ...] | None]
"""The cost of bringing a value from lanes to lanes, or None if that is too slow."""


@dataclass(frozen=True, eq=False)
class _Rank:
    """The edges of one layer, sorted by the state they lead to; `first` is where those of each state begin."""

    tail: Indices
    head: Indices
    option: Indices
    cost: Vector
    value: Vector
    first: Indices


@dataclass(frozen=True)
class Solution:
    """An option of each layer, what they need in all, and their value."""

    options: tuple[int, ...]
    cost: tuple[float, ...]
    value: float


@dataclass(frozen=True)
class Outcome:
    """The best solution within the budgets, or None; `nearest` is what comes closest to them. `is_proven` is false if
    the search had to leave out partial choices."""

    best: Solution | None
    nearest: Solution
    is_proven: bool


class Trellis:
    """All choices of a chain of layers; values that several layers read are kept as part of the state."""

    def __init__(self, choices: Sequence[Choice], join: Join) -> None:
        last_use = {source: i for i, choice in enumerate(choices) for source in choice.sources}
        states: dict[tuple[tuple[str, int], ...], int] = {(): 0}
        self._sizes = [1]
        self._ranks: list[_Rank] = []
        for i, choice in enumerate(choices):
            following: dict[tuple[tuple[str, int], ...], int] = {}
            edges: list[tuple[int, int, int, tuple[float, ...]]] = []
            for state, tail in states.items():
                _edges_of(choice, dict(state), tail, join, (following, edges, last_use, i))
            states = following
            if not edges:
                self._ranks = []
                return
            self._ranks.append(_rank(choice, edges))
            self._sizes.append(len(states))

    @property
    def is_empty(self) -> bool:
        """True if no choice joins all layers."""
        return not self._ranks

    def solve(self, budget: Sequence[float], most_value: float = np.inf, is_any_enough: bool = False) -> Outcome:
        """Return the least value within `budget`; with `is_any_enough` the first choice that fits will do.

        No solution within the budgets may have more than `most_value`.
        """
        limits = np.array(budget, float)
        prices = np.zeros(len(limits))
        best: Solution | None = None
        bound, bound_prices, nearest, nearest_excess = -np.inf, prices, None, np.inf
        for round_ in range(PRICE_ROUNDS):
            found, dual = self._priced(prices)
            dual -= float(prices @ limits)
            if dual > bound:
                bound, bound_prices = dual, prices
            excess = np.array(found.cost) / np.maximum(limits, 1) - limits / np.maximum(limits, 1)
            if excess.max() < nearest_excess:
                nearest, nearest_excess = found, float(excess.max())
            if excess.max() <= _SMALL and (best is None or found.value < best.value):
                best = found
                if is_any_enough:
                    return Outcome(best, best, is_proven=True)
            if bound > most_value + _SMALL or (best and bound >= best.value - _SMALL):
                break
            step = 2.0 / (1 + round_)
            prices = np.maximum(0.0, prices + step * excess / np.maximum(limits, 1))
        assert nearest is not None, "there is at least one round"
        if bound > most_value + _SMALL or (best and bound >= best.value - _SMALL):
            return Outcome(best, best or nearest, is_proven=True)
        exact, is_proven = self._search(limits, bound_prices, best.value if best else most_value + 2 * _SMALL)
        best = exact or best
        return Outcome(best, best or nearest, is_proven)

    def _priced(self, prices: Vector) -> tuple[Solution, float]:
        """The least of value plus prices times cost."""
        distance, reached = np.zeros(1), []
        for rank in self._ranks:
            candidates = distance[rank.tail] + rank.value + rank.cost @ prices
            reached.append(candidates)
            distance = np.minimum.reduceat(candidates, rank.first)
        state, edges = int(distance.argmin()), []
        for rank, candidates in zip(reversed(self._ranks), reversed(reached), strict=True):
            end = rank.first[state + 1] if state + 1 < len(rank.first) else len(rank.tail)
            edge = int(rank.first[state]) + int(candidates[rank.first[state] : end].argmin())
            edges.append(edge)
            state = int(rank.tail[edge])
        return self._solution(edges[::-1]), float(distance.min())

    def _solution(self, edges: Sequence[int]) -> Solution:
        pairs = list(zip(self._ranks, edges, strict=True))
        cost = np.sum([rank.cost[edge] for rank, edge in pairs], axis=0)
        value = sum(float(rank.value[edge]) for rank, edge in pairs)
        return Solution(tuple(int(rank.option[edge]) for rank, edge in pairs), tuple(cost.tolist()), value)

    def _rest(self, weight: Callable[[_Rank], Vector]) -> list[Vector]:
        """For each layer and state, the least weight of what follows."""
        rest = [np.zeros(self._sizes[-1])]
        for rank, size in zip(reversed(self._ranks), reversed(self._sizes[:-1]), strict=True):
            before = np.full(size, np.inf)
            np.minimum.at(before, rank.tail, weight(rank) + rest[-1][rank.head])
            rest.append(before)
        return rest[::-1]

    def _search(self, limits: Vector, prices: Vector, most: float) -> tuple[Solution | None, bool]:
        """The least value below `most` within the limits, by all partial choices that may lead to it."""
        needs = np.stack([self._flat(kind) for kind in range(len(limits))])
        rest = self._rest(lambda rank: rank.value + rank.cost @ prices)
        offsets = np.cumsum([0, *self._sizes])
        labels = [_Labels(np.zeros((1, len(limits))), np.zeros(1), np.zeros((1, 0), np.int64))]
        is_proven = True
        for i, rank in enumerate(self._ranks):
            following: list[_Labels] = []
            ends = [*rank.first[1:].tolist(), len(rank.tail)]
            for state, (start, end) in enumerate(zip(rank.first.tolist(), ends, strict=True)):
                grown = _grown(labels, rank, range(start, end))
                least = needs[:, offsets[i + 1] + state]
                fits = ((grown.cost + least <= limits + _SMALL * np.maximum(limits, 1)).all(1)) & (
                    grown.value + (grown.cost - limits) @ prices + rest[i + 1][state] < most - _SMALL
                )
                kept, is_whole = grown.where(fits).undominated()
                is_proven = is_proven and is_whole
                following.append(kept)
            labels = following
        final = _Labels.joined(labels)
        if not len(final.value):
            return None, is_proven
        return self._solution(final.edges[int(final.value.argmin())].tolist()), is_proven

    def _flat(self, kind: int) -> Vector:
        return np.concatenate(self._rest(lambda rank: rank.cost[:, kind]))


@dataclass(frozen=True, eq=False)
class _Labels:
    """Partial choices that end in one state: what they need, their value, and their edges."""

    cost: Vector
    value: Vector
    edges: Indices

    def where(self, chosen: NDArray[np.bool_]) -> _Labels:
        return _Labels(self.cost[chosen], self.value[chosen], self.edges[chosen])

    @staticmethod
    def joined(parts: Sequence[_Labels]) -> _Labels:
        return _Labels(
            np.concatenate([part.cost for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.edges for part in parts]),
        )

    def undominated(self) -> tuple[_Labels, bool]:
        """Without those that another one is at least as good as in everything; whether none else is left out."""
        order = np.argsort(self.value, kind="stable")
        all_ = np.column_stack([self.value[order], self.cost[order]])
        kept: list[int] = []
        for row in range(len(all_)):
            if not kept or not (all_[kept] <= all_[row] + _SMALL).all(1).any():
                kept.append(row)
            if len(kept) >= MOST_LABELS:
                return self._at(order[kept]), row == len(all_) - 1
        return self._at(order[kept]), True

    def _at(self, rows: Indices) -> _Labels:
        return _Labels(self.cost[rows], self.value[rows], self.edges[rows])


def _grown(labels: Sequence[_Labels], rank: _Rank, edges: range) -> _Labels:
    """The labels of an edge's tail with the edge, for each of `edges`."""
    parts = []
    for edge in edges:
        before = labels[int(rank.tail[edge])]
        number = np.full((len(before.value), 1), edge)
        parts.append(
            _Labels(before.cost + rank.cost[edge], before.value + rank.value[edge], np.hstack([before.edges, number]))
        )
    return _Labels.joined(parts)


Known = tuple[
    dict[tuple[tuple[str, int], ...], int],
    list[tuple[int, int, int, tuple[float, ...]]],
    Mapping[str, int],
    int,
]


def _edges_of(choice: Choice, lanes: dict[str, int], tail: int, join: Join, known: Known) -> None:
    """Add the edges of one state and the states that they lead to."""
    following, edges, last_use, position = known
    for number, option in enumerate(choice.options):
        joins = [join(source, lanes.get(source, option.simd), option.simd) for source in choice.sources]
        if any(cost is None for cost in joins):
            continue
        total = tuple(map(sum, zip(option.cost, *(cost for cost in joins if cost), strict=True)))
        after = {**dict.fromkeys(choice.sources, option.simd), **lanes, choice.node: option.pe}
        state = tuple((name, width) for name, width in after.items() if last_use.get(name, -1) > position)
        head = following.setdefault(state, len(following))
        edges.append((tail, head, number, total))


def _rank(choice: Choice, edges: list[tuple[int, int, int, tuple[float, ...]]]) -> _Rank:
    edges = sorted(edges, key=lambda edge: (edge[1], edge[0], edge[2]))
    tail, head, option = (np.array([edge[n] for edge in edges]) for n in range(3))
    cost = np.array([edge[3] for edge in edges], float)
    value = np.array([choice.options[edge[2]].value for edge in edges], float)
    first = np.flatnonzero(np.diff(head, prepend=-1))
    return _Rank(tail, head, option, cost, value, first)
