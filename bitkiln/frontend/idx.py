"""Reader of idx files, the format in which MNIST and its relatives are published.

An idx file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32,
then the values in row-major order. Whatever may be damaged in it ends as a Diagnostic that names the file.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitkiln.ir import Location, ToolError, fail

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DIMENSIONS = 8
_TYPE_CODES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Return the array that an idx file holds; its first bytes, not its name, tell whether it is gzipped.

    The array keeps the file's big-endian number type. Raises a ToolError when the file cannot be read, is not
    an idx file, or holds fewer or more bytes than its header promises.
    """
    content = _read_bytes(path)
    dtype, shape, header_bytes = _read_header(content, path)
    expected_bytes = math.prod(shape) * dtype.itemsize
    found_bytes = len(content) - header_bytes
    if found_bytes != expected_bytes:
        raise fail(
            "bad-data-file",
            f"The idx header promises {shape} values, {expected_bytes} bytes, but {found_bytes} bytes follow",
            Location(str(path)),
            "the file is damaged or cut short: get it again",
        )
    return np.frombuffer(content, dtype, offset=header_bytes).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    """Return the file's content, unpacked if it is gzipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise fail("unreadable-file", f"The file cannot be read: {error.strerror}", Location(str(path))) from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise fail(
            "bad-data-file",
            f"The gzip file is damaged or cut short: {error}",
            Location(str(path)),
            "get the file again",
        ) from error


def _read_header(content: bytes, path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return number type, shape and length of the header in bytes."""
    magic = content[:4]
    is_known = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPE_CODES
    if not is_known or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise _bad_magic(magic, path)
    dimensions = magic[3]
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes:
        raise fail(
            "bad-data-file",
            f"The header of {dimensions} dimensions takes {header_bytes} bytes, the file has {len(content)}",
            Location(str(path)),
            "the file is damaged or cut short: get it again",
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header_bytes])
    return _TYPE_CODES[magic[2]], shape, header_bytes


def _bad_magic(magic: bytes, path: Path) -> ToolError:
    codes = ", ".join(f"{code:02x}" for code in _TYPE_CODES)
    return fail(
        "bad-data-file",
        "An idx file starts with the bytes 00 00, a type code and the number of dimensions, "
        f"not with {magic.hex(' ') or 'nothing'} (known type codes: {codes})",
        Location(str(path)),
        "MNIST's image files start with 00 00 08 03, its label files with 00 00 08 01",
    )
