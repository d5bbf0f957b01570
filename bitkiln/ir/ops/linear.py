"""Matrix products with weights: linear and 2-D convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require_between

Pair = tuple[int, int]


@dataclass(frozen=True)
class Linear(Op):
    """y = x W^T + b over the last axis. Arguments: x [..., K], weight [N, K], optional bias [N].

    On codes the result's point is the sum of the points, and the bias must already be at that point.
    """

    name: ClassVar[str] = "linear"

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("linear", args, 2, 3)
        x, weight = args[0], args[1]
        expect(len(weight.shape) == 2, f"weight of linear must have 2 axes, not {list(weight.shape)}")
        expect(
            len(x.shape) >= 2 and x.shape[-1] == weight.shape[1],
            f"linear with weight {list(weight.shape)} needs {weight.shape[1]} input features, "
            f"not shape {list(x.shape)}",
        )
        shape = (*x.shape[:-1], weight.shape[0])
        return TensorType(shape, _product_number(args, weight.shape[1], len(shape) - 1))

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.linear(*args)

    def macs(self, *args: TensorType) -> int:
        return math.prod(args[0].shape[:-1]) * args[1].elements

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False, False)[: len(args)]

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)


@dataclass(frozen=True)
class Conv2d(Op):
    """2-D cross-correlation. Arguments: x [1, C, H, W], weight [N, C/groups, KH, KW], optional bias [N].

    `padding` is ((top, bottom), (left, right)) of zeros. On codes the points add up, as for linear.
    """

    name: ClassVar[str] = "conv2d"
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        require_between("stride of conv2d", self.stride, 1)
        require_between("padding of conv2d", (*self.padding[0], *self.padding[1]), 0)
        require_between("dilation of conv2d", self.dilation, 1)
        require_between("groups of conv2d", (self.groups,), 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("conv2d", args, 2, 3)
        x, weight = args[0], args[1]
        expect(
            len(x.shape) == 4 and len(weight.shape) == 4,
            f"conv2d needs 4 axes, not {list(x.shape)} and {list(weight.shape)}",
        )
        channels = weight.shape[1] * self.groups
        expect(x.shape[1] == channels, f"conv2d needs {channels} input channels, not {x.shape[1]}")
        expect(
            weight.shape[0] % self.groups == 0,
            f"{weight.shape[0]} filters do not divide into {self.groups} groups",
        )
        height, width = (
            (x.shape[2 + i] + sum(self.padding[i]) - self.dilation[i] * (weight.shape[2 + i] - 1) - 1) // self.stride[i]
            + 1
            for i in range(2)
        )
        expect(
            height > 0 and width > 0,
            f"the {list(weight.shape[2:])} kernel is larger than the padded input {list(x.shape)}",
        )
        terms = math.prod(weight.shape[1:])
        return TensorType((x.shape[0], weight.shape[0], height, width), _product_number(args, terms, 1))

    def evaluate(self, *args: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.padding
        x, padding = args[0], (top, left)
        if top != bottom or left != right:
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        bias = args[2] if len(args) > 2 else None
        return F.conv2d(x, args[1], bias, self.stride, padding, self.dilation, self.groups)

    def macs(self, *args: TensorType) -> int:
        return self.infer(*args).elements * math.prod(args[1].shape[1:])

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False, False)[: len(args)]

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)


def _product_number(args: tuple[TensorType, ...], terms: int, axis: int) -> Float | Int:
    """Number format of a sum of `terms` products plus the bias; per-channel points move to `axis`."""
    x, weight = args[0].number, args[1].number
    if len(args) > 2:
        expect(
            args[2].shape == args[1].shape[:1],
            f"bias {list(args[2].shape)} does not match weight {list(args[1].shape)}",
        )
    if isinstance(x, Float) and all(isinstance(arg.number, Float) for arg in args):
        return x
    expect(
        isinstance(x, Int) and isinstance(weight, Int),
        f"x and weight must both be float or fixed point, not {x} and {weight}",
    )
    assert isinstance(x, Int) and isinstance(weight, Int)
    expect(isinstance(x.frac, int), "activations have one point for the whole tensor")
    expect(weight.axis in (None, 0), "weights have their points along axis 0")
    assert isinstance(x.frac, int)
    fracs = tuple(frac + x.frac for frac in weight.fracs)
    corners = [a * b for a in (x.lo, x.hi) for b in (weight.lo, weight.hi)]
    lo, hi = min(0, *corners) * terms, max(0, *corners) * terms
    if len(args) > 2:
        bias = args[2].number
        expect(
            isinstance(bias, Int) and bias.fracs == fracs,
            f"the bias must have the accumulator's points {fracs}, not {bias}",
        )
        assert isinstance(bias, Int)
        lo, hi = lo + min(0, bias.lo), hi + max(0, bias.hi)
    per_channel = isinstance(weight.frac, tuple)
    return Int.holding(lo, hi, fracs if per_channel else fracs[0], axis if per_channel else None, signed=True)
