"""A stream of elements in the cheapest of four forms, chosen by exact size before anything is written.

Plain: each element packed. Huffman: a code over all elements of the width. Dictionary: the distinct elements, then
their packed indices. Dictionary with Huffman: a code over these indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from ._cursor import Cursor, DamagedFileError, expect, varint
from .bits import CHUNK, Elements, pack_bits, packed_bytes, unpack_bits
from .huffman import (
    LENGTH_LIMIT,
    MAX_SYMBOLS,
    Lengths,
    check_lengths,
    code_lengths,
    huffman_bytes,
    huffman_decode,
    huffman_encode,
)

MAX_DISTINCT = 1 << 16
"""Entries of the largest dictionary; indices have at most 16 bits."""
_NIBBLE = 4


class Form(Enum):
    """How a stream is written; the value is its byte in the file."""

    PLAIN = 0
    HUFFMAN = 1
    DICTIONARY = 2
    DICTIONARY_HUFFMAN = 3


@dataclass(frozen=True, eq=False)
class Histogram:
    """Distinct elements in rising order, and how often each occurs."""

    values: Elements
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, elements: Elements) -> Histogram | None:
        """Return the histogram of one or more elements, or None if more than MAX_DISTINCT differ."""
        if elements.dtype.itemsize <= 2:
            counts = np.zeros(1 << 8 * elements.dtype.itemsize, np.int64)
            for start in range(0, len(elements), CHUNK):
                counts += np.bincount(elements[start : start + CHUNK], minlength=len(counts))
            present = np.flatnonzero(counts)
            return cls(present.astype(elements.dtype), counts[present])
        values, counts = np.empty(0, elements.dtype), np.empty(0, np.int64)
        for start in range(0, len(elements), CHUNK):
            more, often = np.unique(elements[start : start + CHUNK], return_counts=True)
            every, place = np.unique(np.concatenate([values, more]), return_inverse=True)
            if len(every) > MAX_DISTINCT:
                return None
            summed = np.zeros(len(every), np.int64)
            np.add.at(summed, place, np.concatenate([counts, often]))
            values, counts = every, summed
        return cls(values, counts)

    @property
    def most_frequent(self) -> int:
        return int(self.values[self.counts.argmax()])

    def plus(self, value: int, count: int) -> Histogram:
        """Return the histogram with `count` more of `value` (less, if negative)."""
        place = int(np.searchsorted(self.values, value))
        if place == len(self.values) or int(self.values[place]) != value:
            values = np.insert(self.values, place, value)
            return Histogram(values, np.insert(self.counts, place, count))
        counts = self.counts.copy()
        counts[place] += count
        return Histogram(self.values, counts).without_zeros()

    def without_zeros(self) -> Histogram:
        """Return the histogram of what does occur."""
        return Histogram(self.values[self.counts > 0], self.counts[self.counts > 0])


@dataclass(frozen=True, eq=False)
class Plan:
    """How a stream will be written, and in how many bytes."""

    form: Form
    bytes: int
    values: Elements | None = None
    lengths: Lengths | None = None


def plan_stream(histogram: Histogram | None, count: int, width: int, has_huffman: bool = True) -> Plan:
    """Return the smallest form for `count` elements of `width` bits with this histogram (None: too many distinct)."""
    plain = Plan(Form.PLAIN, 1 + packed_bytes(count, width))
    if histogram is None or len(histogram.values) < 2:
        return plain
    plans, distinct = [plain], len(histogram.values)
    dictionary = 1 + len(varint(distinct)) + packed_bytes(distinct, width)
    indices = packed_bytes(count, _index_bits(distinct))
    plans.append(Plan(Form.DICTIONARY, dictionary + indices, histogram.values))
    if has_huffman and distinct <= MAX_SYMBOLS:
        lengths = code_lengths(histogram.counts)
        body = huffman_bytes(histogram.counts, lengths)
        body += len(varint(body))
        size = dictionary + packed_bytes(distinct, _NIBBLE) + body
        plans.append(Plan(Form.DICTIONARY_HUFFMAN, size, histogram.values, lengths))
        if width <= LENGTH_LIMIT:
            spread = np.zeros(int(histogram.values[-1]) + 1, np.uint8)
            spread[histogram.values] = lengths
            size = 1 + len(varint(len(spread))) + packed_bytes(len(spread), _NIBBLE) + body
            plans.append(Plan(Form.HUFFMAN, size, None, spread))
    return min(plans, key=lambda plan: plan.bytes)


def write_stream(plan: Plan, elements: Elements, width: int) -> list[bytes]:
    """Return the stream in parts, `plan.bytes` in all."""
    parts = [bytes([plan.form.value])]
    symbols = elements
    if plan.values is not None:
        parts += [varint(len(plan.values)), pack_bits(plan.values, width)]
        symbols = _indices(elements, plan.values)
    if plan.lengths is not None:
        if plan.values is None:
            parts.append(varint(len(plan.lengths)))
        body = huffman_encode(symbols, plan.lengths)
        parts += [pack_bits(plan.lengths, _NIBBLE), varint(len(body)), body]
    else:
        parts.append(pack_bits(symbols, width if plan.values is None else _index_bits(len(plan.values))))
    assert sum(map(len, parts)) == plan.bytes
    return parts


def read_stream(cursor: Cursor, count: int, width: int, dtype: np.dtype[Any]) -> Elements:
    """Return the `count` elements of a stream as the unsigned `dtype`; raises DamagedFileError.

    Every form takes at least one bit an element, so memory is bounded by the bytes that are there.
    """
    expect(count <= 8 * cursor.left, f"{count} elements do not fit in {cursor.left} bytes")
    code = cursor.byte()
    if code not in {form.value for form in Form}:
        raise DamagedFileError(f"{code} is no form of a stream")
    match Form(code):
        case Form.PLAIN:
            return unpack_bits(cursor.array(packed_bytes(count, width)), count, width, dtype)
        case Form.HUFFMAN:
            return _read_huffman(cursor, _read_size(cursor, min(1 << width, MAX_SYMBOLS)), count, dtype)
        case Form.DICTIONARY:
            values = _read_dictionary(cursor, MAX_DISTINCT, width, dtype)
            bits = _index_bits(len(values))
            indices = unpack_bits(cursor.array(packed_bytes(count, bits)), count, bits, np.dtype(np.uint16))
            expect(not count or int(indices.max()) < len(values), f"an index is beyond the {len(values)} entries")
            return values[indices]
        case Form.DICTIONARY_HUFFMAN:
            values = _read_dictionary(cursor, MAX_SYMBOLS, width, dtype)
            return values[_read_huffman(cursor, len(values), count, np.dtype(np.uint16))]
        case _ as never:
            assert_never(never)


def _index_bits(distinct: int) -> int:
    return (distinct - 1).bit_length()


def _indices(elements: Elements, values: Elements) -> Elements:
    result = np.empty(len(elements), np.uint16)
    for start in range(0, len(elements), CHUNK):
        result[start : start + CHUNK] = np.searchsorted(values, elements[start : start + CHUNK])
    return result


def _read_size(cursor: Cursor, most: int) -> int:
    size = cursor.varint()
    expect(2 <= size <= most, f"a code or dictionary has 2 to {most} entries, not {size}")
    return size


def _read_dictionary(cursor: Cursor, most: int, width: int, dtype: np.dtype[Any]) -> Elements:
    size = _read_size(cursor, most)
    return unpack_bits(cursor.array(packed_bytes(size, width)), size, width, dtype)


def _read_huffman(cursor: Cursor, symbols: int, count: int, dtype: np.dtype[Any]) -> Elements:
    lengths = unpack_bits(cursor.array(packed_bytes(symbols, _NIBBLE)), symbols, _NIBBLE, np.dtype(np.uint8))
    check_lengths(lengths.astype(np.uint8))
    return huffman_decode(cursor.array(cursor.varint()), lengths.astype(np.uint8), count, dtype)
