"""One tensor's record in a container: what its elements are, then dense or relative-index streams of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._cursor import Cursor, DamagedFileError, expect, varint
from .bits import Elements
from .relative import MAX_GAP_BITS, MIN_GAP_BITS, Relative, foreground, gaps_between, relative_decode, relative_encode
from .stream import Form, Histogram, Plan, plan_stream, read_stream, write_stream

DTYPES = tuple(np.dtype(name) for name in ("<i1", "<u1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"))
"""Types of elements; the place in this list is their byte in the file."""
MAX_ELEMENTS = 2**31 - 1
MAX_AXES = 8
_SIGNED = 0x80
_DENSE, _RELATIVE = 0, 1


@dataclass(frozen=True)
class Packing:
    """What a container's writer may choose from, to compare with other formats; by default the smallest of everything.

    `gap_bits` fixes the width of relative indices (2 to 16; None: each tensor's best), where they beat the dense
    layout. Without `has_huffman` elements and gaps are packed with as many bits each, directly or as places in a
    dictionary.
    """

    gap_bits: int | None = None
    has_huffman: bool = True

    @property
    def gap_widths(self) -> range:
        if self.gap_bits is None:
            return range(MIN_GAP_BITS, MAX_GAP_BITS + 1)
        return range(self.gap_bits, self.gap_bits + 1)


SMALLEST = Packing()


class Encoding(Enum):
    """How a tensor is stored, for reports."""

    DENSE = "dense"
    RELATIVE = "relative index"


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """An array of one of DTYPES. Whole numbers are stored with `width` bits, in two's complement if `is_signed`."""

    data: NDArray[Any]
    width: int
    is_signed: bool = False

    def __post_init__(self) -> None:
        assert self.data.dtype in DTYPES and self.data.size >= 1 and self.data.ndim <= MAX_AXES
        assert 1 <= self.width <= 8 * self.data.itemsize


@dataclass(frozen=True, eq=False)
class _Layout:
    """The cheapest layout of a tensor; dense if `gap_bits` is 0."""

    bytes: int
    values: Plan
    gaps: Plan | None = None
    gap_bits: int = 0
    background: int = 0


@dataclass(frozen=True)
class Record:
    """A written tensor: its bytes in parts, and how the report calls its form."""

    parts: tuple[bytes, ...]
    encoding: Encoding
    form: Form
    gap_bits: int


def write_tensor(tensor: StoredTensor, packing: Packing = SMALLEST) -> Record:
    """Return the smallest record of a tensor that `packing` allows, all layouts compared by exact size."""
    elements = _to_elements(tensor)
    layout = _choose(elements, tensor.width, packing)
    sizes = [varint(size) for size in tensor.data.shape]
    kind = DTYPES.index(tensor.data.dtype)
    head = [bytes([kind, tensor.width | (_SIGNED if tensor.is_signed else 0), len(sizes)]), *sizes]
    if layout.gaps is None:
        streams = write_stream(layout.values, elements, tensor.width)
        return Record((*head, bytes([_DENSE]), *streams), Encoding.DENSE, layout.values.form, 0)
    sparse = relative_encode(elements, layout.gap_bits, layout.background)
    streams = [
        *_relative_head(layout.gap_bits, layout.background, len(sparse.values), elements.itemsize),
        *write_stream(layout.gaps, sparse.gaps, layout.gap_bits),
        *write_stream(layout.values, sparse.values, tensor.width),
    ]
    return Record((*head, *streams), Encoding.RELATIVE, layout.values.form, layout.gap_bits)


def read_tensor(cursor: Cursor, budget: int) -> StoredTensor:
    """Return the next tensor, of at most `budget` bytes when decoded; raises DamagedFileError."""
    kind, packed, axes = cursor.byte(), cursor.byte(), cursor.byte()
    expect(kind < len(DTYPES), f"{kind} is no type of elements")
    dtype, width = DTYPES[kind], packed & ~_SIGNED
    is_whole = dtype.kind != "f"
    expect(1 <= width <= 8 * dtype.itemsize, f"elements of {dtype} have no {width} bits")
    expect(is_whole or packed == 8 * dtype.itemsize, "floats are stored whole and without a sign of their own")
    expect(axes <= MAX_AXES, f"a tensor has at most {MAX_AXES} axes, not {axes}")
    shape = tuple(cursor.varint() for _ in range(axes))
    count = math.prod(shape)
    expect(1 <= count <= MAX_ELEMENTS, f"a tensor has 1 to {MAX_ELEMENTS} elements, not {count}")
    expect(count * dtype.itemsize <= budget, f"{count} elements are more than a file of this size may hold")
    unsigned = np.dtype(f"u{dtype.itemsize}")
    layout = cursor.byte()
    if layout == _DENSE:
        elements = read_stream(cursor, count, width, unsigned)
    elif layout == _RELATIVE:
        elements = _read_relative(cursor, count, width, unsigned)
    else:
        raise DamagedFileError(f"{layout} is no layout of a tensor")
    is_signed = bool(packed & _SIGNED)
    return StoredTensor(_from_elements(elements, dtype, width, is_signed).reshape(shape), width, is_signed)


def _relative_head(gap_bits: int, background: int, entries: int, itemsize: int) -> list[bytes]:
    return [bytes([_RELATIVE, gap_bits]), background.to_bytes(itemsize, "little"), varint(entries)]


def _read_relative(cursor: Cursor, count: int, width: int, dtype: np.dtype[Any]) -> Elements:
    gap_bits = cursor.byte()
    expect(MIN_GAP_BITS <= gap_bits <= MAX_GAP_BITS, f"a gap has {MIN_GAP_BITS} to {MAX_GAP_BITS} bits, not {gap_bits}")
    background = int.from_bytes(cursor.take(dtype.itemsize), "little")
    expect(background < 1 << width, f"the background {background} has more than {width} bits")
    entries = cursor.varint()
    expect(entries <= count, f"{entries} entries are more than the {count} elements")
    gaps = read_stream(cursor, entries, gap_bits, np.dtype(np.uint16)).astype(np.uint16)
    values = read_stream(cursor, entries, width, dtype)
    return relative_decode(Relative(count, gap_bits, background, gaps, values), dtype)


def _choose(elements: Elements, width: int, packing: Packing) -> _Layout:
    """Compare the dense layout with relative indices of every gap width, by histograms alone."""
    histogram, has_huffman = Histogram.of(elements), packing.has_huffman
    dense = plan_stream(histogram, len(elements), width, has_huffman)
    best = _Layout(1 + dense.bytes, dense)
    background = histogram.most_frequent if histogram else 0
    positions = foreground(elements, background)
    if len(positions) > 0.9 * len(elements):  # an entry would cost more than the background that it saves
        return best
    kept = Histogram.of(elements[positions]) if histogram is None else _without(histogram, background)
    distances, often = np.unique(gaps_between(positions), return_counts=True)
    for gap_bits in packing.gap_widths:
        fillers = int(((distances >> gap_bits) * often).sum())
        entries = len(positions) + fillers
        if entries > len(elements) or entries * 2 > 8 * best.bytes:
            continue
        filled = kept.plus(background, fillers) if kept and fillers else kept
        values = plan_stream(filled, entries, width, has_huffman)
        gaps = plan_stream(_gap_histogram(distances, often, fillers, gap_bits), entries, gap_bits, has_huffman)
        head = sum(map(len, _relative_head(gap_bits, background, entries, elements.itemsize)))
        size = head + values.bytes + gaps.bytes
        if size < best.bytes:
            best = _Layout(size, values, gaps, gap_bits, background)
    return best


def _without(histogram: Histogram, value: int) -> Histogram:
    return histogram.plus(value, -int(histogram.counts[np.searchsorted(histogram.values, value)]))


def _gap_histogram(distances: NDArray[np.int64], often: NDArray[np.int64], fillers: int, gap_bits: int) -> Histogram:
    counts = np.zeros(1 << gap_bits, np.int64)
    np.add.at(counts, distances & ((1 << gap_bits) - 1), often)
    counts[-1] += fillers
    return Histogram(np.arange(1 << gap_bits, dtype=np.uint16), counts).without_zeros()


def _to_elements(tensor: StoredTensor) -> Elements:
    """The lowest `width` bits of each element, flat."""
    flat = np.ascontiguousarray(tensor.data).reshape(-1).view(f"u{tensor.data.itemsize}")
    if tensor.width == 8 * tensor.data.itemsize:
        return flat
    elements: Elements = flat & flat.dtype.type((1 << tensor.width) - 1)
    return elements


def _from_elements(elements: Elements, dtype: np.dtype[Any], width: int, is_signed: bool) -> NDArray[Any]:
    if is_signed and width < 8 * dtype.itemsize:
        sign = elements.dtype.type(1 << (width - 1))
        elements ^= sign
        elements -= sign
    return elements.view(dtype)
