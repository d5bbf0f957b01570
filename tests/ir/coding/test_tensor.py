from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from numpy.typing import NDArray

from bitkiln.ir.coding import DamagedFileError, Encoding, Form, StoredTensor
from bitkiln.ir.coding._cursor import Cursor, varint
from bitkiln.ir.coding.tensor import DTYPES, read_tensor, write_tensor

from .streams import elements

BUDGET = 1 << 30
HEAD = bytes([1, 8, 1, 5])  # five u8


def round_trip(tensor: StoredTensor) -> tuple[StoredTensor, bytes]:
    data = b"".join(write_tensor(tensor).parts)
    cursor = Cursor(data)
    found = read_tensor(cursor, BUDGET)
    assert cursor.left == 0
    return found, data


def assert_same(found: StoredTensor, tensor: StoredTensor) -> None:
    assert (found.data.dtype, found.data.shape) == (tensor.data.dtype, tensor.data.shape)
    assert found.data.tobytes() == tensor.data.tobytes()
    assert found.data.flags.writeable


@settings(max_examples=200)
@given(st.sampled_from(DTYPES), st.data())
def test_every_bit_comes_back(dtype: np.dtype[Any], data: DataObject) -> None:
    """Floats of any bits, NaN and -0.0 among them, and codes of every width with and without a sign."""
    size = 8 * dtype.itemsize
    width = size if dtype.kind == "f" else data.draw(st.integers(1, size))
    flat = data.draw(elements(width)).astype(f"u{dtype.itemsize}")
    is_signed = dtype.kind == "i" and data.draw(st.booleans())
    if is_signed:
        shift = flat.dtype.type(size - width)
        flat = ((flat << shift).view(dtype) >> shift.astype(dtype)).view(flat.dtype)
    elif dtype.kind == "i" and width == size:
        is_signed = True
    shape = (len(flat) // 2, 2) if len(flat) % 2 == 0 else (1, len(flat), 1)
    tensor = StoredTensor(flat.view(dtype).reshape(shape), width, is_signed)
    assert_same(round_trip(tensor)[0], tensor)


def test_scalar_and_strided() -> None:
    scalar = StoredTensor(np.array(1.5, np.float32), 32)
    assert_same(round_trip(scalar)[0], scalar)
    turned = StoredTensor(np.arange(6, dtype=np.int8).reshape(2, 3).T, 4, True)
    assert np.array_equal(round_trip(turned)[0].data, turned.data)


def sparse(density: float, count: int = 20_000) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return np.where(rng.random(count) < density, rng.integers(1, 32, count), 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("data", "width", "encoding", "form"),
    [
        (sparse(0.05), 5, Encoding.RELATIVE, Form.PLAIN),
        (sparse(0.7), 5, Encoding.DENSE, Form.HUFFMAN),
        (np.arange(20_000, dtype=np.uint16).astype(np.uint8) % 32, 5, Encoding.DENSE, Form.PLAIN),
        (np.zeros(100_000, np.uint8), 8, Encoding.RELATIVE, Form.PLAIN),
        (np.full(100_000, 1.5, np.float32), 32, Encoding.RELATIVE, Form.PLAIN),
    ],
)
def test_the_smallest_layout_is_chosen(data: NDArray[Any], width: int, encoding: Encoding, form: Form) -> None:
    record = write_tensor(StoredTensor(data, width))
    assert (record.encoding, record.form) == (encoding, form)


def test_a_constant_tensor_takes_some_bytes() -> None:
    tensor = StoredTensor(np.full((1000, 1000), -1, np.int8), 3, True)
    found, data = round_trip(tensor)
    assert_same(found, tensor)
    assert len(data) == 13


def test_entropy_is_nearly_reached() -> None:
    """7.5 % of 5-bit values: gaps and values take at most 3 % more than the entropy of such elements."""
    values = sparse(0.075, 200_000)
    share = np.bincount(values) / len(values)
    entropy_bits = -(share * np.log2(share)).sum() * len(values)
    assert entropy_bits / 8 < len(round_trip(StoredTensor(values, 5))[1]) < 1.03 * entropy_bits / 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08\x08\x01\x05", "8 is no type of elements"),
        (b"\x01\x09\x01\x05", "elements of uint8 have no 9 bits"),
        (b"\x01\x00\x01\x05", "elements of uint8 have no 0 bits"),
        (b"\x06\x1f\x01\x05", "floats are stored whole and without a sign of their own"),
        (b"\x06\xa0\x01\x05", "floats are stored whole and without a sign of their own"),
        (b"\x01\x08\x09", "a tensor has at most 8 axes, not 9"),
        (b"\x01\x08\x01\x00", "a tensor has 1 to 2147483647 elements, not 0"),
        (b"\x01\x08\x02" + 2 * varint(1 << 20), "a tensor has 1 to 2147483647 elements, not 1099511627776"),
        (b"\x06\x20\x01" + varint(1 << 30), "1073741824 elements are more than a file of this size may hold"),
        (HEAD + b"\2", "2 is no layout of a tensor"),
        (HEAD + b"\1\1", "a gap has 2 to 16 bits, not 1"),
        (HEAD + b"\1\x11", "a gap has 2 to 16 bits, not 17"),
        (b"\x01\x07\x01\x05\1\4\x80", "the background 128 has more than 7 bits"),
        (HEAD + b"\1\4\0\6", "6 entries are more than the 5 elements"),
        (HEAD + b"\1\4\0\2\0\x44\0\1\1", "the gaps lead to element 9 of 5"),
    ],
)
def test_wrong_bytes(data: bytes, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        read_tensor(Cursor(data), BUDGET)
