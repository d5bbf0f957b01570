"""How tensors with zeros among them can be stored without entropy coding, and what that costs besides the values.

Sizes (`stored`) need only to know where zeros are; the simulator prices them, and reports compare them with a
container. `Compressed` and `BitMap` write the layouts and give the matrix back exactly; `relative` has run lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from .bits import Elements
from .relative import MAX_GAP_BITS, MIN_GAP_BITS

Mask = NDArray[np.bool_]

RUN_BITS = 5
"""Bits of a run of zeros: Chen et al. (Eyeriss), JSSC 52(1), 2017, section V-C."""


class Format(Enum):
    """How a tensor is stored.

    Dense keeps every value. A bitmap adds one bit a value and drops the zeros. Run-length encoding puts the number of
    zeros before each value in front of it, with a filler value where a run is longer than its field can say. Compressed
    columns (CSC; of the transposed matrix: CSR) keep the row of each value and where each column begins.
    """

    DENSE = "dense"
    BITMAP = "bitmap"
    RUN_LENGTH = "run-length"
    COMPRESSED_COLUMNS = "compressed columns"


@dataclass(frozen=True)
class Stored:
    """Bits of a stored tensor: the values themselves, the metadata, and how many values are kept, fillers included."""

    value_bits: int
    metadata_bits: int
    kept: int

    @property
    def bits(self) -> int:
        return self.value_bits + self.metadata_bits

    @property
    def bytes(self) -> int:
        """Whole bytes, the last one filled up."""
        return (self.bits + 7) // 8


def stored(mask: Mask, bits: int, format_: Format, run_bits: int = RUN_BITS) -> Stored:
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
            return _bitmap(nonzeros, mask.size, bits)
        case Format.RUN_LENGTH:
            kept = nonzeros + _fillers(mask, run_bits)
            return Stored(kept * bits, kept * run_bits, kept)
        case Format.COMPRESSED_COLUMNS:
            rows = mask.shape[-1]
            return _compressed(nonzeros, mask.size // rows, rows, bits)
        case _:
            assert_never(format_)


def best_run_length(mask: Mask, bits: int) -> tuple[int, Stored]:
    """Return the width of run lengths, 2 to 16 bits, with which the tensor takes the fewest bits, and what it takes."""
    nonzeros = int(np.count_nonzero(mask))
    runs, often = np.unique(np.diff(np.flatnonzero(mask), prepend=-1) - 1, return_counts=True)
    sizes = []
    for run_bits in range(MIN_GAP_BITS, MAX_GAP_BITS + 1):
        kept = nonzeros + int(((runs >> run_bits) * often).sum())
        sizes.append((run_bits, Stored(kept * bits, kept * run_bits, kept)))
    return min(sizes, key=lambda size: size[1].bits)


def _bitmap(nonzeros: int, count: int, bits: int) -> Stored:
    return Stored(nonzeros * bits, count, nonzeros)


def _compressed(nonzeros: int, lines: int, length: int, bits: int) -> Stored:
    """Places in a line and starts of lines have the fewest bits that hold the largest possible one."""
    starts = (lines + 1) * nonzeros.bit_length()
    return Stored(nonzeros * bits, nonzeros * (length - 1).bit_length() + starts, nonzeros)


def _fillers(mask: Mask, run_bits: int) -> int:
    """A filler stands for itself and the longest run before it: one for each 2^n zeros in a row."""
    zeros_before = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    return int((zeros_before >> run_bits).sum())


class Order(Enum):
    """What a compressed matrix is cut into."""

    ROWS = "csr"
    COLUMNS = "csc"


@dataclass(frozen=True, eq=False)
class Compressed:
    """Non-zeros line by line (rows or columns): their values, their places in the line, and where each line begins.

    >>> matrix = np.array([[0, 7], [0, 0]], np.uint8)
    >>> Compressed.of(matrix, Order.COLUMNS).starts.tolist()
    [0, 0, 1]
    """

    shape: tuple[int, int]
    order: Order
    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    values: Elements

    @classmethod
    def of(cls, matrix: Elements, order: Order) -> Compressed:
        lines = matrix if order is Order.ROWS else matrix.T
        line, place = np.nonzero(lines)
        counts = np.bincount(line, minlength=len(lines))
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls((matrix.shape[0], matrix.shape[1]), order, starts, place, lines[line, place])

    def stored(self, bits: int) -> Stored:
        """What it takes with `bits` bits a value."""
        across = self.shape[1 if self.order is Order.ROWS else 0]
        return _compressed(len(self.values), len(self.starts) - 1, across, bits)

    def decode(self) -> Elements:
        lines = np.zeros(self.shape if self.order is Order.ROWS else self.shape[::-1], self.values.dtype)
        lines[np.repeat(np.arange(len(lines)), np.diff(self.starts)), self.places] = self.values
        return lines if self.order is Order.ROWS else lines.T


@dataclass(frozen=True, eq=False)
class BitMap:
    """One bit an element that says whether it is zero, and the values of those that are not."""

    shape: tuple[int, ...]
    is_kept: Mask
    values: Elements

    @classmethod
    def of(cls, elements: Elements) -> BitMap:
        is_kept = elements != 0
        return cls(elements.shape, is_kept, elements[is_kept])

    def stored(self, bits: int) -> Stored:
        """What it takes with `bits` bits a value."""
        return _bitmap(len(self.values), self.is_kept.size, bits)

    def decode(self) -> Elements:
        elements: NDArray[np.unsignedinteger[Any]] = np.zeros(self.shape, self.values.dtype)
        elements[self.is_kept] = self.values
        return elements
