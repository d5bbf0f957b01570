from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from bitkiln.ir.coding import DamagedFileError, Relative, relative_decode, relative_encode

from .streams import elements


def test_fillers_by_hand() -> None:
    """Gaps of 2 bits: after 5 zeros comes a filler with the gap 3, then 1 zero is left before the 7."""
    sparse = relative_encode(np.array([9, 0, 0, 0, 0, 0, 7, 8, 0, 0], np.uint8), 2)
    assert sparse.gaps.tolist() == [0, 3, 1, 0]
    assert sparse.values.tolist() == [9, 0, 7, 8]


def test_the_published_example() -> None:
    """Deep Compression, figure 2: with 3 bits, a distance of 11 takes a filler after 8."""
    dense = np.zeros(16, np.uint8)
    dense[[1, 4, 15]] = [34, 9, 17]
    sparse = relative_encode(dense, 3)
    assert (sparse.gaps + 1).tolist() == [2, 3, 8, 3]
    assert sparse.values.tolist() == [34, 9, 0, 17]


@given(st.integers(2, 16), st.integers(0, 255), st.data())
def test_decoding_gives_the_same_elements(gap_bits: int, background: int, data: DataObject) -> None:
    values = data.draw(elements(8))
    sparse = relative_encode(values, gap_bits, background)
    assert sparse.gaps.max(initial=0) < 1 << gap_bits
    assert np.array_equal(relative_decode(sparse, values.dtype), values)


def test_entries_beyond_the_end() -> None:
    values, gaps = np.ones(2, np.uint8), np.array([3, 1], np.uint16)
    assert relative_decode(Relative(6, 2, 0, gaps, values), values.dtype).tolist() == [0, 0, 0, 1, 0, 1]
    with pytest.raises(DamagedFileError, match="the gaps lead to element 5 of 5"):
        relative_decode(Relative(5, 2, 0, gaps, values), values.dtype)
