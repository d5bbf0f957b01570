"""Quantisers that a float graph is trained with: forward what the hardware will have, backward the paper's estimator.

Weights become code * scale and activations a staircase of integer codes, so that hardening (`passes.harden`) only has
to read them off. Both are computed in 32-bit floats whatever the graph is evaluated in; a graph in 64-bit floats then
differs from its integer form by the rounding of sums alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count

MAX_CODE = 1 << 24
"""Whole numbers up to there are 32-bit floats."""
_SMALLEST = 2.0**-60
FEW = 15  # up to so many thresholds, comparing with each is faster than searching


class _Straight(torch.autograd.Function):
    """The value of one tensor with the gradient of another (straight-through estimator, Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: object, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]


def straight(value: Tensor, surrogate: Tensor) -> Tensor:
    """`value`, exactly, with the gradient of `surrogate`, which has the same shape."""
    result: Tensor = _Straight.apply(value, surrogate)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return result


def column(values: Tensor, rank: int) -> Tensor:
    """[1] or [N] values, shaped to multiply the rows of a tensor of `rank` axes."""
    return values.reshape(-1, *[1] * (rank - 1))


def signs(x: Tensor) -> Tensor:
    """-1 or +1; that of 0 is +1."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def positive(scale: Tensor) -> Tensor:
    """Magnitudes of scales, far enough from 0 to divide by."""
    return scale.abs().clamp(min=_SMALLEST)


def power_above(values: Tensor) -> Tensor:
    """The least powers of two that are at least as large as the positive values."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp(torch.ones_like(values), exponent - (mantissa == 0.5).to(exponent.dtype))


def nearest_power(values: Tensor) -> Tensor:
    """The power of two nearest to each positive value on the logarithmic scale."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp(torch.ones_like(values), exponent - (mantissa < math.sqrt(0.5)).to(exponent.dtype))


def exponential(log_step: Tensor, power_of_two: bool) -> Tensor:
    """The step of which training moves the binary logarithm, or the power of two nearest to it."""
    exponent = log_step.clamp(-60, 60)
    return torch.ldexp(torch.ones_like(exponent), torch.round(exponent)) if power_of_two else torch.exp2(exponent)


def exponential_surrogate(log_step: Tensor, power_of_two: bool) -> Tensor:
    """The same with a gradient, which passes the rounding of the logarithm straight through."""
    step = exponential(log_step.detach(), power_of_two)
    return straight(step, step * math.log(2) * log_step)


def snapped(coefficients: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Rows of coefficients [R, K] as whole multiples of a power of two a row [R]; the sum of a row has `bits` bits and
    a sign, so what is summed of it is an integer of so many bits."""
    step = power_above(positive(coefficients.abs().sum(1))) * 2.0**-bits
    return torch.round(coefficients / step[:, None]), step


def rows_of(weight: Tensor, per_channel: bool) -> Tensor:
    """The weights as one row, or a row an output channel."""
    return weight.flatten(1) if per_channel else weight.reshape(1, -1)


class WeightQuantiser(Op):
    """Latent float weights [N, ...] to code * scale, with one scale for all or one an output channel.

    Arguments: weight, then what the method learns: each with one row [1, ...], or one a channel [N, ...].
    """

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of a row of each argument behind the weight."""
        return ()

    @abstractmethod
    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return whole numbers up to MAX_CODE in the weight's shape, and positive scales [1] or [N]."""

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        """Return what the gradient is that of; by default the latent weights."""
        return weight

    @property
    def trained(self) -> tuple[int, ...]:
        return tuple(range(1 + len(self.parameter_shapes)))

    def infer(self, *args: TensorType) -> TensorType:
        shapes = self.parameter_shapes
        expect_count(self.name, args, 1 + len(shapes))
        weight = args[0]
        expect(all(arg.is_float for arg in args), f"{self.name} takes floats, not {', '.join(map(str, args))}")
        expect(len(weight.shape) >= 2, f"{self.name} takes weights of at least 2 axes, not {list(weight.shape)}")
        for arg, shape in zip(args[1:], shapes, strict=True):
            fits = arg.shape[:1] in ((1,), weight.shape[:1]) and arg.shape[1:] == shape
            rows = f"[1 or {weight.shape[0]}{''.join(f', {size}' for size in shape)}]"
            expect(fits, f"{self.name} of {list(weight.shape)} takes parameters {rows}, not {list(arg.shape)}")
        return weight

    def evaluate(self, *args: Tensor) -> Tensor:
        with torch.no_grad():
            codes, scale = self.codes(*(arg.detach().to(torch.float32) for arg in args))
            value = codes.to(args[0].dtype) * column(scale.to(args[0].dtype), codes.dim())
        return straight(value, self.surrogate(*args)) if any(arg.requires_grad for arg in args) else value

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (False,) * len(args)


@dataclass(frozen=True, eq=False)
class Staircase:
    """scale * (base + step * number of `thresholds` [n] that are at most x), `thresholds` rising; repeated ones make
    higher steps.

    `is_even` says that the step is 1 and the j-th threshold (base + j - 1/2) * scale, in 32-bit floats: then the code
    is computed instead of searched for.
    """

    thresholds: Tensor
    base: int
    step: int
    scale: float
    is_even: bool = False

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code."""
        return self.base, self.base + self.step * len(self.thresholds)

    def __call__(self, x: Tensor) -> Tensor:
        return self._codes(x) * self.scale

    def _codes(self, x: Tensor) -> Tensor:
        if self.is_even:
            return self._rounded(x)
        if len(self.thresholds) > FEW:
            count = torch.searchsorted(self.thresholds.to(x.dtype), x.contiguous(), right=True).to(x.dtype)
            return self.base + self.step * count
        count = torch.zeros_like(x)
        for threshold in self.thresholds.tolist():
            count += x >= threshold
        return self.base + self.step * count

    def _rounded(self, x: Tensor) -> Tensor:
        """The code that the quotient rounds to, or its neighbour where the rounded quotient missed a threshold."""
        low, high = self.code_range
        code = torch.floor(x.to(torch.float32) * (1 / self.scale) + 0.5).clamp_(low, high)
        is_above, is_below = x >= (code + 0.5) * self.scale, x < (code - 0.5) * self.scale
        return (code + is_above - is_below.to(code.dtype)).clamp_(low, high).to(x.dtype)


class ActivationQuantiser(Op):
    """Floats to code * scale by thresholds that are the same for all elements. Arguments: x, then what the method
    learns."""

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each argument behind x."""
        return ()

    @abstractmethod
    def staircase(self, *parameters: Tensor) -> Staircase:
        """Return the function for the parameters."""

    @abstractmethod
    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return what the gradient is that of."""

    @property
    def trained(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + len(self.parameter_shapes)))

    def infer(self, *args: TensorType) -> TensorType:
        shapes = self.parameter_shapes
        expect_count(self.name, args, 1 + len(shapes))
        expect(all(arg.is_float for arg in args), f"{self.name} takes floats, not {', '.join(map(str, args))}")
        for arg, shape in zip(args[1:], shapes, strict=True):
            expect(arg.shape == shape, f"{self.name} takes parameters {list(shape)}, not {list(arg.shape)}")
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        with torch.no_grad():
            value = self.staircase(*(arg.detach().to(torch.float32) for arg in args[1:]))(args[0])
        return straight(value, self.surrogate(*args)) if any(arg.requires_grad for arg in args) else value

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, *[False] * (len(args) - 1))


def learned_step(x: Tensor, step: Tensor, low: int, high: int, count: int) -> Tensor:
    """Surrogate of LSQ (Esser et al. 2020): dx is 1 where x/step lies within the codes low ... high, else 0; dstep is
    round(x/step) - x/step within, the limit outside, all scaled by 1/sqrt(count * high). `step` broadcasts to x."""
    scaled = _scaled_gradient(step, 1.0 / math.sqrt(max(count * high, 1)))
    quotient = (x / scaled).detach()
    is_inside = (quotient >= low) & (quotient <= high)
    residue = torch.where(is_inside, torch.round(quotient) - quotient, quotient.clamp(low, high))
    return x * is_inside.to(x.dtype) + residue * scaled


def _scaled_gradient(x: Tensor, factor: float) -> Tensor:
    return straight(x.detach(), x * factor)
