"""Floats as functions of codes: what stands between an exact integer (or the input) and the quantiser behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bitkiln.ir import Location
from bitkiln.ir.ops import (
    Add,
    BatchNorm,
    Clip,
    Dequantise,
    Div,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Mul,
    MultiThreshold,
    Op,
    QuantiseScaled,
    Relu,
    ScaleShift,
    Sigmoid,
    Softplus,
    Tanh,
)
from bitkiln.ir.ops.activation import Pointwise

AFFINE = (Dequantise, Mul, Add, Div, BatchNorm, ScaleShift)
QUANTISERS = (QuantiseScaled, MultiThreshold)
_RISING = (Relu, Clip, Sigmoid, Tanh, HardSigmoid, Softplus)


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on every element: `args` are its constants, with None where the value goes."""

    op: Op
    args: tuple[Tensor | None, ...]
    name: str
    loc: Location

    def __call__(self, x: Tensor) -> Tensor:
        return self.op.evaluate(*(x if arg is None else arg.to(x.dtype) for arg in self.args))

    @property
    def constants(self) -> tuple[Tensor, ...]:
        return tuple(arg for arg in self.args if arg is not None)

    @property
    def is_uniform(self) -> bool:
        """True if the step treats all elements alike."""
        match self.op:
            case Dequantise(frac):
                return len(frac) == 1
            case QuantiseScaled():
                return len(self.op.scale) == len(self.op.zero_point) == 1
            case MultiThreshold():
                return len(self.op.base) == len(self.op.step) == self.constants[0].shape[0] == 1
            case BatchNorm() | ScaleShift():
                return False
            case _:
                return all(constant.numel() == 1 for constant in self.constants)

    @property
    def is_rising(self) -> bool:
        """True if a larger element never gives a smaller result."""
        match self.op:
            case Mul():
                return bool((self.constants[0] >= 0).all())
            case Div():
                return self.args[0] is None and bool((self.constants[0] > 0).all())
            case Elu(alpha):
                return alpha >= 0
            case LeakyRelu(slope):
                return slope >= 0
            case BatchNorm() | ScaleShift():
                return bool((self.constants[0] >= 0).all())
            case MultiThreshold():
                return min(self.op.step) > 0
            case op:
                return isinstance(op, (Dequantise, Add, QuantiseScaled, *_RISING))

    @property
    def is_monotone(self) -> bool:
        """True if each channel's results rise with the element, or fall."""
        if isinstance(self.op, Div):
            return self.args[0] is None
        return self.is_rising or isinstance(self.op, (*AFFINE, *QUANTISERS))

    def for_any_rank(self) -> Step:
        """A uniform step, for values of other ranks as well."""
        is_list = isinstance(self.op, MultiThreshold)
        args = tuple(arg if arg is None or is_list else arg.reshape(()) for arg in self.args)
        return replace(self, args=args)

    def channel_axis(self, rank: int) -> int | None:
        """The axis along which the step differs, 0 if it does so along several."""
        if self.is_uniform:
            return None
        if isinstance(self.op, MultiThreshold):
            return self.op.axis
        if isinstance(self.op, BatchNorm | ScaleShift | Dequantise | QuantiseScaled):
            return 1
        axes = {
            rank - constant.dim() + axis
            for constant in self.constants
            for axis, size in enumerate(constant.shape)
            if size > 1
        }
        return axes.pop() if len(axes) == 1 else 0


@dataclass(frozen=True, eq=False)
class Chain:
    """A float value of `rank` axes: `steps` applied to `base`, codes (then the first step dequantises) or an input."""

    base: str
    rank: int
    steps: tuple[Step, ...]

    def then(self, step: Step) -> Chain:
        return Chain(self.base, self.rank, (*self.steps, step))

    @property
    def is_uniform(self) -> bool:
        return all(step.is_uniform for step in self.steps)

    @property
    def is_rising(self) -> bool:
        return all(step.is_rising for step in self.steps)

    @property
    def channel_axis(self) -> int | None:
        """The axis along which the steps differ; 0 if it is not one alone behind the batch."""
        axes = {axis for step in self.steps if (axis := step.channel_axis(self.rank)) is not None}
        return (axes.pop() if len(axes) == 1 else 0) if axes else None

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def scale(self) -> float | None:
        """The number that all codes are multiplied by, if that is positive and nothing else happens; points of the
        codes' format do not count."""
        if not self.steps or not isinstance(self.steps[0].op, Dequantise):
            return None
        scale = 1.0
        for step in self.steps[1:]:
            if not isinstance(step.op, Mul | Div) or not step.is_uniform or not step.is_rising:
                return None
            constant = float(step.constants[0])
            scale = scale * constant if isinstance(step.op, Mul) else scale / constant
        is_normal = self.steps[0].is_uniform and 0 < scale < math.inf
        return scale if is_normal else None


def is_elementwise(op: Op) -> bool:
    """True for operations that a chain can hold."""
    return isinstance(op, (*AFFINE, Relu, Clip, Pointwise))


def affine(steps: Sequence[Step], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Factor and offset of affine steps, in 64-bit floats; `shape` is that of the channels: 1 but for their axis."""
    zero = torch.zeros(shape, dtype=torch.float64)
    low, high = zero, zero + 1
    for step in steps:
        low, high = step(low), step(high)
    return high - low, low
