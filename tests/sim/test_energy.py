"""Energy is counts times prices; prices come from a table in which each number has its source."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Plan
from bitkiln.sim.activity import Activity, StageActivity, plan_activity
from bitkiln.sim.counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role
from bitkiln.sim.energy import Kind, KindEnergy, energy
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import MemoryPrice, Price, Technology

KILOBYTE_BITS = 1024 * 8


@pytest.fixture(scope="module")
def technology() -> Technology:
    return find_technology("45nm")


def one(counts: Counts) -> Activity:
    return Activity((StageActivity("stage", counts),))


def arithmetic(operation: Operation, bits: tuple[int, int], count: int) -> Counts:
    return Counts((Arithmetic(operation, Purpose.PRODUCT, bits, count),))


def access(level: Level, capacity_bits: int, word_bits: int, reads: int = 0, writes: int = 0) -> Counts:
    return Counts((), (Access(Memory("m", level, Role.WEIGHTS, capacity_bits, word_bits), reads, writes),))


@pytest.mark.parametrize(
    ("counts", "kind", "energy_pj"),
    [
        (arithmetic(Operation.ADD, (8, 8), 1), Kind.ADD, 0.03),
        (arithmetic(Operation.ADD, (16, 9), 1), Kind.ADD, 0.05),
        (arithmetic(Operation.ADD, (12, 12), 1), Kind.ADD, 0.04),
        (arithmetic(Operation.ADD, (4, 4), 1), Kind.ADD, 0.015),
        (arithmetic(Operation.ADD, (64, 64), 1), Kind.ADD, 0.2),
        (arithmetic(Operation.COMPARE, (32, 1), 10), Kind.ADD, 1.0),
        (arithmetic(Operation.MULTIPLY, (8, 8), 1000), Kind.MULTIPLY, 200.0),
        (arithmetic(Operation.MULTIPLY, (16, 16), 1), Kind.MULTIPLY, 0.62),
        (arithmetic(Operation.MULTIPLY, (32, 8), 1), Kind.MULTIPLY, 0.62),
        (arithmetic(Operation.MULTIPLY, (32, 32), 1), Kind.MULTIPLY, 3.1),
        (arithmetic(Operation.MULTIPLY, (4, 4), 1), Kind.MULTIPLY, 0.05),
        (arithmetic(Operation.MULTIPLY, (8, 2), 1), Kind.MULTIPLY, 0.05),
        (arithmetic(Operation.MULTIPLY, (64, 64), 1), Kind.MULTIPLY, 12.4),
        (access(Level.SRAM, 8 * KILOBYTE_BITS, 64, reads=3), Kind.SRAM, 30.0),
        (access(Level.SRAM, 32 * KILOBYTE_BITS, 16, writes=1), Kind.SRAM, 5.0),
        (access(Level.SRAM, 1024 * KILOBYTE_BITS, 64, reads=1, writes=1), Kind.SRAM, 200.0),
        (access(Level.SRAM, 2 * KILOBYTE_BITS, 64, reads=1), Kind.SRAM, 5.0),  # the square root of the capacity
        (access(Level.SRAM, 16 * KILOBYTE_BITS, 64, reads=1), Kind.SRAM, 10 * math.sqrt(2)),
        (access(Level.SRAM, 64, 32, reads=1), Kind.SRAM, 1.0),  # not below a register
        (access(Level.REGISTER, 32, 32, reads=1, writes=1), Kind.REGISTER, 2.0),
        (access(Level.DRAM, 0, 32, reads=1), Kind.DRAM, 640.0),
        (access(Level.DRAM, 0, 1, writes=1), Kind.DRAM, 20.0),
    ],
)
def test_price_of_one_thing(technology: Technology, counts: Counts, kind: Kind, energy_pj: float) -> None:
    spent = energy(one(counts), technology)
    assert spent.total_pj == pytest.approx(energy_pj, rel=1e-12)
    assert {part: pj for part, pj in spent.by_kind if pj} == {kind: pytest.approx(energy_pj, rel=1e-12)}


def test_dram_against_an_addition_and_sram(technology: Technology) -> None:
    """The ratios that the published energy tables are quoted for: 6400 additions of 32 bits to one DRAM access."""
    dram_pj = 32 * technology.dram.pj_per_bit
    assert dram_pj / technology.add_pj(32) == pytest.approx(6400)
    assert dram_pj / (32 * technology.sram_pj_per_bit(32 * KILOBYTE_BITS)) == pytest.approx(64)


@given(st.integers(1, 64), st.integers(1, 64))
def test_wider_is_dearer(a: int, b: int) -> None:
    technology = find_technology("45nm")
    assert technology.multiply_pj(a, b) == technology.multiply_pj(b, a) < technology.multiply_pj(a + 1, b)
    assert technology.add_pj(a) < technology.add_pj(a + 1)
    assert technology.sram_pj_per_bit(a << b) <= technology.sram_pj_per_bit(a << (b + 1))


def test_energy_is_linear_in_the_counts(plan: Plan, technology: Technology) -> None:
    activity = plan_activity(plan)
    twice = Activity(
        tuple(replace(stage, counts=stage.counts + stage.counts) for stage in activity.stages),
    )
    thrice = Activity((*activity.stages, *twice.stages))
    total_pj = energy(activity, technology).total_pj
    assert total_pj > 0
    assert energy(twice, technology).total_pj == pytest.approx(2 * total_pj)
    assert energy(thrice, technology).total_pj == pytest.approx(3 * total_pj)
    merged = one(activity.total)
    assert energy(merged, technology).total_pj == pytest.approx(total_pj)
    assert energy(Activity(()), technology).total_pj == 0


def test_energy_is_linear_in_the_table(plan: Plan, technology: Technology) -> None:
    def scaled(price: Price) -> Price:
        return replace(price, energy=7 * price.energy)

    def scaled_memory(price: MemoryPrice) -> MemoryPrice:
        return replace(price, energy=7 * price.energy)

    dearer = replace(
        technology,
        add=tuple(map(scaled, technology.add)),
        multiply=tuple(map(scaled, technology.multiply)),
        sram=tuple(map(scaled_memory, technology.sram)),
        register=scaled(technology.register),
        dram=scaled(technology.dram),
    )
    activity = plan_activity(plan)
    assert energy(activity, dearer).total_pj == pytest.approx(7 * energy(activity, technology).total_pj)

    only_dram = energy(activity, replace(technology, dram=scaled(technology.dram))).by_kind
    before = dict(energy(activity, technology).by_kind)
    expected = before | {Kind.DRAM: pytest.approx(7 * before[Kind.DRAM])}
    assert dict(only_dram) == expected


def test_parts_add_up(plan: Plan, technology: Technology) -> None:
    spent = energy(plan_activity(plan), technology)
    assert sum(stage.by_kind.total_pj for stage in spent.by_stage) == pytest.approx(spent.total_pj)
    assert [stage.name for stage in spent.by_stage] == ["host link", *(stage.name for stage in plan.stages)]
    unused = {Kind.NETWORK, Kind.LOGIC}
    assert {kind for kind, energy_pj in spent.by_kind if not energy_pj} == unused
    assert KindEnergy(1, 2, 3, 4, 5).total_pj == 15


def test_weights_from_dram_cost_their_bits(plan: Plan, technology: Technology) -> None:
    activity = plan_activity(plan)
    more = energy(activity.with_weights_from_dram(), technology).total_pj - energy(activity, technology).total_pj
    assert more == pytest.approx(activity.weight_bits * 20.0)
