"""How much accuracy each layer costs when it alone is pruned or rounded, and densities chosen from that.

Layers are taken one at a time and nothing is trained (Han et al. 2015, figure 6), so the losses are upper bounds of
what is left after retraining, and their sum is only a guide to that of all layers together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from bitkiln.ir import Const, Graph, check_finite, evaluate_batches, fail

from ._base import Context, Progress, no_progress
from ._codes import with_constants
from ._data import check_labels, check_samples
from ._selection import weighted_layers
from .accuracy import class_count, classes_found
from .prune import LayerDensity, Prune, check_density, float_weight

DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
BITS = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Point:
    """So many of the samples are right with a layer at this density, or with its weights rounded to so many bits."""

    value: float
    correct: int


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer alone; its weights and the multiply-accumulates of one image."""

    name: str
    weights: int
    macs: int
    densities: tuple[Point, ...]
    bits: tuple[Point, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The table of a network: `correct` of `images` samples are right when nothing is changed."""

    images: int
    correct: int
    layers: tuple[LayerSensitivity, ...]

    def to_plain(self) -> dict[str, object]:
        """Dicts and lists for JSON."""
        return asdict(self)


def scan(
    graph: Graph,
    x: Tensor,
    y: Tensor,
    densities: Sequence[float] = DENSITIES,
    bits: Sequence[int] = (),
    progress: Progress = no_progress,
) -> Sensitivity:
    """Return the table of a float graph, for samples `x` with the labels `y`.

    Pruned are the weights with the smallest magnitudes, as `prune` does. `bits` round to the nearest of 2^b - 1 equal
    steps around 0 (for 1 bit: to plus or minus the mean magnitude). Raises ToolError `cannot-prune` for weights that
    are no floats, and what is wrong with data or options.
    """
    check_samples(graph, x, "data to scan with")
    check_labels(x, y, class_count(graph), "data to scan with")
    check_finite(graph)
    for density in densities:
        check_density("a density to scan", density)
    if any(not 1 <= width <= 16 for width in bits):
        raise fail("number-range", f"bits to scan must be from 1 to 16, not {list(bits)}")
    weights: dict[str, str] = {}
    for node in weighted_layers(graph):
        weights.setdefault(float_weight(graph, node), node.name)
    found: list[LayerSensitivity] = []
    total = len(weights) * (len(densities) + len(bits))
    for weight, name in weights.items():
        const = graph.const[weight]
        points: list[Point] = []
        changed = [(float(width), _rounded(const, width)) for width in bits]
        for value, data in [*((value, _pruned(graph, name, weight, value)) for value in densities), *changed]:
            progress("scan", (len(found) * (len(densities) + len(bits)) + len(points)) / total)
            smaller = with_constants(graph, {weight: Const(weight, const.type, data)})
            points.append(Point(value, _correct(smaller, x, y)))
        macs = graph.macs(graph.node[name])
        split = len(densities)
        found.append(LayerSensitivity(name, const.type.elements, macs, tuple(points[:split]), tuple(points[split:])))
    return Sensitivity(len(x), _correct(graph, x, y), tuple(found))


def choose_densities(table: Sensitivity, budget: float) -> dict[str, float]:
    """Return a density a layer so that the fewest weights stay while the losses of the scan add up to at most `budget`.

    `budget` is a share of accuracy, 0.01 for one point. The choice is the best of all combinations: dynamic programming
    over how many samples are lost, which are whole numbers. Gains count as no loss. A layer may stay whole.
    """
    if not 0 <= budget < 1:
        raise fail("number-range", f"budget must be at least 0 and below 1, not {budget:g}")
    most = int(budget * table.images + 1e-9)
    best: dict[int, tuple[float, tuple[float, ...]]] = {0: (0.0, ())}
    for layer in table.layers:
        options = [Point(1.0, table.correct), *layer.densities]
        following: dict[int, tuple[float, tuple[float, ...]]] = {}
        for lost, (kept, chosen) in best.items():
            for point in options:
                now = lost + max(0, table.correct - point.correct)
                candidate = (kept + point.value * layer.weights, (*chosen, point.value))
                if now <= most and (now not in following or candidate < following[now]):
                    following[now] = candidate
        best = following
    _, chosen = min(best.values())
    return {layer.name: density for layer, density in zip(table.layers, chosen, strict=True)}


def prune_entries(densities: Mapping[str, float]) -> tuple[Prune, str]:
    """Return the pass that prunes to these densities, and its table for a project file."""
    entries = tuple(LayerDensity(name, density) for name, density in densities.items())
    lines = [f'    {{ layer = "{entry.layer}", density = {entry.density} }},' for entry in entries]
    text = "\n".join(['[[passes]]\nname = "prune"\ndensity = 1.0\nlayers = [', *lines, "]"])
    return Prune(1.0, layers=entries), text


def _correct(graph: Graph, x: Tensor, y: Tensor) -> int:
    return int((classes_found(graph, evaluate_batches(graph, x)) == y).sum())


def _pruned(graph: Graph, layer: str, weight: str, density: float) -> Tensor:
    none = torch.zeros(0)
    step = Prune(1.0, layers=(LayerDensity(layer, density),))
    return step.run(graph, Context(none, none, none, 0, graph)).const[weight].data


def _rounded(const: Const, bits: int) -> Tensor:
    data = const.data.detach()
    if bits == 1:
        return torch.where(data < 0, -data.abs().mean(), data.abs().mean())
    most = 2 ** (bits - 1) - 1
    step = data.abs().max() / most
    return data if float(step) == 0 else torch.round(data / step) * step
