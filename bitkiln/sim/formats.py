"""How values with zeros among them are stored, and what that costs besides the values: the metadata.

Dense keeps every value. A bitmap adds one bit a value and drops the zeros. Run-length encoding puts the number of zeros
before each value in front of it, with a filler value where a run is longer than its field can say (Eyeriss). Compressed
columns (CSC) keep the row of each value and where each column begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import numpy as np

from .compressed import Mask


class Format(Enum):
    """How a tensor is stored."""

    DENSE = "dense"
    BITMAP = "bitmap"
    RUN_LENGTH = "run-length"
    COMPRESSED_COLUMNS = "compressed columns"


RUN_BITS = 5
"""Bits of a run of zeros: Chen et al., JSSC 52(1), 2017, section V-C."""


@dataclass(frozen=True)
class Stored:
    """Bits of a stored tensor: the values themselves, the metadata, and how many values are kept, fillers included."""

    value_bits: int
    metadata_bits: int
    kept: int

    @property
    def bits(self) -> int:
        return self.value_bits + self.metadata_bits


def stored(mask: Mask, bits: int, format_: Format) -> Stored:
    """Return what a tensor takes whose values have `bits` bits and are not zero where `mask` says so.

    Its last axis is what run lengths go along and what the columns of CSC consist of. Zeros after the last value of
    all are implied by the tensor's size.

    >>> stored(np.array([[False, True]]), 8, Format.BITMAP).bits
    10
    """
    nonzeros = int(np.count_nonzero(mask))
    match format_:
        case Format.DENSE:
            return Stored(mask.size * bits, 0, mask.size)
        case Format.BITMAP:
            return Stored(nonzeros * bits, mask.size, nonzeros)
        case Format.RUN_LENGTH:
            kept = nonzeros + _fillers(mask, RUN_BITS)
            return Stored(kept * bits, kept * RUN_BITS, kept)
        case Format.COMPRESSED_COLUMNS:
            rows = mask.shape[-1]
            columns = mask.size // rows
            pointers = (columns + 1) * nonzeros.bit_length()
            return Stored(nonzeros * bits, nonzeros * (rows - 1).bit_length() + pointers, nonzeros)
        case _:
            assert_never(format_)


def _fillers(mask: Mask, run_bits: int) -> int:
    """A filler stands for itself and the longest run before it: one for each 2^n zeros in a row."""
    zeros_before = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    return int((zeros_before >> run_bits).sum())
