"""The container `.kiln`: a graph's text and its constants in one file, each as small as the streams can make it.

`docs/kiln_format.md` describes the bytes. The text is opaque here but for the names of the constants.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._cursor import Cursor, DamagedFileError, expect, varint
from .tensor import SMALLEST, Packing, Record, StoredTensor, read_tensor, write_tensor

MAGIC = b"\x89KILN\r\n\n"
"""No text file begins so, and a transfer that changes line ends is noticed here."""
VERSION = 1
MAX_TEXT_BYTES = 1 << 24
# Decoded bytes that a file may ask for: nothing real comes near, and a small file of lies cannot fill the memory.
FREE_BYTES = 1 << 26
BYTES_PER_STORED_BYTE = 4096
STORAGE_RULE = (
    "Dense: 4 bytes for each parameter of the float network. Stored: size of its .kiln file, with indices, fillers, "
    "codebooks, code tables, biases, header and check sum."
)

DICTIONARY = (
    b"graph %.weight.table = const : f32[%.weight = const : codebook5(f32)[%.bias = const : f32[i8.f6[i8.f[7,7]@0"
    b"i16.f[12,12]@0 = input : f32[1,i32.f0[u8.f4[@1} : i8.f%fc3.weight.decoded = decode(%fc1.weight, "
    b"%fc1.weight.table) {has_zero=true} : f32[%conv1 = conv2d(%x, %conv1.weight.decoded, %conv1.bias) {stride=[1,1], "
    b"padding=[[1,1],[1,1]], dilation=[1,1], groups=1} : f32[1, = max_pool2d(%relu) {kernel=[2,2], stride=[2,2]} : "
    b'f32[1,%flatten = reshape(%pool2) {shape=[1, = quantise(%x) {number="u8.f8"} : u8.f8[1, = requantise(%fc1) '
    b'{number="u8.f4", shift=[10,10], multiplier=1, frac=0, hi=} : u8.f4[1,%fc1.relu = relu(%fc1) : f32[1,%fc1 = '
    b'linear(%x, %fc1.weight, %fc1.bias) : f32[1, @ "model.py":12 "fc1"\nreturn %'
)
"""What a graph's text may refer to as if it stood before it: part of version 1 of the format, never to be changed."""

_CONST = re.compile(r"^%(\S+) = const : ", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Container:
    """What a file holds: the graph's text, and its constants by name in the text's order."""

    text: str
    tensors: Mapping[str, StoredTensor]


def constant_names(text: str) -> list[str]:
    """Return the names of the constants that a graph's text declares, in its order."""
    return _CONST.findall(text)


def write_kiln(
    text: str, tensors: Sequence[StoredTensor], packing: Packing = SMALLEST
) -> tuple[bytes, tuple[Record, ...]]:
    """Return the file for a graph's text and its constants, in the text's order, and how each was stored."""
    raw = text.encode("ascii")
    assert len(raw) <= MAX_TEXT_BYTES and len(constant_names(text)) == len(tensors)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    deflated = deflate.compress(raw) + deflate.flush()
    parts = [MAGIC, bytes([VERSION]), varint(len(raw)), varint(len(deflated)), deflated]
    records = []
    for tensor in tensors:
        records.append(write_tensor(tensor, packing))
        parts += records[-1].parts
    # Almost empty tensors of a huge network may take less than the format allows: zeros fill the file up.
    decoded = sum(tensor.data.nbytes for tensor in tensors)
    size = sum(map(len, parts))
    parts.append(bytes(max(0, -(-(decoded - FREE_BYTES) // BYTES_PER_STORED_BYTE) - size)))
    body = b"".join(parts)
    return body + struct.pack("<I", zlib.crc32(body)), tuple(records)


def is_kiln(start: bytes) -> bool:
    """True if a file that starts so is meant to be a container."""
    return start[: len(MAGIC)] == MAGIC


def read_kiln(data: bytes) -> Container:
    """Return what a file holds; raises DamagedFileError for anything that `write_kiln` does not write.

    >>> text, tensors = "%w = const : f32[2]", [StoredTensor(np.zeros(2, "<f4"), 32)]
    >>> read_kiln(write_kiln(text, tensors)[0]).tensors["w"].data.tolist()
    [0.0, 0.0]
    """
    expect(is_kiln(data), f"it begins with {data[:8]!r}, not {MAGIC!r}")
    expect(len(data) > len(MAGIC) + 5, f"it ends after {len(data)} bytes")
    expect(data[len(MAGIC)] == VERSION, f"it has version {data[len(MAGIC)]}; this bitkiln reads version {VERSION}")
    content = memoryview(data)[:-4]
    (stated,) = struct.unpack("<I", data[-4:])
    expect(zlib.crc32(content) == stated, "its check sum is wrong: it is truncated or was changed")
    return _read_content(content)


def _read_content(content: memoryview) -> Container:
    cursor = Cursor(content)
    cursor.take(len(MAGIC) + 1)
    text = _read_text(cursor)
    budget = FREE_BYTES + BYTES_PER_STORED_BYTE * len(content)
    tensors: dict[str, StoredTensor] = {}
    for name in constant_names(text):
        expect(name not in tensors, f"%{name[:80]} is declared twice")
        try:
            tensors[name] = read_tensor(cursor, budget)
        except DamagedFileError as error:
            raise DamagedFileError(f"%{name[:80]}: {error}") from None
        budget -= tensors[name].data.nbytes
    expect(not any(cursor.take(cursor.left)), "something other than zeros follows the last tensor")
    return Container(text, tensors)


def _read_text(cursor: Cursor) -> str:
    size = cursor.varint()
    expect(size <= MAX_TEXT_BYTES, f"the graph's text has at most {MAX_TEXT_BYTES} bytes, not {size}")
    deflated = cursor.take(cursor.varint())
    inflate = zlib.decompressobj(-15, DICTIONARY)
    try:
        raw = inflate.decompress(deflated, size + 1)
    except zlib.error as error:
        raise DamagedFileError(f"the graph's text cannot be inflated: {error}") from None
    expect(
        len(raw) == size and inflate.eof and not inflate.unused_data,
        f"the graph's text has not the stated {size} bytes",
    )
    expect(raw.isascii(), "the graph's text is not ASCII")
    return raw.decode("ascii")
