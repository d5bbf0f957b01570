from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Expand, Flip, Op, Pad, PadMode, Permute, Roll, Slice, Take

CODES = Int(8, True, 3)
SHAPE = (1, 3, 4, 5)
X = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
PAIR = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


def check(op: Op, expected: np.ndarray) -> None:
    """The elements, and the same number format with the batch axis 1."""
    for number in (Float(), CODES):
        assert op.infer(TensorType(SHAPE, number)) == TensorType((1, *expected.shape[1:]), number)
    np.testing.assert_array_equal(op.evaluate(X).numpy(), expected)


@given(st.permutations([1, 2, 3]))
def test_permute(axes: list[int]) -> None:
    check(Permute((0, *axes)), X.numpy().transpose(0, *axes))


@given(st.integers(0, 2), st.integers(1, 2), st.integers(1, 3))
def test_slice(start: int, length: int, step: int) -> None:
    check(Slice(2, start, start + length, step), X.numpy()[:, :, start : start + length : step])


@given(PAIR, PAIR, PAIR, st.sampled_from([0.0, -math.inf, 1.5]))
def test_pad_with_a_constant(channels: tuple[int, int], height: tuple[int, int], width: tuple[int, int],
                             value: float) -> None:  # fmt: skip
    pads = (channels, height, width)
    cut = X.numpy()[
        (slice(None), *(slice(max(0, -a), size + min(0, b)) for (a, b), size in zip(pads, SHAPE[1:], strict=True)))
    ]  # one index
    added = [(0, 0), *((max(0, a), max(0, b)) for a, b in pads)]
    expected = np.pad(cut, added, constant_values=value)
    op = Pad(pads, PadMode.CONSTANT, value)
    assert op.infer(TensorType(SHAPE, Float())).shape == (1, *expected.shape[1:])
    np.testing.assert_array_equal(op.evaluate(X).numpy(), expected)


@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [(PadMode.REFLECT, "reflect"), (PadMode.REPLICATE, "edge"), (PadMode.CIRCULAR, "wrap")],
)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4))
def test_pad_with_the_image(mode: PadMode, numpy_mode: str, top: int, bottom: int, left: int) -> None:
    pads = ((0, 0), (top, bottom), (left, 1))
    check(Pad(pads, mode), np.pad(X.numpy(), ((0, 0), *pads), mode=numpy_mode))  # type: ignore[call-overload]


def test_expand() -> None:
    x = torch.arange(6.0).reshape(2, 1, 3, 1)
    assert Expand((1, 4, 3, 2)).infer(TensorType((1, 1, 3, 1), CODES)) == TensorType((1, 4, 3, 2), CODES)
    np.testing.assert_array_equal(Expand((1, 4, 3, 2)).evaluate(x).numpy(), np.broadcast_to(x.numpy(), (2, 4, 3, 2)))


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_roll(first: int, second: int) -> None:
    check(Roll((first, second), (1, 3)), np.roll(X.numpy(), (first, second), (1, 3)))


@given(st.sets(st.integers(1, 3)))
def test_flip(axes: set[int]) -> None:
    check(Flip(tuple(sorted(axes))), np.flip(X.numpy(), tuple(axes)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_take(indices: list[int]) -> None:
    check(Take(2, tuple(indices)), X.numpy()[:, :, indices])


IMAGE = TensorType(SHAPE, Float())


@pytest.mark.parametrize(
    ("op", "type_", "message"),
    [
        (Permute((0, 1)), IMAGE, r"permute \[0, 1\] does not fit shape \[1, 3, 4, 5\]"),
        (Slice(2, 0, 5), IMAGE, "slice 0:5 of axis 2 does not fit"),
        (Slice(4, 0, 1), IMAGE, "slice 0:1 of axis 4 does not fit"),
        (Pad(((0, 0),)), IMAGE, "needs a pair for each axis behind the first"),
        (Pad(((0, 0), (-2, -2), (0, 0))), IMAGE, "leaves nothing"),
        (Pad(((0, 0), (9, -4), (0, 0))), IMAGE, "leaves nothing"),
        (Pad(((0, 0), (4, 0), (0, 0)), PadMode.REFLECT), IMAGE, "is not possible in mode reflect"),
        (Pad(((0, 0), (0, 5), (0, 0)), PadMode.CIRCULAR), IMAGE, "is not possible in mode circular"),
        (Pad(((1, 0), (0, 0), (0, 0)), PadMode.REPLICATE), IMAGE, "is not possible in mode replicate"),
        (Pad(((1, 0),), value=1.0), TensorType((1, 3), CODES), "must be with 0, not 1.0"),
        (Expand((1, 3, 4)), IMAGE, r"shape \[1, 3, 4, 5\] does not expand to \[1, 3, 4\]"),
        (Expand((1, 3, 8, 5)), IMAGE, "do not broadcast"),
        (Expand((2, 3)), TensorType((1, 3), Float()), "expand does not touch the batch axis"),
        (Roll((1,), (4,)), IMAGE, r"roll of \[1, 3, 4, 5\] has not all axes \[4\]"),
        (Flip((4,)), IMAGE, r"flip of \[1, 3, 4, 5\] has not all axes \[4\]"),
        (Take(2, (4,)), IMAGE, "take of axis 2 up to 4 does not fit"),
        (Permute((0, 1)), TensorType((1, 2), Int(8, True, (1, 2), 1)), "takes elements of one format"),
    ],
)
def test_refusals(op: Op, type_: TensorType, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        op.infer(type_)


def test_attributes_that_cannot_be_meant() -> None:
    with pytest.raises(ToolError, match=r"an order of all axes that begins with 0, not \[1, 0\]"):
        Permute((1, 0))
    with pytest.raises(ToolError, match="slice needs 0 <= start < stop, not 2 and 2"):
        Slice(1, 2, 2)
    with pytest.raises(ToolError, match="roll needs as many shifts as axes"):
        Roll((1, 2), (1,))
    with pytest.raises(ToolError, match=r"axes of flip must differ, not \[1, 1\]"):
        Flip((1, 1))
    with pytest.raises(ToolError, match="take needs indices from 0"):
        Take(1, (-1,))
    with pytest.raises(ToolError, match="value of pad must be a number within 32-bit floating point, not nan"):
        Pad(((0, 0),), value=math.nan)
