"""Quantisers with scales that are no powers of two, as ONNX, QONNX and PyTorch's quantised programs have them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, assert_never

import torch
from torch import Tensor

from bitkiln.ir.numbers import Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require, require_between, require_float32

MAX_CODE = 1 << 24  # float32 has every whole number up to there


class Rounding(Enum):
    """Which whole number a fraction becomes; the HALF modes differ only for fractions of exactly one half."""

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    """Away from zero."""
    HALF_DOWN = "half_down"
    """Towards zero."""
    FLOOR = "floor"
    CEIL = "ceil"
    UP = "up"
    """Away from zero."""
    DOWN = "down"
    """Towards zero."""


def rounded(x: Tensor, rounding: Rounding) -> Tensor:
    """Every element as a whole number."""
    match rounding:
        case Rounding.HALF_EVEN:
            return torch.round(x)
        case Rounding.HALF_UP:
            return torch.sign(x) * torch.floor(torch.abs(x) + 0.5)
        case Rounding.HALF_DOWN:
            return torch.sign(x) * torch.ceil(torch.abs(x) - 0.5)
        case Rounding.FLOOR:
            return torch.floor(x)
        case Rounding.CEIL:
            return torch.ceil(x)
        case Rounding.UP:
            return torch.sign(x) * torch.ceil(torch.abs(x))
        case Rounding.DOWN:
            return torch.trunc(x)
        case _:
            assert_never(rounding)


@dataclass(frozen=True)
class QuantiseScaled(Op):
    """Floats to codes: round(clamp(x / scale + zero_point, lo, hi)) - zero_point.

    Scale and zero point are given once or once a channel of axis 1. The codes are the result without its zero point,
    so a code stands for code * scale and a border of zeros stays 0. With `truncate` = n the quotient is first rounded
    half to even and then divided by 2**n. Everything is computed in 32-bit floats, as the formats define it where this
    comes from; PyTorch's quantisers multiply by the reciprocal of the scale (`by_reciprocal`). Gradient:
    1 / (scale * 2**truncate) where the code does not saturate, else 0.
    """

    name: ClassVar[str] = "quantise_scaled"
    number: Int
    scale: tuple[float, ...]
    lo: int
    hi: int
    zero_point: tuple[int, ...] = (0,)
    rounding: Rounding = Rounding.HALF_EVEN
    truncate: int = 0
    by_reciprocal: bool = False

    def __post_init__(self) -> None:
        require(isinstance(self.number.frac, int), f"quantise_scaled has one point for all codes, not {self.number}")
        require(len(self.scale) >= 1 and len(self.zero_point) >= 1, "quantise_scaled needs a scale and a zero point")
        require_float32("scale of quantise_scaled", *self.scale)
        require(
            all(0 < scale < math.inf for scale in self.scale),
            f"scale of quantise_scaled must be positive, not {min(self.scale)}",
        )
        require_between("lo and hi of quantise_scaled", (self.lo, self.hi), -MAX_CODE, MAX_CODE)
        require(self.lo <= self.hi, f"quantise_scaled needs lo <= hi, not {self.lo} and {self.hi}")
        require_between("zero_point of quantise_scaled", self.zero_point, -MAX_CODE, MAX_CODE)
        require_between("truncate of quantise_scaled", (self.truncate,), 0, 24)
        low, high = self.code_range
        require(
            self.number.lo <= low and high <= self.number.hi,
            f"quantise_scaled gives codes from {low} to {high}, which {self.number} does not hold",
        )

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code of the result."""
        return self.lo - max(self.zero_point), self.hi - min(self.zero_point)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("quantise_scaled", args, 1)
        x = args[0]
        expect(x.is_float, f"quantise_scaled takes floats, not {x}")
        for count in (len(self.scale), len(self.zero_point)):
            expect(
                count == 1 or x.shape[1:2] == (count,),
                f"quantise_scaled of {list(x.shape)} takes 1 scale or one a channel of axis 1, not {count}",
            )
        return TensorType(x.shape, self.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        x = args[0].to(torch.float32)
        zero_point = _per_channel(x, self.zero_point)
        if self.by_reciprocal:
            quotient = x * _per_channel(x, tuple(1 / scale for scale in self.scale)) + zero_point
        else:
            quotient = x / _per_channel(x, self.scale) + zero_point
        if self.truncate:
            quotient = _straight(quotient, torch.round(quotient)) * 2.0**-self.truncate
        clamped = torch.clamp(quotient, self.lo, self.hi)
        return (_straight(clamped, rounded(clamped, self.rounding)) - zero_point).to(args[0].dtype)


def _straight(x: Tensor, whole: Tensor) -> Tensor:
    """`whole` with the gradient of `x` (straight-through estimator, Bengio et al. 2013)."""
    return x + (whole - x).detach() if x.requires_grad else whole


def _per_channel(x: Tensor, values: tuple[float, ...] | tuple[int, ...]) -> Tensor:
    """The values as a tensor that broadcasts along axis 1 of `x`."""
    shape = (1, -1, *([1] * (x.dim() - 2))) if len(values) > 1 else ()
    return torch.tensor(values, dtype=x.dtype).reshape(shape)
