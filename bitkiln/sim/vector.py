"""The vector dot-product array of NVDLA and of the matrix units of TPUs: filters times channels, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ._dense import Edge, dense_run
from ._tile_time import OnChip
from ._tiles import NOTHING_STAYS, Residence, Setting, Tilings, Whole
from .accelerator import Accelerator, Vector
from .counts import Access, Role
from .engine import LayerRun, register_access, require_memories, widths_of
from .systolic import fold_sum
from .tiling import LEAST_TRAFFIC, Tiling, Tuning, best_tiling
from .workload import Layer


def vector(
    layer: Layer,
    array: Vector,
    accelerator: Accelerator,
    tuning: Tuning = LEAST_TRAFFIC,
    resident: Residence = NOTHING_STAYS,
) -> LayerRun:
    """Return the layer; in a cycle each lane of filters takes one pixel's channels, as many as there are lanes."""
    require_memories(accelerator)
    widths = widths_of(layer, accelerator)
    setting = Setting(layer, widths, accelerator, array.output_lanes, array.input_lanes, resident)
    on_chip = OnChip(
        lambda tiles: tiled_cycles(layer, array, tiles),
        lambda tiles: _edge(layer, array, tiles).bits(widths),
        compute_cycles(layer, array),
    )
    tiling = best_tiling(setting, on_chip, tuning)
    edge = _edge(layer, array, tiling.tilings)
    accesses = (*edge.accesses(setting), *_registers(setting, tiling))
    return dense_run(setting, tiling, accesses, array.input_lanes * array.output_lanes, on_chip.fewest_cycles)


def compute_cycles(layer: Layer, array: Vector) -> int:
    """Return P kh kw ceil(C / input lanes) ceil(N / output lanes) for every group, if no operand is ever late."""
    channels, filters = layer.channels // layer.groups, layer.group_filters
    folds = -(-channels // array.input_lanes) * -(-filters // array.output_lanes)
    return layer.groups * layer.positions * math.prod(layer.kernel) * folds


def tiled_cycles(layer: Layer, array: Vector, tiles: Tilings) -> Whole:
    """Return the same for every tiling; only lanes left empty by small tiles cost more."""
    channel_folds = fold_sum(layer.channels // layer.groups, tiles.channels, tiles.channel_tiles, array.input_lanes)
    filter_folds = fold_sum(layer.group_filters, tiles.filters, tiles.filter_tiles, array.output_lanes)
    return layer.groups * layer.positions * math.prod(layer.kernel) * channel_folds * filter_folds


def _edge(layer: Layer, array: Vector, tiles: Tilings) -> Edge:
    """A block of weights stays in the lanes while a tile's pixels pass; sums of channel folds meet in the buffer."""
    channels = layer.channels // layer.groups
    sums = fold_sum(channels, tiles.channels, tiles.channel_tiles, array.input_lanes) * math.prod(layer.kernel)
    folds = fold_sum(layer.group_filters, tiles.filters, tiles.filter_tiles, array.output_lanes)
    windows, outputs = layer.positions * layer.taps * layer.groups, layer.output_count
    loads = layer.weight_count * tiles.position_tiles
    return Edge(loads, windows * folds, outputs * (sums - 1), outputs * sums)


def _registers(setting: Setting, tiling: Tiling) -> Iterable[Access]:
    """Each product reads a weight held in its lane and the activation broadcast to it; sums pass through the tree."""
    layer, widths = setting.layer, setting.widths
    loads = layer.weight_count * int(tiling.tilings.position_tiles[0])
    windows = layer.positions * layer.taps * layer.groups
    yield register_access(Role.WEIGHTS, widths.weight, layer.macs, loads)
    yield register_access(Role.ACTIVATIONS, widths.activation, layer.macs, windows)
