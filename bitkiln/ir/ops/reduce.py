"""One value from many: mean, sum, largest and Euclidean norm along axes behind the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require, require_between


@dataclass(frozen=True)
class Reduction(Op):
    """`axes` become 1, or disappear without `keep`. Floats."""

    axes: tuple[int, ...]
    keep: bool = False

    def __post_init__(self) -> None:
        require_between(f"axes of {self.name}", self.axes, 1)
        require(
            list(self.axes) == sorted(set(self.axes)) and len(self.axes) >= 1,
            f"axes of {self.name} must be one or more and rise, not {list(self.axes)}",
        )

    def infer(self, *args: TensorType) -> TensorType:
        expect_count(self.name, args, 1)
        x = args[0]
        expect(x.is_float, f"{self.name} takes floats, not {x}")
        expect(self.axes[-1] < len(x.shape), f"{self.name} of {list(x.shape)} has no axis {self.axes[-1]}")
        sizes = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        kept = [size for axis, size in enumerate(sizes) if self.keep or axis not in self.axes]
        return TensorType(tuple(kept), x.number)


@dataclass(frozen=True)
class ReduceMean(Reduction):
    """Mean along the axes."""

    name: ClassVar[str] = "reduce_mean"

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].mean(self.axes, self.keep)


@dataclass(frozen=True)
class ReduceSum(Reduction):
    """Sum along the axes."""

    name: ClassVar[str] = "reduce_sum"

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].sum(self.axes, self.keep)


@dataclass(frozen=True)
class ReduceMax(Reduction):
    """Largest element along the axes."""

    name: ClassVar[str] = "reduce_max"

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].amax(self.axes, self.keep)


@dataclass(frozen=True)
class ReduceNorm(Reduction):
    """Euclidean norm along the axes."""

    name: ClassVar[str] = "reduce_norm"

    def evaluate(self, *args: Tensor) -> Tensor:
        result: Tensor = torch.linalg.vector_norm(args[0], dim=self.axes, keepdim=self.keep)
        return result
