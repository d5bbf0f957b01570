"""Where the binary points go, chosen by running real samples through the float graph.

Every candidate is a power of two, so nothing has to be stored: a first run finds each value's range, a second one sums
the cost of each candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from bitkiln.ir import Graph, Int, Location, evaluate, fail

from ._base import Progress, no_progress
from ._data import check_samples

MAX_POINT = 30
"""Points lie between -30 and 30: wider apart, float32 evaluation could overflow, and no network needs it."""

CANDIDATES = 9
"""Points that are tried: the one that does not clip, and up to 8 more to the right, each clipping at half the value."""

_BATCH_ELEMENTS = 1 << 24


class Calibration(Enum):
    """How a point is chosen: nothing clips, at most some part clips, or the least mean squared error."""

    MIN_MAX = "min_max"
    PERCENTILE = "percentile"
    MSE = "mse"


def calibrate(
    graph: Graph,
    samples: Tensor,
    wanted: Mapping[str, Int],
    method: Calibration,
    percentile: float = 99.99,
    progress: Progress = no_progress,
) -> dict[str, Int]:
    """Return the formats `wanted` of some values of a float graph, each with its point set from `samples` [N, ...].

    PERCENTILE puts the point as far right as `percentile` % of the elements allow without saturating. Of equally good
    points the leftmost is taken, and 0 for a value that is always zero. Raises ToolError `empty-data`, `input-mismatch`
    or `not-finite`.
    """
    check_samples(graph, samples, "calibration data")
    observed = replace(graph, outputs=tuple(wanted))
    ranges = _ranges(observed, samples, progress)
    points = {name: safe_point(*ranges[name], number) for name, number in wanted.items()}
    if method is not Calibration.MIN_MAX:
        costs = _costs(observed, samples, wanted, points, progress)
        points = {name: points[name] + costs[name].best(method, percentile) for name in wanted}
    return {name: replace(number, frac=points[name]) for name, number in wanted.items()}


def safe_point(lo: float, hi: float, number: Int) -> int:
    """Return the rightmost point at which no value from `lo` to `hi` rounds to a code outside `number`'s; 0 for only 0.

    For an unsigned format `lo` does not count. Beyond ±30 the point stays there.
    """
    if max(hi, 0.0) == 0.0 and (min(lo, 0.0) == 0.0 or not number.signed):
        return 0
    for point in range(MAX_POINT, -MAX_POINT, -1):
        fits_below = not number.signed or lo * 2.0**point >= number.lo - 0.5
        if fits_below and hi * 2.0**point < number.hi + 0.5:
            return point
    return -MAX_POINT


def candidate_errors(values: Tensor, number: Int, first: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (rounding error, saturates) of every element for each candidate point, `first` and to the right of it.

    `first` holds points and broadcasts with `values`. Both are computed in the dtype of `values`.
    """
    for step in range(CANDIDATES):
        scaled = torch.ldexp(values, first + step)
        codes = torch.floor(scaled + 0.5)
        held = codes.clamp(number.lo, number.hi)
        yield torch.ldexp(held - scaled, -(first + step)), held != codes


@dataclass
class _Costs:
    """Sums over all elements seen so far, one entry a candidate."""

    squared_error: Tensor
    saturated: Tensor
    elements: int = 0

    def add(self, values: Tensor, number: Int, first: int) -> None:
        candidates = candidate_errors(values, number, torch.tensor(first, dtype=torch.int32))
        for step, (error, saturates) in enumerate(candidates):
            self.squared_error[step] += error.to(torch.float64).square().sum()
            self.saturated[step] += saturates.sum()
        self.elements += values.numel()

    def best(self, method: Calibration, percentile: float) -> int:
        if method is Calibration.MSE:
            return int(self.squared_error.argmin())
        allowed = self.elements * (1.0 - percentile / 100.0)
        return max(step for step in range(CANDIDATES) if step == 0 or self.saturated[step] <= allowed)


def _costs(
    observed: Graph,
    samples: Tensor,
    wanted: Mapping[str, Int],
    first: Mapping[str, int],
    progress: Progress,
) -> dict[str, _Costs]:
    costs = {
        name: _Costs(torch.zeros(CANDIDATES, dtype=torch.float64), torch.zeros(CANDIDATES, dtype=torch.int64))
        for name in wanted
    }
    for values in _runs(observed, samples, "calibrate: points", progress):
        for name, x in zip(wanted, values, strict=True):
            costs[name].add(x, wanted[name], first[name])
    return costs


def _ranges(observed: Graph, samples: Tensor, progress: Progress) -> dict[str, tuple[float, float]]:
    lows = torch.full((len(observed.outputs),), torch.inf)
    highs = -lows
    for values in _runs(observed, samples, "calibrate: ranges", progress):
        lows = torch.minimum(lows, torch.stack([x.min() for x in values]))
        highs = torch.maximum(highs, torch.stack([x.max() for x in values]))
    for name, low, high in zip(observed.outputs, lows, highs, strict=True):
        if not torch.isfinite(low + high):
            node = observed.node.get(name)
            raise fail(
                "not-finite",
                f"%{name} becomes NaN or infinite on the calibration data",
                node.loc if node else Location(),
                "scale the input as in training, or load another checkpoint",
            )
    return {name: (float(low), float(high)) for name, low, high in zip(observed.outputs, lows, highs, strict=True)}


def _runs(observed: Graph, samples: Tensor, label: str, progress: Progress) -> Iterator[tuple[Tensor, ...]]:
    """Yield all observed values of one batch after the other; batches keep memory below some 100 MB."""
    elements = sum(node.type.elements for node in observed.nodes) + 1
    batch = max(1, min(256, _BATCH_ELEMENTS // elements))
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            yield evaluate(observed, samples[start : start + batch])
            progress(label, min(1.0, (start + batch) / len(samples)))
