"""Relative-index sparse form: each kept element with the number of background elements since the one before.

A gap has 2 to 16 bits. Where more background elements follow each other, a filler, an element with the largest gap
and the background's value, stands in between (Han et al. 2016, Deep Compression). What follows the last element is
background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._cursor import expect
from .bits import CHUNK, Elements

MIN_GAP_BITS, MAX_GAP_BITS = 2, 16


@dataclass(frozen=True, eq=False)
class Relative:
    """`count` elements as entries: gaps (as uint16) and values of equal number, fillers among them."""

    count: int
    gap_bits: int
    background: int
    gaps: NDArray[np.uint16]
    values: Elements


def foreground(elements: Elements, background: int) -> NDArray[np.int64]:
    """Positions of all elements that are not `background`."""
    parts = [
        np.flatnonzero(elements[start : start + CHUNK] != background) + start
        for start in range(0, len(elements), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def gaps_between(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many positions lie between each one and the one before (or the start)."""
    return np.diff(positions, prepend=-1) - 1


def relative_encode(elements: Elements, gap_bits: int, background: int = 0) -> Relative:
    """Return the sparse form of the flat `elements`."""
    assert MIN_GAP_BITS <= gap_bits <= MAX_GAP_BITS
    positions = foreground(elements, background)
    distances = gaps_between(positions)
    entries = np.cumsum((distances >> gap_bits) + 1) - 1
    largest = (1 << gap_bits) - 1
    count = int(entries[-1]) + 1 if len(entries) else 0
    gaps = np.full(count, largest, np.uint16)
    gaps[entries] = distances & largest
    values = np.full(count, background, elements.dtype)
    values[entries] = elements[positions]
    return Relative(len(elements), gap_bits, background, gaps, values)


def relative_decode(sparse: Relative, dtype: np.dtype[Any]) -> Elements:
    """Return the flat elements; raises DamagedFileError if the entries reach beyond their number."""
    positions = np.cumsum(sparse.gaps.astype(np.int64) + 1) - 1
    last = int(positions[-1]) if len(positions) else -1
    expect(last < sparse.count, f"the gaps lead to element {last} of {sparse.count}")
    elements = np.full(sparse.count, sparse.background, dtype)
    elements[positions] = sparse.values
    return elements
