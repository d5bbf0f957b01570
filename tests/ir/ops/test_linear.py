from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Conv2d, Linear, Op

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
BORDER = st.tuples(st.integers(0, 3), st.integers(0, 3))


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_linear_by_hand() -> None:
    x, w, b = (
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.tensor([[1.0, 0.0, -1.0], [2.0, 2.0, 2.0]]),
        torch.tensor([0.5, -1.0]),
    )
    assert Linear().evaluate(x, w).tolist() == [[-2.0, 12.0]]
    assert Linear().evaluate(x, w, b).tolist() == [[-1.5, 11.0]]


def test_linear_over_the_last_of_three_axes() -> None:
    assert Linear().infer(floats(1, 7, 3), floats(4, 3)) == floats(1, 7, 4)
    assert Linear().macs(floats(1, 7, 3), floats(4, 3)) == 84


def test_convolution_by_hand() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    w = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])
    assert Conv2d().evaluate(x, w).tolist() == [[[[5.0, 7.0], [11.0, 13.0]]]]
    # One row of zeros above, one column of zeros on the right; each result is a - b + 2 c of a window a b / c d.
    y = Conv2d(padding=((1, 0), (0, 1))).evaluate(x, w, torch.tensor([1.0]))
    assert y.tolist() == [[[[1.0, 3.0, 5.0], [6.0, 8.0, 13.0], [12.0, 14.0, 22.0]]]]


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.tuples(PAIR, PAIR, PAIR),
    st.tuples(BORDER, BORDER),
    st.booleans(),
)
def test_convolution_is_what_torch_computes(
    channels: tuple[int, int, int],
    image: tuple[int, int],
    window: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    padding: tuple[tuple[int, int], tuple[int, int]],
    bias: bool,
) -> None:
    groups, depth, filters = channels
    kernel, stride, dilation = window
    x, w = torch.randn(2, groups * depth, *image), torch.randn(groups * filters, depth, *kernel)
    b = torch.randn(groups * filters) if bias else None
    op = Conv2d(stride, padding, dilation, groups)
    types = [floats(1, *x.shape[1:]), floats(*w.shape), *([floats(*b.shape)] if b is not None else [])]
    padded = F.pad(x, (*padding[1], *padding[0]))
    try:
        expected = F.conv2d(padded, w, b, stride, 0, dilation, groups)
    except RuntimeError:  # the kernel is larger than the image
        with pytest.raises(ToolError, match="kernel is larger than the padded input"):
            op.infer(*types)
        return
    assert op.infer(*types) == floats(1, *expected.shape[1:])
    torch.testing.assert_close(op.evaluate(x, w, *([] if b is None else [b])), expected, rtol=1e-4, atol=1e-5)
    assert op.macs(*types) == expected[0].numel() * w[0].numel()


X = TensorType((1, 4), Int(8, False, 3))
W = TensorType((2, 4), Int(4, True, 2))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((X, W), "i14.f5[1,2]"),  # 4 * 255 * -8 = -8160
        ((X, W, TensorType((2,), Int(14, True, 5))), "i15.f5[1,2]"),  # -8160 - 8192
        ((X, TensorType((2, 4), Int(4, True, (1, -2), 0))), "i14.f[4,1]@1[1,2]"),
        (
            (X, TensorType((2, 4), Int(4, True, (1, 2), 0)), TensorType((2,), Int(8, True, (4, 5), 0))),
            "i15.f[4,5]@1[1,2]",  # -8160 - 128
        ),
        (
            (TensorType((1, 3, 4), Int(8)), TensorType((2, 4), Int(4, True, (1, 2), 0))),
            "i14.f[1,2]@2[1,3,2]",
        ),  # 4 * -128 * -8 = 4096
        ((TensorType((1, 4), Int(1, False)), TensorType((1, 4), Int(1, False))), "i4.f0[1,1]"),  # 4
        ((TensorType((1, 1), Int(1)), TensorType((1, 1), Int(1))), "i2.f0[1,1]"),  # -1 * -1 = 1
    ],
)
def test_format_of_sums(args: tuple[TensorType, ...], expected: str) -> None:
    assert str(Linear().infer(*args)) == expected


def test_format_of_sums_holds_them_all() -> None:
    """The narrowest signed format for every choice of codes, by trying all of them."""
    for x_number in (Int(1), Int(2), Int(1, False), Int(2, False)):
        for w_number in (Int(1), Int(2), Int(2, False)):
            result = Linear().infer(TensorType((1, 2), x_number), TensorType((1, 2), w_number)).number
            codes = [
                a * b + c * d
                for a in range(x_number.lo, x_number.hi + 1)
                for b in range(w_number.lo, w_number.hi + 1)
                for c in range(x_number.lo, x_number.hi + 1)
                for d in range(w_number.lo, w_number.hi + 1)
            ]
            assert result == Int.holding(min(codes), max(codes), signed=True)


def test_depthwise_convolution_has_points_along_the_channels() -> None:
    op = Conv2d(groups=2)
    args = (TensorType((1, 2, 3, 3), Int(4)), TensorType((2, 1, 3, 3), Int(4, True, (1, 2), 0)))
    assert str(op.infer(*args)) == "i11.f[1,2]@1[1,2,1,1]"  # 9 * 64 = 576


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        (Linear(), (), "linear takes 2 to 3 arguments, not 0"),
        (Linear(), (floats(1, 4),) * 4, "linear takes 2 to 3 arguments, not 4"),
        (Linear(), (floats(1, 4), floats(4)), "weight of linear must have 2 axes, not [4]"),
        (Linear(), (floats(1, 4), floats(2, 3)), "linear with weight [2, 3] needs 3 input features, not shape [1, 4]"),
        (Linear(), (floats(4), floats(2, 4)), "linear with weight [2, 4] needs 4 input features, not shape [4]"),
        (Linear(), (floats(1, 4), floats(2, 4), floats(3)), "bias [3] does not match weight [2, 4]"),
        (Linear(), (X, W, TensorType((1,), Int(14, True, 5))), "bias [1] does not match weight [2, 4]"),
        (Linear(), (floats(1, 4), W), "x and weight must both be float or fixed point, not f32 and i4.f2"),
        (Linear(), (X, floats(2, 4)), "x and weight must both be float or fixed point, not u8.f3 and f32"),
        (
            Linear(),
            (X, TensorType((2, 4), Bipolar())),
            "x and weight must both be float or fixed point, not u8.f3 and bipolar",
        ),
        (Linear(), (X, W, floats(2)), "the bias must have the accumulator's points (5,), not f32"),
        (
            Linear(),
            (X, W, TensorType((2,), Int(9, True, 4))),
            "the bias must have the accumulator's points (5,), not i9.f4",
        ),
        (
            Linear(),
            (TensorType((1, 2), Int(8, True, (1, 2), 1)), TensorType((2, 2), Int(4))),
            "activations have one point for the whole tensor",
        ),
        (Linear(), (X, TensorType((1, 4), Int(4, True, (1,) * 4, 1))), "weights have their points along axis 0"),
        (Conv2d(), (floats(1, 4, 4), floats(1, 1, 1, 1)), "conv2d needs 4 axes, not [1, 4, 4] and [1, 1, 1, 1]"),
        (Conv2d(), (floats(1, 3, 4, 4), floats(1, 2, 1, 1)), "conv2d needs 2 input channels, not 3"),
        (Conv2d(groups=2), (floats(1, 4, 4, 4), floats(3, 2, 1, 1)), "3 filters do not divide into 2 groups"),
        (
            Conv2d(dilation=(1, 2)),
            (floats(1, 1, 4, 4), floats(1, 1, 3, 3)),
            "the [3, 3] kernel is larger than the padded input [1, 1, 4, 4]",
        ),
    ],
)
def test_arguments_that_do_not_fit(op: Op, args: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[type-mismatch]: {message}')}$"):
        op.infer(*args)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"stride": (0, 1)}, "stride of conv2d must be between 1 and 65535, not 0"),
        ({"dilation": (1, -1)}, "dilation of conv2d must be between 1 and 65535, not -1"),
        ({"padding": ((0, 0), (0, -1))}, "padding of conv2d must be between 0 and 65535, not -1"),
        ({"padding": ((65536, 0), (0, 0))}, "padding of conv2d must be between 0 and 65535, not 65536"),
        ({"groups": 0}, "groups of conv2d must be between 1 and 65535, not 0"),
    ],
)
def test_attributes_that_cannot_be_meant(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[bad-value]: {message}')}$"):
        Conv2d(**attributes)  # type: ignore[arg-type]  # wrong on purpose


def test_sums_too_wide() -> None:
    x, w = TensorType((1, 2**10), Int(32)), TensorType((1, 2**10), Int(32))
    with pytest.raises(ToolError, match=r"^error\[accumulator-too-wide\]: Codes from -4\d+ to 4\d+ need 74 bits"):
        Linear().infer(x, w)
