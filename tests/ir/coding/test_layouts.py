"""Storage formats: sizes by hand, and against encoders that write every value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from bitkiln.ir.coding import (
    RUN_BITS,
    BitMap,
    Compressed,
    Format,
    Order,
    Stored,
    relative_decode,
    relative_encode,
    stored,
)

from .streams import elements

MATRIX = np.array([[0, 5, 0, 0], [0, 0, 0, 0], [7, 0, 0, 9]], np.uint8)


def test_rows_by_hand() -> None:
    found = Compressed.of(MATRIX, Order.ROWS)
    assert (found.starts.tolist(), found.places.tolist(), found.values.tolist()) == ([0, 1, 1, 3], [1, 0, 3], [5, 7, 9])
    assert found.stored(4) == Stored(3 * 4, 3 * 2 + 4 * 2, 3)


def test_columns_by_hand() -> None:
    found = Compressed.of(MATRIX, Order.COLUMNS)
    assert (found.starts.tolist(), found.places.tolist()) == ([0, 1, 2, 2, 3], [2, 0, 2])
    assert found.stored(4) == Stored(3 * 4, 3 * 2 + 5 * 2, 3)
    assert found.stored(4).bytes == 4  # 28 bits


def test_bit_map_by_hand() -> None:
    assert BitMap.of(MATRIX).stored(4) == Stored(3 * 4, 12, 3)


@given(st.integers(1, 12), st.integers(2, 9), st.data())
def test_decoding_gives_the_same_matrix_and_sizes_are_those_of_the_encoders(
    rows: int, run_bits: int, data: DataObject
) -> None:
    flat = data.draw(elements(8, 300))
    matrix = flat[: max(1, len(flat) // rows) * rows].reshape(-1, 1 if len(flat) < rows else rows)
    mask = matrix != 0
    for order, seen in ((Order.ROWS, mask), (Order.COLUMNS, mask.T)):
        found = Compressed.of(matrix, order)
        assert np.array_equal(found.decode(), matrix)
        assert found.stored(8) == stored(seen, 8, Format.COMPRESSED_COLUMNS)
    assert np.array_equal(BitMap.of(matrix).decode(), matrix)
    assert BitMap.of(matrix).stored(8) == stored(mask, 8, Format.BITMAP)
    relative = relative_encode(matrix.reshape(-1), run_bits)
    assert np.array_equal(relative_decode(relative, matrix.dtype), matrix.reshape(-1))
    entries = len(relative.values)
    assert stored(mask, 8, Format.RUN_LENGTH, run_bits) == Stored(8 * entries, run_bits * entries, entries)


@pytest.mark.parametrize("layout", [Compressed.of(np.zeros((2, 3), np.uint8), order) for order in Order])
def test_nothing_but_zeros(layout: Compressed) -> None:
    assert not layout.decode().any()
    assert layout.stored(8).bytes == 0  # the sizes of the matrix are known


def run_length(values: list[bool]) -> list[tuple[int, bool]]:
    """(zeros before, is it a value or a filler), as a machine would write them."""
    pairs, zeros = [], 0
    for value in values:
        if value or zeros == 2**RUN_BITS - 1:
            pairs.append((zeros, value))
            zeros = 0
        else:
            zeros += 1
    while pairs and not pairs[-1][1]:
        pairs.pop()
    return pairs


@given(values=st.lists(st.integers(0, 90), max_size=12), bits=st.integers(1, 16))
def test_run_lengths(values: list[int], bits: int) -> None:
    """`values` are runs of zeros, each with a value behind it; then some zeros more."""
    mask = np.array([*(bit for run in values for bit in [*([False] * run), True]), *([False] * 40)])
    pairs = run_length(mask.tolist())
    found = stored(mask, bits, Format.RUN_LENGTH)
    assert found == Stored(len(pairs) * bits, len(pairs) * RUN_BITS, len(pairs))


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        (Format.DENSE, Stored(18 * 8, 0, 18)),
        (Format.BITMAP, Stored(4 * 8, 18, 4)),
        (Format.RUN_LENGTH, Stored(4 * 8, 4 * 5, 4)),
        (Format.COMPRESSED_COLUMNS, Stored(4 * 8, 4 * 3 + 4 * 3, 4)),
    ],
)
def test_sizes_by_hand(format_: Format, expected: Stored) -> None:
    """Three columns of six rows with four values: rows take 3 bits, pointers to 0..4 three bits each."""
    mask = np.zeros((3, 6), bool)
    mask[[0, 0, 2, 2], [1, 5, 0, 3]] = True
    assert stored(mask, 8, format_) == expected


@given(seed=st.integers(0, 1000), density=st.floats(0, 1))
def test_bitmap_pays_when_a_value_in_eight_is_zero(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((16, 32)) < density
    saves = stored(mask, 8, Format.BITMAP).bits < stored(mask, 8, Format.DENSE).bits
    assert saves == (np.count_nonzero(~mask) * 8 > mask.size)


@pytest.mark.parametrize("format_", Format)
def test_nothing_is_kept_of_zeros(format_: Format) -> None:
    found = stored(np.zeros((4, 4), bool), 8, format_)
    assert found.kept == (16 if format_ is Format.DENSE else 0)
