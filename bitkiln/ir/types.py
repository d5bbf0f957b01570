"""Tensor types: a shape and a number format, from which bits, bytes and the range of codes follow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from .diagnostics import fail
from .numbers import Bipolar, Codebook, Float, Int, Number, Ternary, parse_number


@dataclass(frozen=True)
class TensorType:
    """Shape and number format. Activations have a leading batch axis of 1; evaluation accepts any batch there.

    >>> str(TensorType((1, 3, 8, 8), Int(8, True, 6)))
    'i8.f6[1,3,8,8]'
    """

    shape: tuple[int, ...]
    number: Number

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise fail("bad-shape", f"Every size of a shape must be at least 1, not {list(self.shape)}")

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of the whole tensor, densely packed; a codebook's table is not counted."""
        return self.elements * self.number.bits

    @property
    def is_float(self) -> bool:
        return isinstance(self.number, Float)

    def __str__(self) -> str:
        return f"{self.number}[{','.join(map(str, self.shape))}]"


_TYPE = re.compile(r"(.+?)\[((?:\d{1,12}(?:,\d{1,12})*)?)\]")


def parse_type(text: str) -> TensorType:
    """Read a tensor type from its text form; raises ToolError `type-syntax`."""
    match = _TYPE.fullmatch(text)
    if match is None:
        raise fail("type-syntax", f"{text[:80]!r} is no tensor type", hint="write f32[1,3,8,8] or i8.f6[16,9]")
    shape = tuple(int(size) for size in match[2].split(",")) if match[2] else ()
    return TensorType(shape, parse_number(match[1]))


def storage_dtype(number: Number) -> torch.dtype:
    """Return the torch dtype that stores codes (or floats) of this format, the smallest that holds them."""
    match number:
        case Float(bits):
            return {16: torch.float16, 32: torch.float32, 64: torch.float64}[bits]
        case Bipolar() | Ternary():
            return torch.int8
        case Codebook(index_bits):
            return torch.uint8 if index_bits <= 8 else torch.int32
        case Int(bits, signed):
            needed = bits if signed else bits + 1
            if not signed and bits <= 8:
                return torch.uint8
            sizes = ((8, torch.int8), (16, torch.int16), (32, torch.int32))
            return next((dtype for size, dtype in sizes if needed <= size), torch.int64)
