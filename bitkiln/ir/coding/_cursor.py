"""Reading and writing the small parts of a file: every read is bounded by what is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_VARINT_BYTES = 6
"""42 bits: sizes of tensors have at most 31, and nothing that is counted in a file is larger."""


class DamagedFileError(ValueError):
    """The bytes are not what a writer of this format gives; the message says what was expected and what came."""


def expect(condition: bool, message: str) -> None:
    """Raise DamagedFileError unless the condition holds."""
    if not condition:
        raise DamagedFileError(message)


def varint(value: int) -> bytes:
    """Return `value` >= 0 in groups of 7 bits, lowest first; the highest bit of a byte says that another follows."""
    assert 0 <= value < 1 << (7 * MAX_VARINT_BYTES)
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


class Cursor:
    """A place in some bytes. Reads raise DamagedFileError at the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes."""
        expect(count <= self.left, f"{count} more bytes are expected, but only {self.left} follow")
        self._position += count
        return self._data[self._position - count : self._position]

    def array(self, count: int) -> NDArray[np.uint8]:
        """Return the next `count` bytes as an array that shares them."""
        return np.frombuffer(self.take(count), np.uint8)

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = 0
        for i in range(MAX_VARINT_BYTES):
            group = self.byte()
            value |= (group & 127) << (7 * i)
            if group < 128:
                return value
        raise DamagedFileError(f"a number has more than {MAX_VARINT_BYTES} bytes")
