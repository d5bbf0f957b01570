"""Between values and codes, and between code formats. Rounding is half up everywhere, overflow saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_int, floor


@dataclass(frozen=True)
class Quantise(Op):
    """Floats to codes: clamp(floor(x * 2**frac + 1/2)), computed in 64-bit floats. One point for the tensor."""

    name: ClassVar[str] = "quantise"
    number: Int

    def infer(self, *args: TensorType) -> TensorType:
        expect(args[0].is_float, f"quantise takes floats, not {args[0]}")
        expect(isinstance(self.number.frac, int), "quantise has one point for the whole tensor")
        return TensorType(args[0].shape, self.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        scaled = args[0].to(torch.float64) * 2.0 ** self.number.fracs[0]
        return torch.clamp(floor(scaled + 0.5), self.number.lo, self.number.hi).to(args[0].dtype)


@dataclass(frozen=True)
class Dequantise(Op):
    """Codes to floats: code * 2**-frac, with one point or one a channel of axis 1."""

    name: ClassVar[str] = "dequantise"
    frac: tuple[int, ...]

    def infer(self, *args: TensorType) -> TensorType:
        number = expect_int(args[0], "the input of dequantise")
        expect(number.fracs == self.frac, f"dequantise with points {self.frac} got {number}")
        return TensorType(args[0].shape, Float(32))

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0] * _per_channel(args[0], [2.0**-frac for frac in self.frac])


@dataclass(frozen=True)
class Requantise(Op):
    """Codes to another format: clamp((x * multiplier + 2**(s-1)) >> s), one shift s for all or one a channel of axis 1.

    A shift <= 0 is an exact left shift. The result stands for x's value times multiplier * 2**-multiplier_frac.
    `hi` narrows the range below the format's own (ReLU6); a ReLU is an unsigned format.
    """

    name: ClassVar[str] = "requantise"
    number: Int
    shift: tuple[int, ...]
    multiplier: int = 1
    multiplier_frac: int = 0
    hi: int | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code of the result."""
        return self.number.lo, self.number.hi if self.hi is None else self.hi

    def infer(self, *args: TensorType) -> TensorType:
        x = expect_int(args[0], "the input of requantise")
        expect(isinstance(self.number.frac, int), "requantise has one point for the whole result")
        expect(self.multiplier >= 1, f"the multiplier must be at least 1, not {self.multiplier}")
        expect(
            self.hi is None or 0 <= self.hi <= self.number.hi,
            f"hi must be a code of {self.number}, not {self.hi}",
        )
        needed = tuple(frac + self.multiplier_frac - self.number.fracs[0] for frac in x.fracs)
        expect(self.shift == needed, f"requantise {x} to {self.number} shifts by {needed}, not {self.shift}")
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
