"""The vector dot-product array of NVDLA and of the matrix units of TPUs: filters times channels, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ._dense import buffer_access, dense_run
from ._tiles import NOTHING_STAYS, Residence, Setting, Tilings, Whole
from .accelerator import Accelerator, Operand, Vector
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
    tiling = best_tiling(setting, lambda tiles: tiled_cycles(layer, array, tiles), tuning)
    accesses = (*_array(setting, array, tiling), *_registers(setting, tiling))
    return dense_run(setting, tiling, accesses, array.input_lanes * array.output_lanes, compute_cycles(layer, array))


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


def _array(setting: Setting, array: Vector, tiling: Tiling) -> Iterable[Access]:
    """A block of weights stays in the lanes while a tile's pixels pass; sums of channel folds meet in the buffer."""
    layer, widths, tiles = setting.layer, setting.widths, tiling.tilings
    channels = layer.channels // layer.groups
    sums = int(fold_sum(channels, tiles.channels, tiles.channel_tiles, array.input_lanes)[0])
    folds = int(fold_sum(layer.group_filters, tiles.filters, tiles.filter_tiles, array.output_lanes)[0])
    sums *= math.prod(layer.kernel)
    windows, outputs = layer.positions * layer.taps * layer.groups, layer.output_count
    weights = layer.weight_count * int(tiles.position_tiles[0])
    yield buffer_access(setting, Operand.WEIGHTS, Role.WEIGHTS, widths.weight, weights, 0)
    yield buffer_access(setting, Operand.ACTIVATIONS, Role.ACTIVATIONS, widths.activation, windows * folds, 0)
    yield buffer_access(
        setting, Operand.OUTPUTS, Role.PARTIAL_SUMS, widths.accumulator, outputs * (sums - 1), outputs * sums
    )


def _registers(setting: Setting, tiling: Tiling) -> Iterable[Access]:
    """Each product reads a weight held in its lane and the activation broadcast to it; sums pass through the tree."""
    layer, widths = setting.layer, setting.widths
    loads = layer.weight_count * int(tiling.tilings.position_tiles[0])
    windows = layer.positions * layer.taps * layer.groups
    yield register_access(Role.WEIGHTS, widths.weight, layer.macs, loads)
    yield register_access(Role.ACTIVATIONS, widths.activation, layer.macs, windows)
