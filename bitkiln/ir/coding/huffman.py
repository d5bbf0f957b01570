"""Canonical, length-limited Huffman codes: only the lengths of the codes are stored.

Own code, not a library: those on PyPI either decode symbol by symbol in Python or need a compiled decoder, and the
lengths must be optimal for the limit that lets the decoder look codes up in one table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._cursor import expect
from .bits import Elements

LENGTH_LIMIT = 15
"""Bits of the longest code: lengths fit in four bits, and the decoder's table in the cache."""
MAX_SYMBOLS = 1 << LENGTH_LIMIT

_CHUNK = 1 << 20
_BLOCK_BYTES = 1 << 17

Counts = NDArray[np.int64]
Lengths = NDArray[np.uint8]


def code_lengths(counts: Counts) -> Lengths:
    """Return the length of each symbol's code, 1 to LENGTH_LIMIT, or 0 for symbols that do not occur.

    No prefix code within the limit is shorter (package-merge: Larmore and Hirschberg, 1990). At least 2 and at most
    MAX_SYMBOLS symbols must occur.
    """
    used = np.flatnonzero(counts)
    assert 2 <= len(used) <= MAX_SYMBOLS
    order = used[np.argsort(counts[used], kind="stable")]
    leaves = counts[order].astype(np.int64)
    merged, is_leaf_by_level = leaves, [np.ones(len(leaves), bool)]
    for _ in range(LENGTH_LIMIT - 1):
        packages = merged[: len(merged) // 2 * 2].reshape(-1, 2).sum(1)
        weights = np.concatenate([leaves, packages])
        by_weight = np.argsort(weights, kind="stable")
        merged = weights[by_weight]
        is_leaf_by_level.append(by_weight < len(leaves))
    # Of the last level the 2n - 2 cheapest are taken; each package among them stands for two of the level before.
    lengths = np.zeros(len(counts), np.uint8)
    taken = 2 * len(leaves) - 2
    for is_leaf in reversed(is_leaf_by_level):
        found = int(is_leaf[:taken].sum())
        lengths[order[:found]] += 1
        taken = 2 * (taken - found)
    return lengths


def huffman_bytes(counts: Counts, lengths: Lengths) -> int:
    """Bytes of the coded symbols, the last one filled up with zeros."""
    return (int((counts * lengths).sum()) + 7) // 8


def huffman_encode(symbols: Elements, lengths: Lengths) -> bytes:
    """Return the codes of `symbols` one after the other, each with its highest bit first."""
    codes = _canonical_codes(lengths)
    parts = []
    rest = np.empty(0, np.uint8)
    for start in range(0, len(symbols), _CHUNK):
        chunk = symbols[start : start + _CHUNK]
        sizes, values = lengths[chunk], codes[chunk]
        ends = np.cumsum(sizes, dtype=np.int64) + len(rest)
        bits = np.zeros(int(ends[-1]), np.uint8)
        bits[: len(rest)] = rest
        for place in range(int(sizes.max())):  # from the last bit of each code to its first
            has = np.flatnonzero(sizes > place)
            bits[ends[has] - 1 - place] = (values[has] >> place) & 1
        whole = len(bits) // 8 * 8
        parts.append(np.packbits(bits[:whole]).tobytes())
        rest = bits[whole:]
    return b"".join([*parts, np.packbits(rest).tobytes()])


def huffman_decode(data: NDArray[np.uint8], lengths: Lengths, count: int, dtype: np.dtype[Any]) -> Elements:
    """Return the `count` symbols that `huffman_encode` wrote with these code lengths.

    Raises DamagedFileError if the lengths are those of no complete code or the codes do not fill `data` exactly.
    """
    check_lengths(lengths)
    expect(count <= 8 * len(data), f"{count} codes do not fit in {len(data)} bytes")
    longest = int(lengths.max())
    # In canonical order the codes divide all windows of `longest` bits into consecutive runs.
    order = _canonical_order(lengths)
    runs = 1 << (longest - lengths[order].astype(np.int64))
    symbol_at, length_at = np.repeat(order.astype(dtype), runs), np.repeat(lengths[order], runs)
    padded = np.concatenate([data, np.zeros(3, np.uint8)])
    result = np.empty(count, dtype)
    done, bit = 0, 0
    while done < count:
        block = bit // 8
        expect(block < len(data), f"the codes end after {done} of {count} symbols")
        windows = _windows(padded, block, min(_BLOCK_BYTES, len(data) - block), longest)
        starts, following = _code_starts(length_at[windows].tobytes(), bit - 8 * block)
        starts = starts[: count - done]
        found = windows[starts]
        result[done : done + len(found)] = symbol_at[found]
        done += len(found)
        bit = 8 * block + (int(starts[-1]) + int(length_at[found[-1]]) if done == count else following)
    expect((bit + 7) // 8 == len(data), f"{count} codes take {(bit + 7) // 8} bytes, not {len(data)}")
    spare = -bit % 8
    expect(spare == 0 or int(data[-1]) & ((1 << spare) - 1) == 0, "the bits behind the last code must be 0")
    return result


def check_lengths(lengths: Lengths) -> None:
    """Raise DamagedFileError unless the lengths are those of a complete prefix code of two or more symbols."""
    used = lengths[lengths > 0].astype(np.int64)
    is_complete = bool(len(used)) and int((1 << (LENGTH_LIMIT - used)).sum()) == 1 << LENGTH_LIMIT
    expect(is_complete and len(used) >= 2, f"the lengths of {len(used)} codes are those of no Huffman code")


def _code_starts(lengths: bytes, start: int) -> tuple[NDArray[np.int64], int]:
    """Where codes begin from bit `start` on, given the length of the code that would begin at each bit; and what
    follows the last one. The chain is sequential, so this loop stays in Python: some 50 ns a symbol."""
    starts: list[int] = []
    append, end = starts.append, len(lengths)
    while start < end:
        append(start)
        start += lengths[start]
    return np.array(starts, np.int64), start


def _windows(padded: NDArray[np.uint8], start: int, count: int, width: int) -> NDArray[np.int32]:
    """The `width` <= 16 bits from each bit of `count` bytes on."""
    part = padded[start : start + count + 2].astype(np.int32)
    three = part[:-2] << 16 | part[1:-1] << 8 | part[2:]
    shifts = np.arange(24 - width, 16 - width, -1, dtype=np.int32)
    windows: NDArray[np.int32] = (three[:, None] >> shifts & (1 << width) - 1).reshape(-1)
    return windows


def _canonical_order(lengths: Lengths) -> NDArray[np.int64]:
    """Symbols with a code, shorter codes first, then by number."""
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def _canonical_codes(lengths: Lengths) -> NDArray[np.int32]:
    order = _canonical_order(lengths)
    sizes = lengths[order].astype(np.int64)
    ends = np.cumsum(1 << (LENGTH_LIMIT - sizes))
    codes = np.zeros(len(lengths), np.int32)
    codes[order] = (ends - (1 << (LENGTH_LIMIT - sizes))) >> (LENGTH_LIMIT - sizes)
    return codes
