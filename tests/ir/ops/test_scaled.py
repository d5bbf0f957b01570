from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import QuantiseScaled, Rounding

HALVES = [-2.5, -1.7, -1.5, -1.2, -0.5, 0.5, 1.2, 1.5, 1.7, 2.5]


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.HALF_EVEN, [-2, -2, -2, -1, 0, 0, 1, 2, 2, 2]),
        (Rounding.HALF_UP, [-3, -2, -2, -1, -1, 1, 1, 2, 2, 3]),
        (Rounding.HALF_DOWN, [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2]),
        (Rounding.FLOOR, [-3, -2, -2, -2, -1, 0, 1, 1, 1, 2]),
        (Rounding.CEIL, [-2, -1, -1, -1, 0, 1, 2, 2, 2, 3]),
        (Rounding.UP, [-3, -2, -2, -2, -1, 1, 2, 2, 2, 3]),
        (Rounding.DOWN, [-2, -1, -1, -1, 0, 0, 1, 1, 1, 2]),
    ],
)
def test_rounding(rounding: Rounding, expected: list[int]) -> None:
    op = QuantiseScaled(Int(4), (1.0,), -8, 7, rounding=rounding)
    assert op.evaluate(torch.tensor(HALVES)).tolist() == expected


def test_codes_leave_the_zero_point_out() -> None:
    op = QuantiseScaled(Int(9), (0.5,), 0, 255, (128,))
    assert op.evaluate(torch.tensor([-100.0, -0.5, 0.0, 0.5, 100.0])).tolist() == [-128, -1, 0, 1, 127]


def test_the_zero_point_takes_part_in_rounding() -> None:
    """0.5 + 1 rounds to the even 2, so the code is 1; without zero point 0.5 rounds to 0."""
    assert QuantiseScaled(Int(5), (1.0,), -8, 7, (1,)).evaluate(torch.tensor([0.5])).tolist() == [1]
    assert QuantiseScaled(Int(4), (1.0,), -8, 7).evaluate(torch.tensor([0.5])).tolist() == [0]


def test_one_scale_a_channel() -> None:
    op = QuantiseScaled(Int(4), (0.5, 2.0), -7, 7, (0, 1))
    assert op.evaluate(torch.tensor([[[1.0], [4.0]], [[9.0], [-90.0]]])).tolist() == [[[2], [2]], [[7], [-8]]]


def test_reciprocals_round_otherwise() -> None:
    """45.5 / 7 is 6.5, which rounds to 6; 45.5 * (1 / 7) is a little more in 32-bit floats."""
    x = torch.tensor([45.5])
    assert QuantiseScaled(Int(4), (7.0,), -8, 7).evaluate(x).tolist() == [6]
    assert QuantiseScaled(Int(4), (7.0,), -8, 7, by_reciprocal=True).evaluate(x).tolist() == [7]


def test_truncation_rounds_twice() -> None:
    """2.7 is 3 steps of 1; a quarter of that, 0.75, is floored."""
    op = QuantiseScaled(Int(4), (1.0,), -8, 7, rounding=Rounding.FLOOR, truncate=2)
    assert op.evaluate(torch.tensor([2.7, 3.6, -0.6, 90.0])).tolist() == [0, 1, -1, 7]


def test_gradient_passes_where_nothing_saturates() -> None:
    x = torch.tensor([-9.0, 0.3, 9.0], requires_grad=True)
    QuantiseScaled(Int(4), (0.5,), -8, 7).evaluate(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 0.0]


def reference(x: NDArray[np.float32], scale: float, zero_point: int, lo: int, hi: int) -> NDArray[np.float32]:
    """int_quant of the QONNX definition, in float32."""
    quotient = x / np.float32(scale) + np.float32(zero_point)
    result: NDArray[np.float32] = np.round(np.clip(quotient, lo, hi)) - np.float32(zero_point)
    return result


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.integers(-200, 200),
    st.integers(1, 8),
    st.booleans(),
)
def test_equals_int_quant(values: list[float], scale: float, zero_point: int, bits: int, signed: bool) -> None:
    limits = Int(bits, signed)
    op = QuantiseScaled(Int(12), (scale,), limits.lo, limits.hi, (zero_point,))
    expected = reference(np.array(values, np.float32), scale, zero_point, limits.lo, limits.hi).tolist()
    for dtype in (torch.float32, torch.float64):
        assert op.evaluate(torch.tensor(values, dtype=dtype)).tolist() == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantiseScaled(Int(4), (0.0,), -8, 7), "scale of quantise_scaled must be positive, not 0.0"),
        (lambda: QuantiseScaled(Int(4), (math.inf,), -8, 7), "scale of quantise_scaled must be positive, not inf"),
        (lambda: QuantiseScaled(Int(4), (1.0,), 3, 2), "quantise_scaled needs lo <= hi, not 3 and 2"),
        (lambda: QuantiseScaled(Int(4), (1.0,), 0, 15),
         "quantise_scaled gives codes from 0 to 15, which i4.f0 does not hold"),
        (lambda: QuantiseScaled(Int(4), (), 0, 7), "quantise_scaled needs a scale and a zero point"),
    ],
)  # fmt: skip
def test_wrong_attributes(make: object, message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(f"error[bad-value]: {message}")):
        make()  # type: ignore[operator]


def test_wrong_arguments() -> None:
    op = QuantiseScaled(Int(4), (1.0, 2.0), -8, 7)
    with pytest.raises(ToolError, match=r"quantise_scaled of \[1, 3\] takes 1 scale or one a channel of axis 1, not 2"):
        op.infer(TensorType((1, 3), Float()))
    with pytest.raises(ToolError, match=r"quantise_scaled takes floats, not i4\.f0\[1,2\]"):
        op.infer(TensorType((1, 2), Int(4)))
    assert op.infer(TensorType((1, 2, 5), Float())) == TensorType((1, 2, 5), Int(4))
    assert QuantiseScaled(Int(4), (1.0,), -8, 7).infer(TensorType((1, 3), Float())) == TensorType((1, 3), Int(4))
