from __future__ import annotations

import re
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.numbers import MAX_FRAC
from bitkiln.ir.ops import Dequantise, Op, Quantise, Requantise

FLOATS32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_quantise_by_hand() -> None:
    x = torch.tensor([-9.0, -0.375, -0.25, -0.125, 0.0, 0.124, 0.125, 0.25, 0.375, 1.7, 9.0])
    # Codes are quarters; halves go up: -0.375 is -1.5 quarters -> -1, 0.125 is half a quarter -> 1.
    assert Quantise(Int(4, True, 2)).evaluate(x).tolist() == [-8, -1, -1, 0, 0, 0, 1, 1, 2, 7, 7]
    assert Quantise(Int(4, False, 2)).evaluate(x).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 7, 15]
    assert Quantise(Int(4, True, -1)).evaluate(torch.tensor([-3.0, -1.0, 1.0, 2.9, 3.0])).tolist() == [-1, 0, 1, 1, 2]


@given(st.lists(FLOATS32, min_size=1), st.integers(1, 24), st.booleans(), st.integers(-MAX_FRAC, MAX_FRAC))
def test_quantise_rounds_half_up_and_saturates(values: list[float], bits: int, signed: bool, frac: int) -> None:
    number = Int(bits, signed, frac)
    scale = Fraction(2) ** frac
    expected = [max(number.lo, min(number.hi, (2 * Fraction(value) * scale + 1).__floor__() // 2)) for value in values]
    assert Quantise(number).evaluate(torch.tensor(values)).tolist() == expected


def test_quantise_of_infinite_values_saturates() -> None:
    x = torch.tensor([-torch.inf, torch.inf])
    assert Quantise(Int(4, True, 200)).evaluate(x).tolist() == [-8, 7]


@given(st.integers(-(2**24), 2**24), st.integers(-MAX_FRAC, MAX_FRAC))
def test_dequantise_rounds_once(code: int, frac: int) -> None:
    expected = torch.tensor([float(code * Fraction(2) ** -frac)], dtype=torch.float64).to(torch.float32)
    assert Dequantise((frac,)).evaluate(torch.tensor([float(code)])).tolist() == expected.tolist()
    wide = Dequantise((frac,)).evaluate(torch.tensor([float(code)], dtype=torch.float64))
    assert wide.tolist() == [float(code * Fraction(2) ** -frac)]


def test_dequantise_per_channel() -> None:
    x = torch.tensor([[[4.0], [4.0]]])
    assert Dequantise((2, -1)).evaluate(x).tolist() == [[[1.0], [8.0]]]
    assert Dequantise((2, -1)).infer(TensorType((1, 2, 1), Int(4, True, (2, -1), 1))) == TensorType((1, 2, 1), Float())


@given(st.integers(-(2**23), 2**23 - 1), st.integers(1, 24))
def test_quantise_undoes_dequantise(code: int, frac: int) -> None:
    value = Dequantise((frac,)).evaluate(torch.tensor([float(code)]))
    assert Quantise(Int(24, True, frac)).evaluate(value).tolist() == [code]


@pytest.mark.parametrize(
    ("op", "x", "expected"),
    [
        (Requantise(Int(8), (2,)), [-7, -6, -5, -2, -1, 1, 2, 5, 6], [-2, -1, -1, 0, 0, 0, 1, 1, 2]),
        (Requantise(Int(4), (2,)), [-34, -33, 29, 30, 1000], [-8, -8, 7, 7, 7]),
        (Requantise(Int(4, False), (1,)), [-9, -1, 0, 1, 28, 29, 31], [0, 0, 0, 1, 14, 15, 15]),  # a ReLU
        (Requantise(Int(4, False), (1,), hi=6), [-9, 3, 11, 12, 13, 31], [0, 2, 6, 6, 6, 6]),  # a ReLU6
        (Requantise(Int(8), (0,)), [-200, -3, 3, 200], [-128, -3, 3, 127]),
        (Requantise(Int(8), (-3,)), [-17, -3, 3, 17], [-128, -24, 24, 127]),
        (Requantise(Int(8), (3,), 3), [-4, 1, 3, 4, 5], [-1, 0, 1, 2, 2]),  # -12 / 8 = -1.5 -> -1
        (Requantise(Int(8), (-1,), 3), [-4, 1, 30], [-24, 6, 127]),
    ],
)
def test_requantise_by_hand(op: Requantise, x: list[int], expected: list[int]) -> None:
    for dtype in (torch.float32, torch.float64):
        assert op.evaluate(torch.tensor(x, dtype=dtype)).tolist() == expected


def test_requantise_per_channel() -> None:
    op = Requantise(Int(8), (1, -1))
    x = torch.tensor([[[3.0, -3.0], [3.0, -3.0]]])
    assert op.evaluate(x).tolist() == [[[2.0, -1.0], [6.0, -6.0]]]


def test_limits() -> None:
    assert Requantise(Int(4), (0,)).limits == (-8, 7)
    assert Requantise(Int(4), (0,), hi=3).limits == (-8, 3)


def test_gradients() -> None:
    x = torch.tensor([-9.0, -1.9, 0.1, 1.7, 9.0], requires_grad=True)
    Quantise(Int(4, True, 2)).evaluate(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 4.0, 4.0, 4.0, 0.0]
    codes = torch.tensor([[[40.0, 5.0], [40.0, 5.0]]], requires_grad=True)
    Requantise(Int(4), (2, -1), 3).evaluate(codes).sum().backward()
    assert codes.grad is not None
    assert codes.grad.tolist() == [[[0.0, 0.75], [0.0, 0.0]]]
    codes = torch.tensor([[3.0, 5.0]], requires_grad=True)
    Dequantise((1, -2)).evaluate(codes).sum().backward()
    assert codes.grad is not None
    assert codes.grad.tolist() == [[0.5, 4.0]]


X = TensorType((1, 2), Int(9, True, 6))


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        (Quantise(Int(4, True, 2)), TensorType((1, 2), Float()), "i4.f2[1,2]"),
        (Dequantise((6,)), X, "f32[1,2]"),
        (Requantise(Int(4, True, 2), (4,)), X, "i4.f2[1,2]"),
        (Requantise(Int(4, True, 2), (9,), 7, 5), X, "i4.f2[1,2]"),
        (Requantise(Int(4, True, 9), (-3,)), X, "i4.f9[1,2]"),
        (Requantise(Int(4, True, 2), (4, 5)), TensorType((1, 2, 3), Int(9, True, (6, 7), 1)), "i4.f2[1,2,3]"),
    ],
)
def test_types(op: Op, args: TensorType, expected: str) -> None:
    assert str(op.infer(args)) == expected


@pytest.mark.parametrize(
    ("op", "x", "message"),
    [
        (Quantise(Int(4)), X, "quantise takes floats, not i9.f6[1,2]"),
        (Dequantise((6,)), TensorType((1,), Float()), "the input of dequantise must be fixed point, not f32[1]"),
        (Dequantise((5,)), X, "dequantise with points (5,) got i9.f6"),
        (
            Dequantise((1, 2)),
            TensorType((1, 3, 2), Int(4, True, (1, 2), 2)),
            "the input of dequantise has one point for all or one a channel of axis 1, not i4.f[1,2]@2",
        ),
        (
            Requantise(Int(4), (6,)),
            TensorType((1,), Float()),
            "the input of requantise must be fixed point, not f32[1]",
        ),
        (Requantise(Int(4), (5,)), X, "requantise i9.f6 to i4.f0 shifts by (6,), not (5,)"),
        (Requantise(Int(4), ()), X, "requantise i9.f6 to i4.f0 shifts by (6,), not ()"),
        (Requantise(Int(4), (6,), 3, 1), X, "requantise i9.f6 to i4.f0 shifts by (7,), not (6,)"),
        (Requantise(Int(4, True, 70), (-64,)), X, "requantise shifts left by at most 63, not 64"),
        (
            Requantise(Int(4), (1, 2)),
            TensorType((1, 3, 2), Int(4, True, (1, 2), 2)),
            "the input of requantise has one point for all or one a channel of axis 1, not i4.f[1,2]@2",
        ),
    ],
)
def test_arguments_that_do_not_fit(op: Op, x: TensorType, message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[type-mismatch]: {message}')}$"):
        op.infer(x)
    with pytest.raises(ToolError, match=f"{op.name} takes 1 argument, not 2$"):
        op.infer(x, x)


PER_CHANNEL = Int(4, True, (1, 2), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantise(PER_CHANNEL), "quantise has one point for the whole tensor, not i4.f[1,2]@1"),
        (lambda: Requantise(PER_CHANNEL, (0,)), "requantise has one point for the whole result, not i4.f[1,2]@1"),
        (
            lambda: Requantise(Int(4), (0,), 0),
            "multiplier of requantise must be between 1 and 9223372036854775807, not 0",
        ),
        (
            lambda: Requantise(Int(4), (0,), 1, 64),
            "multiplier_frac of requantise must be between -63 and 63, not 64",
        ),
        (lambda: Requantise(Int(4), (0,), hi=8), "hi must be a code of i4.f0 and at least 0, not 8"),
        (lambda: Requantise(Int(4), (0,), hi=-1), "hi must be a code of i4.f0 and at least 0, not -1"),
    ],
)
def test_attributes_that_cannot_be_meant(make: type[Op], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[bad-value]: {message}')}$"):
        make()
