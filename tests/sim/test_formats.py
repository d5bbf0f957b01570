"""Storage formats: sizes by hand, and against encoders that write every bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.sim.formats import RUN_BITS, Format, Stored, stored


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
