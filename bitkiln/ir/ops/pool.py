"""Pooling. Average pooling of codes is an exact integer sum; the division is the requantisation that follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.numbers import Codebook, Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, expect_int, require, require_between

Pair = tuple[int, int]


def _pooled(
    x: TensorType, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool, dilation: Pair = (1, 1)
) -> tuple[int, ...]:
    expect(len(x.shape) == 4, f"pooling needs 4 axes, not {list(x.shape)}")
    sizes = []
    for i in range(2):
        span = x.shape[2 + i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1
        expect(
            padding[i] == 0 or dilation[i] <= x.shape[2 + i],
            f"with dilation {list(dilation)} some pooling windows of {list(x.shape)} see only padding",
        )
        size = (-(-span // stride[i]) if ceil_mode else span // stride[i]) + 1
        if ceil_mode and (size - 1) * stride[i] >= x.shape[2 + i] + padding[i]:
            size -= 1  # a window must start inside the input or its leading padding
        expect(size > 0, f"the {list(kernel)} pooling kernel is larger than the padded input {list(x.shape)}")
        sizes.append(size)
    return (x.shape[0], x.shape[1], *sizes)


def _require_window(name: str, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Raise `bad-value` unless every window sees at least one element, as torch demands."""
    require_between(f"kernel of {name}", kernel, 1)
    require_between(f"stride of {name}", stride, 1)
    require_between(f"padding of {name}", padding, 0)
    require(
        all(pad <= size // 2 for pad, size in zip(padding, kernel, strict=True)),
        f"padding of {name} must be at most half the kernel {list(kernel)}, not {list(padding)}",
    )


@dataclass(frozen=True)
class MaxPool2d(Op):
    """Largest element of each window; padding never wins. Argument: x [1, C, H, W]."""

    name: ClassVar[str] = "max_pool2d"
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        _require_window("max_pool2d", self.kernel, self.stride, self.padding)
        require_between("dilation of max_pool2d", self.dilation, 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("max_pool2d", args, 1)
        expect(not isinstance(args[0].number, Codebook), f"max_pool2d cannot order {args[0]}")
        shape = _pooled(args[0], self.kernel, self.stride, self.padding, self.ceil_mode, self.dilation)
        return TensorType(shape, args[0].number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.max_pool2d(args[0], self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)


@dataclass(frozen=True)
class AvgPool2d(Op):
    """Mean of each window of floats.

    `divisor` replaces the window's size; else `count_include_pad` says whether padding counts.
    """

    name: ClassVar[str] = "avg_pool2d"
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None

    def __post_init__(self) -> None:
        _require_window("avg_pool2d", self.kernel, self.stride, self.padding)
        if self.divisor is not None:
            require_between("divisor of avg_pool2d", (self.divisor,), 1, 2**31 - 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("avg_pool2d", args, 1)
        expect(
            isinstance(args[0].number, Float),
            f"avg_pool2d takes floats, not {args[0]}; on codes use sum_pool2d and requantise",
        )
        return TensorType(_pooled(args[0], self.kernel, self.stride, self.padding, self.ceil_mode), args[0].number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.avg_pool2d(
            args[0],
            self.kernel,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor,
        )


@dataclass(frozen=True)
class SumPool2d(Op):
    """Exact sum of each window, zeros as padding. Argument: x [1, C, H, W], codes or floats."""

    name: ClassVar[str] = "sum_pool2d"
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        _require_window("sum_pool2d", self.kernel, self.stride, self.padding)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("sum_pool2d", args, 1)
        shape = _pooled(args[0], self.kernel, self.stride, self.padding, self.ceil_mode)
        if isinstance(args[0].number, Float):
            return TensorType(shape, args[0].number)
        number, window = expect_int(args[0], "the input of sum_pool2d"), math.prod(self.kernel)
        return TensorType(
            shape,
            Int.holding(number.lo * window, number.hi * window, number.frac, number.axis, number.signed),
        )

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.avg_pool2d(args[0], self.kernel, self.stride, self.padding, self.ceil_mode, True, 1)


@dataclass(frozen=True)
class AdaptiveAvgPool2d(Op):
    """Mean over windows that tile the input into `size` cells, as PyTorch defines their borders. Floats only."""

    name: ClassVar[str] = "adaptive_avg_pool2d"
    size: Pair

    def __post_init__(self) -> None:
        require_between("size of adaptive_avg_pool2d", self.size, 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("adaptive_avg_pool2d", args, 1)
        expect(len(args[0].shape) == 4, f"pooling needs 4 axes, not {list(args[0].shape)}")
        expect(isinstance(args[0].number, Float), f"adaptive_avg_pool2d takes floats, not {args[0]}")
        return TensorType((*args[0].shape[:2], *self.size), args[0].number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(args[0], self.size)
