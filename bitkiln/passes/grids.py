"""Constants that a quantiser made: their codes are found again from its scales, and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bitkiln.ir import Const, Int, TensorType, storage_dtype
from bitkiln.ir.numbers import MAX_FRAC


@dataclass(frozen=True, eq=False)
class Grid:
    """`data` are code * scale in 32-bit floats, for some codes and scales that are one or one a channel."""

    data: Tensor
    scale: Tensor


def codes_on(const: Const, grid: Grid, with_channel_points: bool) -> tuple[Const, Tensor] | None:
    """Return the constant as codes and the scales that are left beside their points, [1] or [channels] of axis 0.

    None if the constant's elements are not codes times a scale of their channel. Scales that are powers of two become
    points, one a channel only if `with_channel_points`.
    """
    scale = grid.scale.reshape(-1).to(torch.float32)
    if scale.numel() not in (1, const.type.shape[0]) or not bool((torch.isfinite(scale) & (scale > 0)).all()):
        return None
    column = scale.reshape(-1, *[1] * (len(const.type.shape) - 1))
    codes = torch.round(const.data.to(torch.float64) / column.to(torch.float64))
    is_on_grid = torch.equal(codes.to(torch.float32) * column, const.data)
    low, high = (int(code) for code in codes.aminmax())
    if not is_on_grid or max(-low, high) > 1 << 24:
        return None
    number, left = _points(Int.holding(low, high, signed=True), scale, with_channel_points)
    return Const(const.name, TensorType(const.type.shape, number), codes.to(storage_dtype(number))), left


def _points(number: Int, scale: Tensor, with_channel_points: bool) -> tuple[Int, Tensor]:
    """The format with points in place of the scales, if all are powers of two that it can have."""
    points = [point_of(value) for value in scale.tolist()]
    if any(left != 1 for _, left in points):
        return number, scale
    fracs = tuple(frac for frac, _ in points)
    if len(set(fracs)) == 1:
        return replace(number, frac=fracs[0]), torch.ones(1)
    if not with_channel_points:
        return number, scale
    return replace(number, frac=fracs, axis=0), torch.ones(1)


def point_of(scale: float) -> tuple[int, float]:
    """Return frac and factor with scale = factor * 2**-frac and a factor of at least 1 and below 2, if the point is
    one that formats have; else 0 and the scale. A power of two has the factor 1."""
    mantissa, exponent = math.frexp(scale)
    frac = 1 - exponent
    return (frac, mantissa * 2) if abs(frac) <= MAX_FRAC // 2 else (0, scale)
