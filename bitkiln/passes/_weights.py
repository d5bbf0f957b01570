"""Weights and biases of one layer as codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bitkiln.ir import Int

from .calibrate import MAX_POINT, Calibration, candidate_errors, safe_point

BIAS_HEADROOM_BITS = 8
"""A bias may exceed the product of the largest weight and the largest input by this many bits, not more."""


def weight_number(
    weight: Tensor,
    bias: Tensor | None,
    x: Int,
    bits: int,
    per_channel: bool,
    method: Calibration,
) -> Int:
    """Return the signed format of a layer's weights [N, ...], with one point for each of axis 0 or a single one.

    `method` is MIN_MAX or MSE. `x` is the format of the layer's input: where a channel's weights are tiny beside its
    bias, the point stays so far left that the bias does not dictate the accumulator's width.
    """
    signed = Int(bits)
    rows = weight.detach().to(torch.float64).reshape(weight.shape[0] if per_channel else 1, -1)
    low, high = rows.amin(1), rows.amax(1)
    first = torch.tensor(
        [safe_point(float(lo), float(hi), signed) for lo, hi in zip(low, high, strict=True)],
        dtype=torch.int32,
    )
    steps = torch.zeros_like(first)
    if method is Calibration.MSE:
        errors = [error.square().sum(1) for error, _ in candidate_errors(rows, signed, first[:, None])]
        steps = torch.stack(errors).argmin(0).to(torch.int32)
    limits = _bias_limits(bias, len(first), x, bits)
    points = tuple(min(int(point), limit) for point, limit in zip(first + steps, limits, strict=True))
    return Int(bits, True, points, 0) if per_channel else Int(bits, True, points[0])


def _bias_limits(bias: Tensor | None, channels: int, x: Int, bits: int) -> list[int]:
    """The rightmost point of each channel at which its bias (for one channel: the largest) is narrow enough."""
    if bias is None:
        return [MAX_POINT] * channels
    size = bias.detach().abs().to(torch.float64)
    largest = size if channels == len(size) else size.max().expand(channels)
    room = bits + x.bits + BIAS_HEADROOM_BITS - x.fracs[0]
    return [room - math.frexp(value)[1] if value else MAX_POINT for value in largest.tolist()]
