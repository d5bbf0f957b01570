"""Counted products against loops over every single one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim.accelerator import Zeros, ZeroSkip
from bitkiln.sim.sparsity import masks
from bitkiln.sim.workload import Layer, LayerKind
from bitkiln.sim.zero_work import ElementTile, ZeroWork, element_tile, zero_work
from tests.sim.test_sparsity import layers


def by_loops(
    layer: Layer, engine: ZeroSkip, tile: ElementTile, weights: np.ndarray, activations: np.ndarray
) -> ZeroWork:
    """Every product in turn: does it take a cycle of its element, is it computed?"""
    busy: Counter[tuple[int, int, int, int]] = Counter()
    cycled = performed = 0
    group_channels = layer.channels // layer.groups
    pixels = np.ndindex(layer.batch, *layer.output)
    for pixel, (image, y, x) in enumerate(pixels):
        for f, c, row, column in np.ndindex(weights.shape):
            top = y * layer.stride[0] + row * layer.dilation[0] - layer.padding[0][0]
            left = x * layer.stride[1] + column * layer.dilation[1] - layer.padding[1][0]
            is_inside = 0 <= top < layer.height and 0 <= left < layer.width
            channel = f // layer.group_filters * group_channels + c
            has_activation = is_inside and activations[image, channel, top, left]
            operands = ((engine.weight_zeros, weights[f, c, row, column]), (engine.activation_zeros, has_activation))
            if any(zeros is Zeros.SKIP and not value for zeros, value in operands):
                continue
            cycled += 1
            performed += all(zeros is Zeros.COMPUTE or value for zeros, value in operands)
            lanes = f % engine.filter_lanes, pixel % engine.position_lanes
            tiles = f // engine.filter_lanes // tile.filters, pixel // engine.position_lanes // tile.pixels
            busy[*tiles, *lanes] += 1
    slowest: dict[tuple[int, int], int] = {}
    for (a, b, *_), count in busy.items():
        slowest[a, b] = max(slowest.get((a, b), 0), count)
    return ZeroWork(cycled, performed, sum(slowest.values()))


@settings(max_examples=80, deadline=None)
@given(
    layer=layers(),
    lanes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9)),
    zeros=st.tuples(st.sampled_from(Zeros), st.sampled_from(Zeros)),
)
def test_work_is_that_of_the_loops(layer: Layer, lanes: tuple[int, int, int], zeros: tuple[Zeros, Zeros]) -> None:
    engine = ZeroSkip(*lanes, *zeros)
    tile = element_tile(layer, engine, 7, 5)
    assert tile.filters * tile.pixels <= engine.accumulators
    weights, activations = masks(layer)
    found = zero_work(layer, engine, tile, weights, activations)
    assert found == by_loops(layer, engine, tile, weights, activations)
    assert found.performed <= found.cycled <= layer.macs
    assert found.cycles * engine.filter_lanes * engine.position_lanes >= found.cycled


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_effectual_products_of_a_matrix_product_are_those_of_the_channels(density: float) -> None:
    """Sum over channels of non-zero weights times non-zero activations."""
    layer = Layer(
        "l", LayerKind.CONVOLUTION, 9, 7, 24, 40, batch=2, given_weight_density=density, given_activation_density=0.4
    )
    engine = ZeroSkip(4, 3, 16)
    weights, activations = masks(layer)
    expected = (weights.sum(axis=(0, 2, 3)) * activations.sum(axis=(0, 2, 3))).sum()
    assert zero_work(layer, engine, element_tile(layer, engine, 1, 1), weights, activations).performed == expected


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "filters", "pixels"), [(1, 1000, 8, 1), (1000, 1, 1, 8), (10, 10, 2, 4)]
)
def test_tiles_favour_the_operand_that_costs_more(
    weight_bits: int, activation_bits: int, filters: int, pixels: int
) -> None:
    """16 filters and 32 pixels an element, eight sums: the cheaper operand comes again and again."""
    layer = Layer("l", LayerKind.CONVOLUTION, 8, 8, 4, 32)
    tile = element_tile(layer, ZeroSkip(2, 2, 8), weight_bits, activation_bits)
    assert (tile.filters, tile.pixels) == (filters, pixels)
