from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import GroupNorm, LayerNorm, LogSoftmax, Op, Softmax


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_softmax_by_hand() -> None:
    x = torch.tensor([[0.0, math.log(3)], [1000.0, 1000.0]])
    torch.testing.assert_close(Softmax(1).evaluate(x), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    torch.testing.assert_close(LogSoftmax(1).evaluate(x).exp(), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))


@given(st.integers(1, 3), st.integers(1, 3))
def test_softmax_is_along_its_axis(axis: int, size: int) -> None:
    x = torch.randn(2, size, 3, 4)
    expected = x.exp() / x.exp().sum(axis, keepdim=True)
    assert Softmax(axis).infer(floats(1, size, 3, 4)) == floats(1, size, 3, 4)
    torch.testing.assert_close(Softmax(axis).evaluate(x), expected)
    torch.testing.assert_close(LogSoftmax(axis).evaluate(x), expected.log(), rtol=1e-4, atol=1e-5)


@given(st.integers(1, 3), st.integers(0, 2), st.floats(1e-6, 0.5))
def test_layer_norm_follows_the_definition(axes: int, parameters: int, eps: float) -> None:
    x = torch.randn(2, 3, 2, 4)
    shape = x.shape[-axes:]
    weight, bias = torch.randn(2, *shape).unbind()
    op = LayerNorm(axes, eps)
    assert op.infer(floats(1, 3, 2, 4), *[floats(*shape)] * parameters) == floats(1, 3, 2, 4)
    dims = tuple(range(-axes, 0))
    expected = (x - x.mean(dims, True)) / torch.sqrt(x.var(dims, correction=0, keepdim=True) + eps)
    expected = expected * weight if parameters > 0 else expected
    expected = expected + bias if parameters > 1 else expected
    torch.testing.assert_close(op.evaluate(x, *(weight, bias)[:parameters]), expected, rtol=1e-4, atol=1e-5)


@given(st.sampled_from([1, 2, 3, 6]), st.integers(0, 2), st.floats(1e-6, 0.5))
def test_group_norm_follows_the_definition(groups: int, parameters: int, eps: float) -> None:
    x = torch.randn(2, 6, 3, 2)
    weight, bias = torch.randn(2, 6).unbind()
    op = GroupNorm(groups, eps)
    assert op.infer(floats(1, 6, 3, 2), *[floats(6)] * parameters) == floats(1, 6, 3, 2)
    blocks = x.reshape(2, groups, -1)
    expected = (blocks - blocks.mean(2, True)) / torch.sqrt(blocks.var(2, correction=0, keepdim=True) + eps)
    expected = expected.reshape(x.shape)
    expected = expected * weight.reshape(1, 6, 1, 1) if parameters > 0 else expected
    expected = expected + bias.reshape(1, 6, 1, 1) if parameters > 1 else expected
    torch.testing.assert_close(op.evaluate(x, *(weight, bias)[:parameters]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (Softmax(2), (floats(1, 3),), r"softmax of \[1, 3\] has no axis 2"),
        (LogSoftmax(1), (TensorType((1, 3), Int(8)),), "log_softmax takes floats, not i8.f0"),
        (LayerNorm(2), (floats(1, 3),), r"layer_norm of \[1, 3\] over 2 axes touches the batch"),
        (LayerNorm(), (floats(1, 3), floats(2)), r"needs parameters of shape \[3\], not f32\[2\]"),
        (GroupNorm(2), (floats(1, 3),), "the channels do not divide into 2 groups"),
        (GroupNorm(1), (floats(1, 3), floats(1, 3)), "group_norm of .* needs 3 parameters"),
        (GroupNorm(1), (TensorType((1, 3), Int(8)),), "group_norm takes floats"),
    ],
)
def test_refusals(op: Op, types: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        op.infer(*types)


def test_attributes_that_cannot_be_meant() -> None:
    with pytest.raises(ToolError, match="axis of softmax must be between 1 and 65535, not 0"):
        Softmax(0)
    with pytest.raises(ToolError, match="eps of layer_norm must be finite and at least 0, not -1"):
        LayerNorm(1, -1.0)
    with pytest.raises(ToolError, match="groups of group_norm must be between 1 and 65535, not 0"):
        GroupNorm(0)
