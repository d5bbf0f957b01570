from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Codebook, Float, Int, TensorType, ToolError
from bitkiln.ir.ops import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, Op, SumPool2d

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
IMAGE = st.tuples(st.integers(1, 9), st.integers(1, 9))
PADDING = st.tuples(st.integers(0, 2), st.integers(0, 2))


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def check(op: Op, x: torch.Tensor, expected: torch.Tensor) -> None:
    assert op.infer(floats(1, *x.shape[1:])) == floats(1, *expected.shape[1:])
    torch.testing.assert_close(op.evaluate(x), expected)


@given(IMAGE, PAIR, PAIR, PADDING, PAIR, st.booleans())
def test_max_pool_is_what_torch_computes(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
) -> None:
    """Whatever torch accepts is accepted, but for windows that see only padding."""
    x = torch.randn(2, 3, *image)
    try:
        expected = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    except RuntimeError:
        with pytest.raises(ToolError, match=r"larger than the padded input|at most half the kernel|see only padding"):
            MaxPool2d(kernel, stride, padding, dilation, ceil_mode).infer(floats(1, *x.shape[1:]))
        return
    op = MaxPool2d(kernel, stride, padding, dilation, ceil_mode)
    blind = any(pad > 0 and step > size for pad, step, size in zip(padding, dilation, image, strict=True))
    if blind:
        with pytest.raises(ToolError, match="see only padding"):
            op.infer(floats(1, *x.shape[1:]))
    else:
        assert torch.isfinite(expected).all()
        check(op, x, expected)


@given(IMAGE, PAIR, PAIR, PADDING, st.booleans(), st.booleans(), st.none() | st.integers(1, 9))
def test_average_pool_is_what_torch_computes(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> None:
    x = torch.randn(2, 3, *image)
    options = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    try:
        expected = F.avg_pool2d(x, *options)
    except RuntimeError:
        with pytest.raises(ToolError, match=r"larger than the padded input|at most half the kernel"):
            AvgPool2d(*options).infer(floats(1, *x.shape[1:]))
        return
    check(AvgPool2d(*options), x, expected)
    check(
        SumPool2d(kernel, stride, padding, ceil_mode), x, F.avg_pool2d(x, kernel, stride, padding, ceil_mode, True, 1)
    )


@given(IMAGE, PAIR)
def test_adaptive_pool_is_what_torch_computes(image: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *image)
    check(AdaptiveAvgPool2d(size), x, F.adaptive_avg_pool2d(x, size))


def test_sum_pool_by_hand() -> None:
    x = torch.tensor([[[[1.0, -2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    assert SumPool2d((2, 2), (2, 2)).evaluate(x).tolist() == [[[[8.0]]]]
    assert SumPool2d((2, 2), (2, 2), ceil_mode=True).evaluate(x).tolist() == [[[[8.0, 9.0], [15.0, 9.0]]]]
    assert SumPool2d((2, 2), (2, 2), (1, 1)).evaluate(x).tolist() == [[[[1.0, 1.0], [11.0, 28.0]]]]


def test_padding_never_wins_a_maximum() -> None:
    x = torch.full((1, 1, 2, 2), -5.0)
    assert MaxPool2d((2, 2), (1, 1), (1, 1)).evaluate(x).unique().tolist() == [-5.0]


@pytest.mark.parametrize(
    ("op", "number", "expected"),
    [
        (MaxPool2d((2, 2), (2, 2)), Int(4, True, 2), "i4.f2[1,2,2,2]"),
        (MaxPool2d((2, 2), (2, 2)), Int(4, True, (1, 2), 1), "i4.f[1,2]@1[1,2,2,2]"),
        (MaxPool2d((2, 2), (2, 2)), Bipolar(), "bipolar[1,2,2,2]"),
        (SumPool2d((2, 2), (2, 2)), Int(4, True, 2), "i6.f2[1,2,2,2]"),
        (SumPool2d((2, 2), (2, 2)), Int(4, False, 2), "u6.f2[1,2,2,2]"),
        (SumPool2d((3, 3), (1, 1)), Int(4, False, 2), "u8.f2[1,2,2,2]"),  # 9 * 15 = 135
        (SumPool2d((2, 2), (2, 2)), Int(4, True, (1, 2), 1), "i6.f[1,2]@1[1,2,2,2]"),
    ],
)
def test_formats_of_codes(op: Op, number: Int | Bipolar, expected: str) -> None:
    assert str(op.infer(TensorType((1, 2, 4, 4), number))) == expected


ONE = (1, 1)
CODES = TensorType((1, 1, 4, 4), Int(4))


@pytest.mark.parametrize(
    ("op", "x", "message"),
    [
        (MaxPool2d((2, 2), ONE), floats(1, 4, 4), "pooling needs 4 axes, not [1, 4, 4]"),
        (MaxPool2d((5, 2), ONE), CODES, "the [5, 2] pooling kernel is larger than the padded input [1, 1, 4, 4]"),
        (
            MaxPool2d((2, 2), ONE, (0, 1), (1, 5)),
            CODES,
            "with dilation [1, 5] some pooling windows of [1, 1, 4, 4] see only padding",
        ),
        (
            MaxPool2d(ONE, ONE),
            TensorType((1, 1, 1, 1), Codebook(2, Float())),
            "max_pool2d cannot order codebook2(f32)[1,1,1,1]",
        ),
        (
            AvgPool2d(ONE, ONE),
            CODES,
            "avg_pool2d takes floats, not i4.f0[1,1,4,4]; on codes use sum_pool2d and requantise",
        ),
        (
            SumPool2d(ONE, ONE),
            TensorType((1, 1, 1, 1), Bipolar()),
            "the input of sum_pool2d must be fixed point, not bipolar[1,1,1,1]",
        ),
        (AdaptiveAvgPool2d(ONE), floats(1, 4), "pooling needs 4 axes, not [1, 4]"),
        (AdaptiveAvgPool2d(ONE), CODES, "adaptive_avg_pool2d takes floats, not i4.f0[1,1,4,4]"),
    ],
)
def test_arguments_that_do_not_fit(op: Op, x: TensorType, message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[type-mismatch]: {message}')}$"):
        op.infer(x)


@pytest.mark.parametrize(
    "op", [MaxPool2d((1, 1), (1, 1)), AvgPool2d((1, 1), (1, 1)), SumPool2d((1, 1), (1, 1)), AdaptiveAvgPool2d((1, 1))]
)
def test_one_argument(op: Op) -> None:
    for args in ((), (floats(1, 1, 1, 1),) * 2):
        with pytest.raises(ToolError, match=f"{op.name} takes 1 argument, not {len(args)}$"):
            op.infer(*args)


@pytest.mark.parametrize("op", [MaxPool2d, AvgPool2d, SumPool2d])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "message"),
    [
        ((0, 1), (1, 1), (0, 0), "kernel of {} must be between 1 and 65535, not 0"),
        ((2, 2), (1, -1), (0, 0), "stride of {} must be between 1 and 65535, not -1"),
        ((2, 2), (1, 65536), (0, 0), "stride of {} must be between 1 and 65535, not 65536"),
        ((2, 2), (1, 1), (-1, 0), "padding of {} must be between 0 and 65535, not -1"),
        ((2, 3), (1, 1), (1, 2), "padding of {} must be at most half the kernel [2, 3], not [1, 2]"),
    ],
)
def test_attributes_that_cannot_be_meant(
    op: type[MaxPool2d | AvgPool2d | SumPool2d],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    message: str,
) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[bad-value]: {message.format(op.name)}')}$"):
        op(kernel, stride, padding)


def test_more_attributes_that_cannot_be_meant() -> None:
    with pytest.raises(
        ToolError, match=r"^error\[bad-value\]: divisor of avg_pool2d must be between 1 and 2147483647, not 0$"
    ):
        AvgPool2d((1, 1), (1, 1), divisor=0)
    with pytest.raises(
        ToolError, match=r"^error\[bad-value\]: dilation of max_pool2d must be between 1 and 65535, not 0$"
    ):
        MaxPool2d((1, 1), (1, 1), dilation=(0, 1))
    with pytest.raises(
        ToolError, match=r"^error\[bad-value\]: size of adaptive_avg_pool2d must be between 1 and 65535, not 0$"
    ):
        AdaptiveAvgPool2d((0, 1))
