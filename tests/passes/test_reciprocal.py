from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Int, TensorType, ToolError
from bitkiln.ir.ops import Requantise
from bitkiln.passes._reciprocal import reciprocal


def rounded_means(sums: np.ndarray, divisor: int, gain: int) -> np.ndarray:
    """sums * 2**gain / divisor to the nearest integer in exact integers: halves up, or away from zero (see below)."""
    numerator, denominator = sums << max(0, gain), divisor << max(0, -gain)
    up = (2 * numerator + denominator) // (2 * denominator)
    away = -((-2 * numerator + denominator) // (2 * denominator))
    is_power = divisor & (divisor - 1) == 0
    return up if is_power else np.where(sums < 0, away, up)


@pytest.mark.parametrize("gain", [-4, -1, 0, 1, 3])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_every_sum_of_a_window_is_divided_to_the_rounded_mean(bits: int, gain: int) -> None:
    for divisor in range(1, 65):
        largest = divisor << bits
        multiplier, frac = reciprocal(divisor, gain, largest)
        sums = np.arange(-largest, largest + 1, dtype=np.int64)
        shift = frac - gain
        scaled = sums * multiplier
        found = (scaled + (1 << shift >> 1)) >> shift if shift > 0 else scaled << -shift
        np.testing.assert_array_equal(found, rounded_means(sums, divisor, gain), f"divisor {divisor}")


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("window", [9, 25, 49])
def test_wide_sums_too(window: int, bits: int) -> None:
    largest = window * ((1 << bits) - 1)
    multiplier, frac = reciprocal(window, 0, largest)
    sums = np.arange(largest + 1, dtype=np.int64)
    np.testing.assert_array_equal((sums * multiplier + (1 << frac >> 1)) >> frac, rounded_means(sums, window, 0))


@pytest.mark.parametrize("divisor", [1, 2, 4, 16, 64])
def test_powers_of_two_need_no_multiplication(divisor: int) -> None:
    assert reciprocal(divisor, 0, 100 * divisor) == (1, divisor.bit_length() - 1)


def test_requantise_computes_the_same_mean() -> None:
    multiplier, frac = reciprocal(6, 0, 6 * 128)
    op = Requantise(Int(8), (frac,), multiplier, frac)
    op.infer(TensorType((1, 4), Int(11)))
    sums = torch.tensor([[-768.0, -9.0, -3.0, -2.0, 2.0, 3.0, 8.0, 762.0]], dtype=torch.float64)
    assert op.evaluate(sums).tolist() == [[-128.0, -2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 127.0]]


def test_a_reciprocal_that_cannot_exist_is_an_error() -> None:
    with pytest.raises(ToolError) as caught:
        reciprocal(3, 0, 1 << 70)
    assert str(caught.value) == (
        "error[accumulator-too-wide]: "
        "Division of sums up to 1180591620717411303424 by 3 needs a reciprocal of more than 64 bits"
    )
