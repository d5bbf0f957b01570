"""Operations that treat every element alike, or every channel alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import MAX_INT_BITS, Int
from bitkiln.ir.types import TensorType

from ._base import (
    Op,
    broadcast,
    expect,
    expect_count,
    expect_int,
    expect_plain,
    require,
    require_between,
    require_float32,
)


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("relu", args, 1)
        expect_plain("relu", args[0])
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.relu(args[0])


@dataclass(frozen=True)
class Clip(Op):
    """min(max(x, lo), hi) on floats: ReLU6, hardtanh, clamp."""

    name: ClassVar[str] = "clip"
    lo: float
    hi: float

    def __post_init__(self) -> None:
        require_float32("lo and hi of clip", self.lo, self.hi)
        require(self.lo <= self.hi, f"clip needs lo <= hi, not {self.lo} and {self.hi}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("clip", args, 1)
        expect(args[0].is_float, f"clip takes floats, not {args[0]}; on codes requantise clips")
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.clamp(args[0], self.lo, self.hi)


@dataclass(frozen=True)
class Add(Op):
    """x * 2**shifts[0] + y * 2**shifts[1], shapes broadcast behind the batch axis.

    On codes the shifts align the points; on floats they are 0.
    """

    name: ClassVar[str] = "add"
    shifts: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        require_between("shifts of add", self.shifts, 0, MAX_INT_BITS)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("add", args, 2)
        x, y = args
        shape = broadcast(x.shape, y.shape)
        if x.is_float and y.is_float:
            expect(self.shifts == (0, 0), "add of floats has no shifts")
            return TensorType(shape, x.number)
        a, b = expect_int(x, "the first operand of add"), expect_int(y, "the second operand of add")
        point = a.fracs[0] + self.shifts[0]
        expect(
            a.axis is None and b.axis is None and point == b.fracs[0] + self.shifts[1],
            f"the points of {a} and {b}, shifted by {self.shifts}, are not aligned",
        )
        lo = (a.lo << self.shifts[0]) + (b.lo << self.shifts[1])
        hi = (a.hi << self.shifts[0]) + (b.hi << self.shifts[1])
        return TensorType(shape, Int.holding(lo, hi, point))

    def evaluate(self, *args: Tensor) -> Tensor:
        x, y = (arg * 2**shift if shift else arg for arg, shift in zip(args, self.shifts, strict=True))
        return x + y

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        rank = max(len(arg.shape) for arg in args)
        return tuple(len(arg.shape) == rank for arg in args)


def _expect_channels(name: str, args: tuple[TensorType, ...]) -> None:
    """x needs a channel axis, every other argument one float a channel."""
    x = args[0]
    expect(all(arg.is_float for arg in args), f"{name} takes floats, not {', '.join(map(str, args))}")
    expect(len(x.shape) >= 2, f"{name} needs a batch and a channel axis, not {list(x.shape)}")
    for arg in args[1:]:
        expect(arg.shape == (x.shape[1],), f"{name} of {x} needs {x.shape[1]} parameters, not {arg}")


@dataclass(frozen=True)
class BatchNorm(Op):
    """Inference batch normalisation over axis 1. Arguments: x, gamma [C], beta [C], mean [C], variance [C]. Floats."""

    name: ClassVar[str] = "batch_norm"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_float32("eps of batch_norm", self.eps)
        require(0 <= self.eps < math.inf, f"eps of batch_norm must be finite and at least 0, not {self.eps}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("batch_norm", args, 5)
        _expect_channels("batch_norm", args)
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        x, gamma, beta, mean, variance = args
        scale = gamma / torch.sqrt(variance + self.eps)
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return x * scale.reshape(shape) + (beta - mean * scale).reshape(shape)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, *([False] * (len(args) - 1)))

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)


@dataclass(frozen=True)
class ScaleShift(Op):
    """x * scale + shift, one pair a channel of axis 1: batch norm that found no convolution to fold into. Floats."""

    name: ClassVar[str] = "scale_shift"

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("scale_shift", args, 3)
        _expect_channels("scale_shift", args)
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        shape = (1, -1, *([1] * (args[0].dim() - 2)))
        return args[0] * args[1].reshape(shape) + args[2].reshape(shape)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, *([False] * (len(args) - 1)))

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)
