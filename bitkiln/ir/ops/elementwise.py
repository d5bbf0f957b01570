"""Operations that treat every element alike, or every channel alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_int


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"

    def infer(self, *args: TensorType) -> TensorType:
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.relu(args[0])


@dataclass(frozen=True)
class Clip(Op):
    """min(max(x, lo), hi) on floats: ReLU6, hardtanh, clamp."""

    name: ClassVar[str] = "clip"
    lo: float
    hi: float

    def infer(self, *args: TensorType) -> TensorType:
        expect(args[0].is_float, f"clip takes floats, not {args[0]}; on codes requantise clips")
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.clamp(args[0], self.lo, self.hi)


@dataclass(frozen=True)
class Add(Op):
    """x * 2**shifts[0] + y * 2**shifts[1], shapes broadcast. On codes the shifts align the points; on floats they are 0."""

    name: ClassVar[str] = "add"
    shifts: tuple[int, int] = (0, 0)

    def infer(self, *args: TensorType) -> TensorType:
        expect(len(args) == 2, f"add takes 2 arguments, not {len(args)}")
        expect(min(self.shifts) >= 0, f"the shifts of add must not be negative: {self.shifts}")
        x, y = args
        try:
            shape = tuple(torch.broadcast_shapes(x.shape, y.shape))
        except RuntimeError:
            expect(False, f"shapes {list(x.shape)} and {list(y.shape)} do not broadcast")
        if x.is_float and y.is_float:
            expect(self.shifts == (0, 0), "add of floats has no shifts")
            return TensorType(shape, x.number)
        a, b = expect_int(x, "the first operand of add"), expect_int(y, "the second operand of add")
        points = [
            (frac_a + self.shifts[0], frac_b + self.shifts[1]) for frac_a, frac_b in zip(a.fracs, b.fracs, strict=False)
        ]
        expect(
            a.axis is None and b.axis is None and points[0][0] == points[0][1],
            f"the points of {a} and {b} are not aligned",
        )
        lo = (a.lo << self.shifts[0]) + (b.lo << self.shifts[1])
        hi = (a.hi << self.shifts[0]) + (b.hi << self.shifts[1])
        return TensorType(shape, Int.holding(lo, hi, points[0][0]))

    def evaluate(self, *args: Tensor) -> Tensor:
        x, y = (arg * 2**shift if shift else arg for arg, shift in zip(args, self.shifts, strict=True))
        return x + y


@dataclass(frozen=True)
class BatchNorm(Op):
    """Inference batch normalisation over axis 1. Arguments: x, gamma [C], beta [C], mean [C], variance [C]. Floats."""

    name: ClassVar[str] = "batch_norm"
    eps: float = 1e-5

    def infer(self, *args: TensorType) -> TensorType:
        expect(len(args) == 5, f"batch_norm takes 5 arguments, not {len(args)}")
        expect(args[0].is_float, f"batch_norm takes floats, not {args[0]}")
        for arg in args[1:]:
            expect(
                arg.shape == (args[0].shape[1],),
                f"batch_norm of {args[0]} needs {args[0].shape[1]} parameters, not {arg}",
            )
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        x, gamma, beta, mean, variance = args
        scale = gamma / torch.sqrt(variance + self.eps)
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return x * scale.reshape(shape) + (beta - mean * scale).reshape(shape)


@dataclass(frozen=True)
class ScaleShift(Op):
    """x * scale + shift, one pair a channel of axis 1: batch norm that found no convolution to fold into. Floats."""

    name: ClassVar[str] = "scale_shift"

    def infer(self, *args: TensorType) -> TensorType:
        expect(len(args) == 3, f"scale_shift takes 3 arguments, not {len(args)}")
        expect(all(isinstance(arg.number, Float) for arg in args), "scale_shift takes floats")
        expect(
            all(arg.shape == (args[0].shape[1],) for arg in args[1:]),
            f"scale_shift of {args[0]} needs one pair a channel",
        )
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        shape = (1, -1, *([1] * (args[0].dim() - 2)))
        return args[0] * args[1].reshape(shape) + args[2].reshape(shape)
