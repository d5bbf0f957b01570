"""Weights on uniform and logarithmic grids, quantised while they are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import expect, expect_count, require, require_between
from .trained import (
    WeightQuantiser,
    column,
    exponential,
    exponential_surrogate,
    learned_step,
    nearest_power,
    positive,
    power_above,
    rows_of,
    signs,
)

MIN_BITS, MAX_BITS = 2, 16
MAX_LOG_BITS = 5
"""A sign and four bits of exponent: the codes span 2**15."""


@dataclass(frozen=True)
class UniformWeight(WeightQuantiser):
    """The range of the weights in 2**bits equal steps: round(w / scale), halves to even. Gradient: 1.

    Symmetric codes go from -(2**(bits-1) - 1) to its opposite; affine ones have the range from the least weight to the
    greatest, widened to hold 0, and are counted from the code of 0.
    """

    name: ClassVar[str] = "uniform_weight"
    bits: int = 8
    per_channel: bool = False
    affine: bool = False

    def __post_init__(self) -> None:
        require_between("bits of uniform_weight", (self.bits,), MIN_BITS, MAX_BITS)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows_of(weight, self.per_channel)
        if not self.affine:
            highest = (1 << (self.bits - 1)) - 1
            scale = positive(rows.abs().amax(1) / highest)
            return torch.round(weight / column(scale, weight.dim())).clamp(-highest, highest), scale
        low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
        scale = positive((high - low) / ((1 << self.bits) - 1))
        zero = column(torch.round(-low / scale), weight.dim())
        codes = torch.round(weight / column(scale, weight.dim())) + zero
        return codes.clamp(0, (1 << self.bits) - 1) - zero, scale


@dataclass(frozen=True)
class FixedPointWeight(WeightQuantiser):
    """Dynamic fixed point whose exponents follow the weights: the least power of two as a step at which at most
    `overflow` of the weights saturate (Courbariaux et al. 2014). Rounds half up. Gradient: 1, of saturated weights 0.
    """

    name: ClassVar[str] = "fixed_point_weight"
    bits: int = 8
    per_channel: bool = False
    overflow: float = 0.0

    def __post_init__(self) -> None:
        require_between("bits of fixed_point_weight", (self.bits,), MIN_BITS, MAX_BITS)
        require(0 <= self.overflow < 1, f"overflow of fixed_point_weight is from 0 to below 1, not {self.overflow}")

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        step = self._step(weight)
        highest = 1 << (self.bits - 1)
        return torch.floor(weight / column(step, weight.dim()) + 0.5).clamp(-highest, highest - 1), step

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        limit = column(self._step(weight.detach()), weight.dim()) * (1 << (self.bits - 1))
        return weight * (weight.detach().abs() <= limit).to(weight.dtype)

    def _step(self, weight: Tensor) -> Tensor:
        magnitudes = rows_of(weight, self.per_channel).abs()
        kept = magnitudes.shape[1] - int(self.overflow * magnitudes.shape[1])
        largest = magnitudes.amax(1) if kept == magnitudes.shape[1] else magnitudes.kthvalue(kept, 1).values
        return power_above(positive(largest / ((1 << (self.bits - 1)) - 0.5)))


@dataclass(frozen=True)
class LearnedStepWeight(WeightQuantiser):
    """LSQ (Esser et al. 2020): round(w / step), saturated at -2**(bits-1) and 2**(bits-1) - 1, times the learned step.

    Arguments: weight, log2 of the step [1] or [N], so that an optimiser moves steps by parts of themselves, however
    small they are. With `power_of_two` the step is the nearest one (Jain et al. 2020, TQT): dynamic fixed point whose
    exponents training chooses. Gradients: `trained.learned_step`, and through the logarithm.
    """

    name: ClassVar[str] = "learned_step_weight"
    bits: int = 8
    power_of_two: bool = False

    def __post_init__(self) -> None:
        require_between("bits of learned_step_weight", (self.bits,), MIN_BITS, MAX_BITS)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((),)

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        scale = exponential(parameters[0], self.power_of_two)
        return torch.round(weight / column(scale, weight.dim())).clamp(*self.limits), scale

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        step = column(exponential_surrogate(parameters[0], self.power_of_two), weight.dim())
        return learned_step(weight, step, *self.limits, weight.numel() // step.numel())


@dataclass(frozen=True)
class TanhWeight(WeightQuantiser):
    """DoReFa (Zhou et al. 2016): 2 * quantise(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1 with 2**bits levels.

    Codes are odd, the scale is 1 / (2**bits - 1). With one bit: sign(w) times the mean magnitude. Gradient: that of
    tanh(w) / max|tanh(w)|; with one bit 1.
    """

    name: ClassVar[str] = "tanh_weight"
    bits: int = 4

    def __post_init__(self) -> None:
        require_between("bits of tanh_weight", (self.bits,), 1, MAX_BITS)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        if self.bits == 1:
            return signs(weight), positive(weight.abs().mean().reshape(1))
        levels = (1 << self.bits) - 1
        unit = self.surrogate(weight) / 2 + 0.5
        return 2 * torch.round(unit * levels) - levels, weight.new_tensor([1 / levels])

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        if self.bits == 1:
            return weight
        bent = torch.tanh(weight)
        return bent / positive(bent.abs().amax())


@dataclass(frozen=True)
class LogWeight(WeightQuantiser):
    """LogNet (Miyashita et al. 2016): sign(w) * 2**clip(round(log2|w|)) in a window of 2**(bits-1) exponents that ends
    at that of the greatest weight. Weights of exactly 0 stay 0. Gradient: 1."""

    name: ClassVar[str] = "log_weight"
    bits: int = 4

    def __post_init__(self) -> None:
        require_between("bits of log_weight", (self.bits,), MIN_BITS, MAX_LOG_BITS)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        highest = nearest_power(positive(weight.abs().amax().reshape(1)))
        lowest = highest * 2.0 ** (1 - (1 << (self.bits - 1)))
        powers = nearest_power(positive(weight)).clamp(min=float(lowest), max=float(highest))
        return torch.sign(weight) * powers / lowest, lowest


def incremental_powers(weight: Tensor, bits: int) -> tuple[float, float]:
    """Smallest and largest magnitude beside 0 of INQ's weights of `bits` bits."""
    _, exponent = math.frexp(4 * float(weight.abs().amax().clamp(min=2.0**-60)) / 3)
    largest = exponent - 1
    return 2.0 ** (largest + 1 - (1 << (bits - 2))), 2.0**largest


def to_powers(weight: Tensor, smallest: float, largest: float) -> Tensor:
    """INQ's rule: a magnitude from 0.75 to 1.5 times a power of two becomes it, one below half the smallest 0."""
    magnitude = weight.abs()
    mantissa, exponent = torch.frexp(magnitude)
    powers = torch.ldexp(torch.ones_like(magnitude), exponent - (mantissa < 0.75).to(exponent.dtype))
    powers = torch.where(magnitude >= smallest / 2, powers.clamp(smallest, largest), 0.0)
    return torch.sign(weight) * powers


@dataclass(frozen=True)
class IncrementalWeight(WeightQuantiser):
    """INQ (Zhou et al. 2017): where `is_frozen` is 1 the weight is `frozen`, 0 or a power of two, for good; elsewhere
    the latent weight is trained as it is. Arguments: weight, frozen, is_frozen, all of one shape. Hardens once all
    weights are frozen. Gradient: 1, of frozen weights 0."""

    name: ClassVar[str] = "incremental_weight"
    bits: int = 5

    def __post_init__(self) -> None:
        require_between("bits of incremental_weight", (self.bits,), 3, MAX_LOG_BITS + 1)

    @property
    def trained(self) -> tuple[int, ...]:
        return (0,)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count(self.name, args, 3)
        expect(all(arg.is_float for arg in args), f"{self.name} takes floats, not {', '.join(map(str, args))}")
        expect(len({arg.shape for arg in args}) == 1, f"{self.name} takes three tensors of one shape")
        return args[0]

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The frozen weights; the scale is the smallest of their magnitudes."""
        frozen = parameters[0]
        magnitudes = frozen.abs()
        scale = torch.where(magnitudes > 0, magnitudes, math.inf).amin().reshape(1)
        scale = torch.where(torch.isfinite(scale), scale, 1.0)
        return frozen / scale, scale

    def evaluate(self, *args: Tensor) -> Tensor:
        weight, frozen, is_frozen = args
        return torch.where(is_frozen != 0, frozen, weight)
