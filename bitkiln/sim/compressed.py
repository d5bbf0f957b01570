"""A sparse matrix as EIE keeps it: columns of (relative index, code) entries, its rows dealt out over the elements.

Row r belongs to element r mod n, where it is local row r div n. An element keeps each column's non-zeros in the order
of the local rows, with the number of zeros before each; where more zeros precede one than the index can say, a filler
entry with the largest index and the value zero goes in between (Han et al., EIE, ISCA 2016, section III). Only the
numbers of entries are kept here: they alone decide cycles and bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Compressed:
    """How many entries (fillers included) and non-zeros [columns, elements] the columns of a matrix have.

    >>> Compressed.of(np.eye(3) > 0, elements=1, index_bits=4).entries[:, 0]
    array([1, 1, 1])
    """

    entries: Numbers
    nonzeros: Numbers

    @classmethod
    def of(cls, mask: Mask, elements: int, index_bits: int) -> Compressed:
        """Compress a matrix [rows, columns] of which `mask` says what is not zero."""
        return cls._join((_local_columns(mask[p::elements].T, index_bits) for p in range(elements)), mask.shape[1])

    @classmethod
    def random(
        cls, generator: np.random.Generator, shape: tuple[int, int], density: float, elements: int, index_bits: int
    ) -> Compressed:
        """Compress a matrix [rows, columns] each of whose weights is there with a chance of `density`.

        Element after element draws `generator.random((columns, its rows)) < density`.
        """
        rows, columns = shape
        locals_ = (len(range(p, rows, elements)) for p in range(elements))
        drawn = (generator.random((columns, count)) < density for count in locals_)
        return cls._join((_local_columns(mask, index_bits) for mask in drawn), columns)

    @classmethod
    def _join(cls, parts: Iterable[tuple[Numbers, Numbers]], columns: int) -> Compressed:
        entries, nonzeros = zip(*parts, strict=True)
        assert len(entries[0]) == columns
        return cls(np.stack(entries, axis=1), np.stack(nonzeros, axis=1))

    @property
    def elements(self) -> int:
        return int(self.entries.shape[1])

    @property
    def columns(self) -> int:
        return int(self.entries.shape[0])

    @property
    def entry_count(self) -> int:
        """Entries of all columns and elements, fillers included."""
        return int(self.entries.sum())

    @property
    def filler_count(self) -> int:
        return self.entry_count - int(self.nonzeros.sum())


def _local_columns(mask: Mask, index_bits: int) -> tuple[Numbers, Numbers]:
    """Entries and non-zeros of each column of one element's rows; `mask` is [columns, local rows]."""
    columns, rows = mask.shape
    if not rows:
        return np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    found = np.flatnonzero(mask)
    column = found // rows
    nonzeros = np.bincount(column, minlength=columns)
    zeros_before = np.diff(found, prepend=-1) - 1
    is_first = np.diff(column, prepend=-1) != 0
    zeros_before[is_first] = found[is_first] - column[is_first] * rows
    fillers = np.bincount(column, zeros_before >> index_bits, minlength=columns).astype(np.int64)
    return nonzeros + fillers, nonzeros
