"""What a row-stationary mapping moves, against its loops walked one by one with what is left over at every edge."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim._row_search import Prices, find_mapping
from bitkiln.sim._rows import Mapping, Problem
from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.engine import widths_of
from bitkiln.sim.workload import Layer
from tests.sim.networks import convolution, layers


def spans(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


@dataclass
class Moves:
    """Values, and cycles."""

    weight_reads: int = 0
    input_reads: int = 0
    buffer_inputs: int = 0
    sum_writes: int = 0
    delivered_weights: int = 0
    cycles: int = 0


def strip_inputs(layer: Layer, first: int, rows: int) -> int:
    """Input values of one channel and image that some row of filters of some output row of the strip touches."""
    touched = {
        row * layer.stride[0] - layer.padding[0][0] + tap * layer.dilation[0]
        for row in range(first, first + rows)
        for tap in range(layer.kernel[0])
    }
    return len({row for row in touched if 0 <= row < layer.height}) * layer.width


def walk(mapping: Mapping) -> Moves:
    """The loops of the chip: images and strips, filters, channels; inside, passes of sets and pads."""
    layer, sets, use = mapping.problem.layer, mapping.sets, mapping.use
    p, q, t, r, u = (
        int(part[0]) for part in (use.pad_filters, use.pad_channels, use.set_filters, use.set_channels, use.set_groups)
    )
    channels, area = layer.channels // layer.groups, layer.kernel[0] * layer.kernel[1]
    moves = Moves()
    strips = [(first, min(sets.rows, layer.output[0] - first)) for first in range(0, layer.output[0], sets.rows)]
    assert len(strips) == sets.strips
    tiles = itertools.product(spans(layer.batch, mapping.images), strips, spans(layer.group_filters, mapping.filters))
    for images, (first, rows), filters in tiles:
        inputs = images * strip_inputs(layer, first, rows)
        for groups in spans(layer.groups, u):
            for c in spans(channels, q * r):
                moves.input_reads += groups * c * inputs
                for f in spans(filters, p * t):
                    moves.weight_reads += groups * f * c * area
                    moves.delivered_weights += groups * f * c * area * sets.rows
                    moves.buffer_inputs += groups * c * inputs * sets.folds
                    moves.sum_writes += groups * f * images * rows * layer.output[1] * sets.folds
            each = layer.kernel[1] * layer.output[1]
            moves.cycles += images * len(spans(filters, t)) * len(spans(channels, r)) * sets.folds * each
    return moves


@settings(max_examples=60, deadline=None)
@given(st.one_of(layers(), layers(most=40), st.just(convolution(15, 24, 24, 5, groups=24))))
def test_moves_and_cycles(layer: Layer) -> None:
    chip = find_accelerator("eyeriss-like")
    assert chip.row_stationary is not None
    mapping = find_mapping(Problem(layer, chip.row_stationary, chip, widths_of(layer, chip)), Prices())
    found = Moves(
        mapping.weight_reads,
        mapping.input_reads,
        int(mapping.buffer_inputs[0]),
        int(mapping.sum_writes[0]),
        mapping.delivered_weights,
        int(mapping.cycles[0]),
    )
    assert found == walk(mapping)
