"""k-means on a line. Sorting makes clusters runs of neighbours, whose sums are differences of prefix sums.

Lloyd's iteration then costs a few binary searches however many values there are, and dynamic programming finds the
global optimum (Wang and Song, 2011) where few enough values differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

MAX_OPTIMAL = 1 << 12
"""Distinct values up to which the optimum is found; above it starts Lloyd's iteration from that of as many cells."""
MAX_STEPS = 5000
MAX_ROUNDS = 32
_CHUNK = 1 << 20

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Initialisation(Enum):
    """Where the centroids are before they move.

    linear: evenly between the least and the largest value, which keeps large weights. density: where the sorted values
    have equal numbers between them. random: at distinct values. optimal: the least squared error of all.
    """

    LINEAR = "linear"
    DENSITY = "density"
    RANDOM = "random"
    OPTIMAL = "optimal"


@dataclass(frozen=True, eq=False)
class Line:
    """Finite values in rising order, with the sums of the first 0, 1, ... of them."""

    values: NDArray[Any]
    sums: Floats

    @classmethod
    def of(cls, values: NDArray[Any]) -> Line:
        ordered = np.sort(values, axis=None)
        return cls(ordered, _prefix_sums(ordered))

    @cached_property
    def squares(self) -> Floats:
        """Sums of the first squares."""
        return _prefix_sums(np.square(self.values, dtype=np.float64))

    def cuts(self, centroids: Floats) -> Places:
        """Where the run of each centroid begins and the last one ends; a value halfway goes to the lower centroid."""
        halves = boundaries(centroids, self.values.dtype)
        inner = np.searchsorted(self.values, halves, side="right")
        return np.concatenate([[0], inner, [len(self.values)]])

    def means(self, cuts: Places, otherwise: Floats) -> Floats:
        """The mean of each run, or what `otherwise` says for empty ones."""
        sizes = np.diff(cuts)
        return np.where(sizes > 0, np.diff(self.sums[cuts]) / np.maximum(sizes, 1), otherwise)

    def errors(self, cuts: Places) -> Floats:
        """The squared error of each run around its mean."""
        sizes = np.maximum(np.diff(cuts), 1)
        return np.maximum(np.diff(self.squares[cuts]) - np.diff(self.sums[cuts]) ** 2 / sizes, 0)


def _prefix_sums(values: NDArray[Any]) -> Floats:
    sums = np.empty(len(values) + 1)
    sums[0] = 0
    np.cumsum(values, dtype=np.float64, out=sums[1:])
    return sums


def boundaries(centroids: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The largest value of `dtype` that is not above the middle of each two neighbours."""
    exact = (centroids[1:] + centroids[:-1]) / 2
    rounded = exact.astype(dtype)
    return np.where(rounded > exact, np.nextafter(rounded, dtype.type(-np.inf)), rounded)


def cluster(line: Line, count: int, start: Initialisation, seed: int) -> Floats:
    """Return `count` centroids in rising order, each the mean of the values that are nearest to it.

    At least `count` values must differ. Clusters that end up empty are given half of the worst ones, until none is
    empty or nothing can be halved.
    """
    centroids = settle(line, _start(line, count, start, seed))
    for _ in range(MAX_ROUNDS):
        cuts = line.cuts(centroids)
        empty = np.flatnonzero(np.diff(cuts) == 0)
        if not len(empty):
            break
        centroids = settle(line, _refill(line, centroids, cuts, empty))
    return centroids


def settle(line: Line, centroids: Floats) -> Floats:
    """Lloyd's iteration: to the fixed point where no value changes its centroid, or MAX_STEPS steps."""
    cuts = line.cuts(centroids)
    for _ in range(MAX_STEPS):
        centroids = np.sort(line.means(cuts, centroids))
        following = line.cuts(centroids)
        if np.array_equal(following, cuts):
            break
        cuts = following
    return centroids


def assign(values: NDArray[Any], centroids: Floats) -> NDArray[np.uint8]:
    """Return the place of the nearest of at most 256 rising centroids for each value, in the values' shape."""
    halves = boundaries(centroids, values.dtype)
    flat, result = values.reshape(-1), np.empty(values.size, np.uint8)
    if values.dtype != np.float32:
        return np.searchsorted(halves, values, side="left").astype(np.uint8)
    # The upper half of a float32 is a coarse float: where both its ends have one centroid, no search is needed.
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    ends = [np.searchsorted(halves, (upper | low).view(np.float32), side="left") for low in (0, 0xFFFF)]
    known, is_open = ends[0].astype(np.uint8), ends[0] != ends[1]
    for begin in range(0, len(flat), _CHUNK):
        part = np.ascontiguousarray(flat[begin : begin + _CHUNK])
        cells = (part.view(np.uint32) >> 16).astype(np.uint16)
        found = known[cells]
        search = np.flatnonzero(is_open[cells])
        found[search] = np.searchsorted(halves, part[search], side="left")
        result[begin : begin + _CHUNK] = found
    return result.reshape(values.shape)


def _start(line: Line, count: int, start: Initialisation, seed: int) -> Floats:
    values = line.values
    match start:
        case Initialisation.LINEAR:
            return np.linspace(float(values[0]), float(values[-1]), count)
        case Initialisation.DENSITY:
            places = ((np.arange(count) + 0.5) / count * len(values)).astype(np.int64)
            return values[places].astype(np.float64)
        case Initialisation.RANDOM:
            chosen = np.random.default_rng(seed).choice(np.unique(values), count, replace=False)
            return np.sort(chosen.astype(np.float64))
        case Initialisation.OPTIMAL:
            cuts = optimal_cuts(line, _candidates(line, count), count)
            return line.means(cuts, np.zeros(count))
        case _ as never:
            assert_never(never)


def _candidates(line: Line, count: int) -> Places:
    """Where runs may be cut, 0 and the end among them: between all distinct values if they are few enough, else
    between MAX_OPTIMAL cells or less, half of them of equal width and half of equal numbers."""
    values = line.values
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    if len(changes) >= MAX_OPTIMAL:
        widths = np.linspace(float(values[0]), float(values[-1]), MAX_OPTIMAL // 2).astype(values.dtype)
        numbers = values[np.linspace(0, len(values) - 1, MAX_OPTIMAL // 2).astype(np.int64)]
        cells = np.unique(np.searchsorted(values, np.concatenate([widths, numbers]), side="left"))
        cells = cells[(cells > 0) & (cells < len(values))]
        # So few cells that they do not suffice are those of values that nearly all agree.
        changes = cells if len(cells) >= count - 1 else changes[:: max(1, len(changes) // MAX_OPTIMAL)]
    return np.concatenate([[0], changes, [len(values)]])


def optimal_cuts(line: Line, candidates: Places, count: int) -> Places:
    """Return the cuts of the `count` runs with the least squared error among those at `candidates`.

    Dynamic programming over the number of runs. Where the best last run begins never moves to the left when the end
    moves to the right, so each row is found by halving: all ends of one depth at a time.
    """
    ends = len(candidates) - 1
    assert ends >= count
    sums, squares, places = line.sums[candidates], line.squares[candidates], candidates.astype(np.float64)

    def error(begin: Places, end: Places) -> Floats:
        total = sums[end] - sums[begin]
        return np.asarray(squares[end] - squares[begin] - total * total / (places[end] - places[begin]))

    best = np.full(ends + 1, np.inf)
    best[1:] = error(np.zeros(ends, np.intp), np.arange(1, ends + 1))
    choices = np.zeros((count, ends + 1), np.int32)
    for runs in range(1, count):
        best = _next_row(best, choices[runs], runs, error)
    cuts = [ends]
    for runs in range(count - 1, 0, -1):
        cuts.append(int(choices[runs][cuts[-1]]))
    result: Places = candidates[[0, *reversed(cuts)]]
    return result


def _next_row(best: Floats, choice: NDArray[np.int32], runs: int, error: Any) -> Floats:
    """Least error of `runs` + 1 runs up to each end, from that of `runs` runs; fills in where the last run begins."""
    ends = len(best) - 1
    row = np.full(ends + 1, np.inf)
    # Ends first..last of a span have their last run begin between low and high.
    first, last = np.array([runs + 1]), np.array([ends])
    low, high = np.array([runs]), np.array([ends - 1])
    while len(first):
        middle = (first + last) // 2
        sizes = np.minimum(high, middle - 1) - low + 1
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        begin = np.arange(int(sizes.sum())) - np.repeat(offsets - low, sizes)
        costs = best[begin] + error(begin, np.repeat(middle, sizes))
        least = np.minimum.reduceat(costs, offsets)
        hits = np.flatnonzero(costs == np.repeat(least, sizes))
        found = begin[hits[np.searchsorted(hits, offsets)]]
        row[middle], choice[middle] = least, found
        first, last = np.concatenate([first, middle + 1]), np.concatenate([middle - 1, last])
        low, high = np.concatenate([low, found]), np.concatenate([found, high])
        keep = first <= last
        first, last, low, high = first[keep], last[keep], low[keep], high[keep]
    return row


def _refill(line: Line, centroids: Floats, cuts: Places, empty: Places) -> Floats:
    """Centroids with the empty ones moved into the worst runs, which are cut at their means."""
    errors = line.errors(cuts)
    begins, ends = line.values[np.minimum(cuts[:-1], len(line.values) - 1)], line.values[np.maximum(cuts[1:] - 1, 0)]
    errors[(np.diff(cuts) == 0) | (begins == ends)] = -1
    worst = np.argsort(-errors, kind="stable")[: len(empty)]
    worst = worst[errors[worst] >= 0]
    result = centroids.copy()
    result[empty[: len(worst)]] = (centroids[worst] + ends[worst]) / 2
    result[worst] = (centroids[worst] + begins[worst]) / 2
    return np.sort(result)
