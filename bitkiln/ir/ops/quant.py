"""Between values and codes, and between code formats. Rounding is half up everywhere, overflow saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import MAX_INT_BITS, Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_channel_points, expect_count, expect_int, floor, require, require_between


@dataclass(frozen=True)
class Quantise(Op):
    """Floats to codes: clamp(floor(x * 2**frac + 1/2)), computed in 64-bit floats. One point for the tensor.

    Gradient: 2**frac where the code does not saturate, else 0 (straight through the rounding).
    """

    name: ClassVar[str] = "quantise"
    number: Int

    def __post_init__(self) -> None:
        require(isinstance(self.number.frac, int), f"quantise has one point for the whole tensor, not {self.number}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("quantise", args, 1)
        expect(args[0].is_float, f"quantise takes floats, not {args[0]}")
        return TensorType(args[0].shape, self.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        scaled = args[0].to(torch.float64) * 2.0 ** self.number.fracs[0]
        return torch.clamp(floor(scaled + 0.5), self.number.lo, self.number.hi).to(args[0].dtype)


@dataclass(frozen=True)
class Dequantise(Op):
    """Codes to floats: code * 2**-frac, with one point or one a channel of axis 1. Rounds once, to the carrier."""

    name: ClassVar[str] = "dequantise"
    frac: tuple[int, ...]

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("dequantise", args, 1)
        number = expect_int(args[0], "the input of dequantise")
        expect_channel_points("the input of dequantise", number)
        expect(number.fracs == self.frac, f"dequantise with points {self.frac} got {number}")
        return TensorType(args[0].shape, Float(32))

    def evaluate(self, *args: Tensor) -> Tensor:
        wide = args[0].to(torch.float64)  # 2**-frac may lie outside the normal range of float32
        return (wide * _per_channel(wide, [2.0**-frac for frac in self.frac])).to(args[0].dtype)


@dataclass(frozen=True)
class Requantise(Op):
    """Codes to another format: clamp((x * multiplier + 2**(s-1)) >> s), one shift s for all or one a channel of axis 1.

    A shift <= 0 is an exact left shift. The result stands for x's value times multiplier * 2**-multiplier_frac.
    `hi` narrows the range below the format's own (ReLU6); a ReLU is an unsigned format. Gradient: multiplier * 2**-s
    where the result does not saturate, else 0.
    """

    name: ClassVar[str] = "requantise"
    number: Int
    shift: tuple[int, ...]
    multiplier: int = 1
    multiplier_frac: int = 0
    hi: int | None = None

    def __post_init__(self) -> None:
        require(isinstance(self.number.frac, int), f"requantise has one point for the whole result, not {self.number}")
        require_between("multiplier of requantise", (self.multiplier,), 1, (1 << MAX_INT_BITS) - 1)
        require_between("multiplier_frac of requantise", (self.multiplier_frac,), -MAX_INT_BITS, MAX_INT_BITS)
        require(
            self.hi is None or 0 <= self.hi <= self.number.hi,
            f"hi must be a code of {self.number} and at least 0, not {self.hi}",
        )

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code of the result."""
        return self.number.lo, self.number.hi if self.hi is None else self.hi

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("requantise", args, 1)
        x = expect_int(args[0], "the input of requantise")
        expect_channel_points("the input of requantise", x)
        needed = tuple(frac + self.multiplier_frac - self.number.fracs[0] for frac in x.fracs)
        expect(self.shift == needed, f"requantise {x} to {self.number} shifts by {needed}, not {self.shift}")
        expect(min(needed) >= -MAX_INT_BITS, f"requantise shifts left by at most {MAX_INT_BITS}, not {-min(needed)}")
        return TensorType(args[0].shape, self.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        x = args[0] * self.multiplier if self.multiplier != 1 else args[0]
        scale = _per_channel(x, [2.0**-shift for shift in self.shift])
        half = _per_channel(x, [0.5 if shift > 0 else 0.0 for shift in self.shift])
        return torch.clamp(floor(x * scale + half), *self.limits)


def _per_channel(x: Tensor, values: list[float]) -> Tensor:
    """The values as a tensor that broadcasts along axis 1 of `x`."""
    shape = (1, -1, *([1] * (x.dim() - 2))) if len(values) > 1 else ()
    return torch.tensor(values, dtype=x.dtype).reshape(shape)
