"""What follows an accumulator: nothing, shift and clamp, or thresholds. Constants of the rows come with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from bitkiln.ir.units import Accumulation, Beat, MatrixVector, Thresholds, parity_of

from ._parts import clamped, delayed, registered, shifted, table


@dataclass(frozen=True)
class RowField:
    """One constant of each row, `bits` wide."""

    bits: int
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Ending:
    """`fields` are the row constants that come with a finished accumulator; each is read with `lane(row, field)`."""

    unit: MatrixVector
    sums: Accumulation
    parity: RowField | None
    choice: RowField | None
    rest: tuple[RowField, ...]

    @classmethod
    def of(cls, unit: MatrixVector, sums: Accumulation) -> Ending:
        is_shared = parity_of(sums) is not None and not unit.renewable
        is_parity_read = sums.scale == 2 and unit.thresholds is None and not is_shared
        parity = RowField(1, tuple(sums.parity.tolist())) if is_parity_read else None
        choices = _choices(unit)
        bits = max(choices, default=0).bit_length()
        choice = RowField(bits, tuple(choices)) if bits else None
        rest = tuple(RowField(sums.bits, tuple(column)) for column in sums.rest.T.tolist())
        return cls(unit, sums, parity, choice, rest)

    @property
    def fields(self) -> tuple[RowField, ...]:
        return (*([self.parity] if self.parity else []), *([self.choice] if self.choice else []), *self.rest)

    def finish(self, m: Module, accumulator: Value, constants: Sequence[Value], p: int) -> Value:
        """Return the result of PE row p, `unit.ending_stages` cycles later; `constants` go by `fields`."""
        found = list(constants)
        parity: Value = found.pop(0) if self.parity else Const(parity_of(self.sums) or 0, 1)
        choice: Value = found.pop(0) if self.choice else Const(0)
        if self.unit.thresholds:
            return compared(m, accumulator, found, choice, (self.unit.thresholds, self.unit.outputs[0]), f"row_{p}")
        total = Cat(parity, accumulator).as_signed() if self.sums.scale == 2 else accumulator
        if not self.unit.shift:
            return total
        scaled = shifted(m, total, sorted(set(self.unit.shift)), choice, f"shifted_{p}")
        return clamped(m, scaled, self.unit.lo, self.unit.hi, f"clamped_{p}")


def _choices(unit: MatrixVector) -> list[int]:
    """The number of each row's shift, or of its base and step, among the distinct ones."""
    if unit.thresholds:
        return pair_numbers(unit.thresholds)
    shifts = sorted(set(unit.shift))
    return [shifts.index(shift) for shift in unit.shift]


def _pairs(thresholds: Thresholds) -> list[tuple[int, int]]:
    return sorted(set(zip(thresholds.base, thresholds.step, strict=True)))


def pair_numbers(thresholds: Thresholds) -> list[int]:
    """The number of each row's base and step among the distinct ones."""
    pairs = _pairs(thresholds)
    return [pairs.index(pair) for pair in zip(thresholds.base, thresholds.step, strict=True)]


def compared(
    m: Module, distance: Value, rest: Sequence[Value], choice: Value, how: tuple[Thresholds, Beat], name: str
) -> Value:
    """The bits of the code that `distance` from the first threshold gives, `latency` cycles later.

    `rest` are how far the other thresholds are from the first, `choice` is the row's pair number.
    """
    thresholds, output = how
    reached: Value = ~distance[-1]
    if rest:
        levels = [distance >= level.as_signed() for level in rest]
        flags = registered(m, Cat(reached, *levels), f"{name}_reached")
        total = _count(list(flags))
        reached = registered(m, total[: len(flags).bit_length()], f"{name}_count")
        choice = delayed(m, choice, thresholds.latency, f"{name}_choice")
    index = Signal(len(reached), name=f"{name}_index")
    m.d.comb += index.eq(reached)
    result: Value = Const(0)
    for number, (base, step) in enumerate(_pairs(thresholds)):
        fields = [output.field(base + step * n) for n in range(thresholds.count + 1)]
        found = table(m, index, fields, f"{name}_code_{number}")
        result = Mux(choice == number, found, result) if number else found
    return result


def _count(flags: Sequence[Value]) -> Value:
    """The number of flags that are set, as a tree: a chain of 255 is deeper than Python's stack."""
    middle = len(flags) // 2
    return _count(flags[:middle]) + _count(flags[middle:]) if middle else flags[0]


def row_word(fields: Sequence[RowField], pe: int, number: int) -> int:
    """The constants of the PE rows of one row fold, field by field from the lowest bits."""
    word, offset = 0, 0
    for field in fields:
        word |= joined(field.values[number * pe : (number + 1) * pe], field.bits) << offset
        offset += pe * field.bits
    return word


def joined(codes: Sequence[int], bits: int) -> int:
    """Return the codes side by side, the first in the lowest bits."""
    mask = (1 << bits) - 1
    return sum((code & mask) << (n * bits) for n, code in enumerate(codes))
