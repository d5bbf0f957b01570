"""Energy = counts x prices: the prices of a `Technology` applied to counted operations and accesses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from .activity import Activity
from .counts import Access, Arithmetic, Counts, Level, Operation, Purpose
from .technology import Technology


class Kind(Enum):
    """What energy is spent on."""

    MULTIPLY = "multiply"
    ADD = "add"
    REGISTER = "register"
    SRAM = "sram"
    DRAM = "dram"
    NETWORK = "network"
    LOGIC = "logic"


@dataclass(frozen=True)
class KindEnergy:
    """Energy by kind, in pJ; comparisons are additions here.

    >>> dict(KindEnergy(multiply_pj=2.0))[Kind.MULTIPLY]
    2.0
    """

    multiply_pj: float = 0.0
    add_pj: float = 0.0
    register_pj: float = 0.0
    sram_pj: float = 0.0
    dram_pj: float = 0.0
    network_pj: float = 0.0
    logic_pj: float = 0.0

    def __iter__(self) -> Iterator[tuple[Kind, float]]:
        yield Kind.MULTIPLY, self.multiply_pj
        yield Kind.ADD, self.add_pj
        yield Kind.REGISTER, self.register_pj
        yield Kind.SRAM, self.sram_pj
        yield Kind.DRAM, self.dram_pj
        yield Kind.NETWORK, self.network_pj
        yield Kind.LOGIC, self.logic_pj

    @classmethod
    def of(cls, parts: Iterator[tuple[Kind, float]]) -> KindEnergy:
        """Return the sum of `parts` by kind, exactly rounded: their order does not matter."""
        values: dict[Kind, list[float]] = {kind: [] for kind in Kind}
        for kind, energy_pj in parts:
            values[kind].append(energy_pj)
        return cls(*(math.fsum(values[kind]) for kind in Kind))

    @property
    def total_pj(self) -> float:
        return math.fsum(energy_pj for _, energy_pj in self)


_PAID_FROM = {
    "multiply": Kind.MULTIPLY,
    "float_multiply": Kind.MULTIPLY,
    "mac": Kind.MULTIPLY,
    "add": Kind.ADD,
    "float_add": Kind.ADD,
    "register": Kind.REGISTER,
    "sram": Kind.SRAM,
    "dram": Kind.DRAM,
    "network": Kind.NETWORK,
    "logic": Kind.LOGIC,
}
"""What the parts of a table are the prices of."""


def unsourced_kinds(technology: Technology) -> tuple[Kind, ...]:
    """Return the kinds of energy for which the table has a price without a source."""
    found = {_PAID_FROM[part] for part, price in technology.entries() if not price.is_sourced}
    return tuple(kind for kind in Kind if kind in found)


@dataclass(frozen=True)
class StageEnergy:
    """The energy of one stage for one image."""

    name: str
    by_kind: KindEnergy


@dataclass(frozen=True)
class Energy:
    """The energy of one image. `by_stage` has the order of the Activity."""

    by_stage: tuple[StageEnergy, ...]

    @property
    def by_kind(self) -> KindEnergy:
        return KindEnergy.of(part for stage in self.by_stage for part in stage.by_kind)

    @property
    def total_pj(self) -> float:
        return self.by_kind.total_pj


def energy(activity: Activity, technology: Technology) -> Energy:
    """Price every count of `activity`: linear in the counts and, apart from the floor of SRAM, in the table."""
    return Energy(tuple(StageEnergy(stage.name, counts_energy(stage.counts, technology)) for stage in activity.stages))


def counts_energy(counts: Counts, technology: Technology) -> KindEnergy:
    """Return the energy of `counts` by kind."""

    def parts() -> Iterator[tuple[Kind, float]]:
        for item in counts.arithmetic:
            yield _arithmetic_energy(item, technology)
        for access in counts.accesses:
            yield _access_energy(access, technology)

    return KindEnergy.of(parts())


def _arithmetic_energy(item: Arithmetic, technology: Technology) -> tuple[Kind, float]:
    if technology.mac is not None and item.purpose in (Purpose.TREE, Purpose.ACCUMULATE):
        return Kind.ADD, 0.0  # part of the multiply-accumulate's price
    match item.operation:
        case Operation.MULTIPLY:
            return Kind.MULTIPLY, item.count * technology.multiply_pj(*item.bits)
        case Operation.ADD | Operation.COMPARE:
            return Kind.ADD, item.count * technology.add_pj(max(item.bits))
        case Operation.FLOAT_MULTIPLY:
            return Kind.MULTIPLY, item.count * technology.float_multiply_pj(*item.bits)
        case Operation.FLOAT_ADD:
            return Kind.ADD, item.count * technology.float_add_pj(max(item.bits))
        case Operation.LOGIC:
            return Kind.LOGIC, item.count * technology.logic_pj(max(item.bits))
        case _:
            assert_never(item.operation)


def _access_energy(access: Access, technology: Technology) -> tuple[Kind, float]:
    memory = access.memory
    match memory.level:
        case Level.REGISTER:
            return Kind.REGISTER, access.bits * technology.register.pj_per_bit
        case Level.SRAM:
            read_pj = access.read_bits * technology.sram_pj_per_bit(memory.capacity_bits)
            return Kind.SRAM, read_pj + access.written_bits * technology.sram_write_pj_per_bit(memory.capacity_bits)
        case Level.NETWORK:
            return Kind.NETWORK, access.bits * technology.network_pj_per_bit() if access.bits else 0.0
        case Level.DRAM:
            return Kind.DRAM, access.bits * technology.dram.pj_per_bit
        case _:
            assert_never(memory.level)
