"""More hardware never costs: what holds on every engine, for layers of all kinds and for those at the edges."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim._tiles import Residence
from bitkiln.sim.accelerator import Accelerator, Dataflow, RowStationary, Systolic, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.energy import counts_energy
from bitkiln.sim.engines import run_layer
from bitkiln.sim.simulate import Simulation, simulate
from bitkiln.sim.systolic import compute_cycles
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import MemoryPrice, Price, Technology
from bitkiln.sim.tiling import Objective
from bitkiln.sim.workload import Layer, LayerKind, Workload
from tests.sim.networks import convolution, layers, matrix

TABLE = find_technology("45nm")
ENGINES = ("systolic-32 ws", "systolic-32 os", "systolic-32 is", "tpu-like", "eyeriss-like", "xnor-array", "zero-skip")
TILED = tuple(name for name in ENGINES if name != "eyeriss-like")
FEW = settings(max_examples=12, deadline=None)
STAYS = Residence(has_input=True, has_output=True, has_weights=True)

EDGES = (
    convolution(1, 1, 1, 1),
    convolution(7, 8, 24, 7),  # the kernel is the input
    convolution(13, 5, 6, 1, stride=4),  # most of the input is not seen
    convolution(15, 3, 8, 2, stride=3),
    convolution(9, 12, 12, 3, padding=1, groups=12),  # depthwise
    convolution(9, 12, 24, 3, padding=1, groups=12),
    convolution(5, 70, 33, 3, padding=2, batch=3),
    matrix(1, 300, 1),
    matrix(1, 1, 300),
    Layer("line", LayerKind.CONVOLUTION, 1, 40, 8, 9, (1, 5), (1, 2)),
    Layer("tall", LayerKind.CONVOLUTION, 40, 1, 8, 9, (5, 1), (2, 1), ((3, 0), (0, 0)), is_rounded_up=True),
)
any_layer = st.one_of(st.sampled_from(EDGES), layers(), layers(most=40))


def chip(name: str) -> Accelerator:
    file, _, dataflow = name.partition(" ")
    found = find_accelerator(file)
    return found.with_dataflow(Dataflow(dataflow)) if dataflow else found


def alone(layer: Layer, accelerator: Accelerator, objective: Objective = Objective.TRAFFIC) -> Simulation:
    return simulate(Workload("one", (layer,)), accelerator, TABLE, objective, can_stay=False)


def if_it_fits(layer: Layer, accelerator: Accelerator, objective: Objective = Objective.TRAFFIC) -> Simulation:
    try:
        return alone(layer, accelerator, objective)
    except ToolError as error:
        if error.diagnostics[0].slug == "sram-too-small":
            reject()
        raise


def with_memory(accelerator: Accelerator, factor: float) -> Accelerator:
    srams = (
        replace(sram, capacity_bytes=max(round(factor * sram.capacity_bytes), sram.banks * sram.word_bits // 8))
        for sram in accelerator.sram
    )
    return replace(accelerator, sram=tuple(srams))


@pytest.mark.parametrize("name", [*ENGINES, "eie"])
@FEW
@given(layer=any_layer, objective=st.sampled_from(Objective))
def test_more_bandwidth_is_never_slower(name: str, layer: Layer, objective: Objective) -> None:
    accelerator = chip(name)
    if name == "eie":
        layer = matrix(layer.batch, layer.taps, layer.filters)
    rates = (0.1, 1, 3, 1000)
    drams = [replace(accelerator.dram, bytes_per_second=rate * accelerator.dram.bytes_per_second) for rate in rates]
    cycles = [alone(layer, replace(accelerator, dram=dram), objective).cycles for dram in drams]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("name", ENGINES)
@FEW
@given(layer=any_layer, factor=st.sampled_from((1 / 16, 1 / 4, 1)))
def test_more_memory_never_moves_more(name: str, layer: Layer, factor: float) -> None:
    little, more = (if_it_fits(layer, with_memory(chip(name), size)) for size in (factor, 2 * factor))
    assert more.counts.bits(Level.DRAM) <= little.counts.bits(Level.DRAM)


@pytest.mark.parametrize("name", TILED)
@FEW
@given(layer=any_layer, factor=st.sampled_from((1 / 16, 1 / 4, 1)))
def test_more_memory_is_never_slower_if_that_is_asked_for(name: str, layer: Layer, factor: float) -> None:
    """What moves the least may take longer: a larger first tile, for one."""
    little, more = (if_it_fits(layer, with_memory(chip(name), size), Objective.CYCLES) for size in (factor, 2 * factor))
    assert more.cycles <= little.cycles


def twice(accelerator: Accelerator) -> Accelerator:
    """The same with twice the elements."""
    if accelerator.vector:
        lanes = 2 * accelerator.vector.output_lanes
        return replace(accelerator, vector=replace(accelerator.vector, output_lanes=lanes))
    if accelerator.xnor:
        return replace(accelerator, xnor=replace(accelerator.xnor, lanes=2 * accelerator.xnor.lanes))
    if accelerator.zero_skip:
        lanes = 2 * accelerator.zero_skip.filter_lanes
        return replace(accelerator, zero_skip=replace(accelerator.zero_skip, filter_lanes=lanes))
    if accelerator.eie:
        return replace(accelerator, eie=replace(accelerator.eie, elements=2 * accelerator.eie.elements))
    raise AssertionError(accelerator.name)


@pytest.mark.parametrize("name", ["tpu-like", "xnor-array", "zero-skip", "eie"])
@FEW
@given(layer=any_layer)
def test_more_elements_never_compute_longer(name: str, layer: Layer) -> None:
    accelerator = chip(name)
    if name == "eie":
        layer = matrix(layer.batch, layer.taps, layer.filters)
    one, two = (run_layer(layer, more, resident=STAYS) for more in (accelerator, twice(accelerator)))
    assert two.compute_cycles <= one.compute_cycles


@FEW
@given(layer=any_layer)
def test_more_rows_and_columns_never_compute_longer(layer: Layer) -> None:
    accelerator = find_accelerator("eyeriss-like")
    cycles = []
    for rows, columns in ((12, 14), (24, 14), (24, 28)):
        array = RowStationary(rows, columns, weight_words=224, activation_words=12, partial_sum_words=24)
        cycles.append(alone(layer, replace(accelerator, row_stationary=array), Objective.CYCLES).compute_cycles)
    fastest = [0.75 * count for count in cycles]  # the mapping may move less instead
    assert fastest[1] <= cycles[0]
    assert fastest[2] <= cycles[1]


@given(
    sizes=st.tuples(*(st.integers(1, 8) for _ in range(3))),
    folds=st.tuples(*(st.integers(1, 3) for _ in range(3))),
    dataflow=st.sampled_from(Dataflow),
)
def test_a_larger_systolic_array_is_faster_where_it_is_full(
    sizes: tuple[int, int, int], folds: tuple[int, int, int], dataflow: Dataflow
) -> None:
    """The closed form has a fill and a drain for each fold: cells that stay empty only make them longer."""
    cells = sizes[0]
    positions, taps, filters = (2 * cells * count for count in folds)
    layer = matrix(positions, taps, filters)
    small, large = (compute_cycles(layer, Systolic(side, side, dataflow)) for side in (cells, 2 * cells))
    assert large < small


def dearer(technology: Technology, part: str, factor: float) -> Technology:
    """The table with all prices of one part multiplied."""

    def price(old: Price | MemoryPrice) -> Price | MemoryPrice:
        if isinstance(old, MemoryPrice):
            return replace(old, energy=factor * old.energy, write_energy=factor * old.write_pj_per_bit * old.bits)
        return replace(old, energy=factor * old.energy)

    old = getattr(technology, part)
    changed: dict[str, Any] = {part: tuple(map(price, old)) if isinstance(old, tuple) else price(old)}
    return replace(technology, **changed)


PARTS = ("add", "multiply", "logic", "register", "network", "dram", "sram")


@pytest.mark.parametrize("name", [*ENGINES, "eie"])
@FEW
@given(layer=any_layer, factors=st.tuples(*(st.sampled_from((1.0, 2.0, 5.0)) for _ in PARTS)))
def test_energy_is_linear_in_every_part_of_the_table(name: str, layer: Layer, factors: tuple[float, ...]) -> None:
    """Apart from the floor of an SRAM's bit at a register's, which cheaper registers and dearer SRAM do not reach."""
    if name == "eie":
        layer = matrix(layer.batch, layer.taps, layer.filters)
    counts = run_layer(layer, chip(name)).counts
    assert set(PARTS) <= {field.name for field in fields(Technology)}
    table, base = TABLE, counts_energy(counts, TABLE).total_pj
    expected = base
    for part, more in zip(PARTS, factors, strict=True):
        factor = 1 / more if part == "register" else more
        expected += counts_energy(counts, dearer(TABLE, part, factor)).total_pj - base
        table = dearer(table, part, factor)
    assert counts_energy(counts, table).total_pj == pytest.approx(expected)
