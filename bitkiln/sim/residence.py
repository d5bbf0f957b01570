"""What stays on the chip: the weights from image to image, and a feature map from the layer that makes it to the next.

A byte from DRAM costs as much as some hundred from SRAM, so whether a compressed model fits decides more than anything
that happens in the array. Weights stay if all of them fit together. Which feature maps stay is decided for the chain of
layers as a whole, since a map takes room from the tiles of both its layers: exactly, by dynamic programming.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bitkiln.ir.coding import stored

from ._tiles import NOTHING_STAYS, Residence
from .accelerator import Accelerator, Eie, Operand, ZeroSkip
from .eie import stored_bits
from .engine import widths_of
from .sparsity import SEED, masks
from .workload import Layer, Workload

Cost = Callable[[Layer, Residence], tuple[float, float]]
"""What a layer costs, and what decides between equal costs; infinite if the layer does not fit then."""

IMPOSSIBLE = (math.inf, math.inf)


@dataclass(frozen=True)
class Weights:
    """All weights of a workload as an accelerator stores them, and the memory for them."""

    bits: int
    sram_bits: int

    @property
    def fits(self) -> bool:
        return self.bits <= self.sram_bits


def weights_of(workload: Workload, accelerator: Accelerator) -> Weights:
    """Return whether the weights of `workload`, those that are constant, fit into the memory for weights."""
    sram = accelerator.memory(Operand.WEIGHTS)
    layers = [layer for layer in workload.layers if layer.has_constant_weights]
    return Weights(sum(_weight_bits(layer, accelerator) for layer in layers), sram.capacity_bits if sram else 0)


def _weight_bits(layer: Layer, accelerator: Accelerator) -> int:
    match accelerator.engine:
        case Eie() as engine:
            return stored_bits(layer, engine, accelerator)
        case ZeroSkip(weight_format=format_):
            mask = np.moveaxis(masks(layer, SEED)[0], 0, -1)
            return stored(mask, widths_of(layer, accelerator).weight, format_).bits
        case _:
            return layer.weight_count * widths_of(layer, accelerator).weight


def residences(workload: Workload, accelerator: Accelerator, has_weights: bool, cost: Cost) -> tuple[Residence, ...]:
    """Return what stays for each layer of `workload`, at the least sum of `cost`."""
    layers = workload.layers
    maps = [0, *(_map_bits(workload, index, accelerator) for index in range(1, len(layers))), 0]
    # best[k] is the way to the layers so far that costs the least, their last output staying (k = 1) or not (k = 0).
    best: list[tuple[tuple[float, float], tuple[Residence, ...]]] = [((0.0, 0.0), ())]
    for index, layer in enumerate(layers):
        following: list[tuple[tuple[float, float], tuple[Residence, ...]]] = []
        for has_output in (False, True) if maps[index + 1] else (False,):
            ways = [
                _extended(way, layer, _residence(maps, index, bool(has_input), has_output, has_weights), cost)
                for has_input, way in enumerate(best)
            ]
            following.append(min(ways, key=lambda way: way[0]))
        best = following
    return min(best, key=lambda way: way[0])[1]


def _map_bits(workload: Workload, index: int, accelerator: Accelerator) -> int:
    """Bits of the input of a layer if it can stay: made by the layer before for this one alone, and it fits."""
    layer, before = workload.layers[index], workload.layers[index - 1]
    sram = accelerator.memory(Operand.ACTIVATIONS)
    if sram is None or layer.source != before.name:
        return 0
    bits = layer.input_count * widths_of(layer, accelerator).activation
    return bits if bits < sram.capacity_bits else 0


def _residence(maps: list[int], index: int, has_input: bool, has_output: bool, has_weights: bool) -> Residence:
    return Residence(
        has_input=has_input,
        has_output=has_output,
        reserved_bits=maps[index] * has_input + maps[index + 1] * has_output,
        has_weights=has_weights,
    )


def _extended(
    way: tuple[tuple[float, float], tuple[Residence, ...]], layer: Layer, residence: Residence, cost: Cost
) -> tuple[tuple[float, float], tuple[Residence, ...]]:
    before, chosen = way
    added = cost(layer, residence)
    return (before[0] + added[0], before[1] + added[1]), (*chosen, residence)


def nothing_stays(workload: Workload) -> tuple[Residence, ...]:
    """Return the residence of every layer if it fetches everything and keeps nothing."""
    return (NOTHING_STAYS,) * len(workload.layers)
