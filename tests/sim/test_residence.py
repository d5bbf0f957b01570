"""What stays on the chip: weights that fit, and the feature maps whose staying costs the least, against all ways."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim._tiles import Residence
from bitkiln.sim.accelerator import Accelerator, Operand, find_accelerator
from bitkiln.sim.counts import Level, Role
from bitkiln.sim.residence import nothing_stays, residences, weights_of
from bitkiln.sim.simulate import Simulation, simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.tiling import Objective
from bitkiln.sim.workload import Layer, Workload
from tests.sim.networks import chain, convolution, matrix

TECHNOLOGY = find_technology("45nm")


def network() -> Workload:
    return chain(
        "small",
        convolution(16, 3, 16, 3, padding=1),
        convolution(16, 16, 32, 3, padding=1),
        convolution(16, 32, 8, 1),
        matrix(1, 2048, 10),
    )


def sized(weights: int, activations: int) -> Accelerator:
    """`systolic-32` with so many kB for weights and activations."""
    accelerator = find_accelerator("systolic-32")
    sizes = {Operand.WEIGHTS: weights, Operand.ACTIVATIONS: activations, Operand.OUTPUTS: 64}
    return replace(
        accelerator, sram=tuple(replace(sram, capacity_bytes=1024 * sizes[sram.holds[0]]) for sram in accelerator.sram)
    )


def dram_by_role(simulation: Simulation, index: int) -> dict[Role, tuple[int, int]]:
    accesses = simulation.runs[index].counts.accesses
    return {a.memory.role: (a.reads, a.writes) for a in accesses if a.memory.level is Level.DRAM}


def test_weights_fit_or_not() -> None:
    workload = network()
    total = sum(layer.weight_count for layer in workload.layers)
    small, large = (weights_of(workload, sized(kilobytes, 64)) for kilobytes in (16, 32))
    assert small.bits == large.bits == 8 * total
    assert (small.fits, large.fits) == (False, True)
    narrow = Workload("narrow", tuple(replace(layer, weight_bits=4) for layer in workload.layers))
    assert weights_of(narrow, sized(16, 64)).fits


def test_weights_that_fit_are_not_fetched_again() -> None:
    workload = network()
    cold, warm = (simulate(workload, sized(32, 1), TECHNOLOGY, can_stay=stays) for stays in (False, True))
    saved = sum(layer.weight_count for layer in workload.layers)
    assert (cold.counts.read_bits(Level.DRAM) - warm.counts.read_bits(Level.DRAM)) / 8 >= saved
    assert all(stays.has_weights for stays in warm.stays)
    assert warm.to_plain()["weights"] == {"bytes": saved, "sram_bytes": 32768, "fits": True, "stays": True}
    assert warm.energy.total_pj < cold.energy.total_pj


def test_a_map_that_stays_is_neither_written_nor_read() -> None:
    simulation = simulate(network(), sized(16, 64), TECHNOLOGY)
    assert [stays.has_output for stays in simulation.stays] == [True, True, True, False]
    assert [stays.has_input for stays in simulation.stays] == [False, True, True, True]
    assert Role.OUTPUTS not in dram_by_role(simulation, 0)
    assert Role.ACTIVATIONS not in dram_by_role(simulation, 1)
    assert dram_by_role(simulation, 0)[Role.ACTIVATIONS] == (768, 0)
    assert dram_by_role(simulation, 3)[Role.OUTPUTS] == (0, 10)
    on_chip = [a for a in simulation.runs[0].counts.accesses if a.memory.role is Role.OUTPUTS]
    assert [(a.memory.level, a.writes) for a in on_chip] == [(Level.SRAM, 16 * 16 * 16)]


def test_only_the_layer_before_can_leave_its_map() -> None:
    workload = network()
    apart = Workload("apart", tuple(replace(layer, source="") for layer in workload.layers))
    assert not any(stays.has_input for stays in simulate(apart, sized(16, 64), TECHNOLOGY).stays)
    assert nothing_stays(workload) == (Residence(),) * 4


@pytest.mark.parametrize("objective", Objective)
def test_no_other_choice_is_better(objective: Objective) -> None:
    """Of all eight ways to keep three maps, on a memory that they crowd."""
    workload, accelerator = network(), sized(16, 12)
    found = simulate(workload, accelerator, TECHNOLOGY, objective)

    def cost(simulation: Simulation) -> float:
        match objective:
            case Objective.TRAFFIC:
                return simulation.counts.bits(Level.DRAM)
            case Objective.ENERGY:
                return simulation.energy.total_pj
            case Objective.CYCLES:
                return simulation.cycles

    ways = []
    for kept in itertools.product((False, True), repeat=3):
        sources = ("", *(layer.source if keep else "" for keep, layer in zip(kept, workload.layers[1:], strict=True)))
        some = [replace(layer, source=source) for layer, source in zip(workload.layers, sources, strict=True)]
        ways.append(cost(simulate(Workload("some", tuple(some)), accelerator, TECHNOLOGY, objective)))
    assert cost(found) == pytest.approx(min(ways))
    assert min(ways) < ways[0]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=6))
def test_the_chain_is_decided_as_a_whole(prices: list[tuple[int, int, int]]) -> None:
    """Arbitrary savings of an input, of an output, and a price of both at once."""
    workload = chain("any", *(matrix(1, 8, 8) for _ in prices))

    def cost(layer: Layer, stays: Residence) -> tuple[float, float]:
        saved_input, saved_output, crowd = prices[int(layer.name.removeprefix("layer")) - 1]
        both = stays.has_input and stays.has_output
        total = 20 - saved_input * stays.has_input - saved_output * stays.has_output + 3 * crowd * both
        return float(total), 0.0

    def total(ways: tuple[Residence, ...]) -> float:
        return sum(cost(layer, stays)[0] for layer, stays in zip(workload.layers, ways, strict=True))

    found = residences(workload, sized(1, 1), has_weights=False, cost=cost)
    for before, after in itertools.pairwise(found):
        assert before.has_output == after.has_input
    every = [
        tuple(
            Residence(has_input=before, has_output=after) for before, after in itertools.pairwise((False, *kept, False))
        )
        for kept in itertools.product((False, True), repeat=len(prices) - 1)
    ]
    assert total(found) == min(total(ways) for ways in every)
