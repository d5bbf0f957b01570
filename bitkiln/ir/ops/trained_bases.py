"""Weights as signs: binary, ternary, and sums of few binary bases, quantised while they are trained.

Where several coefficients meet in one tensor (TTQ, LQ-Nets, ABC-Net, HORQ), they are whole multiples of a power of two:
the weights are then integers, and what is trained is what is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor

from ._base import require, require_between
from .trained import WeightQuantiser, column, positive, rows_of, signs, snapped

MAX_BASES = 4
MAX_COEFFICIENT_BITS = 12


class BinaryScale(Enum):
    """What binary weights are multiplied by."""

    NONE = "none"
    """1, as in BinaryConnect and BNN."""
    TENSOR = "tensor"
    """The mean magnitude of all weights."""
    CHANNEL = "channel"
    """The mean magnitude of each output channel, as in BWN and XNOR-Net."""
    LEARNED = "learned"
    """One learned factor for all: the argument [1] behind the weights."""


@dataclass(frozen=True)
class BinaryWeight(WeightQuantiser):
    """sign(w) times a scale (Courbariaux et al. 2015 and 2016; Rastegari et al. 2016).

    The mean magnitude is the scale of least squared error. Gradient: with means 1/n + scale where |w| <= 1, else 1/n, n
    weights having one scale; without scale 1; with a learned one the scale. The latter two keep |w| <= 1.
    """

    name: ClassVar[str] = "binary_weight"
    scale: BinaryScale = BinaryScale.CHANNEL

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((),) if self.scale is BinaryScale.LEARNED else ()

    @property
    def latent_limit(self) -> float | None:
        return 1.0 if self.scale in (BinaryScale.NONE, BinaryScale.LEARNED) else None

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return signs(weight), positive(self._scale(weight, *parameters))

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        match self.scale:
            case BinaryScale.NONE:
                return weight
            case BinaryScale.LEARNED:
                scale = column(positive(parameters[0]), weight.dim())
                return weight * scale.detach() + signs(weight.detach()) * scale
            case _:
                latent = weight.detach()
                scale = column(self._scale(latent), weight.dim())
                count = weight.numel() // scale.numel()
                return weight * (1 / count + scale * (latent.abs() <= 1))

    def _scale(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        match self.scale:
            case BinaryScale.NONE:
                return weight.new_ones(1)
            case BinaryScale.LEARNED:
                return parameters[0]
            case _:
                return rows_of(weight, self.scale is BinaryScale.CHANNEL).abs().mean(1)


@dataclass(frozen=True)
class TernaryWeight(WeightQuantiser):
    """TWN (Li and Liu 2016): 0 where |w| <= threshold * mean|w|, else sign(w) times the mean magnitude of the others.

    Gradient: 1.
    """

    name: ClassVar[str] = "ternary_weight"
    threshold: float = 0.7
    per_channel: bool = True

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, f"threshold of ternary_weight is from 0 to below 1, not {self.threshold}")

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        magnitudes = rows_of(weight, self.per_channel).abs()
        is_kept = magnitudes > self.threshold * magnitudes.mean(1, keepdim=True)
        scale = (magnitudes * is_kept).sum(1) / is_kept.sum(1).clamp(min=1)
        return torch.sign(weight) * is_kept.reshape(weight.shape), positive(scale)


@dataclass(frozen=True)
class LearnedTernaryWeight(WeightQuantiser):
    """TTQ (Zhu et al. 2017): `high` where w exceeds threshold * max|w|, -`low` where its opposite does, else 0.

    Arguments: weight, high [1] or [N], low [1] or [N]. Gradients: of the weight high, 1 and low in the three parts; of
    high and low the sums over their parts. high and low are whole multiples of a power of two, of `bits` bits.
    """

    name: ClassVar[str] = "learned_ternary_weight"
    threshold: float = 0.05
    bits: int = 7

    def __post_init__(self) -> None:
        require(
            0 <= self.threshold < 1, f"threshold of learned_ternary_weight is from 0 to below 1, not {self.threshold}"
        )
        require_between("bits of learned_ternary_weight", (self.bits,), 1, MAX_COEFFICIENT_BITS)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((), ())

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        high, low = torch.broadcast_tensors(*parameters)
        whole, step = snapped(torch.stack([high.abs(), low.abs()], 1), self.bits)
        is_high, is_low = self._parts(weight)
        high, low = (column(part.clamp(min=1), weight.dim()) for part in whole.unbind(1))
        return is_high * high - is_low * low, step

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        is_high, is_low = self._parts(weight.detach())
        high, low = (column(positive(part), weight.dim()) for part in parameters)
        slope = torch.where(is_high, high.detach(), torch.where(is_low, low.detach(), 1.0))
        return weight * slope + is_high * high - is_low * low

    def _parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        threshold = self.threshold * weight.abs().amax()
        return weight > threshold, weight < -threshold


def sign_table(bases: int, like: Tensor) -> Tensor:
    """All combinations [2**bases, bases] of -1 and +1, counted in binary with the first basis the highest digit."""
    numbers = torch.arange(1 << bases)[:, None]
    digits = (numbers >> torch.arange(bases - 1, -1, -1)) & 1
    return (2 * digits - 1).to(like.dtype)


def nearest_combination(rows: Tensor, basis: Tensor) -> Tensor:
    """For each element of `rows` [R, n] the combination of signs whose sum of `basis` [R, K] is nearest, of equally
    near ones the greater; indices of `sign_table` [R, n]."""
    levels, order = (basis @ sign_table(basis.shape[1], basis).t()).sort(1)
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    return order.gather(1, torch.searchsorted(middles.contiguous(), rows.contiguous(), right=True))


def fitted_basis(rows: Tensor, choice: Tensor, bases: int) -> Tensor:
    """The basis [R, K] of least squared error for the signs that `choice` [R, n] names."""
    table = sign_table(bases, rows)
    zeros = rows.new_zeros(len(rows), len(table))
    counts = zeros.scatter_add(1, choice, torch.ones_like(rows))
    sums = zeros.scatter_add(1, choice, rows)
    normal = torch.einsum("lk,rl,lm->rkm", table, counts, table)
    inverse = torch.linalg.pinv(normal.double(), hermitian=True)
    basis: Tensor = (inverse @ (sums @ table)[..., None].double())[..., 0].to(rows.dtype)
    return basis


@dataclass(frozen=True)
class BasisWeight(WeightQuantiser):
    """LQ-Nets (Zhang et al. 2018): sums of K = `bases` learned numbers with signs, the nearest to each weight.

    Arguments: weight, basis [1, K] or [N, K] to start from. Each evaluation alternates `iterations` times between the
    nearest signs and the basis of least squares, from that start; the basis of the outcome is a whole multiple of a
    power of two, of `bits` bits. Gradient: 1, of the basis none (it follows the weights).
    """

    name: ClassVar[str] = "basis_weight"
    bases: int = 2
    iterations: int = 2
    bits: int = 8

    def __post_init__(self) -> None:
        require_between("bases of basis_weight", (self.bases,), 1, MAX_BASES)
        require_between("iterations of basis_weight", (self.iterations,), 0, 100)
        require_between("bits of basis_weight", (self.bits,), self.bases, MAX_COEFFICIENT_BITS)

    @property
    def parameter_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.bases,),)

    @property
    def trained(self) -> tuple[int, ...]:
        return (0,)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        basis = parameters[0]
        rows = rows_of(weight, len(basis) > 1)
        for _ in range(self.iterations):
            basis = fitted_basis(rows, nearest_combination(rows, basis), self.bases)
        whole, step = snapped(basis, self.bits)
        choice = nearest_combination(rows / step[:, None], whole)
        levels = whole @ sign_table(self.bases, whole).t()
        return levels.gather(1, choice).reshape(weight.shape), step


@dataclass(frozen=True)
class ShiftedBasesWeight(WeightQuantiser):
    """ABC-Net (Lin et al. 2017): sum of a_i * sign(w - mean + u_i * deviation) over M = `bases` shifts u_i evenly from
    -1 to 1 (0 for one), with the a_i of least squared error, as whole multiples of a power of two, of `bits` bits.

    Gradient: the sum of the a_i.
    """

    name: ClassVar[str] = "shifted_bases_weight"
    bases: int = 3
    bits: int = 8

    def __post_init__(self) -> None:
        require_between("bases of shifted_bases_weight", (self.bases,), 1, MAX_BASES + 1)
        require_between("bits of shifted_bases_weight", (self.bits,), self.bases, MAX_COEFFICIENT_BITS)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        bases, factors = self.fit(weight)
        whole, step = snapped(factors[None], self.bits)
        return (whole @ bases).reshape(weight.shape), step

    def surrogate(self, weight: Tensor, *parameters: Tensor) -> Tensor:
        return weight * self.fit(weight.detach())[1].sum()

    def fit(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bases [M, n] and their factors [M]."""
        flat = weight.reshape(-1)
        shifts = torch.linspace(-1, 1, self.bases).to(flat.dtype) if self.bases > 1 else flat.new_zeros(1)
        bases = signs(flat - flat.mean() + shifts[:, None] * flat.std(correction=0))
        normal = (bases @ bases.t()).double()
        factors = torch.linalg.pinv(normal, hermitian=True) @ (bases @ flat).double()
        return bases, factors.to(flat.dtype)


@dataclass(frozen=True)
class ResidualWeight(WeightQuantiser):
    """HORQ (Li et al. 2017): `order` times the signs of what is left, times its mean magnitude b_i, are taken off.

    The b_i are whole multiples of a power of two, of `bits` bits. Gradient: 1.
    """

    name: ClassVar[str] = "residual_weight"
    order: int = 2
    per_channel: bool = True
    bits: int = 8

    def __post_init__(self) -> None:
        require_between("order of residual_weight", (self.order,), 1, MAX_BASES)
        require_between("bits of residual_weight", (self.bits,), self.order, MAX_COEFFICIENT_BITS)

    def codes(self, weight: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows_of(weight, self.per_channel)
        bases, factors = residual_bases(rows, self.order)
        whole, step = snapped(factors, self.bits)
        return torch.einsum("rkn,rk->rn", bases, whole).reshape(weight.shape), step


def residual_bases(rows: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """The signs [R, K, n] and positive factors [R, K] of HORQ for rows [R, n]: the residue never grows."""
    bases: list[Tensor] = []
    factors: list[Tensor] = []
    for _ in range(order):
        bases.append(signs(rows))
        factors.append(rows.abs().mean(1))
        rows = rows - factors[-1][:, None] * bases[-1]
    return torch.stack(bases, 1), torch.stack(factors, 1)
