"""Other sparse layouts of a matrix, to compare sizes with: compressed rows or columns (CSR, CSC), and a bit map.

Each says how many bytes it takes with `width` bits an element and no entropy coding, and gives the matrix back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import Elements, packed_bytes


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

    def bytes(self, width: int) -> int:
        """Values, places and starts, each packed with the fewest bits that hold the largest possible one."""
        across = self.shape[1 if self.order is Order.ROWS else 0]
        place_bits, start_bits = max(1, (across - 1).bit_length()), max(1, len(self.values).bit_length())
        return (
            packed_bytes(len(self.values), width)
            + packed_bytes(len(self.places), place_bits)
            + packed_bytes(len(self.starts), start_bits)
        )

    def decode(self) -> Elements:
        lines = np.zeros(self.shape if self.order is Order.ROWS else self.shape[::-1], self.values.dtype)
        lines[np.repeat(np.arange(len(lines)), np.diff(self.starts)), self.places] = self.values
        return lines if self.order is Order.ROWS else lines.T


@dataclass(frozen=True, eq=False)
class BitMap:
    """One bit an element that says whether it is zero, and the values of those that are not."""

    shape: tuple[int, ...]
    is_kept: NDArray[np.bool_]
    values: Elements

    @classmethod
    def of(cls, elements: Elements) -> BitMap:
        is_kept = elements != 0
        return cls(elements.shape, is_kept, elements[is_kept])

    def bytes(self, width: int) -> int:
        return packed_bytes(self.is_kept.size, 1) + packed_bytes(len(self.values), width)

    def decode(self) -> Elements:
        elements: NDArray[np.unsignedinteger[Any]] = np.zeros(self.shape, self.values.dtype)
        elements[self.is_kept] = self.values
        return elements
