"""The systolic array: exact cycles by closed form for each choice of the operand that stays in the cells."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ._dense import Edge, dense_run
from ._tile_time import OnChip
from ._tiles import NOTHING_STAYS, Residence, Setting, Tilings, Whole
from .accelerator import Accelerator, Dataflow, Systolic
from .counts import Access, Role
from .engine import LayerRun, register_access, require_memories, widths_of
from .tiling import LEAST_TRAFFIC, Tiling, Tuning, best_tiling
from .workload import Layer


def systolic(
    layer: Layer,
    array: Systolic,
    accelerator: Accelerator,
    tuning: Tuning = LEAST_TRAFFIC,
    resident: Residence = NOTHING_STAYS,
) -> LayerRun:
    """Return the layer group after group, each a matrix product of [P, K] and [K, N]."""
    require_memories(accelerator)
    filter_unit, channel_unit = _units(layer, array)
    setting = Setting(layer, widths_of(layer, accelerator), accelerator, filter_unit, channel_unit, resident)
    on_chip = OnChip(
        lambda tiles: tiled_cycles(layer, array, tiles),
        lambda tiles: _edge(layer, array, tiles).bits(setting.widths),
        compute_cycles(layer, array),
    )
    tiling = best_tiling(setting, on_chip, tuning)
    edge = _edge(layer, array, tiling.tilings)
    accesses = (*edge.accesses(setting), *_registers(setting, array, tiling))
    return dense_run(setting, tiling, accesses, array.rows * array.columns, on_chip.fewest_cycles)


def compute_cycles(layer: Layer, array: Systolic) -> int:
    """Return the cycles if no operand is ever late and nothing is cut into tiles.

    Each fold of the stationary operand is loaded, fed and drained on its own, as in SCALE-Sim (whose reports are one
    lower): weights ceil(K/R) ceil(N/C) (2R + C + P - 2), outputs ceil(P/R) ceil(N/C) (R + C + K - 2), inputs
    ceil(K/R) ceil(P/C) (2R + C + N - 2). Grouped layers do this for every group.
    """
    rows, columns = array.rows, array.columns
    positions, taps, filters = layer.positions, layer.taps, layer.group_filters
    match array.dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            folds, each = _folds(taps, rows) * _folds(filters, columns), 2 * rows + columns + positions - 2
        case Dataflow.OUTPUT_STATIONARY:
            folds, each = _folds(positions, rows) * _folds(filters, columns), rows + columns + taps - 2
        case Dataflow.INPUT_STATIONARY:
            folds, each = _folds(taps, rows) * _folds(positions, columns), 2 * rows + columns + filters - 2
    return layer.groups * folds * each


def tiled_cycles(layer: Layer, array: Systolic, tiles: Tilings) -> Whole:
    """Return the same for every tiling: the sum of the closed form over its tiles."""
    rows, columns = array.rows, array.columns
    fill = 2 * rows + columns - 2
    filters = _tap_folds(layer, array, tiles), _filter_folds(layer, array, tiles)
    match array.dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            cycles = filters[0] * filters[1] * (tiles.position_tiles * fill + layer.positions)
        case Dataflow.OUTPUT_STATIONARY:
            folds = position_folds(layer, tiles, rows) * filters[1]
            cycles = folds * (tiles.channel_tiles * (rows + columns - 2) + layer.taps)
        case Dataflow.INPUT_STATIONARY:
            folds = position_folds(layer, tiles, columns) * filters[0]
            cycles = folds * (tiles.filter_tiles * fill + layer.group_filters)
    return layer.groups * cycles


def _units(layer: Layer, array: Systolic) -> tuple[int, int]:
    """Filters and channels of a tile whose folds are full."""
    channels = array.rows // math.gcd(array.rows, math.prod(layer.kernel))
    match array.dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            return array.columns, channels
        case Dataflow.OUTPUT_STATIONARY:
            return array.columns, 1
        case Dataflow.INPUT_STATIONARY:
            return array.columns, channels  # fewer would only fill and drain more often


def _folds(size: int, cells: int) -> int:
    return -(-size // cells)


def fold_sum(total: int, size: Whole, tiles: Whole, cells: int) -> Whole:
    """Return the folds of `tiles` tiles of `size`, the last one smaller, that make up `total`."""
    last = total - (tiles - 1) * size
    return (tiles - 1) * -(-size // cells) + -(-last // cells)


def _tap_folds(layer: Layer, array: Systolic, tiles: Tilings) -> Whole:
    return fold_sum(layer.taps, tiles.channels * math.prod(layer.kernel), tiles.channel_tiles, array.rows)


def _filter_folds(layer: Layer, array: Systolic, tiles: Tilings) -> Whole:
    return fold_sum(layer.group_filters, tiles.filters, tiles.filter_tiles, array.columns)


def position_folds(layer: Layer, tiles: Tilings, cells: int) -> Whole:
    """Return the folds of the output pixels of all tiles, each tile on its own."""
    height, width = layer.output
    whole = -(-layer.batch // tiles.cuts.images)
    parts = -(-height // tiles.cuts.rows)
    by_image = fold_sum(layer.positions, tiles.cuts.images * height * width, whole, cells)
    by_rows = layer.batch * fold_sum(height * width, tiles.cuts.rows * width, parts, cells)
    return np.where(parts > 1, by_rows, by_image)


def _edge(layer: Layer, array: Systolic, tiles: Tilings) -> Edge:
    """What enters and leaves the array's edges: values that pass from cell to cell are read from memory once."""
    windows = layer.positions * layer.taps * layer.groups
    filters = _filter_folds(layer, array, tiles)
    match array.dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            loads, sums = tiles.position_tiles, _tap_folds(layer, array, tiles)
        case Dataflow.OUTPUT_STATIONARY:
            loads, sums = position_folds(layer, tiles, array.rows), tiles.channel_tiles
        case Dataflow.INPUT_STATIONARY:
            loads, sums = position_folds(layer, tiles, array.columns), _tap_folds(layer, array, tiles)
            filters = tiles.filter_tiles
    outputs = layer.output_count
    return Edge(layer.weight_count * loads, windows * filters, outputs * (sums - 1), outputs * sums)


def _registers(setting: Setting, array: Systolic, tiling: Tiling) -> Iterable[Access]:
    """A multiply-accumulate reads its three operands and writes the sum; what moves on is written to the next cell."""
    layer, widths = setting.layer, setting.widths
    macs = layer.macs
    windows = layer.positions * layer.taps * layer.groups
    weights, activations = macs, macs
    tiles = tiling.tilings
    match array.dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            weights = layer.weight_count * int(tiles.position_tiles[0])
        case Dataflow.OUTPUT_STATIONARY:
            pass
        case Dataflow.INPUT_STATIONARY:
            activations = windows * int(tiles.filter_tiles[0])
    yield register_access(Role.WEIGHTS, widths.weight, macs, weights)
    yield register_access(Role.ACTIVATIONS, widths.activation, macs, activations)
    yield register_access(Role.PARTIAL_SUMS, widths.accumulator, macs, macs)
