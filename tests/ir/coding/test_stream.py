from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from numpy.typing import NDArray

from bitkiln.ir.coding import DamagedFileError, Form
from bitkiln.ir.coding._cursor import Cursor, varint
from bitkiln.ir.coding.stream import MAX_DISTINCT, Histogram, plan_stream, read_stream, write_stream

from .streams import elements

BYTE = np.dtype(np.uint8)


@given(st.integers(1, 64), st.data())
def test_every_form_gives_the_same_elements(width: int, data: DataObject) -> None:
    values = data.draw(elements(width))
    plan = plan_stream(Histogram.of(values), len(values), width)
    written = b"".join(write_stream(plan, values, width))
    assert len(written) == plan.bytes <= 1 + (len(values) * width + 7) // 8
    cursor = Cursor(written)
    assert np.array_equal(read_stream(cursor, len(values), width, values.dtype), values)
    assert cursor.left == 0


@pytest.mark.parametrize(
    ("values", "width", "form"),
    [
        (np.arange(256), 8, Form.PLAIN),
        (np.repeat([0, 1, 2], [5000, 5, 5]), 8, Form.HUFFMAN),
        (np.repeat([0, 1 << 30], [30, 30]), 31, Form.DICTIONARY),
        (np.repeat([0, 1 << 30, 7], [3000, 300, 30]), 31, Form.DICTIONARY_HUFFMAN),
        (np.zeros(99, int), 1, Form.PLAIN),
    ],
)
def test_the_smallest_form_is_chosen(values: NDArray[np.int64], width: int, form: Form) -> None:
    unsigned = values.astype(np.uint32) if width > 8 else values.astype(np.uint8)
    assert plan_stream(Histogram.of(unsigned), len(unsigned), width).form is form


def test_histogram() -> None:
    found = Histogram.of(np.array([7, 3, 7, 1 << 40], np.uint64))
    assert found
    assert (found.values.tolist(), found.counts.tolist()) == ([3, 7, 1 << 40], [1, 2, 1])
    assert found.most_frequent == 7
    more = found.plus(5, 4).plus(7, -2)
    assert (more.values.tolist(), more.counts.tolist()) == ([3, 5, 1 << 40], [1, 4, 1])


def test_no_histogram_of_too_many_distinct_elements() -> None:
    assert Histogram.of(np.arange(MAX_DISTINCT, dtype=np.uint32)) is not None
    assert Histogram.of(np.arange(MAX_DISTINCT + 1, dtype=np.uint32)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "5 elements do not fit in 0 bytes"),
        (b"\0", "5 more bytes are expected, but only 0 follow"),
        (b"\4", "4 is no form of a stream"),
        (b"\1\1", "a code or dictionary has 2 to 256 entries, not 1"),
        (b"\1" + varint(257), "a code or dictionary has 2 to 256 entries, not 257"),
        (b"\1\2\x13\1\0", "the lengths of 2 codes are those of no Huffman code"),
        (b"\2\3abc\xff\3", "an index is beyond the 3 entries"),
        (b"\3\2ab\x11\2\0", "2 more bytes are expected, but only 1 follow"),
        (b"\2" + b"\xff" * 9, "a number has more than 6 bytes"),
    ],
)
def test_wrong_bytes(data: bytes, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        read_stream(Cursor(data), 5, 8, BYTE)


def test_count_of_a_lie_takes_no_memory() -> None:
    for form in Form:
        with pytest.raises(DamagedFileError, match="do not fit in 9 bytes"):
            read_stream(Cursor(bytes([form.value, 2, 0, 1, 0x11, 3, 0, 0, 0])), 1 << 31, 8, BYTE)
