"""What holds for every layer on the sparse and binary engines: accounts balance, more hardware never costs time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim._tiles import NOTHING_STAYS, Residence
from bitkiln.sim.accelerator import Accelerator, Operand, find_accelerator
from bitkiln.sim.counts import Level, Purpose, Role
from bitkiln.sim.energy import counts_energy
from bitkiln.sim.engine import LayerRun
from bitkiln.sim.engines import run_layer
from bitkiln.sim.sparsity import masks
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import MemoryPrice, Price, Technology
from bitkiln.sim.workload import Layer, LayerKind

ENGINES = ("eie", "xnor-array", "zero-skip")
STAYS = Residence(has_input=True, has_output=True, has_weights=True)
ON_EVERY_ENGINE = pytest.mark.parametrize("name", ENGINES)
FEW = settings(max_examples=25, deadline=None)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """1x1 convolutions and matrix products, which every engine has."""
    return Layer(
        "layer",
        LayerKind.CONVOLUTION,
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 200)),
        draw(st.integers(1, 200)),
        batch=draw(st.integers(1, 2)),
        given_weight_density=draw(st.floats(0, 1)),
        given_activation_density=draw(st.floats(0, 1)),
    )


def bits(run: LayerRun, level: Level, role: Role) -> tuple[int, int]:
    found = [item for item in run.counts.accesses if item.memory.level is level and item.memory.role is role]
    return sum(item.read_bits for item in found), sum(item.written_bits for item in found)


@ON_EVERY_ENGINE
@FEW
@given(layer=layers())
def test_accounts_balance(name: str, layer: Layer) -> None:
    chip = find_accelerator(name)
    run = run_layer(layer, chip)
    assert run.performed_macs + run.gated_macs + run.skipped_macs == layer.macs
    assert run.performed_macs == sum(item.count for item in run.counts.arithmetic if item.purpose is Purpose.PRODUCT)
    assert min(run.performed_macs, run.gated_macs, run.skipped_macs, run.compute_cycles) >= 0
    assert all(stall.cycles > 0 for stall in run.stalls)
    assert run.performed_macs <= run.peak_macs * run.compute_cycles
    assert 0 <= run.utilisation <= 1


@ON_EVERY_ENGINE
@FEW
@given(layer=layers())
def test_traffic_is_at_least_compulsory(name: str, layer: Layer) -> None:
    """Every output leaves once; whatever comes from DRAM is what is computed with, and stored in full."""
    run = run_layer(layer, find_accelerator(name))
    numbers = find_accelerator(name).numbers
    assert bits(run, Level.DRAM, Role.OUTPUTS) == (0, layer.output_count * numbers.output_bits)
    live = round(layer.input_count * layer.activation_density)
    if name == "xnor-array":
        assert bits(run, Level.DRAM, Role.WEIGHTS)[0] >= layer.weight_count
        assert bits(run, Level.DRAM, Role.ACTIVATIONS)[0] >= layer.input_count
    if name == "eie":
        assert bits(run, Level.DRAM, Role.ACTIVATIONS)[0] == layer.input_count * 16
        assert bits(run, Level.DRAM, Role.INDICES)[0] == bits(run, Level.DRAM, Role.WEIGHTS)[0]
    if live > 50 and name == "zero-skip":
        assert bits(run, Level.DRAM, Role.ACTIVATIONS)[0] > 0
        assert bits(run, Level.DRAM, Role.INDICES)[0] > 0


def doubled(technology: Technology) -> Technology:
    def price(old: Price) -> Price:
        return replace(old, energy=2 * old.energy)

    def memory(old: MemoryPrice) -> MemoryPrice:
        return replace(old, energy=2 * old.energy)

    return replace(
        technology,
        add=tuple(map(price, technology.add)),
        multiply=tuple(map(price, technology.multiply)),
        logic=tuple(map(price, technology.logic)),
        sram=tuple(map(memory, technology.sram)),
        register=price(technology.register),
        dram=price(technology.dram),
    )


@ON_EVERY_ENGINE
@FEW
@given(layer=layers())
def test_energy_is_linear_in_the_table(name: str, layer: Layer) -> None:
    counts, table = run_layer(layer, find_accelerator(name)).counts, find_technology("45nm")
    assert counts_energy(counts, doubled(table)).total_pj == pytest.approx(2 * counts_energy(counts, table).total_pj)


def faster(chip: Accelerator) -> Accelerator:
    return replace(chip, dram=replace(chip.dram, bytes_per_second=3 * chip.dram.bytes_per_second))


def larger(chip: Accelerator) -> Accelerator:
    return replace(chip, sram=tuple(replace(sram, capacity_bytes=2 * sram.capacity_bytes) for sram in chip.sram))


@ON_EVERY_ENGINE
@FEW
@given(layer=layers())
def test_more_bandwidth_never_slows_down(name: str, layer: Layer) -> None:
    chip = find_accelerator(name)
    assert run_layer(layer, faster(chip)).cycles <= run_layer(layer, chip).cycles


@ON_EVERY_ENGINE
@FEW
@given(layer=layers())
def test_more_memory_never_moves_more(name: str, layer: Layer) -> None:
    chip = find_accelerator(name)
    sram = tuple(replace(part, capacity_bytes=part.capacity_bytes // 16) for part in chip.sram)
    small = replace(chip, sram=sram)
    try:
        little = run_layer(layer, small)
    except ToolError:
        assume(False)
    assert run_layer(layer, chip).bytes(Level.DRAM) <= little.bytes(Level.DRAM)
    assert run_layer(layer, larger(chip)).bytes(Level.DRAM) <= run_layer(layer, chip).bytes(Level.DRAM)


@FEW
@given(layer=layers(), elements=st.sampled_from((1, 2, 5, 16)))
def test_twice_the_elements_never_slow_eie_down(layer: Layer, elements: int) -> None:
    """Each element's rows are dealt out over two: columns get no longer, and rows of activations fewer."""
    chip = find_accelerator("eie")
    assert chip.eie is not None
    layer = replace(layer, height=1, width=1, batch=1)
    weights, activations = (mask.astype(np.float32) for mask in masks(layer))
    layer = replace(layer, weights=weights, activations=activations)
    wide = replace(chip, sram=(replace(chip.sram[0], capacity_bytes=1 << 24), chip.sram[1]))
    some, more = (
        run_layer(layer, replace(wide, eie=replace(chip.eie, elements=count)), resident=STAYS)
        for count in (elements, 2 * elements)
    )
    assert more.cycles <= some.cycles


@pytest.mark.parametrize("lanes", [1, 3, 64])
def test_more_lanes_never_slow_the_xnor_array_down(lanes: int) -> None:
    chip = find_accelerator("xnor-array")
    assert chip.xnor is not None
    layer = Layer("l", LayerKind.CONVOLUTION, 6, 6, 100, 100, (3, 3))
    cycles = [
        run_layer(layer, replace(chip, xnor=replace(chip.xnor, lanes=count))).compute_cycles
        for count in (lanes, lanes + 1, 2 * lanes)
    ]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize(("operand", "name"), [(operand, name) for operand in Operand for name in ENGINES])
def test_a_missing_memory_is_named(operand: Operand, name: str) -> None:
    chip = find_accelerator(name)
    sram = [
        replace(part, holds=tuple(held for held in part.holds if held is not operand))
        for part in chip.sram
        if part.holds != (operand,)
    ]
    with pytest.raises(ToolError) as error:
        run_layer(Layer("l", LayerKind.MATRIX, 1, 1, 8, 8), replace(chip, sram=tuple(sram)))
    assert str(error.value.diagnostics[0]) == (
        f"error[bad-accelerator]: {name} has no [[sram]] that holds {operand.value}, which its engine reads from one\n"
        f'  help: add one with holds = ["{operand.value}"]'
    )


@pytest.mark.parametrize("name", ["xnor-array", "zero-skip"])
def test_memories_smaller_than_a_tile_say_what_would_do(name: str) -> None:
    layer = Layer("big", LayerKind.CONVOLUTION, 64, 4096, 8, 8, (3, 3))
    chip = find_accelerator(name)
    small = replace(chip, sram=tuple(replace(part, capacity_bytes=4096, banks=1) for part in chip.sram))
    with pytest.raises(ToolError) as error:
        run_layer(layer, small, resident=NOTHING_STAYS)
    first, *rest = str(error.value.diagnostics[0]).splitlines()
    assert first.startswith(f"error[sram-too-small]: layer big does not fit on {name} with the smallest tile")
    assert "needs" in first
    assert "not 4,096" in first
    assert rest == ["  help: raise capacity_bytes of the sram in the accelerator's file"]
