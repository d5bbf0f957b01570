"""The systolic array: exact cycles by closed form for each choice of the operand that stays in the cells."""

from __future__ import annotations

from .accelerator import Accelerator, Dataflow, Systolic
from .counts import Counts, Role
from .engine import LayerRun, dram_access, products, widths_of
from .workload import Layer


def systolic(layer: Layer, array: Systolic, accelerator: Accelerator) -> LayerRun:
    """Return the layer group after group, each a matrix product of [P, K] and [K, N]."""
    widths = widths_of(layer, accelerator)
    accesses = (
        dram_access(Role.WEIGHTS, widths.weight, layer.weight_count, 0),
        dram_access(Role.ACTIVATIONS, widths.activation, layer.input_count, 0),
        dram_access(Role.OUTPUTS, widths.output, 0, layer.output_count),
    )
    return LayerRun(
        layer,
        compute_cycles(layer, array),
        (),
        Counts(products(layer, accelerator, layer.macs), accesses),
        array.rows * array.columns,
    )


def compute_cycles(layer: Layer, array: Systolic) -> int:
    """Return the cycles if no operand is ever late.

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


def _folds(size: int, cells: int) -> int:
    return -(-size // cells)
