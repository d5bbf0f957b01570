"""The vector dot-product array against loops that fill its lanes cycle by cycle, and against ZigZag's figures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given

from bitkiln.sim.accelerator import Accelerator, Vector, find_accelerator
from bitkiln.sim.counts import Level, Role
from bitkiln.sim.engine import StallCause
from bitkiln.sim.vector import compute_cycles, vector
from bitkiln.sim.workload import Layer
from tests.sim.networks import convolution, layers, matrix


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return find_accelerator("tpu-like")


def lanes_filled(layer: Layer, array: Vector) -> list[int]:
    """Products made in each cycle."""
    channels, filters = layer.channels // layer.groups, layer.group_filters
    return [
        min(array.input_lanes, channels - c) * min(array.output_lanes, filters - n)
        for _ in range(layer.groups)
        for _ in range(layer.positions * math.prod(layer.kernel))
        for c in range(0, channels, array.input_lanes)
        for n in range(0, filters, array.output_lanes)
    ]


@given(layers())
def test_cycles_are_those_of_filled_lanes(layer: Layer) -> None:
    array = Vector(input_lanes=4, output_lanes=3)
    filled = lanes_filled(layer, array)
    assert compute_cycles(layer, array) == len(filled)
    assert sum(filled) == layer.macs


def test_vgg16_is_close_to_what_zigzag_maps() -> None:
    """ZigZag 3.9.1 on a 32 x 32 array (K x C): 17,005,537 cycles for the convolutions of VGG-16, stalls among them."""
    sizes = [
        (224, 3, 64),
        (224, 64, 64),
        (112, 64, 128),
        (112, 128, 128),
        (56, 128, 256),
        (56, 256, 256),
        (56, 256, 256),
    ]
    sizes += [(28, 256, 512), (28, 512, 512), (28, 512, 512), (14, 512, 512), (14, 512, 512), (14, 512, 512)]
    cycles = sum(compute_cycles(convolution(h, c, n, 3, padding=1), Vector(32, 32)) for h, c, n in sizes)
    assert cycles == 15_805_440  # of which the first layer, three channels in 32 lanes, is 903,168
    assert cycles == pytest.approx(17_005_537, rel=0.08)


@given(layers())
def test_counts_add_up(layer: Layer) -> None:
    array = Vector(input_lanes=4, output_lanes=3)
    accelerator = replace(find_accelerator("tpu-like"), vector=array)
    run = vector(layer, array, accelerator)
    assert run.counts.macs == layer.macs == run.performed_macs
    assert run.compute_cycles == compute_cycles(layer, array)
    accesses = {(a.memory.level, a.memory.role): a for a in run.counts.accesses}
    assert accesses[Level.REGISTER, Role.WEIGHTS].reads == layer.macs
    assert accesses[Level.DRAM, Role.OUTPUTS].writes == layer.output_count
    filter_folds = -(-layer.group_filters // 3)
    windows = layer.positions * layer.taps * layer.groups
    assert accesses[Level.SRAM, Role.ACTIVATIONS].reads == windows * filter_folds
    sums = accesses[Level.SRAM, Role.PARTIAL_SUMS]
    channel_folds = -(-layer.channels // layer.groups // 4)
    assert sums.writes == layer.output_count * math.prod(layer.kernel) * channel_folds
    assert sums.reads == sums.writes  # all but the first addition read the sum before, and it is read to leave


def test_more_lanes_are_never_slower(accelerator: Accelerator) -> None:
    layer = convolution(14, 100, 150, 3, padding=1)
    for lanes in ((8, 8), (16, 8), (16, 16), (64, 16), (64, 64), (128, 256)):
        array = Vector(*lanes)
        more = Vector(lanes[0], 2 * lanes[1])
        assert compute_cycles(layer, more) <= compute_cycles(layer, array)


def test_depthwise_layers_leave_most_lanes_empty(accelerator: Accelerator) -> None:
    assert accelerator.vector is not None
    run = vector(convolution(14, 512, 512, 3, padding=1, groups=512), accelerator.vector, accelerator)
    assert run.utilisation < 1 / (64 * 64)


def test_a_vector_waits_for_its_weights(accelerator: Accelerator) -> None:
    assert accelerator.vector is not None
    run = vector(matrix(1, 4096, 4096), accelerator.vector, accelerator)
    assert run.compute_cycles == 64 * 64
    assert next(stall.cycles for stall in run.stalls if stall.cause is StallCause.DRAM) > 90 * run.compute_cycles
    assert run.cycles == pytest.approx(4096 * 4096 / accelerator.dram_bytes_per_cycle, rel=0.12)
