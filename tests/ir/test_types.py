from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Bipolar, Codebook, Float, Int, Number, TensorType, Ternary, ToolError, parse_type, storage_dtype
from tests.ir.test_numbers import CODEBOOKS, FLOATS, NUMBERS


@given(NUMBERS, st.lists(st.integers(1, 12), max_size=8).map(tuple))
def test_text_round_trip(number: Number, shape: tuple[int, ...]) -> None:
    if isinstance(number, Int) and number.axis is not None:
        shape = (*(1,) * number.axis, len(number.fracs))
    type_ = TensorType(shape, number)
    assert parse_type(str(type_)) == type_


def test_counts() -> None:
    type_ = TensorType((1, 3, 8, 8), Int(5, True, 2))
    assert (str(type_), type_.elements, type_.bits) == ("i5.f2[1,3,8,8]", 192, 960)
    assert not type_.is_float
    scalar = TensorType((), Float())
    assert (str(scalar), scalar.elements, scalar.bits, scalar.is_float) == ("f32[]", 1, 32, True)


@pytest.mark.parametrize(
    ("shape", "number", "message"),
    [
        ((1, 0), Float(), "Every size of a shape must be at least 1, not [1, 0]"),
        ((-2,), Float(), "Every size of a shape must be at least 1, not [-2]"),
        ((1,) * 9, Float(), "A tensor has at most 8 axes, not 9"),
        ((2**16, 2**15), Float(), "A tensor has at most 2147483647 elements, not [65536, 32768]"),
        ((2, 3), Int(8, True, (1, 2), 1), "2 points along axis 1 do not match the shape [2, 3]"),
        ((2,), Int(8, True, (1, 2), 1), "2 points along axis 1 do not match the shape [2]"),
    ],
)
def test_bad_shape(shape: tuple[int, ...], number: Number, message: str) -> None:
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[bad-shape]: {message}')}$"):
        TensorType(shape, number)


@pytest.mark.parametrize(
    "text", ["", "f32", "f32[", "[1]", "f32[1,]", "f32[-1]", "f32[1][", "f32[1 ]", "f32[٣]", "f32[1]\n"]
)
def test_syntax(text: str) -> None:
    message = f"error[type-syntax]: {text!r} is no tensor type\n  help: write f32[1,3,8,8] or i8.f6[16,9]"
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        parse_type(text)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (Float(16), torch.float16),
        (Float(32), torch.float32),
        (Float(64), torch.float64),
        (Int(1), torch.int8),
        (Int(8), torch.int8),
        (Int(8, False), torch.uint8),
        (Int(9), torch.int16),
        (Int(15, False), torch.int16),
        (Int(16, False), torch.int32),
        (Int(33), torch.int64),
        (Int(63, False), torch.int64),
        (Bipolar(), torch.int8),
        (Ternary(), torch.int8),
        (Codebook(8, Float()), torch.uint8),
        (Codebook(9, Float()), torch.int32),
    ],
)
def test_storage(number: Number, dtype: torch.dtype) -> None:
    assert storage_dtype(number) == dtype


@given(NUMBERS.filter(lambda number: isinstance(number, Int)))
def test_storage_holds_every_code(number: Number) -> None:
    assert isinstance(number, Int)
    limits = torch.iinfo(storage_dtype(number))
    assert limits.min <= number.lo
    assert number.hi <= limits.max


@given(FLOATS | CODEBOOKS)
def test_storage_is_never_wider_than_needed_by_much(number: Number) -> None:
    assert storage_dtype(number).itemsize * 8 <= max(8, 4 * number.bits)
