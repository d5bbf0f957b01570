from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import ConvTranspose2d

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_by_hand() -> None:
    """Two pixels, a kernel of three, two apart: the kernels overlap in the middle."""
    x, weight = torch.tensor([[[[1.0, 10.0]]]]), torch.tensor([[[[1.0, 2.0, 3.0]]]])
    op = ConvTranspose2d((1, 2))
    assert op.infer(floats(1, 1, 1, 2), floats(1, 1, 1, 3)) == floats(1, 1, 1, 5)
    assert op.evaluate(x, weight, torch.tensor([0.5])).tolist() == [[[[1.5, 2.5, 13.5, 20.5, 30.5]]]]
    assert op.macs(floats(1, 1, 1, 2), floats(1, 1, 1, 3)) == 6


@given(PAIR, PAIR, PAIR, PAIR, st.sampled_from([1, 2]), st.booleans())
def test_types_are_those_of_torch(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    has_extra: bool,
) -> None:
    extra = (max(stride[0], dilation[0]) - 1, 0) if has_extra else (0, 0)
    x, weight, bias = torch.randn(2, 4, 5, 6), torch.randn(4, 3, *kernel), torch.randn(3 * groups)
    sizes = [
        (x.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + extra[i] + 1
        for i in range(2)
    ]
    assume(min(sizes) > 0)
    op = ConvTranspose2d(stride, padding, extra, dilation, groups)
    expected = F.conv_transpose2d(x, weight, bias, stride, padding, extra, groups, dilation)
    assert op.infer(floats(1, 4, 5, 6), floats(*weight.shape), floats(*bias.shape)) == floats(1, *expected.shape[1:])
    torch.testing.assert_close(op.evaluate(x, weight, bias), expected)


def test_refusals() -> None:
    op = ConvTranspose2d()
    with pytest.raises(ToolError, match=r"of 3 channels in 1 groups has weight \[2, 2, 1, 1\]"):
        op.infer(floats(1, 3, 4, 4), floats(2, 2, 1, 1))
    with pytest.raises(ToolError, match="the bias must have 2 elements"):
        op.infer(floats(1, 2, 4, 4), floats(2, 2, 1, 1), floats(3))
    with pytest.raises(ToolError, match="needs 4 axes"):
        op.infer(floats(1, 2), floats(2, 2, 1, 1))
    with pytest.raises(ToolError, match="takes floats"):
        op.infer(TensorType((1, 2, 4, 4), Int(8)), floats(2, 2, 1, 1))
    with pytest.raises(ToolError, match="cuts off all of"):
        ConvTranspose2d(padding=(2, 2)).infer(floats(1, 2, 2, 2), floats(2, 2, 1, 1))
    with pytest.raises(ToolError, match="extra of conv_transpose2d must be between 0 and 0, not 1"):
        ConvTranspose2d(extra=(1, 0))
