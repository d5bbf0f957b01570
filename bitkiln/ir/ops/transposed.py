"""Transposed 2-D convolution: the upsampling layer of segmentation networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require_between

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """Each input pixel adds its value times the kernel to the output, `stride` pixels apart. Floats.

    Arguments: x [1, C, H, W], weight [C, N/groups, KH, KW], optional bias [N]. `padding` rows and columns are cut off
    on each side of the result, `extra` ones are added below and on the right.
    """

    name: ClassVar[str] = "conv_transpose2d"
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    extra: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        require_between("stride of conv_transpose2d", self.stride, 1)
        require_between("padding of conv_transpose2d", self.padding, 0)
        require_between("dilation of conv_transpose2d", self.dilation, 1)
        require_between("groups of conv_transpose2d", (self.groups,), 1)
        for extra, stride, dilation in zip(self.extra, self.stride, self.dilation, strict=True):
            require_between("extra of conv_transpose2d", (extra,), 0, max(stride, dilation) - 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("conv_transpose2d", args, 2, 3)
        x, weight = args[0], args[1]
        expect(all(arg.is_float for arg in args), f"conv_transpose2d takes floats, not {', '.join(map(str, args))}")
        expect(
            len(x.shape) == 4 and len(weight.shape) == 4,
            f"conv_transpose2d needs 4 axes, not {list(x.shape)} and {list(weight.shape)}",
        )
        expect(
            x.shape[1] == weight.shape[0] and weight.shape[0] % self.groups == 0,
            f"conv_transpose2d of {x.shape[1]} channels in {self.groups} groups has weight {list(weight.shape)}",
        )
        channels = weight.shape[1] * self.groups
        expect(all(arg.shape == (channels,) for arg in args[2:]), f"the bias must have {channels} elements")
        sizes = [
            (x.shape[2 + i] - 1) * self.stride[i]
            - 2 * self.padding[i]
            + self.dilation[i] * (weight.shape[2 + i] - 1)
            + self.extra[i]
            + 1
            for i in range(2)
        ]
        expect(min(sizes) > 0, f"the padding of conv_transpose2d cuts off all of {list(x.shape)}")
        return TensorType((x.shape[0], channels, *sizes), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        weight, bias = (*args[1:], None)[:2]
        assert weight is not None
        return F.conv_transpose2d(
            args[0], weight, bias, self.stride, self.padding, self.extra, self.groups, self.dilation
        )

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False, False)[: len(args)]

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)

    def macs(self, *args: TensorType) -> int:
        """Every weight once for every input pixel."""
        return math.prod(args[0].shape[2:]) * args[1].elements
