from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, ToolError, code_ranges, parse_graph, print_graph
from bitkiln.ir.ops import MultiThreshold

X = TensorType((1, 2, 3), Int(8))


def test_counts_the_thresholds_at_or_below() -> None:
    op = MultiThreshold(Int(4, False))
    x = torch.tensor([[-1.0, 0.0, 0.5, 2.0, 9.0]]).reshape(5, 1)
    assert op.evaluate(x, torch.tensor([[2.0, 0.0, 0.5]])).flatten().tolist() == [0, 1, 2, 3, 3]


def test_sign_is_one_threshold_with_step_two() -> None:
    op = MultiThreshold(Int(2), (-1,), (2,))
    assert op.evaluate(torch.tensor([[-0.1], [0.0], [3.0]]), torch.tensor([[0.0]])).flatten().tolist() == [-1, 1, 1]


def test_rising_and_falling_channels() -> None:
    op = MultiThreshold(Int(4), (-1, 3), (2, -1))
    x = torch.tensor([[[0.0, 1.0, 5.0], [0.0, 1.0, 5.0]]])
    thresholds = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert op.evaluate(x, thresholds).tolist() == [[[-1, 1, 3], [3, 2, 1]]]


def test_channels_along_the_last_axis() -> None:
    op = MultiThreshold(Int(4, False), axis=2)
    x = torch.tensor([[[0.0, 9.0], [5.0, 5.0]]])
    assert op.evaluate(x, torch.tensor([[1.0], [6.0]])).tolist() == [[[0, 1], [1, 0]]]


@given(
    st.integers(1, 3),
    st.sampled_from([1, 2, 9, 15, 16, 40]),
    st.integers(0, 4),
    st.integers(0, 10_000),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_comparison_of_every_pair(channels: int, count: int, batch: int, seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-20, 20, (batch, channels, 4), generator=generator).to(dtype)
    thresholds = torch.randint(-25, 25, (channels, count), generator=generator).to(dtype)
    step = tuple(torch.randint(1, 4, (channels,), generator=generator).tolist())
    base = tuple(torch.randint(-5, 5, (channels,), generator=generator).tolist())
    found = MultiThreshold(Int(9), base, step).evaluate(x, thresholds)
    hits = (x[..., None] >= thresholds[:, None, :]).sum(-1)
    expected = torch.tensor(base)[:, None] + torch.tensor(step)[:, None] * hits
    assert found.dtype == dtype
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("op", "x", "thresholds", "message"),
    [
        (MultiThreshold(Int(4)), X, TensorType((3, 1), Int(8)),
         "multi_threshold of [1, 2, 3] takes [2, n] or [1, n] thresholds, not [3, 1]"),
        (MultiThreshold(Int(4), axis=3), X, TensorType((2, 1), Int(8)), "multi_threshold of [1, 2, 3] has no axis 3"),
        (MultiThreshold(Int(4), (0, 0, 0)), X, TensorType((2, 1), Int(8)),
         "multi_threshold of 2 channels takes 1 or 2 bases and steps, not (3, 1)"),
        (MultiThreshold(Int(4)), X, TensorType((2, 8), Int(8)),
         "multi_threshold gives codes from 0 to 8, which i4.f0 does not hold"),
        (MultiThreshold(Int(4)), X, TensorType((2, 1), Int(8, True, 1)),
         "the thresholds need the points of i8.f0, not i8.f1"),
        (MultiThreshold(Int(4)), TensorType((1, 2), Float()), TensorType((2, 1), Int(8)),
         "multi_threshold of f32[1,2] takes such thresholds, not i8.f0[2,1]"),
    ],
)  # fmt: skip
def test_wrong_arguments(op: MultiThreshold, x: TensorType, thresholds: TensorType, message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(f"error[type-mismatch]: {message}")):
        op.infer(x, thresholds)


def test_thresholds_have_the_points_of_their_channels() -> None:
    x = TensorType((1, 2, 3), Int(8, True, (3, -1), 1))
    op = MultiThreshold(Int(4, False, 2))
    assert op.infer(x, TensorType((2, 5), Int(9, True, (3, -1), 0))) == TensorType((1, 2, 3), Int(4, False, 2))


@pytest.mark.parametrize(
    ("base", "step", "message"),
    [
        ((9,), (1,), "base of multi_threshold must be between -8 and 7, not 9"),
        ((0,), (0,), "a step of multi_threshold must not be 0"),
        ((), (1,), "multi_threshold needs a base and a step"),
    ],
)
def test_wrong_attributes(base: tuple[int, ...], step: tuple[int, ...], message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(f"error[bad-value]: {message}")):
        MultiThreshold(Int(4), base, step)


def graph() -> Graph:
    build = Builder("g")
    x = build.input("x", TensorType((1, 2), Int(8)))
    thresholds = build.constant("t", TensorType((2, 3), Int(9)), torch.tensor([[1, 2, 3], [4, 5, 200]]).to(torch.int16))
    y = build.add(MultiThreshold(Int(4), (-2, 5), (1, -2)), (x, thresholds), "y")
    return build.graph((y,))


def test_range_of_codes() -> None:
    assert code_ranges(graph())["y"] == (-2, 5)
    assert MultiThreshold(Int(4), (-2, 5), (1, -2)).code_range(3) == (-2, 5)
    assert MultiThreshold(Int(4), (-1,), (2,)).code_range(1) == (-1, 1)


def test_text_form() -> None:
    text = print_graph(graph())
    assert '%y = multi_threshold(%x, %t) {number="i4.f0", base=[-2,5], step=[1,-2]} : i4.f0[1,2]' in text
    assert parse_graph(text, {"t": graph().const["t"].data}).nodes == graph().nodes
