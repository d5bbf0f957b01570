"""What the host writes into the memories of a unit."""

from __future__ import annotations

from dataclasses import dataclass

from bitkiln.ir.units import COLUMN_BITS, Accumulation, MatrixVector, Unit, column_widths

from ._endings import Ending, row_word
from .matrix_vector import row_fields, weight_words


@dataclass(frozen=True)
class Contents:
    """The words of a memory, each `width` bits."""

    width: int
    words: tuple[int, ...]

    def columns(self) -> list[int]:
        """Return what the bus brings: of each word its columns, the lowest first."""
        mask, count = (1 << COLUMN_BITS) - 1, len(column_widths(self.width))
        return [word >> COLUMN_BITS * n & mask for word in self.words for n in range(count)]


def loaded_contents(unit: Unit) -> tuple[Contents, ...]:
    """Return what the host writes into a unit, in this order; nothing for one that it does not fill."""
    if not (isinstance(unit, MatrixVector) and unit.storage.is_loaded):
        return ()
    fields = row_fields(Ending.of(unit, Accumulation.of(unit)))
    rows = tuple(row_word(fields, unit.pe, number) for number in range(unit.groups * unit.row_folds))
    return (
        Contents(unit.pe * unit.simd * unit.stored_bits, tuple(weight_words(unit))),
        Contents(unit.pe * sum(field.bits for field in fields), rows),
    )
