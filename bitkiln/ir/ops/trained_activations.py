"""Activations as staircases: signs, learned steps, and sums of few binary bases, quantised while the network is
trained. Also the scales of XNOR-Net's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import MAX_ATTRIBUTE, Op, expect, expect_count, require_between, require_float32
from .linear import Conv2d, Pair
from .trained import ActivationQuantiser, Staircase, exponential, exponential_surrogate, learned_step, positive, snapped
from .trained_bases import MAX_BASES, sign_table

MAX_ACTIVATION_BITS = 12
"""4095 thresholds, as many as hardening makes of a quantiser."""
_MAX_LEVEL_BITS = 8


class SignGradient(Enum):
    """The derivative that training takes for that of the sign."""

    CLIP = "clip"
    """1 up to a distance of 1 from the threshold, else 0 (Hubara et al. 2016)."""
    POLYNOMIAL = "polynomial"
    """2 - 2 * distance up to a distance of 1, else 0 (Liu et al. 2018, Bi-Real Net)."""


@dataclass(frozen=True)
class SignActivation(ActivationQuantiser):
    """+1 where x >= threshold, else -1."""

    name: ClassVar[str] = "sign_activation"
    gradient: SignGradient = SignGradient.CLIP
    threshold: float = 0.0

    def __post_init__(self) -> None:
        require_float32("threshold of sign_activation", self.threshold)

    def staircase(self, *parameters: Tensor) -> Staircase:
        return Staircase(torch.tensor([self.threshold]), -1, 2, 1.0)

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        distance = (x.detach() - self.threshold).abs()
        match self.gradient:
            case SignGradient.CLIP:
                return x * (distance <= 1)
            case SignGradient.POLYNOMIAL:
                return x * (2 - 2 * distance).clamp(min=0)
            case _:
                assert_never(self.gradient)


@dataclass(frozen=True)
class LearnedStepActivation(ActivationQuantiser):
    """LSQ (Esser et al. 2020): the code of x / step, halves up, saturated, times the learned step.

    Arguments: x, log2 of the step [1]. Codes are signed, or from -`zero_point` on, which makes affine ones. With
    `power_of_two` the step is the nearest one: dynamic fixed point whose exponent training chooses. Gradients:
    `trained.learned_step`, a sample's elements being the count, and through the logarithm.
    """

    name: ClassVar[str] = "learned_step_activation"
    bits: int = 8
    signed: bool = False
    power_of_two: bool = False
    zero_point: int = 0

    def __post_init__(self) -> None:
        require_between("bits of learned_step_activation", (self.bits,), 1 + self.signed, MAX_ACTIVATION_BITS)
        most = 0 if self.signed else (1 << self.bits) - 1
        require_between("zero_point of learned_step_activation", (self.zero_point,), 0, most)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((1,),)

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code."""
        low = -(1 << (self.bits - 1)) if self.signed else -self.zero_point
        return low, low + (1 << self.bits) - 1

    def staircase(self, *parameters: Tensor) -> Staircase:
        step = exponential(parameters[0], self.power_of_two)
        low, high = self.limits
        return Staircase((torch.arange(low + 1, high + 1) - 0.5) * step, low, 1, float(step), is_even=True)

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        step = exponential_surrogate(parameters[0], self.power_of_two)
        return learned_step(x, step, *self.limits, max(1, x.numel() // max(1, len(x))))


@dataclass(frozen=True)
class ClippedActivation(ActivationQuantiser):
    """DoReFa (Zhou et al. 2016): clip(x, 0, 1) in 2**bits levels, halves up. Gradient: 1 from 0 to 1, else 0."""

    name: ClassVar[str] = "clipped_activation"
    bits: int = 4

    def __post_init__(self) -> None:
        require_between("bits of clipped_activation", (self.bits,), 1, MAX_ACTIVATION_BITS)

    def staircase(self, *parameters: Tensor) -> Staircase:
        highest = (1 << self.bits) - 1
        return Staircase((torch.arange(1, highest + 1) - 0.5) / highest, 0, 1, float(torch.tensor(1 / highest)))

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        latent = x.detach()
        return x * ((latent >= 0) & (latent <= 1))


@dataclass(frozen=True)
class BasisActivation(ActivationQuantiser):
    """LQ-Nets (Zhang et al. 2018): sums of K = `bases` learned numbers with signs, the nearest to x.

    Arguments: x, basis [K], which counts as whole multiples of a power of two. Gradients: of x 1 between the outermost
    levels, else 0; of the basis its signs. The paper fits the basis to each batch instead; here training moves it.
    """

    name: ClassVar[str] = "basis_activation"
    bases: int = 2

    def __post_init__(self) -> None:
        require_between("bases of basis_activation", (self.bases,), 1, MAX_BASES)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.bases,),)

    def staircase(self, *parameters: Tensor) -> Staircase:
        levels, _, step = self._levels(parameters[0])
        heights = levels.diff()
        middles = (levels[1:] + levels[:-1]) / 2 * step
        # Levels are sums of as many odd or even terms, so that all differ by multiples of 2.
        repeats = (heights / 2).to(torch.int64)
        return Staircase(middles.repeat_interleave(repeats), int(levels[0]), 2, float(step))

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        basis, latent = parameters[0], x.detach()
        levels, order, step = self._levels(basis.detach().to(torch.float32))
        levels, step = levels.to(x.dtype), step.to(x.dtype)
        place = torch.searchsorted(
            ((levels[1:] + levels[:-1]) / 2 * step).contiguous(), latent.contiguous(), right=True
        )
        chosen = sign_table(self.bases, x)[order][place]
        is_inside = (latent >= levels[0] * step) & (latent <= levels[-1] * step)
        return x * is_inside + chosen @ basis

    def _levels(self, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rising levels in steps, the combinations of signs that they come from, and the step."""
        whole, step = snapped(basis[None], _MAX_LEVEL_BITS)
        levels, order = (sign_table(self.bases, whole) @ whole[0]).sort()
        return levels, order, step[0]


@dataclass(frozen=True)
class WindowedSigns(ActivationQuantiser):
    """ABC-Net (Lin et al. 2017): sum of b_n * sign(x + v_n - 1/2) over N = `bases` learned shifts v_n and scales b_n.

    Arguments: x, shifts [N], scales [N], whose magnitudes count as whole multiples of a power of two. Gradients: of x
    and of v_n b_n where x + v_n lies between 0 and 1, of b_n its sign.
    """

    name: ClassVar[str] = "windowed_signs"
    bases: int = 3

    def __post_init__(self) -> None:
        require_between("bases of windowed_signs", (self.bases,), 1, MAX_BASES + 1)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.bases,), (self.bases,))

    def staircase(self, *parameters: Tensor) -> Staircase:
        shifts, scales = parameters
        whole, step = snapped(scales.abs()[None], _MAX_LEVEL_BITS)
        thresholds = (0.5 - shifts).repeat_interleave(whole[0].to(torch.int64))
        return Staircase(thresholds.sort().values, -int(whole.sum()), 2, float(step))

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        shifts, scales = parameters
        total = torch.zeros_like(x)
        for shift, scale in zip(shifts, positive(scales), strict=True):
            moved = x + shift
            chosen = torch.where(moved.detach() >= 0.5, 1.0, -1.0)
            total = total + scale.detach() * moved.clamp(0, 1) + scale * chosen
        return total


@dataclass(frozen=True)
class ResidualSigns(ActivationQuantiser):
    """HORQ (Li et al. 2017) of order two: b_1 * s + b_2 * sign(x - b_1 * s) with s = sign(x).

    Arguments: x, scales [2], whose magnitudes count as whole multiples of a power of two, the greater first; the paper
    computes them from each input, here they are learned. Gradients: of x 1 between the outermost levels, else 0; of the
    scales their signs.
    """

    name: ClassVar[str] = "residual_signs"

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((2,),)

    def staircase(self, *parameters: Tensor) -> Staircase:
        whole, step = snapped(parameters[0].abs()[None], _MAX_LEVEL_BITS)
        first, second = (int(value) for value in whole[0].sort(descending=True).values)
        outer = torch.full((second,), float(first))
        thresholds = torch.cat([-outer, torch.zeros(first - second), outer]) * step
        return Staircase(thresholds, -first - second, 2, float(step))

    def surrogate(self, x: Tensor, *parameters: Tensor) -> Tensor:
        scales, latent = positive(parameters[0]).sort(descending=True).values, x.detach()
        first = torch.where(latent >= 0, 1.0, -1.0).to(x.dtype)
        second = torch.where(latent - scales[0].detach() * first >= 0, 1.0, -1.0).to(x.dtype)
        is_inside = latent.abs() <= float(scales.detach().sum())
        return x * is_inside + first * scales[0] + second * scales[1]


@dataclass(frozen=True)
class InputScale(Op):
    """XNOR-Net's K (Rastegari et al. 2016): the mean magnitude of a convolution's input below each of its windows.

    From [1, C, H, W] to [1, 1, H', W'] with the convolution's kernel, stride and padding; zeros of the padding count.
    Floats. It depends on each input, so what is multiplied with it has no integer form.
    """

    name: ClassVar[str] = "input_scale"
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))

    def __post_init__(self) -> None:
        require_between("kernel and stride of input_scale", (*self.kernel, *self.stride), 1, MAX_ATTRIBUTE)
        require_between("padding of input_scale", (*self.padding[0], *self.padding[1]), 0)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("input_scale", args, 1)
        x = args[0]
        expect(x.is_float and len(x.shape) == 4, f"input_scale takes floats of 4 axes, not {x}")
        one = TensorType((1, 1, *x.shape[2:]), x.number)
        return Conv2d(self.stride, self.padding).infer(one, TensorType((1, 1, *self.kernel), x.number))

    def evaluate(self, *args: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.padding
        mean = F.pad(args[0].abs().mean(1, keepdim=True), (left, right, top, bottom))
        window = mean.new_full((1, 1, *self.kernel), 1 / (self.kernel[0] * self.kernel[1]))
        return F.conv2d(mean, window, stride=self.stride)
