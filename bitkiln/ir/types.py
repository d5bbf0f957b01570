"""Tensor types: a shape and a number format, from which bits, bytes and the range of codes follow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from .diagnostics import fail
from .numbers import Bipolar, Codebook, Float, Int, Number, Ternary, parse_number

# Torch and 32-bit address counters end there, and no board comes near.
MAX_ELEMENTS = 2**31 - 1
MAX_AXES = 8


@dataclass(frozen=True)
class TensorType:
    """Shape and number format. Activations have a leading batch axis of 1; evaluation takes any batch there.

    >>> str(TensorType((1, 3, 8, 8), Int(8, True, 6)))
    'i8.f6[1,3,8,8]'
    """

    shape: tuple[int, ...]
    number: Number

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise fail("bad-shape", f"Every size of a shape must be at least 1, not {_shown(self.shape)}")
        if len(self.shape) > MAX_AXES:
            raise fail("bad-shape", f"A tensor has at most {MAX_AXES} axes, not {len(self.shape)}")
        if self.elements > MAX_ELEMENTS:
            raise fail("bad-shape", f"A tensor has at most {MAX_ELEMENTS} elements, not {_shown(self.shape)}")
        if isinstance(self.number, Int) and self.number.axis is not None:
            axis, points = self.number.axis, len(self.number.fracs)
            if axis >= len(self.shape) or self.shape[axis] != points:
                raise fail(
                    "bad-shape",
                    f"{points} points along axis {axis} do not match the shape {_shown(self.shape)}",
                )

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


def _shown(shape: tuple[int, ...]) -> str:
    """A shape for messages, cut where it is longer than anyone reads."""
    return str(list(shape[: MAX_AXES + 1]))[:160]


_TYPE = re.compile(r"(.+)\[((?:[0-9]{1,12}(?:,[0-9]{1,12})*)?)\]")


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
