"""Elements of any width packed densely: element 0 first, each with its lowest bit first, as in little-endian words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._cursor import expect

Elements = NDArray[np.unsignedinteger[Any]]

CHUNK = 1 << 20
"""Elements that are unpacked to single bits at a time; a multiple of 8, so that chunks are whole bytes."""


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `count` elements of `width` bits take, the last one filled up with zeros."""
    return (count * width + 7) // 8


def pack_bits(elements: Elements, width: int) -> bytes:
    """Return the lowest `width` bits (1 to 64) of each element."""
    size = elements.dtype.itemsize
    assert 1 <= width <= 8 * size
    little = np.ascontiguousarray(elements, dtype=f"<u{size}")
    if width == 8 * size:
        return little.tobytes()
    parts = []
    for start in range(0, len(little), CHUNK):
        rows = little[start : start + CHUNK].view(np.uint8).reshape(-1, size)
        bits = np.unpackbits(rows, axis=1, count=width, bitorder="little")
        parts.append(np.packbits(bits.reshape(-1), bitorder="little").tobytes())
    return b"".join(parts)


def unpack_bits(data: NDArray[np.uint8], count: int, width: int, dtype: np.dtype[Any]) -> Elements:
    """Return the `count` elements that `pack_bits` packed, as the unsigned `dtype`.

    Raises DamagedFileError unless `data` has exactly `packed_bytes` bytes and zeros behind the last element.
    """
    size = dtype.itemsize
    assert 1 <= width <= 8 * size
    expect(len(data) == packed_bytes(count, width), f"{count} x {width} bits do not take {len(data)} bytes")
    spare = -(count * width) % 8
    expect(spare == 0 or int(data[-1]) >> (8 - spare) == 0, "the bits behind the last element must be 0")
    if width == 8 * size:
        return data.view(f"<u{size}").astype(dtype)
    result = np.empty(count, dtype)
    for start in range(0, count, CHUNK):
        here = min(CHUNK, count - start)
        part = data[start * width // 8 :][: packed_bytes(here, width)]
        bits = np.unpackbits(part, count=here * width, bitorder="little").reshape(here, width)
        whole = np.packbits(bits, axis=1, bitorder="little")
        rows = np.zeros((here, size), np.uint8)
        rows[:, : whole.shape[1]] = whole
        result[start : start + here] = rows.view(f"<u{size}").reshape(-1)
    return result
