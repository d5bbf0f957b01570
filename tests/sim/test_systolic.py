"""The systolic array: its closed form against SCALE-Sim's figures and against an array of registers; its traffic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim.accelerator import Accelerator, Dataflow, Systolic, find_accelerator
from bitkiln.sim.counts import Level, Role
from bitkiln.sim.engine import StallCause
from bitkiln.sim.systolic import compute_cycles, systolic
from bitkiln.sim.topology import parse_topology
from bitkiln.sim.workload import Layer
from tests.sim.networks import ALEXNET_TOPOLOGY, convolution, layers, matrix
from tests.sim.systolic_reference import product

DATAFLOWS = tuple(Dataflow)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return find_accelerator("systolic-32")


def sized(accelerator: Accelerator, rows: int, columns: int, dataflow: Dataflow) -> tuple[Systolic, Accelerator]:
    array = Systolic(rows, columns, dataflow)
    return array, replace(accelerator, systolic=array)


@pytest.mark.parametrize(
    ("dataflow", "cycles"),
    [
        (Dataflow.WEIGHT_STATIONARY, [112284, 373800, 185760, 278640, 185760]),
        (Dataflow.OUTPUT_STATIONARY, [121125, 334832, 113568, 168864, 112576]),
        (Dataflow.INPUT_STATIONARY, [216600, 446250, 137664, 206496, 151200]),
    ],
)
def test_alexnet_takes_the_cycles_of_scalesim(dataflow: Dataflow, cycles: list[int]) -> None:
    """SCALE-Sim 3.0.0 in calc mode reports one cycle less for each layer."""
    layers_ = parse_topology(ALEXNET_TOPOLOGY, "alexnet.csv").layers
    assert [compute_cycles(layer, Systolic(32, 32, dataflow)) for layer in layers_] == cycles
    sums = {"ws": 1_136_244, "os": 850_965, "is": 1_158_210}
    assert sum(cycles) == sums[dataflow.value]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@settings(max_examples=40)
@given(st.data())
def test_closed_form_is_an_array_of_registers(dataflow: Dataflow, data: st.DataObject) -> None:
    rows, columns, positions, taps, filters = (data.draw(st.integers(1, 9)) for _ in range(5))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    left, right = generator.integers(-8, 8, (positions, taps)), generator.integers(-8, 8, (taps, filters))
    found, cycles = product(left, right, rows, columns, dataflow)
    assert (found == left @ right).all()
    assert cycles == compute_cycles(matrix(positions, taps, filters), Systolic(rows, columns, dataflow))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_groups_are_one_after_the_other(dataflow: Dataflow) -> None:
    array = Systolic(8, 8, dataflow)
    one = compute_cycles(convolution(10, 4, 6, 3), array)
    assert compute_cycles(convolution(10, 12, 18, 3, groups=3), array) == 3 * one
    depthwise = convolution(10, 16, 16, 3, padding=1, groups=16)
    assert compute_cycles(depthwise, array) == 16 * compute_cycles(convolution(10, 1, 1, 3, padding=1), array)


def test_stationary_operand_is_read_once_where_everything_fits(accelerator: Accelerator) -> None:
    """8 x 8 cells, one tile: 5 positions, 18 taps in 3 folds, 10 filters in 2."""
    layer = matrix(5, 18, 10)
    reads = {}
    for dataflow in DATAFLOWS:
        array, hardware = sized(accelerator, 8, 8, dataflow)
        run = systolic(layer, array, hardware)
        sram = {a.memory.role: a for a in run.counts.accesses if a.memory.level is Level.SRAM}
        sums = sram[Role.PARTIAL_SUMS]
        reads[dataflow] = (sram[Role.WEIGHTS].reads, sram[Role.ACTIVATIONS].reads, sums.writes, sums.reads)
    weights, windows, outputs = 180, 90, 50
    # Sums meet in memory after each of 3 folds of taps, are read for the next one, and once to leave.
    assert reads[Dataflow.WEIGHT_STATIONARY] == (weights, 2 * windows, 3 * outputs, 3 * outputs)
    assert reads[Dataflow.OUTPUT_STATIONARY] == (weights, 2 * windows, outputs, outputs)
    assert reads[Dataflow.INPUT_STATIONARY] == (weights, windows, 3 * outputs, 3 * outputs)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(layer=layers())
def test_counts_add_up(dataflow: Dataflow, layer: Layer) -> None:
    array, hardware = sized(find_accelerator("systolic-32"), 4, 3, dataflow)
    run = systolic(layer, array, hardware)
    assert run.counts.macs == run.performed_macs == layer.macs
    registers = {a.memory.role: a for a in run.counts.accesses if a.memory.level is Level.REGISTER}
    assert {registers[role].reads for role in (Role.WEIGHTS, Role.ACTIVATIONS, Role.PARTIAL_SUMS)} == {layer.macs}
    dram = {a.memory.role: a for a in run.counts.accesses if a.memory.level is Level.DRAM}
    assert dram[Role.OUTPUTS].writes == layer.output_count
    assert dram[Role.WEIGHTS].reads >= layer.weight_count
    assert run.compute_cycles == compute_cycles(layer, array)
    assert run.cycles == run.compute_cycles + sum(stall.cycles for stall in run.stalls)
    assert 0 < run.utilisation <= 1


def test_what_it_waits_for(accelerator: Accelerator) -> None:
    """A matrix-vector product waits for its weights: 9.4 MB at 10 bytes a cycle."""
    array, hardware = sized(accelerator, 32, 32, Dataflow.WEIGHT_STATIONARY)
    run = systolic(matrix(1, 2304, 4096), array, hardware)
    causes = {stall.cause: stall.cycles for stall in run.stalls}
    assert set(causes) == {StallCause.FIRST_TILE, StallCause.DRAM, StallCause.LAST_TILE}
    assert run.cycles == pytest.approx(2304 * 4096 / 10, rel=0.05)  # and 27.5 ns for each row of 8 KB

    fast = replace(hardware, dram=replace(hardware.dram, bytes_per_second=1e15, row_miss_ns=0.0, latency_ns=0.0))
    idle = {stall.cause: stall.cycles for stall in systolic(matrix(1, 2304, 4096), array, fast).stalls}
    assert set(idle) <= {StallCause.FIRST_TILE, StallCause.LAST_TILE}
    assert sum(idle.values()) <= 2  # a started cycle each


def test_narrow_ports_stop_the_array(accelerator: Accelerator) -> None:
    array, hardware = sized(accelerator, 32, 32, Dataflow.WEIGHT_STATIONARY)
    layer = convolution(28, 128, 64, 3, padding=1)
    wide = systolic(layer, array, hardware)
    assert StallCause.PORTS not in {stall.cause for stall in wide.stalls}
    narrow = replace(hardware, sram=tuple(replace(sram, word_bits=8, ports=1) for sram in hardware.sram))
    run = systolic(layer, array, narrow)
    assert run.counts == wide.counts
    ports = next(stall.cycles for stall in run.stalls if stall.cause is StallCause.PORTS)
    moved = sum(
        a.bits for a in run.counts.accesses if a.memory.level is Level.SRAM and a.memory.role is Role.PARTIAL_SUMS
    )
    waiting = sum(stall.cycles for stall in run.stalls if stall.cause in (StallCause.TILES, StallCause.DRAM))
    assert run.compute_cycles + waiting + ports == moved / 8  # the busiest memory: a byte a cycle
