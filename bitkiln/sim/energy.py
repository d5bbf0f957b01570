"""Energy = counts x prices: the prices of a technology, read from a table with sources, applied to an Activity.

The table has a few sourced sizes; other sizes follow by the rules in `RULES`, which the report prints.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import assert_never

from bitkiln.ir import fail, from_plain, known_names

from .activity import Activity
from .counts import Access, Arithmetic, Counts, Level, Operation

TABLES = ("45nm",)
"""Names of the tables in the package."""

Point = tuple[int, float]
"""A size and a value."""

RULES = (
    "A multiplier's energy goes with the product of its operands' widths: an a x b multiplier costs what a square one "
    "of sqrt(a b) bits does. Between two sourced widths it follows the power law through both, beyond them the square.",
    "An adder's energy is linear in its wider operand: straight lines between the sourced widths, proportional beyond "
    "them. A comparison costs what an addition does.",
    "An SRAM's energy is linear in the bits of the access and follows the power law through the two sourced "
    "capacities around its own (beyond them, through the two nearest); no bit costs less than one of a register. A "
    "write costs what a read does.",
    "Registers and DRAM are linear in the bits of the access.",
)


class EnergyUnit(Enum):
    """What an entry's energy is measured in."""

    PICOJOULE = "pJ"


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


@dataclass(frozen=True)
class MemoryPrice:
    """The energy of one access to `bits` bits of an SRAM of `capacity_bytes`."""

    capacity_bytes: int
    bits: int
    energy: float
    unit: EnergyUnit
    source: str

    def __post_init__(self) -> None:
        sizes = {"bits": self.bits, "capacity_bytes": self.capacity_bytes}
        _check("an SRAM entry", sizes, self.energy, self.source)

    @property
    def pj_per_bit(self) -> float:
        return self.energy / self.bits


@dataclass(frozen=True)
class Technology:
    """A table of prices. Sizes are in ascending order, and there are at least two of each that is interpolated.

    >>> find_technology("45nm").add_pj(32)
    0.1
    """

    name: str
    title: str
    add: tuple[Price, ...]
    multiply: tuple[Price, ...]
    sram: tuple[MemoryPrice, ...]
    register: Price
    dram: Price

    def __post_init__(self) -> None:
        _check_ascending("add", [price.bits for price in self.add])
        _check_ascending("multiply", [price.bits for price in self.multiply])
        _check_ascending("sram", [price.capacity_bytes for price in self.sram])

    def add_pj(self, bits: int) -> float:
        """Return the energy of an addition or comparison whose wider operand has `bits` bits."""
        least, most = self.add[0], self.add[-1]
        if bits <= least.bits:
            return bits * least.pj_per_bit
        if bits >= most.bits:
            return bits * most.pj_per_bit
        (low, below), (high, above) = _neighbours(bits, [(price.bits, price.energy) for price in self.add])
        return below + (above - below) * (bits - low) / (high - low)

    def multiply_pj(self, a_bits: int, b_bits: int) -> float:
        """Return the energy of a product of `a_bits` by `b_bits`."""
        least, most = self.multiply[0], self.multiply[-1]
        product = a_bits * b_bits
        if product <= least.bits**2:
            return least.energy * product / least.bits**2
        if product >= most.bits**2:
            return most.energy * product / most.bits**2
        return _power_law(math.sqrt(product), [(price.bits, price.energy) for price in self.multiply])

    def sram_pj_per_bit(self, capacity_bits: int) -> float:
        """Return the energy of each bit of an access to an SRAM of this size."""
        points = [(price.capacity_bytes * 8, price.pj_per_bit) for price in self.sram]
        return max(self.register.pj_per_bit, _power_law(capacity_bits, points))


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


def find_technology(name: str) -> Technology:
    """Return the shipped table called `name`. Raises `unknown-technology`, which lists the known ones."""
    if name not in TABLES:
        hint = known_names(name, TABLES)
        raise fail("unknown-technology", f"there is no energy table called {name!r}", hint=hint)
    text = resources.files("bitkiln.sim").joinpath("tables", f"energy_{name}.toml").read_text("utf-8")
    return read_technology(text, f"energy_{name}.toml")


def load_technology(path: Path) -> Technology:
    """Read a table from a file. Raises `missing-file` and what `read_technology` raises."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise fail("bad-toml", f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise fail("missing-file", f"cannot read the energy table {path}: {error.strerror}") from None
    return read_technology(text, str(path))


def read_technology(text: str, where: str) -> Technology:
    """Read a table in TOML; `where` names it in messages.

    Raises `bad-toml`, `unknown-key`, `missing-key` and `bad-value`; an entry without a source is `missing-source`.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise fail("bad-toml", f"{where} is no TOML: {error}") from None
    return from_plain(Technology, plain, where)


class Kind(Enum):
    """What energy is spent on."""

    MULTIPLY = "multiply"
    ADD = "add"
    REGISTER = "register"
    SRAM = "sram"
    DRAM = "dram"


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

    def __iter__(self) -> Iterator[tuple[Kind, float]]:
        yield Kind.MULTIPLY, self.multiply_pj
        yield Kind.ADD, self.add_pj
        yield Kind.REGISTER, self.register_pj
        yield Kind.SRAM, self.sram_pj
        yield Kind.DRAM, self.dram_pj

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
    match item.operation:
        case Operation.MULTIPLY:
            return Kind.MULTIPLY, item.count * technology.multiply_pj(*item.bits)
        case Operation.ADD | Operation.COMPARE:
            return Kind.ADD, item.count * technology.add_pj(max(item.bits))
        case _:
            assert_never(item.operation)


def _access_energy(access: Access, technology: Technology) -> tuple[Kind, float]:
    match access.memory.level:
        case Level.REGISTER:
            return Kind.REGISTER, access.bits * technology.register.pj_per_bit
        case Level.SRAM:
            return Kind.SRAM, access.bits * technology.sram_pj_per_bit(access.memory.capacity_bits)
        case Level.DRAM:
            return Kind.DRAM, access.bits * technology.dram.pj_per_bit
        case _:
            assert_never(access.memory.level)
