from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from bitkiln.ir.coding import BitMap, Compressed, Order

from .streams import elements

MATRIX = np.array([[0, 5, 0, 0], [0, 0, 0, 0], [7, 0, 0, 9]], np.uint8)


def test_rows_by_hand() -> None:
    found = Compressed.of(MATRIX, Order.ROWS)
    assert (found.starts.tolist(), found.places.tolist(), found.values.tolist()) == ([0, 1, 1, 3], [1, 0, 3], [5, 7, 9])
    assert found.bytes(4) == 2 + 1 + 1  # 3 x 4, 3 x 2 and 4 x 2 bits


def test_columns_by_hand() -> None:
    found = Compressed.of(MATRIX, Order.COLUMNS)
    assert (found.starts.tolist(), found.places.tolist()) == ([0, 1, 2, 2, 3], [2, 0, 2])
    assert found.bytes(4) == 2 + 1 + 2  # 3 x 4, 3 x 2 and 5 x 2 bits


def test_bit_map_by_hand() -> None:
    assert BitMap.of(MATRIX).bytes(4) == 2 + 2  # 12 x 1 and 3 x 4 bits


@given(st.integers(1, 12), st.data())
def test_decoding_gives_the_same_matrix(rows: int, data: DataObject) -> None:
    flat = data.draw(elements(8, 300))
    matrix = flat[: max(1, len(flat) // rows) * rows].reshape(-1, 1 if len(flat) < rows else rows)
    for order in Order:
        assert np.array_equal(Compressed.of(matrix, order).decode(), matrix)
    assert np.array_equal(BitMap.of(matrix).decode(), matrix)


@pytest.mark.parametrize("layout", [Compressed.of(np.zeros((2, 3), np.uint8), order) for order in Order])
def test_nothing_but_zeros(layout: Compressed) -> None:
    assert not layout.decode().any()
    assert layout.bytes(8) == 1
