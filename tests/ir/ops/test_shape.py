from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Codebook, Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Concat, Op, Reshape, TopK


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_reshape_keeps_the_order_of_elements(sizes: list[int]) -> None:
    x = torch.arange(3 * torch.Size(sizes).numel()).reshape(3, *sizes).float()
    op = Reshape((1, *reversed(sizes)))
    assert op.infer(floats(1, *sizes)) == floats(1, *reversed(sizes))
    y = op.evaluate(x)
    assert y.shape == (3, *reversed(sizes))
    assert torch.equal(y.flatten(), x.flatten())


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 3),
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
)
def test_concat_is_what_torch_computes(sizes: list[int], axis: int, parts: list[int]) -> None:
    axis = min(axis, len(sizes))
    shapes = [(2, *sizes[: axis - 1], part, *sizes[axis:]) for part in parts]
    xs = [torch.randn(shape) for shape in shapes]
    expected = torch.cat(xs, axis)
    assert Concat(axis).infer(*(floats(1, *shape[1:]) for shape in shapes)) == floats(1, *expected.shape[1:])
    assert torch.equal(Concat(axis).evaluate(*xs), expected)


def test_concat_repeats_constants_for_each_sample() -> None:
    x, c = torch.tensor([[1.0], [2.0]]), torch.tensor([[7.0]])
    assert Concat().evaluate(c, x, c).tolist() == [[7.0, 1.0, 7.0], [7.0, 2.0, 7.0]]
    assert Concat().evaluate(c, x[:0]).shape == (0, 2)


def test_argmax_takes_the_first_of_equals() -> None:
    x = torch.tensor([[1.0, 5.0, 5.0], [3.0, 3.0, 3.0], [-2.0, -9.0, -1.0]])
    assert TopK().evaluate(x).tolist() == [1.0, 0.0, 2.0]
    many = torch.zeros(4, 1000, dtype=torch.float64)
    assert TopK().evaluate(many).tolist() == [0.0] * 4
    assert TopK().evaluate(many).dtype == torch.float64


def test_top_k_gives_the_lowest_index_of_equals_first() -> None:
    x = torch.tensor([[1.0, 5.0, 1.0, 5.0, 5.0], [0.0, -1.0, 2.0, 0.0, 2.0]])
    assert TopK(4).evaluate(x).tolist() == [[1.0, 3.0, 4.0, 0.0], [2.0, 4.0, 0.0, 3.0]]
    assert TopK(2).evaluate(torch.zeros(3, 500)).tolist() == [[0.0, 1.0]] * 3
    assert TopK(2).evaluate(torch.zeros(0, 5)).shape == (0, 2)


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        (Reshape((1, 6)), (TensorType((1, 2, 3), Bipolar()),), "bipolar[1,6]"),
        (Concat(), (TensorType((1, 2), Int(4, True, 1)), TensorType((1, 3), Int(4, True, 1))), "i4.f1[1,5]"),
        (TopK(), (floats(1, 10),), "u4.f0[1]"),
        (TopK(), (TensorType((1, 16), Int(9)),), "u4.f0[1]"),
        (TopK(), (floats(1, 17),), "u5.f0[1]"),
        (TopK(), (floats(1, 1),), "u1.f0[1]"),
        (TopK(3), (floats(1, 16),), "u4.f0[1,3]"),
    ],
)
def test_types(op: Op, args: tuple[TensorType, ...], expected: str) -> None:
    assert str(op.infer(*args)) == expected


PER_CHANNEL = TensorType((1, 2), Int(4, True, (1, 2), 1))


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        (Reshape((1, 4)), (), "reshape takes 1 argument, not 0"),
        (Reshape((1, 5)), (floats(1, 4),), "[1, 4] has not the elements of [1, 5]"),
        (Reshape((2, 2)), (floats(1, 4),), "reshape [1, 4] to [2, 2] touches the batch axis"),
        (Reshape(()), (floats(1),), "reshape [1] to [] touches the batch axis"),
        (Reshape((1,)), (floats(),), "reshape [] to [1] touches the batch axis"),
        (Reshape((1, 1, 2)), (PER_CHANNEL,), "reshape of codes with one point a channel"),
        (Concat(), (), "concat takes at least 1 argument, not 0"),
        (Concat(2), (floats(1, 4),), "concat of [1, 4] has no axis 2 behind the batch"),
        (Concat(), (floats(1, 4), floats(1, 4, 1)), "concat of [1, 4] and [1, 4, 1] along axis 1"),
        (Concat(), (floats(1, 4, 2), floats(1, 4, 1)), "concat of [1, 4, 2] and [1, 4, 1] along axis 1"),
        (Concat(), (floats(1, 4), TensorType((1, 4), Int(4))), "concat of f32 and i4.f0: the formats must be equal"),
        (
            Concat(),
            (PER_CHANNEL, PER_CHANNEL),
            "concat takes codes with one point for the whole tensor, not i4.f[1,2]@1[1,2]",
        ),
        (TopK(), (floats(1, 4),) * 2, "top_k takes 1 argument, not 2"),
        (TopK(), (floats(1, 4, 1),), "top_k needs 2 axes, not [1, 4, 1]"),
        (TopK(5), (floats(1, 4),), "top_k of 4 elements gives at most 4, not 5"),
        (TopK(), (PER_CHANNEL,), "top_k compares codes with one point for the whole tensor, not i4.f[1,2]@1[1,2]"),
        (
            TopK(),
            (TensorType((1, 4), Codebook(2, Float())),),
            "top_k compares codes with one point for the whole tensor, not codebook2(f32)[1,4]",
        ),
    ],
)
def test_arguments_that_do_not_fit(op: Op, args: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[type-mismatch]: {message}')}$"):
        op.infer(*args)


def test_attributes_that_cannot_be_meant() -> None:
    with pytest.raises(
        ToolError, match=r"^error\[bad-shape\]: Every size of a shape must be at least 1, not \[1, -4\]$"
    ):
        Reshape((1, -4))
    with pytest.raises(ToolError, match=r"^error\[bad-value\]: axis of concat must be between 1 and 65535, not 0$"):
        Concat(0)
