"""The prices of a technology: a table in which each number has its unit and its source.

A table has a few sourced sizes; other sizes follow by the rules in `RULES`, which the report prints.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import Enum

from bitkiln.ir import fail

UNSOURCED = "unsourced"
"""What the source of a number begins with that nobody has measured or published."""

Point = tuple[int, float]
"""A size and a value."""

RULES = (
    "A multiplier's energy goes with the product of its operands' widths: an a x b multiplier costs what a square one "
    "of sqrt(a b) bits does. Between two sourced widths it follows the power law through both, beyond them the square.",
    "An adder's energy is linear in its wider operand: straight lines between the sourced widths, proportional beyond "
    "them. A comparison costs what an addition does, a gate's energy is linear in the width.",
    "An SRAM's energy is linear in the bits of the access and follows the power law through the two sourced "
    "capacities around its own (beyond them, through the two nearest); no bit costs less than one of a register. A "
    "write costs what a read does, where the table has no other number.",
    "Registers, the network on the chip and DRAM are linear in the bits of the access.",
)


class EnergyUnit(Enum):
    """What an entry's energy is measured in: picojoules, or multiply-accumulates of the table's own width."""

    PICOJOULE = "pJ"
    MAC = "MAC"


def _check(what: str, sizes: dict[str, int], energy: float, source: str) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise fail("bad-value", f"{name} of {what} must be at least 1, not {size}")
    if not (math.isfinite(energy) and energy > 0):
        raise fail("bad-value", f"energy of {what} must be a positive number, not {energy}")
    if not source.strip():
        raise fail(
            "missing-source", f"{what} has no source", hint="say where the number comes from: paper, table, measurement"
        )


@dataclass(frozen=True)
class Price:
    """The energy of one operation on, or access to, `bits` bits."""

    bits: int
    energy: float
    unit: EnergyUnit
    source: str

    def __post_init__(self) -> None:
        _check("an energy entry", {"bits": self.bits}, self.energy, self.source)

    @property
    def pj_per_bit(self) -> float:
        return self.energy / self.bits

    @property
    def is_sourced(self) -> bool:
        return not self.source.startswith(UNSOURCED)


@dataclass(frozen=True)
class MemoryPrice:
    """The energy of one access to `bits` bits of an SRAM of `capacity_bytes`; a write costs `energy` unless given."""

    capacity_bytes: int
    bits: int
    energy: float
    unit: EnergyUnit
    source: str
    write_energy: float | None = None

    def __post_init__(self) -> None:
        sizes = {"bits": self.bits, "capacity_bytes": self.capacity_bytes}
        _check("an SRAM entry", sizes, self.energy, self.source)
        _check("an SRAM entry", sizes, self.energy if self.write_energy is None else self.write_energy, self.source)

    @property
    def pj_per_bit(self) -> float:
        return self.energy / self.bits

    @property
    def write_pj_per_bit(self) -> float:
        return (self.energy if self.write_energy is None else self.write_energy) / self.bits

    @property
    def is_sourced(self) -> bool:
        return not self.source.startswith(UNSOURCED)


@dataclass(frozen=True)
class Technology:
    """A table of prices. Sizes are in ascending order, and there are at least two of each that is interpolated.

    With `mac`, a product and its addition cost that together, whatever `add` and `multiply` say. All entries have the
    same unit. `node_nm` and `volts` say what a scaling to another node starts from.

    >>> find_technology("45nm").add_pj(32)
    0.1
    """

    name: str
    title: str
    sram: tuple[MemoryPrice, ...]
    register: Price
    dram: Price
    add: tuple[Price, ...] = ()
    multiply: tuple[Price, ...] = ()
    float_add: tuple[Price, ...] = ()
    float_multiply: tuple[Price, ...] = ()
    logic: tuple[Price, ...] = ()
    mac: Price | None = None
    network: Price | None = None
    node_nm: float | None = None
    volts: float | None = None

    def __post_init__(self) -> None:
        for name in ("add", "multiply", "float_add", "float_multiply", "logic"):
            prices: tuple[Price, ...] = getattr(self, name)
            needed = name in ("add", "multiply") and self.mac is None
            if prices or needed:
                _check_ascending(name, [price.bits for price in prices])
        _check_ascending("sram", [price.capacity_bytes for price in self.sram])
        units = {price.unit for _, price in self.entries()}
        if len(units) > 1:
            listed = " and ".join(sorted(unit.value for unit in units))
            raise fail("bad-value", f"all entries of a table must have the same unit, not {listed}")

    def entries(self) -> Iterator[tuple[str, Price | MemoryPrice]]:
        """Every entry with the name of its part of the table, in the order of the fields."""
        for field in fields(self):
            value = getattr(self, field.name)
            for price in value if isinstance(value, tuple) else (value,):
                if isinstance(price, Price | MemoryPrice):
                    yield field.name, price

    @property
    def unit(self) -> EnergyUnit:
        return self.register.unit

    def add_pj(self, bits: int) -> float:
        """Return the energy of an addition or comparison whose wider operand has `bits` bits."""
        return self._linear("add", bits)

    def multiply_pj(self, a_bits: int, b_bits: int) -> float:
        """Return the energy of a product of `a_bits` by `b_bits`; with `mac`, of a multiply-accumulate."""
        if self.mac is not None:
            return self.mac.energy * a_bits * b_bits / self.mac.bits**2
        return self._quadratic("multiply", a_bits, b_bits)

    def float_add_pj(self, bits: int) -> float:
        """Return the energy of an addition of floats of `bits` bits."""
        return self._linear("float_add", bits)

    def float_multiply_pj(self, a_bits: int, b_bits: int) -> float:
        """Return the energy of a product of floats."""
        return self._quadratic("float_multiply", a_bits, b_bits)

    def logic_pj(self, bits: int) -> float:
        """Return the energy of one gate on each of `bits` bits."""
        return self._linear("logic", bits)

    def network_pj_per_bit(self) -> float:
        """Return the energy of each bit that crosses the network between buffer and processing elements."""
        if self.network is None:
            raise self._missing("network")
        return self.network.pj_per_bit

    def sram_pj_per_bit(self, capacity_bits: int) -> float:
        """Return the energy of each bit that is read from an SRAM of this size."""
        points = [(price.capacity_bytes * 8, price.pj_per_bit) for price in self.sram]
        return max(self.register.pj_per_bit, _power_law(capacity_bits, points))

    def sram_write_pj_per_bit(self, capacity_bits: int) -> float:
        """Return the energy of each bit that is written to an SRAM of this size."""
        points = [(price.capacity_bytes * 8, price.write_pj_per_bit) for price in self.sram]
        return max(self.register.pj_per_bit, _power_law(capacity_bits, points))

    def _missing(self, name: str) -> Exception:
        hint = f"add [[{name}]] with bits, energy, unit and source, or choose another table"
        return fail("missing-price", f"the energy table {self.name} has no price for {name}", hint=hint)

    def _linear(self, name: str, bits: int) -> float:
        prices: tuple[Price, ...] = getattr(self, name)
        if not prices:
            raise self._missing(name)
        least, most = prices[0], prices[-1]
        if bits <= least.bits:
            return bits * least.pj_per_bit
        if bits >= most.bits:
            return bits * most.pj_per_bit
        (low, below), (high, above) = _neighbours(bits, [(price.bits, price.energy) for price in prices])
        return below + (above - below) * (bits - low) / (high - low)

    def _quadratic(self, name: str, a_bits: int, b_bits: int) -> float:
        prices: tuple[Price, ...] = getattr(self, name)
        if not prices:
            raise self._missing(name)
        least, most = prices[0], prices[-1]
        product = a_bits * b_bits
        if product <= least.bits**2:
            return least.energy * product / least.bits**2
        if product >= most.bits**2:
            return most.energy * product / most.bits**2
        return _power_law(math.sqrt(product), [(price.bits, price.energy) for price in prices])


def _check_ascending(name: str, sizes: list[int]) -> None:
    if len(sizes) < 2:
        raise fail("bad-value", f"[[{name}]] needs at least two sizes to go by, not {len(sizes)}")
    for before, after in itertools.pairwise(sizes):
        if before >= after:
            raise fail("bad-value", f"[[{name}]] must be in ascending order of size, but {after} follows {before}")


def _neighbours(size: float, points: Sequence[Point]) -> tuple[Point, Point]:
    """The points around `size`, or the two nearest beyond either end."""
    upper = next((i for i, (known, _) in enumerate(points) if known >= size), len(points) - 1)
    return points[max(1, upper) - 1], points[max(1, upper)]


def _power_law(size: float, points: Sequence[tuple[int, float]]) -> float:
    for known, value in points:
        if size == known:
            return value
    (low, below), (high, above) = _neighbours(size, points)
    return below * math.pow(above / below, math.log(size / low) / math.log(high / low))
