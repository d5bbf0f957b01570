from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from bitkiln.ir.coding import DamagedFileError, pack_bits, packed_bytes, unpack_bits
from bitkiln.ir.coding.bits import CHUNK

from .streams import elements


def test_first_element_is_in_the_lowest_bits() -> None:
    assert pack_bits(np.array([1, 2, 3, 7], np.uint8), 3) == bytes([0b11_010_001, 0b1110])
    assert pack_bits(np.array([0x1234], np.uint16), 16) == b"\x34\x12"


@given(st.integers(1, 64), st.data())
def test_unpacking_gives_the_same_elements(width: int, data: DataObject) -> None:
    values = data.draw(elements(width))
    packed = pack_bits(values, width)
    assert len(packed) == packed_bytes(len(values), width)
    found = unpack_bits(np.frombuffer(packed, np.uint8), len(values), width, values.dtype)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize("width", [3, 7])
def test_more_than_a_chunk(width: int) -> None:
    values = (np.arange(CHUNK + 77) % (1 << width)).astype(np.uint8)
    packed = np.frombuffer(pack_bits(values, width), np.uint8)
    assert np.array_equal(unpack_bits(packed, len(values), width, values.dtype), values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1", "3 x 3 bits do not take 1 bytes"),
        (b"\1\2\3", "3 x 3 bits do not take 3 bytes"),
        (b"\1\2", "the bits behind the last element must be 0"),
    ],
)
def test_wrong_bytes(data: bytes, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        unpack_bits(np.frombuffer(data, np.uint8), 3, 3, np.dtype(np.uint8))
