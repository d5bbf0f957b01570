from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Add, BatchNorm, Clip, Op, Relu, ScaleShift

SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_by_hand() -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 3.0, 9.0])
    assert Relu().evaluate(x).tolist() == [0.0, 0.0, 0.0, 3.0, 9.0]
    assert Clip(0.0, 6.0).evaluate(x).tolist() == [0.0, 0.0, 0.0, 3.0, 6.0]
    assert Clip(-1.0, math.inf).evaluate(x).tolist() == [-1.0, -0.5, 0.0, 3.0, 9.0]
    assert Add().evaluate(x, x).tolist() == [-4.0, -1.0, 0.0, 6.0, 18.0]
    assert Add((3, 1)).evaluate(torch.tensor([1.0, -3.0]), torch.tensor([5.0, 0.0])).tolist() == [18.0, -24.0]


def test_scale_shift_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    y = ScaleShift().evaluate(x, torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.0]))
    assert y.tolist() == [[[2.5, 4.5], [-3.0, -4.0]]]


@given(st.integers(1, 4), st.lists(st.integers(1, 3), max_size=2), st.floats(1e-6, 0.5))
def test_batch_norm_is_what_torch_computes(channels: int, image: list[int], eps: float) -> None:
    x = torch.randn(2, channels, *image)
    gamma, beta, mean = torch.randn(3, channels).unbind()
    variance = torch.rand(channels)
    op = BatchNorm(eps)
    assert op.infer(floats(1, *x.shape[1:]), *[floats(channels)] * 4) == floats(1, *x.shape[1:])
    expected = F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, eps)
    torch.testing.assert_close(op.evaluate(x, gamma, beta, mean, variance), expected, rtol=1e-4, atol=1e-5)


@given(SHAPES, SHAPES)
def test_shapes_broadcast_as_in_torch(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = torch.broadcast_shapes(a, b)
    except RuntimeError:
        message = f"shapes {list(a)} and {list(b)} do not broadcast"
        with pytest.raises(ToolError, match=re.escape(message)):
            Add().infer(floats(*a), floats(*b))
    else:
        assert Add().infer(floats(*a), floats(*b)) == floats(*expected)
        assert Add().evaluate(torch.zeros(a), torch.zeros(b)).shape == expected


@pytest.mark.parametrize(
    ("a", "b", "shifts", "expected"),
    [
        (Int(8, True, 3), Int(8, True, 3), (0, 0), "i9.f3"),
        (Int(8, True, 3), Int(8, False, 3), (0, 0), "i10.f3"),  # -128 .. 127 + 255 = 382
        (Int(8, False, 3), Int(8, False, 3), (0, 0), "u9.f3"),
        (Int(4, True, 1), Int(4, True, 3), (2, 0), "i7.f3"),  # -8 * 4 - 8 = -40
        (Int(4, True, 1), Int(4, True, 1), (2, 2), "i7.f3"),  # -64
        (Int(1, True), Int(1, False), (0, 0), "i2.f0"),  # -1 .. 1
    ],
)
def test_format_of_sums(a: Int, b: Int, shifts: tuple[int, int], expected: str) -> None:
    assert str(Add(shifts).infer(TensorType((1,), a), TensorType((1,), b)).number) == expected


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        (Relu(), (), "relu takes 1 argument, not 0"),
        (Relu(), (TensorType((1,), Bipolar()),), "relu takes floats or fixed point, not bipolar[1]"),
        (Clip(0, 1), (floats(1), floats(1)), "clip takes 1 argument, not 2"),
        (Clip(0, 1), (TensorType((1,), Int(8)),), "clip takes floats, not i8.f0[1]; on codes requantise clips"),
        (Add(), (floats(1),), "add takes 2 arguments, not 1"),
        (Add((1, 0)), (floats(1), floats(1)), "add of floats has no shifts"),
        (Add(), (floats(1), TensorType((1,), Int(8))), "the first operand of add must be fixed point, not f32[1]"),
        (Add(), (TensorType((1,), Int(8)), floats(1)), "the second operand of add must be fixed point, not f32[1]"),
        (
            Add((0, 1)),
            (TensorType((1,), Int(8, True, 3)), TensorType((1,), Int(8, True, 4))),
            "the points of i8.f3 and i8.f4, shifted by (0, 1), are not aligned",
        ),
        (
            Add(),
            (TensorType((1,), Int(8, True, (3,), 0)), TensorType((1,), Int(8, True, 3))),
            "the points of i8.f[3]@0 and i8.f3, shifted by (0, 0), are not aligned",
        ),
        (BatchNorm(), (floats(1, 2),), "batch_norm takes 5 arguments, not 1"),
        (BatchNorm(), (floats(2),) * 5, "batch_norm needs a batch and a channel axis, not [2]"),
        (BatchNorm(), (floats(1, 2), *[floats(3)] * 4), "batch_norm of f32[1,2] needs 2 parameters, not f32[3]"),
        (
            BatchNorm(),
            (floats(1, 1), *[floats(1)] * 3, TensorType((1,), Int(8))),
            "batch_norm takes floats, not f32[1,1], f32[1], f32[1], f32[1], i8.f0[1]",
        ),
        (ScaleShift(), (floats(1, 2),), "scale_shift takes 3 arguments, not 1"),
        (ScaleShift(), (floats(1, 2), floats(2), floats(1)), "scale_shift of f32[1,2] needs 2 parameters, not f32[1]"),
    ],
)
def test_arguments_that_do_not_fit(op: Op, args: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[type-mismatch]: {message}')}$"):
        op.infer(*args)


def test_attributes_that_cannot_be_meant() -> None:
    with pytest.raises(ToolError, match=r"^error\[bad-value\]: clip needs lo <= hi, not 1 and 0$"):
        Clip(1, 0)
    with pytest.raises(ToolError, match=r"lo and hi of clip must be a number within 32-bit floating point, not nan$"):
        Clip(0, math.nan)
    with pytest.raises(
        ToolError, match=r"lo and hi of clip must be a number within 32-bit floating point, not 1e\+39$"
    ):
        Clip(0, 1e39)
    with pytest.raises(ToolError, match=r"^error\[bad-value\]: shifts of add must be between 0 and 63, not 64$"):
        Add((0, 64))
    for eps in (-1e-9, math.inf):
        message = rf"^error\[bad-value\]: eps of batch_norm must be finite and at least 0, not {eps}$"
        with pytest.raises(ToolError, match=message):
            BatchNorm(eps)
